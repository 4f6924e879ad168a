import re
from base64 import b64encode

import pytest

from mcpsec.leaks import decoding, scan_bytes
from mcpsec.leaks.bulk import Bulk, available
from mcpsec.leaks.detection import find
from mcpsec.leaks.rulebook import packaged

from .samples import ENV, HEX, OPAQUE, PASSWORD

ESCAPED = "".join(f"\\u{ord(c):04x}" for c in ENV)


def found(text, path=None, confidence="medium"):
    data = text.encode()
    return [data[f.start : f.end].decode() for f in scan_bytes(data, path=path, confidence=confidence)]


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        (ENV, ".env", PASSWORD),
        (f'password = "{PASSWORD}"', "a.py", PASSWORD),
        (f"spring.datasource.password: {PASSWORD}", "a.yml", PASSWORD),
        (f"<password>{PASSWORD}</password>", "a.xml", PASSWORD),
        (f'<add key="ApiSecret" value="{OPAQUE}"/>', "a.config", OPAQUE),
        (f"- name: API_TOKEN\n  value: {OPAQUE}\n", "deploy.yaml", OPAQUE),
        (f'run(["tool", "--api-key", "{OPAQUE}"])', "a.py", OPAQUE),
        (f"tool --api-key {OPAQUE} --verbose", "notes.txt", OPAQUE),
        (f"postgres://app:{PASSWORD}@db.acme.io/x", None, PASSWORD),
        (f"curl -H 'Authorization: Bearer {OPAQUE}' https://acme.io", None, OPAQUE),
        (f"curl -u admin:{PASSWORD} https://acme.io", None, PASSWORD),
        (f"contrase\u00f1a: {PASSWORD}", "a.yml", PASSWORD),
        (f'token: str = "{OPAQUE}"', "a.py", OPAQUE),
        (f'if ("{PASSWORD}" == config.password) {{', "a.java", PASSWORD),
        ('password = "q{{h}o)p${e]n9(o[d>-_$#k}}"', "a.go", "q{{h}o)p${e]n9(o[d>-_$#k}}"),
        (f"curl -k -X POST https://acme.io \\\n  -H 'A: b' \\\n  -u deploy:{PASSWORD}", None, PASSWORD),
        (f"curl -u :{PASSWORD} https://acme.io", None, PASSWORD),
        ("SMTP_PASSWORD=thunderous", "app.env", "thunderous"),
        ('apiSecret = "4b1dfaceded0bead7feedcafe8bdeafd"', "a.py", "4b1dfaceded0bead7feedcafe8bdeafd"),
        ("license_key: 4925483168813050783076", "a.yml", "4925483168813050783076"),
        ('password = "yqDVtkqPECri"', "a.py", "yqDVtkqPECri"),
    ],
)
def test_a_secret_is_found_where_it_stands(text, path, value):
    assert value in found(text, path)


def test_mostly_symbols_is_a_secret_surely_and_a_token_perhaps():
    value = "q{{h}o)p${e]nk(o[d>-_$#k}}"
    for name in ("password", "api_key", "aws_secret_access_key"):
        assert found(f'{name} = "{value}"', "a.go", confidence="high"), name
    for name in ("token", "key"):  # parsers have those, and their grammars look alike
        assert not found(f'{name} = "{value}"', "a.go"), name
        assert found(f'{name} = "{value}"', "a.go", confidence="low"), name


def test_the_digest_of_a_password_is_not_the_password():
    digest = "8c6976e5b5410415bde908bd4dee15dfb167a9c873fc4bb8a81f6f2ab448a91e"
    assert not found(f"password_hash: {digest}", "a.yml")
    assert not found(f"root_password_sha2 = {digest}", "a.conf")
    assert found(f"password_hash: {digest}", "a.yml", confidence="low")
    assert found(f"password: {digest}", "a.yml") == [digest]


