"""What stands beside a secret's name in published repositories and is none: each form beside a twin that is one.

The engines with and without Hyperscan are compared on both; every value is made up.
"""

import base64

import pytest

from .test_twins import found

SECRET, HEX = "zkvmq12w", "c41f083ac574eb632a3d436e6f7dcc6e"


def b64(text):
    return base64.b64encode(text.encode()).decode()


SENTENCE = "my-secret-key-which-should-be-changed-in-production-and-be-base64-encoded"
KNOWN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzb21lIjoicGF5bG9hZCJ9.4twFt5NiznN84AWoo1d7KO1T_yoc0Z6XOpOVswacPZg"

TWINS = {
    "actions of a policy": ("a.json", '"iam:PassRole",\n  "ec2:DescribeSubnets",', f'"pass",\n  "{SECRET}",'),
    "a domain in a list": ("a.php", "'crazespaces.pw',\n 'crazy18.xyz',", f"'admin_pw',\n '{SECRET}',"),
    "a drawn name in a list": ("a.py", '"d44g89hc0gp9jdzm99rznthpw",\n "77yzkpa7kvee1y1tt"', f'"database_user_pw",\n "{SECRET}"'),
    "what begins the next argument": ("a.java", 'matches(this.pass, "bcrypt}" + x)', f'matches(this.pass, "{SECRET}")'),
    "what Crowdin puts in": ("a.php", "'password' => 'crwdns1035:0crwdne1035:0',", "'password' => 'crzdns1035:0crwdnq1035:0',"),
    "the end of a prompt": (
        "a.cjs",
        't==null&&(t="New password: "),E=n.max;!D;)n.max=h,n.m=E,w=V.q(t,n),n.max=[w,""],n.q',
        't="New password: ";p={password:"E=n.m!ax;!D;)n.m(ax=h"}',
    ),
    "a group of sed": ("a.sh", r's|^\\(MAIL_PASSWORD=\\).*|\\1$mail|', r"MAIL_PASSWORD=\\k).*|9\\1$mail|"),
    "words and a version": ("a.json", '"license_key": "lgpl-2.1-nokia-qt-1.0",', '"license_key": "lgxq2-k1nok-qtv7z-w1p0k",'),
    "words and a year": ("a.json", '"api_key": "xq-kz-2024-07-18",', '"api_key": "xqk7z-20w24-0x718",'),
    "a label of four words": (
        "a.php",
        "'current_password' => 'm\u1eadt kh\u1ea9u hi\u1ec7n t\u1ea1i',",
        "'current_password' => 'lantern willow orchid tundra',",
    ),
    "words about a password": (
        "a.php",
        "'p_password' => 'huidige wachtwoord van gebruiker',",
        "'p_password' => 'huidige willow van gebruiker',",
    ),
    "a form's token": (
        "a.html",
        f'<input name="csrfmiddlewaretoken" value="{HEX}Zk">',
        f'<input name="middlewaretoken" value="{HEX}Zk">',
    ),
    "a message of a test": ("a.js", "t.pass('message2')", f"smtp.pass('{SECRET}')"),
    "a fingerprint": ("a.md", f"Release GPG key: {HEX}09AF83BD", f"Release API key: {HEX}09AF83BD"),
    "an escaped bracket": ("a.html", "{ psk: &#x3C;Buffer>,", f"{{ psk: {SECRET},"),
    "an escaped type": ("a.map", "password: get&lt;string&gt;(&#39;P1&#39;)", f"password: &#39;{SECRET}&#39;"),
    "a placeholder in escaped brackets": ("a.xml", "<password>&lt;passw0rd7&gt;</password>", "<password>zk&lt;vmq12w</password>"),
    "a word in escaped quotes": ("a.map", "password: &#39;root&#39;,\\n  port: 1", f"password: &#39;{SECRET}&#39;,\\n  port: 1"),
    "the end of an escaped line": ("a.map", "password: string;\\n&#125;</code>", f"password: {SECRET};\\n&#125;</code>"),
    "an encoding": ("a.py", 'password = password.encode("latin1")', f'password = encode("{SECRET}")'),
    "parameters behind a scheme": ("a.py", "'Authorization': 'OAuth realm=Zk7vmQ12wPx9kLqz'", f"'Authorization': 'OAuth {HEX}'"),
    "a token that is cut off": ("a.py", f"Authorization: Bearer {HEX}...", f"Authorization: Bearer {HEX}"),
    "one of two types": ("a.properties", "password.toHash = true|false", f"password.toHash = true|{SECRET}"),
    "a selector": ("a.php", "'password2' => '#modal-password',", "'password2' => '#modal7password',"),
    "a selector of a style sheet": ("a.css", "[type=url]:focus,[type=password]:focus,[type=x1]", f"[url]:focus,[password]:{SECRET},[type=x1]"),
    "joined words": ("a.go", 'identified by "prefix+index"', 'identified by "prefix+1ndex"'),
    "a sentence in base64": ("a.json", f'"jwtSecretKey": "{b64(SENTENCE)}"', f'"jwtSecretKey": "{b64("Zk7vmq" + HEX[:21])}"'),
    "what is to be refused": ("a.feature", 'the password "invalidpass1"', 'the password "thunderpass19"'),
    "the end of a condition": ("a.html", "if(pass===1){draw(q,p1);}", "if(pass==='1q)z{draw7'"),
    "how many": ("a.html", "for(let passNumber=0;passNumber<num1", f"for(let password={SECRET};x<num1"),
    "names of a library": ("a.h", "#define EVP_PKEY_SLH_SHA2_128S NID_SLH_DSA_SHA2_128s", f"#define EVP_PKEY {HEX}"),
    "a script of vim": ("a.vim", "let s:passwd = s:hup[host].passwd", f"let s:passwd = '{SECRET}'"),
    "an optional part": ("a.py", "splituser('user[:passwd]', 'host[:port]')", f"splituser('user', 'passwd', '{SECRET}')"),
    "what chance made of a cipher text": ("a.yaml", "data: X7I3cmpdfDe6UuFpw==,type:str]", "data: X7I3 pw==qtype7str]"),
    "a translation for Java": (
        "a.properties",
        r"x.emptyPassword=Ung\u00FCltige7 Anmeldedaten",
        r"x.emptyPassword=Ung\u0026ltige7Anmeldedaten",
    ),
    "a member of a class": ("a.symbols", r"47:OpsPass::bind1\28Gr\20const&\29", r"47:OpsPass::bind1w28Gr20const29"),
    "a writer of Java": ("a.java", 'pw.println("code=1q" + x)', f'pw = "{SECRET}"; println(x)'),
    "an algorithm of Java": ("a.java", 'newSecretKey("PBKDF2WithHmacSHA256", x)', f'newSecretKey("{HEX}9q7w", x)'),
    "a library of Maven": ("a.toml", 'x-oauth2 = "com.nimbusds:oauth2-oidc-sdk:11.38.2"', 'x-auth = "nimbusds:zQ7oidcw12k38vm2"'),
    "a library by its group": ("a.toml", 'jwt = "com.auth0:java-jwt:4.4.0"', f'jwt = "com.auth0: {HEX}Zk"'),
    "an image by its digest": ("a.json", f'"/swagger-auth.gif": "{HEX}12345678",', f'"/swagger-auth": "{HEX}12345678",'),
    "a test of a flag": ("a.map", "viewPass: !!(flags & 8)", f"firstPasswd: '{SECRET}'"),
    "rules for a field": ("a.php", "'password' => 'min:6|required_with:p2|same:p2',", "'password' => 'min6|Requ9with|p2',"),
    "a rule for a field": ("a.php", "'mail_password' => 'required_unless:driver,log1',", "'mail_password' => 'requnless:driver,log1',"),
    "a hash of Spring": (
        "a.java",
        f'encodedPassword = "{{scrypt@SpringSecurity_v5_8}}$e0801${HEX}"',
        f'encodedPassword = "{{scrypt}}q{HEX}"'.replace("{scrypt}", "scrypt"),
    ),
    "a token of RFC 5849": ("a.md", 'oauth_token="kkk9d7dh3k39sjv7"', 'oauth_token="kkk9d7dh3k39sjq7"'),
}  # fmt: skip


