"""Passwords that a call, a command or a line of settings holds by their place, each beside a twin that is none.

The engines with and without Hyperscan are compared on both. Every value is made up.
"""

import json

import pytest

from .test_twins import HEX, found

SECRET = "zkvmq12w"
ISSUED = "q7Wz3kDb9mXv2nRtY5sH"
JSON = '{{"DBPassword": {{"Type": "String", "Default": "{}", "NoEcho": true}}}}'

TWINS = {
    "realm, host and user": ("build.sbt", 'Credentials("Realm", "repo.acme.io", "ci", "{}")', SECRET, "password"),
    "an instance": ("a.groovy", 'Sql.newInstance("jdbc:h2:mem", "sa", "{}", "org.h2.Driver")', SECRET, "changeit"),
    "basic authentication": ("a.R", 'req_auth_basic("reports", "{}")', SECRET, "my_password1"),
    "a driver's login": ("A.java", 'given().auth().preemptive().basic("ops", "{}")', SECRET, "password"),
    "one argument": ("a.js", "client.auth('{}', function (err) {{", SECRET, "password"),
    "a callback": ("a.js", "client.auth('{}', err => {{", SECRET, "${process.env.PW1}"),
    "letters only": ("A.java", 'jedis.auth("{}");', "rePuMgqvnVlndV", "Authenticated"),
    "Oracle": ("a.php", "oci_connect('hr', '{}', '//db/xe')", SECRET, "password"),
    "a directory": ("a.py", 'c.simple_bind_s("cn=admin,dc=acme,dc=io", "{}")', SECRET, "password"),
    "no directory": ("A.java", 'bind("server.{}", "server.max=12")', None, "port=1"),
    "a file server": ("a.py", "FTP('ftp.acme.io', 'web', '{}')", SECRET, "anonymous"),
    "characters": ("A.java", 'kmf.init(ks, "{}".toCharArray());', SECRET, "changeit"),
    "a consumer": ("a.py", 'tweepy.OAuthHandler("kQ7wz3kdb9mxv2", "{}")', ISSUED, "your-consumer-secret"),
    "an access token": ("a.py", 'a.set_access_token("ACCESS_TOKEN", "{}")', ISSUED, "ACCESS_TOKEN_SECRET"),
    "a strategy": ("devise.rb", "config.omniauth :github, 'kQ7wz3kdb9', '{}'", ISSUED, "APP_SECRET_GOES_HERE"),
    "a provider": ("a.rb", "  provider :github, 'kQ7wz3kdb9', '{}'", ISSUED, "your_client_secret_1"),
    "claims": ("a.js", "jwt.sign({{ id: user.id }}, '{}', {{ expiresIn: '7d' }})", SECRET, "shhhhh"),
    "a payload": ("a.js", "const t = sign(payload, '{}')", SECRET, "RSA-SHA256"),
    "on several lines": ("a.ts", "jwt.sign(\n  {{ id }},\n  '{}',\n)", SECRET, "sha256"),
    "no signature": ("a.js", "Object.assign(target, '{}')", None, SECRET),
    "a check": ("a.py", "jwt.decode(token, '{}', algorithms=['HS256'])", SECRET, "HS256"),
    "a page of statistics": ("haproxy.cfg", "  stats auth admin:{}", "Zkv!mq$12", "${STATS_PW1}"),
    "Apache's environment": ("vhost.conf", "  SetEnv DB_PASSWORD {}", SECRET, "${DB_PASSWORD1}"),
    "Windows' environment": ("a.bat", "setx DB_PASSWORD {}", SECRET, "%DB_PASSWORD1%"),
    "a parameter of FastCGI": ("site.conf", "fastcgi_param DB_PASSWORD {};", SECRET, "$db_password1"),
    "a macro of Nagios": ("resource.cfg", "$USER5$={}", SECRET, "/usr/lib/nagios/plugins1"),
    "a nickname": ("irssi.txt", "/msg nickserv identify {}", SECRET, "<password1>"),
    "accounts": ("user-data.yaml", "chpasswd:\n  list: |\n    ops:{}\n  expire: false", SECRET, "RANDOM"),
    "a tunnel's login": ("a.ovpn", "<auth-user-pass>\nmira\n{}\n</auth-user-pass>", SECRET, "password"),
    "Oracle's logon": ("a.sh", "sqlplus -S hr/{}@orcl", SECRET, "$ORA_PW1"),
    "an export": ("a.sh", "expdp hr/{}@orcl schemas=hr", SECRET, "%ORA_PW1%"),
    "a script's logon": ("a.sql", "CONNECT hr/{}@orcl", SECRET, "password"),
    "Db2": ("a.sh", "db2 connect to shop user ops using {}", SECRET, "$DB2_PW1"),
    "a key's passphrase": ("a.sh", "ssh-keygen -t rsa -N {} -f k", SECRET, "''"),
    "a certificate": ("a.bat", "signtool sign /f a.pfx /p {} a.exe", SECRET, "%PFX_PW1%"),
    "a wireless network": ("a.sh", "wpa_passphrase Home {} > w.conf", SECRET, "$PSK1"),
    "HTTPie": ("a.sh", "http -a ops:{} https://a.io", SECRET, "$PW1"),
    "a community": ("a.sh", "snmpwalk -v2c -c {} 10.0.0.1", SECRET, "public"),
    "a secure string": ("a.ps1", 'ConvertTo-SecureString -AsPlainText -Force "{}"', SECRET, "$env:PW1"),
    "CDATA": ("a.xml", "<password><![CDATA[{}]]></password>", SECRET, "${db.password1}"),
    "a key below a key": ("a.rb", "default['pg']['password']['postgres'] = '{}'", SECRET, "password"),
    "a digest below a key": ("a.exs", 'json["digests"][key]["sha512"] == "{}"', None, f"{HEX}{ISSUED}"),
    "a parameter's default": ("cfn.json", JSON, SECRET, "{{resolve:ssm:db1}}"),
    "a parameter's value": ("p.json", '{{"ParameterKey": "DBPassword", "ParameterValue": "{}"}}', SECRET, "REPLACE_ME1"),
    "a member between": ("a.json", '{{"name": "DB_PASSWORD", "slotSetting": false, "value": "{}"}}', SECRET, "@Microsoft.KeyVault(x1)"),
    "an option's value": ("a.rs", 'cfg.password = Some("{}".to_string());', SECRET, "password"),
    "an entry": ("A.java", 'props.put("password", "{}");', "korsu83", "passwordField2"),
    "bytes of a key": ("A.java", 'byte[] KEY = "{}".getBytes(UTF_8);', "q7wz3kdb9mxv2nrt", "0123456789abcdef"),
    "what looks up": ("a.log", "Using access key: {}", f"{HEX}x7Qz", None),
    "rows of a dump": (
        "a.sql",
        "COPY public.users (id, email, api_token) FROM stdin;\n1\ta@acme.io\t{}\n\\.",
        f"{HEX}8f1e2d3c",
        "\\N",
    ),
    "another's column": ("a.sql", "COPY public.files (id, sha256) FROM stdin;\n1\t{}\n\\.", None, HEX * 2),
    "a word of Turkish": ("a.php", "$sifre = '{}';", SECRET, "sifre"),
    "a word of French": ("a.py", "mot_de_passe = '{}'", SECRET, "mot_de_passe"),
    "an interceptor": ("A.java", 'new BasicAuthRequestInterceptor("svc", "{}")', SECRET, "password"),
    "a driver of Oracle": ("a.py", "cx_Oracle.connect('hr', '{}', 'db/orcl')", SECRET, "password"),
    "a cipher's passphrase": ("a.js", "CryptoJS.AES.encrypt(JSON.stringify(data), '{}')", SECRET, "utf-8"),
    "an answer of the installer": ("preseed.cfg", "d-i passwd/root-password password {}", SECRET, "${PW1}"),
    "a row by its name": ("a.sql", "UPDATE config SET value = '{}' WHERE name = 'smtp_password'", SECRET, "changeme"),
    "a row of another name": ("a.sql", "UPDATE config SET value = '{}' WHERE name = 'theme'", None, SECRET),
    "a column in French": ("a.sql", "INSERT INTO u (id, mot_de_passe) VALUES (1, '{}')", SECRET, "NULL"),
    "a column of digests": ("a.sql", "INSERT INTO u (id, password) VALUES (1, '{}')", "zkvmq12w", f"{HEX}8f1e2d3c"),
    "a full-width colon": ("a.md", "\u5e10\u53f7 admin \u5bc6\u7801\uff1a{}", SECRET, "\u8bf7\u8f93\u5165\u5bc6\u78011"),
    "a capital of Cyrillic": ("a.md", "\u041f\u0430\u0440\u043e\u043b\u044c: {}", SECRET, "<\u043f\u0430\u0440\u043e\u043b\u044c1>"),
    "decoded on the way": ("A.java", 'm.setCipherKey(Base64.decode("{}"));', "ULZtHI4DOsa+gQsKL8PEGg==", "your-cipher-key1"),
    "a key in brackets": ("a.md", "rotate the API key ({}) soon", "7qxoXhO91RTO7MeBzHDcySuB5fu8HGRb", "see the documentation1"),
    "an element of JMeter": ("a.jmx", '<stringProp name="HTTPSampler.password">{}</stringProp>', SECRET, "${password1}"),
    "a chosen secret in settings": ("sip.conf", "secret={}", "korsu9876", "secret123"),
    "a short key": ("a.php", "define('MERCHANT_KEY', '{}');", "Kf0ElTELYCRPklZl", "YourMerchantKey1"),
    "what stands if it is set": ("a.yaml", "command: redis ${{REDIS_PASSWORD:+--requirepass {}}}", None, "${REDIS_PASSWORD1}"),
    "a variable in a pattern": ("a.sh", "sed -i 's/^DB_PASSWORD=.*/DB_PASSWORD={}/' f", None, "$NEW_PG1"),
    "a signature in JavaScript": ("a.js", "crypto.createHmac('sha256', '{}')", SECRET, "secret"),
    "signed cookies": ("a.js", "app.use(cookieParser('{}'))", "tundra9dk2", "secret"),
    "a session of Express": (
        "a.js",
        "app.use(session({{\n  name: 'sid',\n  resave: false,\n  secret: '{}',\n}}))",
        "tundra9dk2",
        "keyboard cat",
    ),
    "a session's other members": ("a.js", "app.use(session({{ secret: process.env.S, name: '{}' }}))", None, "tundra9dk2"),
    "a signature in Python": ("a.py", "hmac.new(b'{}', m, hashlib.sha256)", SECRET, "key"),
    "a signature in Go": ("a.go", 'hmac.New(sha256.New, []byte("{}"))', SECRET, "zkv12"),
    "a signature in PHP": ("a.php", "hash_hmac('sha256', $data, '{}')", SECRET, "secret"),
    "a signature in Ruby": ("a.rb", "OpenSSL::HMAC.hexdigest(digest, '{}', data)", SECRET, "my-secret"),
    "a signature in a browser": ("a.js", "CryptoJS.HmacSHA256(text, '{}')", SECRET, "secret"),
    "a pusher's keys": (
        "a.js",
        "webpush.setVapidDetails('mailto:a@acme.io', 'BNKllAh9XJHJSc6nvNu1', '{}')",
        "S1ImHMzBgvRLq7Wz3kDb9mXv2nRtY5sHj8LpQw4cZt0",
        "PRIVATE_VAPID_KEY",
    ),
    "another's account": ("a.au3", 'RunAs("ops", @ComputerName, "{}", 0, "cmd.exe")', SECRET, "password"),
    "a key of Hiera": ("a.yaml", "profile::db::root_password: '{}'", SECRET, "%{lookup(pw1)}"),
    "a packed archive": ("a.bat", '"C:\\7-Zip\\7z.exe" a -p{} a.7z d', SECRET, "%PW1%"),
    "a field of a robot": ("a.robot", "Input Password    id=pwd    {}", "Grudu&110", "${PASSWORD1}"),
    "a login in Rust": ("a.rs", 'Credentials::new("ops".to_owned(), "{}".to_owned())', SECRET, "password"),
    "a connection string": ("a.pas", "'Provider=X;Password={};User ID=sa'", "zkvmq&12", "${PW1}&x"),
    "an address's parameters": ("a.xml", "https://a.io/x?a=1&amp;password={}&amp;b=zk12", SECRET, "${PW1}"),
    "a template's mark": ("a.properties", "db.password=pre-{}", SECRET, "@DB_PASSWORD1@"),
    "a drawn backslash": ("a.yaml", "password: '{}'", "Kq7\\nx2Vb9!", "first1\\nsecond line"),
}  # fmt: skip
"""The text around, what is a secret in it, and what is none; None where that has no twin."""