@pytest.mark.parametrize(
    ("text", "path", "tier"),
    [
        ("amqp://app:m42pqz2wd@queue.acme.io/x", "a.py", "high"),
        ("amqp://app:m42pqz2wd@localhost/x", "a.py", "medium"),
        ("amqp://app:m42pqz2wd@queue.example.com/x", "a.py", "low"),
        ("amqp://app:T0pS3cr3t@queue.acme.io/x", "a.py", "low"),
        ("amqp://app:plum@queue.acme.io/x", "a.py", "low"),
    ],
)
def test_a_url_s_password_is_certain_at_a_named_host_only(text, path, tier):
    tiers = ("high", "medium", "low")
    assert [bool(found(text, path, t)) for t in tiers] == [tiers.index(t) >= tiers.index(tier) for t in tiers]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("password = os.environ['DB_PASSWORD']", "a.py"),
        ('password = "${DB_PASSWORD}"', "a.yml"),
        ("password: <your-password>", "a.yml"),
        ('api_key = "your_api_key_here_123"', "a.py"),
        ('api_key = "xxxxxxxxxxxxxxxxxxxxxxxx"', "a.py"),
        ('token = "abcdefghijklmnop1234567890"', "a.py"),
        ("postgresql://user:pass@host/db", None),
        ("postgres://admin:password123@localhost:5432/production", None),
        ("max_tokens: 4096", "a.yml"),
        ("token = request.headers.get('x')", "a.py"),
        ('"primary_key": "a8s7d6f5g4h3j2k1"', "a.json"),
        ('"key": "ctrl+shift+down"', "keys.json"),
        ("MYSQL_SECRET_ARN=arn:aws:secretsmanager:eu-west-1:123456789012:secret:db", ".env"),
        ("password_file = /run/secrets/db", "a.ini"),
        ('token = "VOTRE_CLE_ICI"', "a.py"),
        ('"AWS::AppSync::ApiKey": "83c788859d3c6ab6"', "a.json"),
        ('if ("${DB_PASSWORD}" == password) {', "a.java"),
        ("SMTP_PASSWORD=thunderous", "notes.py"),
        ('password = "${cfg.db(0)}{{x}}"', "a.go"),
        ("curl -u :$PASSWORD https://acme.io", None),
        ("_core_token = rf'(?:(?:(?:[{_nl}]?)?[^({_space}{_punct}])+)'", "a.py"),
    ],
)
def test_what_only_looks_like_one_is_not(text, path):
    assert found(text, path) == []


def test_positions_are_those_of_the_first_byte():
    text = "# h\u00e9\n\n  api_key: " + OPAQUE + "\n"
    finding = scan_bytes(text.encode(), path="a.yml")[0]
    assert (finding.line, finding.column) == (3, 12)
    assert text.encode()[finding.start : finding.end].decode() == OPAQUE


def test_the_finding_never_holds_the_secret():
    finding = scan_bytes(ENV.encode(), path=".env")[0]
    assert PASSWORD not in repr(finding)
    assert PASSWORD not in str(finding.as_dict())


def test_tiers_nest():
    text = f"password: 'swordfish'\npassword: dragon2019\napi_token: {OPAQUE}\n"
    sizes = [len(found(text, "a.yml", tier)) for tier in ("high", "medium", "low")]
    assert sizes == [1, 2, 3]
    with pytest.raises(ValueError, match="certain"):
        scan_bytes(b"", confidence="certain")


CURL_OF_PYTHON = 'subprocess.run(["curl","-u","ops:q7wz3kdb9x"])'
CURL_OF_NODE = 'spawn("curl", ["-u", "ops:q7wz3kdb9x"])'


@pytest.mark.skipif(not available(), reason="no Hyperscan for this platform; install with: pip install hyperscan")
def test_both_engines_find_the_same():
    from mcpsec.leaks.examples import examples

    texts = [text for _, wanted, unwanted in examples() for text in (*wanted, *unwanted)]
    texts += [ENV, f"postgres://app:{PASSWORD}@db.acme.io/x", f'{{"args": ["--access-token", "{HEX}"]}}']
    texts += [CURL_OF_PYTHON, CURL_OF_NODE]
    hidden = [ENV.encode().hex(), b64encode(ENV.encode()).decode(), f"api_key%3D%22{OPAQUE}%22", ESCAPED]
    texts += [before + text for text in hidden for before in ("", "x = ")]
    assert all(find(text.encode(), path="a.txt", floor=0) for text in texts[-2 * len(hidden) - 2 :])
    whole = "\n\n----\n\n".join(texts).encode()
    bulk = Bulk(packaged())

    def places(matches):
        return [(m.start, m.end, m.rule.id, m.confidence) for m in matches]

    assert places(bulk.find(whole, path="all.txt", floor=0)) == places(find(whole, path="all.txt", floor=0))
    for text in texts:
        data = text.encode()
        assert places(bulk.find(data, path="a.txt", floor=0)) == places(find(data, path="a.txt", floor=0))