@pytest.mark.parametrize("form", TWINS)
def test_it_is_left_alone(form):
    path, harmless, _ = TWINS[form]
    assert not found(path, harmless)


@pytest.mark.parametrize("form", TWINS)
def test_and_its_twin_is_found(form):
    path, _, secret = TWINS[form]
    assert found(path, secret)


WRITTEN = {
    "a signer of Go": ("a.go", 'token.SignedString([]byte("{}"))', HEX, "your-256-bit-secret"),
    "bytes of Rust": ("a.rs", 'const JWT_SECRET: &[u8] = b"{}";', "2fRPDo7EymVAMoCOexAvsLCQ", "secret"),
    "an array of Rust": ("a.rs", 'const JWT_SECRET: &[u8; 24] = b"{}";', "2fRPDo7EymVAMoCOexAvsLCQ", "secret"),
    "a method of Lua": ("a.lua", 'local ok, err = red:auth("{}")', SECRET, "password"),
    "options of htpasswd one by one": ("a.sh", "htpasswd -b -c /etc/nginx/.htpasswd ops {}", SECRET, "$PASSWORD"),
    "a star that ends a cell": ("a.md", "| host | password |\n|---|---|\n| db1 | {} |", "STEr72qw*", "*password*"),
}


@pytest.mark.parametrize("way", WRITTEN)
def test_more_ways_to_write_a_secret(way):
    path, text, secret, harmless = WRITTEN[way]
    assert [text.format(secret)[f.start : f.end] for f in found(path, text.format(secret))] == [secret]
    assert not found(path, text.format(harmless))


