"""Texts that are no secret, each beside its twin that is one: what tells them apart is the grammar named in the test's id.

The texts are of forms that clean source trees hold; every value is made up.
"""

import base64

import pytest

from mcpsec.leaks import bulk, scan_bytes
from mcpsec.leaks.detection import find
from mcpsec.leaks.rulebook import packaged

NKEY = "QWB5PDKHX6PYGPAN2RLYKEI4IIAANNKKSUMNLMYTBX2KJQEVTAVETWT"
JOIN = "-".join(("SWMTKN", "1", "tnh8b0lwt5lz2oasraaf378w4o6ideq5hdphl2c0q3ov81fr70", "7ccl058y1w5vycq4pc59b23hz"))
HEX = "c41f083ac574eb632a3d436e6f7dcc6e"


def b64(text):
    return base64.b64encode(text.encode()).decode()


TWINS = {
    "a chart's checksum of a secret": ("a.yaml", f"checksum/secret: {HEX}{HEX}", f"app/secret: {HEX}{HEX}"),
    "groups between colons": ("a.pem", "keyID: AWX2:I27X:O7PW:VYNB:ZLKC:CVAE", "user: ops, PW:VYNB7ZLKC"),
    "the shell's directory": ("a.sh", '[ "$PWD" = "q7wzk3d" ]', 'PWD="q7wzk3d"'),
    "an expansion that replaces": ("a.sh", 'PASSWORD="${DB_PASSWORD//\\"/x1}"', 'PASSWORD="$DB{PASSWORD7//x1"'),
    "an expansion cut at a blank": ("a.yaml", "DB_PASSWORD: ${DB_PASSWORD:?set it1}", "DB_PASSWORD: zkvm:?set7"),
    "a reference before a template": (
        "a.txt",
        "--set password=$DB_PASSWORD,{{- if .x1 }}",
        "--set password=qDB7PASS,k2",
    ),
    "a sentence without blanks": (
        "a.php",
        "'sent' => '\u91cd\u7f6e\u5bc6\u7801\u7684\u94fe\u63a5\u5c06:email7\u3002',",
        "'\u5bc6\u7801' => 'zkvmq12w'",
    ),
    "a sentence with a number": (
        "ja.php",
        "'password' => '\u30d1\u30b9\u30ef\u30fc\u30c9\u306f6\u6587\u5b57\u4ee5\u4e0a\u3067\u3042\u308b\u5fc5\u8981\u304c\u3042\u308a\u307e\u3059',",
        "'password' => 'zkvmq6w'",
    ),
    "a catalogue's message": ("pl.properties", "copy.password=Skopiuj to miejsce teraz.", "copy.password=Skqpzvj"),
    "an emphasised word": ("a.md", "Pass *version1* a long. The password **must** be", "**Password:** zkvmq12w"),
    "a joined word": ("a.c", '{ CHK_RES_CONDPASS, "L7OKC" }', '{ CHK_RES_PASS, "L7OKC4" }'),
    "a pass before another": ("a.rs", "/// no strict pre-pass: base64url input", "/// no strict db-pass: b4se64u9l"),
    "a namespace": ("a.md", "DEBUG=pw:browser* npx test", "pw: br0wser* "),
    "a class with its namespace": ("a.php", "'Acme\\Auth\\RequirePassword:route.name,100'", "'RequirePassword:r0ute.x,100'"),
    "a class by its name": (
        "a.php",
        "->add('password', 'Acme\\Form\\Type\\PasswordType', [",
        "->add('password', 'Acme\\Form7\\x', [",
    ),
    "a method of a class": ("a.java", '"getPassword", "org.acme.BasicSource#getName"', '"password", "k9acme#getName"'),
    "a constructor's own word": ("a.php", "new CompilerPassExtension('extension1')", "new MailerPass('extqnsion71')"),
    "a path in a list": ("a.py", "'file:///etc/passwd',\n'schemas.yaml#/Pet9',", "('passwd', 'zkvmq12w9Pet')"),
    "the next of several settings": ("a.java", '"a.redis.password=x", "a.redis.nodes=h1:1"', '"password", "h1:q=1zk"'),
    "a text with ends of lines": ("a.yaml", 'password: "multiline\\nmysecret1"', 'password: "multiline#mys3cret"'),
    "a test of NUL": ("a.tcl", 'requirepass "abc\\x00def"', 'requirepass "abc#x00dqf"'),
    "a member with its type": ("a.html", "fn:()=>{pass:boolean,detail1?:string}", "{pass:boq7lean,detail1?:string}"),
    "a return's type": ("a.svg", "<text>hash_password(password: str): str</text>", "<text>password: s7rk): </text>"),
    "a call behind a bracket": ("a.txt", "new(url: url, password: pw1).relay(STDIN.read).tap", "password: pw1zk.relay"),
    "a duration": ("a.rb", '["P1YT", "PW", "P1Y1W"]', '["PW", "P1Y1Wq"]'),
    "a region": ("a.json", '"en_PW": "en_001",', '"db_PW": "en_001q",'),
    "a grammar's repetition": ("a.java", " * passwd    = 1*SAFE ; MUST", " * passwd    = 19SAFE7k ; MUST"),
    "an algorithm's costs": ("a.json", '"passwordField": "bcrypt;cost=10"', '"password": "bcrypq;cost=10"'),
    "the largest number": ("a.json", '"x_auth_1": "b", "value": 18446744073709551615', f'"x_auth": "{HEX}"'),
    "a verdict behind an escape": ("a.py", 'print("\\nPASS: CONC-02 checks passed.")', 'print("\\nPASS: CONC-02")'),
    "a socket": (
        "a.go",
        '"SSH_AUTH_SOCK": "/var/f/9l/6wpxv6wd1b901m1146r579wc00/T//ssh-KCQt1sNq/agent.29",',
        '"SSH_AUTH": "6wpxv6wd1b901m1146r579wc00KCQt1sNq",',
    ),
    "a key that a key has locked": ("a.json", f'"encrypted_key": "{HEX}t8p7"', f'"encryption_key": "{HEX}t8p7"'),
    "the name of what exists": ("a.yaml", "existingSecret: kafka-jks-0x7Qz9vKm", "secret: kafkaJks0x7Qz9vKm2w"),
    "words and numbers in a row": ("a.go", '{"api_key", "opal-mini-4-5-20251001"}', '{"api_key", "opq1-mzni-4x5k20251"}'),
    "a commit behind a module": ("vendor.conf", f"golang.org/x/oauth2 {HEX}45497edb", f"auth_token {HEX}45497edb"),
    "a nonce of a handshake": ("a.rs", '"Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw=="', '"Api-Key: x3JJHMbDL1EzLkh9GBhXDw=="'),
    "a public NKey": ("a.go", f'nats_secret = "U{NKEY}"', f'nats_secret = "S{NKEY}"'),
    "a certificate's id": ("a.txt", f"key: 303b300906052b0e03021a05000414{HEX}", f"api_key: 303c3009060{HEX}"),
    "a joke's password": ("a.rb", 'password: "hunter2"', 'password: "huntqr2"'),
    "words of password policies": ("a.py", 'password = "NewSecureP@ss123!"', 'password = "NqwSecxreP@ss123!"'),
    "a chosen secret": ("a.js", "session({ secret: 'session_name7' })", "session({ secret: 'Rosalinde2012' })"),
    "an account and its token": (
        "a.rb",
        f"Twilio::REST::Client.new 'ACxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx', '{'x' * 32}'",
        f"Twilio::REST::Client.new 'AC{HEX[::-1]}', '{HEX}'",
    ),
    "a password from standard input": (
        "a.sh",
        'echo "$PASSWORD1" | docker login -u ci --password-stdin',
        'echo "zkvmq12w" | docker login -u ci --password-stdin',
    ),
    "a token for a user": ("a.sh", 'curl -u "$TOKEN:" https://a.io', f"curl -u {HEX}45497edb: https://a.io"),
    "a connection in C": (
        "a.c",
        'mysql_real_connect(c, "h", "root", "password", "db", 0, 0, 0);',
        'mysql_real_connect(c, "h", "root", "zkvmq12w", "db", 0, 0, 0);',
    ),
    "basic authentication": ("a.java", 'b.basicAuthentication("ops", "password")', 'b.basicAuthentication("ops", "zkvmq12w")'),
    "a scheme with parameters": (
        "a.txt",
        f"Authorization: AWS4-HMAC-SHA256 Credential={HEX}/20240101",
        f"Authorization: acmev1 {HEX}q7Wz3kDb",
    ),
    "an expression full of symbols": ("a.conf", "api_key = ${m:h}o(p)[e]", "api_key = m{{h}o)p${e]nk(o[d>-_$#k}}"),
    "minified false": ("a.zoo", "for(x in{radio:!0,password:!0,image:!0})T.p[x]=s(x);", "password:!0zkvm,i4mage"),
    "a generated name": (
        "a.go",
        '"a-tls-pass", "default-ingress-with-auth-tls-pass-certificate-to-no-ca-rule-0-path-0-tls-retry"',
        '"a-tls-pass", "lantern-willow-2382"',
    ),
    "a path of a variable": ("a.pl", '$file_pwd = "/$file_pwd1";', '$file_pwd = "fzlq$k7wd1";'),
    "a parameter by its name": (
        "web.xml",
        "<param-name>password</param-name>\n<param-value>${PW1}</param-value>",
        "<param-name>password</param-name>\n<param-value>zkvmq12w</param-value>",
    ),
    "a login of a variable": ("a.py", "imap.login(user, 'password1')", "imap.login(user, 'zkvmq12w')"),
    "a broker's login": ("a.py", 'm.username_pw_set("ops", "password1")', 'm.username_pw_set("ops", "zkvmq12w")'),
    "an operand": ("a.tf", 'password = "!var.disabled12"', 'password = "!Nairobi286"'),
    "a default by its name": (
        "a.java",
        '@Property(name = "ldap.password", defaultValue = "${LDAP_PW1}")',
        '@Property(name = "ldap.password", defaultValue = "zkvmq12w")',
    ),
    "a user from the environment": ("a.sh", 'curl -u "$USER:$PASS1" https://a.io', 'curl -u "$USER:zkvmq12w" https://a.io'),
    "an object store's alias": ("a.sh", "mc alias set m http://m:9000 root $PW1x", "mc alias set m http://m:9000 root zkvmq12w"),
    "a proxy's peer": ("squid.conf", "cache_peer p parent 3128 0 login=PASS:%PW1%", "cache_peer p parent 3128 0 login=ops:zkvmq12w"),
    "a signing algorithm": ("a.java", 'Algorithm.HMAC256("secret")', 'Algorithm.HMAC256("zkvmq12w7Qz9")'),
    "a short word by chance": ("a.sql", "IDENTIFIED BY 'my_password1'", "IDENTIFIED BY 'my%9LR1Y6ZL0oL'"),
    "case that no name has": ("a.ts", 'clientSecret = "getNameOfUser12x"', 'clientSecret = "eOQgNaLErYmUTrp5"'),
    "an entry for a certificate": (
        "a.yaml",
        f"kind: Secret\ndata:\n  tls.ca: {b64('-----BEGIN CERTIFICATE----- 7Qz9vKm')}",
        f"kind: Secret\ndata:\n  tls: {b64('k7Qz9vKm2wXp')}",
    ),
    "an empty key": (
        "a.yaml",
        f"kind: Secret\ndata:\n  tls.key: {b64('-----BEGIN PRIVATE KEY-----' + chr(10) + '-----END PRIVATE KEY-----')}",
        f"kind: Secret\ndata:\n  tls.key: {b64('-----BEGIN PRIVATE KEY-----' + chr(10) + HEX * 3)}",
    ),
    "the standard's bearer": ("a.py", "Authorization: Bearer mF_9.B5f-4.1JqM", "Authorization: Bearer mF_9.B5f-4.1JqMx7Qz"),
    "the user's name again": ("a.yaml", "url: postgresql://gateway7:gateway7@db:5432/x", "url: postgresql://gateway7:gatewqy7@db:5432/x"),
    "words in base64": ("a.yaml", f"api_key: {b64('primary-api-key')}", f"api_key: {b64('k7Qz9vKm2wXpT')}"),
    "a header's words in base64": (
        "a.yaml",
        f"Authorization: {b64('Bearer sk-openai-secret-key')}",
        f"Authorization: {b64('Bearer k7Qz9vKm2wXpT4nR8')}",
    ),
    "a pair of words in base64": (
        "a.json",
        f'{{"mcpServers": {{"a": {{"url": "https://a.io", "headers": {{"Authorization": "Basic {b64("user:testpassword")}"}}}}}}}}',
        f'{{"mcpServers": {{"a": {{"url": "https://a.io", "headers": {{"Authorization": "Basic {b64("user:k7Qz9vKm2wXp")}"}}}}}}}}',
    ),
}  # fmt: skip