@pytest.mark.skipif(not available(), reason="no Hyperscan for this platform; install with: pip install hyperscan")
@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("redis.conf", f"port 6379\n   requirepass {PASSWORD}\n"),
        (".env", f"PASSWORD\t{PASSWORD}"),
        ("Dockerfile", f"FROM scratch\n  env      DB_PASSWORD      {PASSWORD}\n"),
        ("a.py", f"headers['Authorization'] = '{OPAQUE}'"),
        ("a.log", f"Authorization  :  (of the one that asked)  Token   {OPAQUE}"),
        ("a.js", f"authorization: 'Token' + '{OPAQUE}'"),
        ("a.txt", f"okta: {{\n          token: '00{HEX[:40]}'"),
        ("a.txt", f"sumo.access.key={OPAQUE}"),
        ("a.txt", "DB_PASSWORD=q7w1"),  # the stretch that its gate names is the whole text
        ("a.md", f"aws keys: {b64encode(ENV.encode()).decode()}"),
        ("a.md", '| `answers` | "redact", "pass" | `"redact-it-7"` |\n'),
    ],
)
def test_both_engines_look_at_the_same_places(path, text):
    bulk = Bulk(packaged())
    for around in ("", "x", "\n", " "):
        data = (around + text + around).encode()
        places = [
            [(m.start, m.end, m.rule.id, m.confidence) for m in engine(data, path=path, floor=0)]
            for engine in (bulk.find, find)
        ]
        assert places[0] == places[1]
    assert places[1]


@pytest.mark.skipif(not available(), reason="no Hyperscan for this platform; install with: pip install hyperscan")
@pytest.mark.parametrize("between", [1, 12, 15, 16, 17, 18, 20, 40])
def test_both_engines_look_as_far_from_a_keyword(between):
    """In a text that is looked at around its keywords only, for a rule whose pattern does not hold its keyword."""
    token, words = "ion_" + "q8F2kd93mZx02LpW77aaQd4t" + "Vb8Nc3Mj5HsY6Rw9Zk", "lorem ipsum dolor sit amet\n" * 1000
    text = f"{words} ionic{' ' * between}{token}\n{words}".encode()
    places = [
        [(m.start, m.end, m.rule.id) for m in engine(text, path="a.txt", floor=0)]
        for engine in (Bulk(packaged()).find, find)
    ]
    assert places[0] == places[1]
    assert bool(places[1]) == (between <= 16)


@pytest.mark.skipif(not available(), reason="no Hyperscan for this platform; install with: pip install hyperscan")
def test_both_engines_find_the_same_among_many_hidden_texts():
    """Those with nothing in them are asked together, and those that stand among them are found all the same."""
    from mcpsec.leaks.examples import examples

    def escaped(text):
        return "".join(c if c.isalnum() else "".join(f"%{byte:02X}" for byte in c.encode()) for c in text)

    telling = [text for _, wanted, unwanted in examples() for text in (*wanted, *unwanted)]
    telling = [text for text in telling if "\n" not in text and 12 <= len(text) <= 120][::3]
    encodings = (escaped, lambda text: escaped(escaped(text)), lambda text: b64encode(text.encode()).decode())
    hidden = [encode(text) for text in telling for encode in encodings]
    hidden += [escaped(f"{text} 10%25 of it, {'word, ' * 20}, 20%25") for text in telling[:40]]
    plain = escaped("/shelf?sort=price, first page (of 12)")
    lines = []
    for number, text in enumerate(hidden):
        lines += [f"GET /?back={plain}&n={place}" for place in range(number % 7)] + [f"GET /?back={text} HTTP/1.1"]
    data = "\n".join(lines).encode()
    alike, alone = (
        [(m.start, m.end, m.rule.id, m.confidence, m.note) for m in engine(data, path="a.log", floor=0)]
        for engine in (Bulk(packaged()).find, find)
    )
    assert alike == alone
    assert len(alone) > 300
    assert {note.split(" ")[0] for *_, note in alone if note} >= {"percent", "base64"}


TAIL = "G8-kQ_" + "." + "x7Tq2Lw9_Zr4Vb8-Nc3Md6Kj5Hs" + "1Pf0"
APPLICATION = "4815162342108731" + "{}" + "k3Vq9Zt7Lw2Xb5Rm8Nc4Jd6-Hf_Ys"
BEGUN = {
    "discord-bot-token": [
        *(f"{first}{'dR7kQ2wZ9xL4vB8nC3mT6jH5sY'[:length]}.{TAIL}" for first in "MNO" for length in (23, 24, 26)),
        *(
            f"{'MTA4NDIxNzY1MDMyMTk4NzY1MDMy'[:20]}{rest}.{TAIL}"
            for rest in ("", "Mw", "NTc", "NTc4", "NTc4Mw", "NTc4MzA")
        ),
        f"{'MTA4NDIxNzY1MDMyMTk4NzY1MDMy'[:20]}.x7Tq2L.{'w9_Zr4Vb8-Nc3Md6Kj5Hs1Pf0Gq' * 4}",
    ],
    "facebook-app-access-token": [APPLICATION.format("|"), APPLICATION.format("%7C"), APPLICATION[1:].format("|")],
}