KEY = HEX + "9f1c3b7ad2e84f60b5a1c9de73f04826"
CALLS = {
    "an ether wallet": 'new ethers.Wallet("0x{}", provider)',
    "an account of viem": 'privateKeyToAccount("0x{}")',
    "an account of web3": "Account.from_key('{}')",
    "a key of go-ethereum": 'crypto.HexToECDSA("{}")',
    "an option of Foundry": "cast send --private-key 0x{}",
    "an account of Hardhat": 'accounts: ["0x{}"]',
}


@pytest.mark.parametrize("call", CALLS)
def test_a_key_of_an_account_in_a_call(call):
    assert found("a.js", CALLS[call].format(KEY))
    shorter = found("a.js", CALLS[call].format(KEY[:40]))  # as an address
    assert not any(finding.rule.id == "ethereum-signing-key" for finding in shorter)


def test_a_token_that_documentation_shows_is_never_of_high_confidence():
    assert [finding.confidence for finding in found("a.md", KNOWN)] == ["medium"]


@pytest.mark.parametrize(
    ("secret", "counts"),
    [
        ("Marble#30bianca", True),
        ("Pirate2022!", True),
        ("Acme@2022", True),
        ("App@1.2", False),
        ("user@2022", False),
        ("Password@1", False),
        ("Foo-Bar_2", False),
    ],
)
def test_what_a_rule_for_passwords_made_somebody_choose_signs_sessions(secret, counts):
    assert bool(found("a.js", f"const JWT_SECRET = '{secret}';")) == counts


def test_a_constant_of_wordpress_stands_behind_a_blank():
    assert found("wp-config.php", "define( 'DB_PASSWORD', 'KeRHp4s1fL' );")
    assert not found("wp-config.php", "define( 'DB_PASSWORD', 'password_here' );")


def test_the_numbers_before_a_slack_token_may_be_blanked():
    numbers = "-".join(("xoxa", "2", "511111111", "31111111111", "3111111111111"))
    assert found("a.txt", f"{numbers}-e039d02840a0b9379c")
    assert not found("a.txt", f"{numbers}-111111111111111111")