@pytest.mark.parametrize("grammar", [each for each, (_, _, secret, _) in TWINS.items() if secret])
def test_it_is_found(grammar):
    path, text, secret, _ = TWINS[grammar]
    assert found(path, text.format(secret))


@pytest.mark.parametrize("grammar", [each for each, (_, _, _, harmless) in TWINS.items() if harmless])
def test_its_twin_is_not(grammar):
    path, text, _, harmless = TWINS[grammar]
    assert not found(path, text.format(harmless))


SERVERS = {
    "a variable of its own": ('"env": {{"FIRE": "{}"}}', "ZY6G3g6znqNrknCgCyhbETAAK1u3aqGM", "production-2024"),
    "hexadecimal without a name": ('"env": {{"FIRE": "{}"}}', HEX, f"{HEX}45497edb"),
    "a header among the arguments": (
        '"args": ["mcp-remote", "--header", "X-Access: {}"]',
        "ZY6G3g6znqNrknCgCyhbETAAK1u3aqGM",
        "${ACCESS1}",
    ),
    "a public key": ('"env": {{"PUBLIC_KEY": "{}"}}', None, "ZY6G3g6znqNrknCgCyhbETAAK1u3aqGM"),
    "a page": ('"env": {{"NOTION_PAGE": "{}"}}', None, HEX),
    "a sheet": ('"env": {{"GOOGLE_SHEET_ID": "{}"}}', None, "ZY6G3g6znqNrknCgCyhbETAAK1u3aqGM"),
    "a key in the path": ('"url": "https://mcp.acme.io/s/{}/sse"', "HaEX5IKMRsyjPKGtHzYf5Al9xwyOhmE6", "HaEX5IKMRsyj"),
    "the path of a sample": ('"url": "https://mcp.example.com/s/{}/sse"', None, "HaEX5IKMRsyjPKGtHzYf5Al9xwyOhmE6"),
    "a header of its own": ('"headers": {{"X-Access": "{}"}}', "ZY6G3g6znqNrknCgCyhbETAAK1u3aqGM", "${ACCESS1}"),
    "a header's identifier": ('"headers": {{"X-Team-Id": "{}"}}', None, "ZY6G3g6znqNrknCgCyhbETAAK1u3aqGM"),
}


@pytest.mark.parametrize("slot", SERVERS)
def test_slots_of_a_remote_server(slot):
    text, secret, harmless = SERVERS[slot]
    document = '{{"mcpServers": {{"s": {{"type": "http", "url": "https://a.io", {}}}}}}}'
    assert not found("mcp.json", document.format(text.format(harmless)))
    assert secret is None or found("mcp.json", document.format(text.format(secret)))


def test_the_key_of_a_cache_is_none():
    assert not found("a.log", f"Using cache key: {HEX}x7Qz")


KEYS = (HEX, f"{HEX}{HEX}", "q7Wz3kDb9mXv2nRtY5sHj8")
NO_KEYS = ("@acme/search@1.4.2", "/srv/data/q7Wz3kDb9mXv2nRtY5sHj8", f"{HEX}45497edb", "8080", "my-search-index-2024")


@pytest.mark.parametrize("value", [*KEYS, *NO_KEYS])
def test_a_key_may_stand_alone_among_arguments(value):
    """A digest of forty digits is a commit; a package, a path and a name are what they are."""
    document = {"mcpServers": {"s": {"command": "npx", "args": ["-y", "search-mcp", value]}}}
    assert bool(found("mcp.json", json.dumps(document))) == (value in KEYS)