def found(path, text):
    data = (text + "\n").encode()
    plain = [(m.rule.id, m.start, m.end, m.confidence) for m in find(data, path=path, floor=0)]
    if bulk.available():
        engine = found.__dict__.setdefault("engine", bulk.Bulk(packaged()))
        assert [(m.rule.id, m.start, m.end, m.confidence) for m in engine.find(data, path=path, floor=0)] == plain
    return scan_bytes(data, path=path)


@pytest.mark.parametrize("grammar", TWINS)
def test_it_is_no_secret(grammar):
    path, harmless, _ = TWINS[grammar]
    assert not found(path, harmless)


@pytest.mark.parametrize("grammar", TWINS)
def test_and_its_twin_is_one(grammar):
    path, _, secret = TWINS[grammar]
    assert found(path, secret)


SURE = {
    "the alphabet between digits": ("a.py", 'client_secret = "AbC123dEf456GhI789jKl012MnO345pQr"', "q7Wz3kDb9mXv2nRtY5sHj8LpQw4c"),
    "the sample of a schema": ("a.yaml", f"api_secret:\n  example: {JOIN}", ""),
    "the sample of a schema, in a block": (
        "a.yaml",
        f"      responses:\n        example:\n          Tokens:\n            api_secret: {JOIN}",
        "",
    ),
    "documentation in Elixir": ("a.ex", f'  @moduledoc """\n  secret_key_base: "kjoy3o1zeid{HEX}"\n  """', ""),
    "a token of the standard's samples": (
        "a.txt",
        "Authorization: Bearer eyJhbGciOiJIUzM4NCIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIn0." + "q7Wz3kDb" * 8,
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("grammar", SURE)
def test_a_sample_is_never_of_high_confidence(grammar):
    path, text, _ = SURE[grammar]
    assert not scan_bytes(text.encode(), path=path, confidence="high")
    if grammar == "the alphabet between digits":
        assert scan_bytes(f'client_secret = "{SURE[grammar][2]}"'.encode(), path=path, confidence="high")
    if grammar.startswith("the sample of a schema"):
        assert scan_bytes(text.replace("example:", "settings:").encode(), path=path, confidence="high")
    if grammar == "documentation in Elixir":
        outside = text.replace('@moduledoc """', '@x "y"').replace('"""', "")
        assert scan_bytes(outside.encode(), path=path, confidence="high")