@pytest.mark.skipif(not available(), reason="no Hyperscan for this platform; install with: pip install hyperscan")
@pytest.mark.parametrize("rule", [rule.id for rule in packaged().rules if rule.beginning])
def test_where_only_the_beginning_is_looked_for_both_engines_find_the_same(rule):
    book = packaged()
    pattern, bulk = re.compile(book.rule(book.ids[rule]).pattern), Bulk(book)
    for value in BEGUN[rule]:
        assert pattern.fullmatch(value)
        for text in (f"{value} facebook discord", f'discord facebook = "{value}"\n', f"discord facebook\n{value}"):
            data = text.encode()
            places = [
                {(m.start, m.end, m.rule.id, m.confidence) for m in engine(data, path="a.txt", floor=0)}
                for engine in (bulk.find, find)
            ]
            assert places[0] == places[1]
            assert rule in {name for _, _, name, _ in places[0]}
        for text in (f"x{value} facebook discord", f"facebook discord {value[:20]}"):  # no token, or the half of one
            assert rule not in {match.rule.id for match in bulk.find(text.encode(), path="a.txt", floor=0)}


@pytest.mark.parametrize("size", [0, 1, 5, 100])
def test_any_bytes_are_taken(size):
    scan_bytes(bytes(range(256)) * size)
    scan_bytes(b'password="' * size)
    scan_bytes(b'{"mcpServers":' * size)


SECRET = "apiVersion: v1\nkind: {kind}\ndata:\n  username: {user}\n  # of the service account\n  password: {value}\n"


def manifest(kind, value):
    return SECRET.format(kind=kind, user=b64encode(b"application7").decode(), value=b64encode(value.encode()).decode())


def test_a_kubernetes_secret_is_read():
    text = manifest("Secret", PASSWORD)
    assert found(text, "a.yaml") == [text.rpartition(": ")[2].strip()]
    assert found(text.replace("\n", "\r\n"), "a.yaml") == [text.rpartition(": ")[2].strip()]
    assert found(f'{{"kind": "Secret", "stringData": {{"password": "{PASSWORD}"}}}}', "a.json") == [PASSWORD]


@pytest.mark.parametrize(
    "text",
    [manifest("Secret", "changeme"), manifest("Secret", "${DB_PASSWORD}"), manifest("SecretStore", PASSWORD)],
    ids=["placeholder", "reference", "another kind"],
)
def test_what_is_no_kubernetes_secret_is_left(text):
    assert found(text, "a.yaml") == []


def test_only_a_letter_or_digit_begins_what_is_found_at_a_texts_beginning():
    if not available():
        pytest.skip("needs the package hyperscan: pip install hyperscan")
    assert all(begins[:1].isalnum() for begins in Bulk(packaged())._short)
    others = [bytes([byte]) for byte in range(256) if not bytes([byte]).isalnum()]
    tails = (b"a" * 60, b"41" * 40, b"VGhpcyBpcyBzb21lIHRleHQgdGhhdCBpcyBsb25nIGVub3VnaA==")
    assert decoding.at_beginning(tails[2])
    assert decoding.at_beginning(tails[1])
    assert not any(decoding.at_beginning(begin + tail) for begin in others for tail in tails)


def test_examples_in_documentation_comments_are_medium_at_most():
    line = b"secret = 'kz81Mvnwq20xkQ8zjf7Lp'\n"
    for before in (b" * ", b"/// ", b"//! ", b"#   ", b">>> ", b"iex> "):
        assert [f.confidence for f in scan_bytes(before + line, path="a.py")] == ["medium"], before
    for before in (b"", b"    ", b"# ", b"// "):
        assert [f.confidence for f in scan_bytes(before + line, path="a.py")] == ["high"], before
    assert [f.confidence for f in scan_bytes(b"* " + line, path="a.ini")] == ["high"]


def test_what_is_only_written_like_a_web_token_is_medium_at_most():
    header = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
    payload = "eyJzdWIiOiI3Yjg0In0."
    signature = "dBjftJeZ4CVP" + "mB92K27uhbUJU1p1rwW1gFWFOEjXkQ7"
    for token, tiers in (
        (header + "ABCDEF_ghijkl-0123.456==", ["medium"]),
        (header + payload + signature, ["high"]),
    ):
        assert [f.confidence for f in scan_bytes(f"token = '{token}'\n".encode(), path="a.py")] == tiers, token


def test_keys_of_development_chains_are_public_and_others_are_not():
    """The first accounts of the phrases that Hardhat, Ganache and Truffle print, by the first half of each key."""
    known = "ac0974bec39a17e36ba4a6b4d238ff94" + "4bacb478cbed5efcae784d7bf4f2ff80"
    assert found(f'PRIVATE_KEY="0x{known}"') == []
    assert found(f'PRIVATE_KEY="0x{known[::-1]}"') != []
