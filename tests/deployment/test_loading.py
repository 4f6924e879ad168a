"""Loading: what a file means, and that every fault is found at its line without repeating a secret."""

import re
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpsec.deployment import examine, load
from mcpsec.deployment.loading import MAXIMUM_BYTES, read
from mcpsec.deployment.model import Address, ArgumentFilter, Auth, Limits, Rate
from mcpsec.errors import ConfigurationError
from mcpsec.secretrefs import SecretRef
from tests.deployment.documents import FULL, MINIMAL

SECRET = "hunter2-hunter2-hunter2"


def file(directory: Path, text: str) -> Path:
    path = directory / "mcpsec.toml"
    path.write_text(text, encoding="utf-8")
    return path


def check(directory: Path, text: str) -> None:
    """Hold what is found in ``text`` against its own comments.

    ``# !! message !! message`` stands on the line of the problem, or on lines of their own below it.
    """
    text = textwrap.dedent(text)
    expected = []
    line = 0
    for number, content in enumerate(text.splitlines(), 1):
        line = line if content.startswith("# !!") else number
        said = content.partition("# !! ")[2]
        expected += [(line, message) for message in said.split(" !! ") if said]
    assert expected, "the document says no problem"
    deployment, problems = read(text, directory / "mcpsec.toml")
    found = [(problem.line, problem.message) for problem in problems]
    assert deployment is None
    assert found == expected
    assert SECRET not in "".join(f"{problem.message}{problem.hint}{problem.key}" for problem in problems)


# ---- what a file means


def test_the_least_file_has_safe_defaults(tmp_path: Path) -> None:
    deployment = load(file(tmp_path, MINIMAL))
    assert deployment.path == tmp_path / "mcpsec.toml"
    assert deployment.auth == Auth(require=("mtls", "signature"))
    assert deployment.server.tls.minimum_version == "1.3"
    assert deployment.server.tls.certificate == tmp_path / "pki/chain.pem"
    assert deployment.server.limits == Limits()
    assert deployment.default_rate_limit == Rate(100, 60.0, 100)
    assert deployment.server.admin is None
    assert deployment.clients == ()


def test_every_key_reaches_the_model(tmp_path: Path) -> None:
    deployment = load(file(tmp_path, FULL))
    server = deployment.server
    assert server.listen == Address("0.0.0.0", 8443)
    assert server.admin is not None
    assert server.admin.listen == Address("::1", 9464)
    assert server.allowed_origins == ("https://app.example.com",)
    limits = server.limits
    assert (limits.rate_limit, deployment.default_rate_limit) == (None, None)
    assert (limits.header_bytes, limits.body_bytes, limits.response_bytes) == (16384, 8 << 20, 1 << 20)
    assert (limits.header_timeout, limits.body_timeout, limits.write_timeout) == (2.5, 60.0, 0.5)
    assert limits.stream_bytes == 2 << 20
    assert (limits.stream_lifetime, limits.drain_timeout) == (86400.0, 0.0)
    assert deployment.auth.signature.max_age == 120.0
    assert deployment.log.file == Path("/var/log/mcpsec/events.jsonl")
    files, tickets = deployment.upstreams["files"], deployment.upstreams["tickets"]
    assert files.name == "files"
    assert files.command == (str(tmp_path / "bin/files"), "--root", "/data")
    assert files.environment["LOG_LEVEL"] == "info"
    assert files.environment["API_TOKEN"] == SecretRef.parse({"file": "secrets/api"}, tmp_path)
    assert files.sandbox is not None
    assert files.sandbox.read == (Path("/data"), tmp_path / "shared")
    assert (files.sandbox.write, files.sandbox.network) == ((tmp_path / "scratch",), False)
    assert set(tickets.headers) == {"authorization", "x-team"}
    assert tickets.access == {"get_*": "read", "delete_*": "write"}
    assert deployment.roles["reader"].resource_filters == {
        "tickets/get_ticket": {
            "project": ("WEB", "API-*", "7", "true"),
            "page.size": ArgumentFilter(min=1, max=50.5),
            "key": ArgumentFilter(regex="[A-Z]+-[0-9]+"),
        }
    }
    reporting, ci = deployment.clients
    assert reporting.rate_limit == Rate(10, 1.0, 30)
    assert [key.id for key in reporting.signing_keys] == ["reporting-1", "reporting-2"]
    assert ci.certificate is not None
    assert ci.certificate.sha256 == "aabbccddeeff00112233445566778899" * 2
    assert deployment.rules[0].require.networks == ("10.0.0.0/8", "2001:db8::/32")


def test_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "mcpsec.toml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load(path).version == 1
    path.write_bytes(b"\xef\xbb\xbf" + (MINIMAL + "x = 1\n").replace("\n", "\r\n").encode())
    with pytest.raises(ConfigurationError, match=r"mcpsec.toml:10: log has no key x"):
        load(path)


# ---- files that can't be read at all


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"version = 1\n[server\n", 2, "not TOML: expected ']' at the end of a table declaration"),
        (b"version = 1\nlisten = 127.0.0.1\n", 2, "not TOML: expected newline or end of document after a statement"),
        (b"version = 1\nlisten = localhost\n", 2, "not TOML: invalid value"),
        (b'version = 1\na = "x\n', 2, "not TOML: illegal character '\\n'"),
        (b"[a]\n[a]\n", 2, "not TOML: cannot declare ('a',) twice"),
        (b'a = """\n\n', 1, "not TOML: unterminated string"),
        (b"x = 1\ny = 2000-02-30\n", 2, "not TOML: invalid date or datetime"),
        (b"x = 1\ny = " + b"9" * 5000, 1, "not TOML: a value is out of range"),
        (b"x = " + b"[" * 5000 + b"]" * 5000, 1, "tables and arrays are nested too deep"),
        (b"x = 1\n\xff = 2\n", 2, "is not UTF-8"),
    ],
    ids=range(10),
)
def test_what_is_not_toml(tmp_path: Path, content: bytes, line: int, message: str) -> None:
    path = tmp_path / "mcpsec.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert (caught.value.message, caught.value.line, caught.value.path) == (message, line, str(path))


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("names = ['a'\n\n[log]\n", "an array ends with ]"),
        ("[server]\nnames = ['a',\n[log]\nfile = 'x'\n", "an array ends with ]"),  # [log] is an array in the array
        ("a = {b = 1", "an inline table with }"),
        ("names = [a]\n[log]\n", 'text stands between quotes: key = "text"'),
        ("names = ['a']\nfile = x\n", 'text stands between quotes: key = "text"'),
    ],
)
def test_what_is_open_gets_no_advice_about_quotes(tmp_path: Path, content: str, hint: str) -> None:
    path = tmp_path / "mcpsec.toml"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match="not TOML") as caught:
        load(path)
    assert hint in (caught.value.hint or "")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file") as caught:
        load(tmp_path / "missing.toml")
    assert "mcpsec init" in (caught.value.hint or "")
    with pytest.raises(ConfigurationError, match="a directory") as caught:
        load(tmp_path)
    assert str(tmp_path / "mcpsec.toml") in (caught.value.hint or "")
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (MAXIMUM_BYTES + 1))
    with pytest.raises(ConfigurationError, match="larger than 4 MiB"):
        load(large)


def test_the_first_problem_says_how_many_more(tmp_path: Path) -> None:
    path = file(tmp_path, MINIMAL + "a = 1\nb = 2\nc = 3\n")
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    assert str(caught.value) == f"{path}:10: log has no key a"
    assert f"2 more problems: `mcpsec config check -c {path}`" in (caught.value.hint or "")
    assert len(examine(path)[1]) == 3


# ---- faults, each at its line


def test_unknown_keys_and_what_was_meant(tmp_path: Path) -> None:
    text = MINIMAL.replace("listen =", "lisen =").replace("client_ca", "clientca") + "[serverr]\n"
    _, problems = read(text, tmp_path / "mcpsec.toml")
    hints = {problem.message: problem.hint for problem in problems}
    assert hints["server has no key lisen"] == "did you mean listen?"
    assert hints["server.tls has no key clientca"] == "did you mean client_ca?"
    assert hints["the file has no key serverr"] == "did you mean server?"
    assert {problem.line for problem in problems} == {3, 7, 10}, "what a misspelt key stands for isn't missing too"


def test_a_missing_key_has_an_example(tmp_path: Path) -> None:
    _, problems = read(MINIMAL.replace('listen = "127.0.0.1:8443"', ""), tmp_path / "mcpsec.toml")
    hints = {problem.message: problem.hint for problem in problems}
    assert hints["server lacks listen"] == 'for example: listen = "127.0.0.1:8443"'


def test_missing_tables(tmp_path: Path) -> None:
    check(tmp_path, "version = 1 # !! the file lacks server !! the file lacks log\n")
    check(tmp_path, '\n# !! the file lacks version !! the file lacks server\n[log]\nfile = "x"\n')


def test_types(tmp_path: Path) -> None:
    check(
        tmp_path,
        """\
        version = 2 # !! version must be 1
        log = "x" # !! log must be a table, not text
        clients = { id = "x" } # !! clients must be a list, not a table
        upstreams = [] # !! upstreams must be a table, not a list
        [server]
        listen = 8443 # !! server.listen must be text, not a number
        allowed_hosts = "a" # !! server.allowed_hosts must be a list, not text
        allowed_origins = [3] # !! server.allowed_origins[0] must be text, not a number
        public_url = 1979-05-27 # !! server.public_url must be text, not a date or time
        [server.tls]
        certificate = "" # !! server.tls.certificate is not a path
        key = "~/key.pem" # !! server.tls.key starts with ~, which nothing expands here
        client_ca = true # !! server.tls.client_ca must be text, not true or false
        minimum_version = "1.1" # !! server.tls.minimum_version must be one of "1.2", "1.3"
        [server.limits]
        connections = "2000" # !! server.limits.connections must be a whole number, not text
        sessions = 0 # !! server.limits.sessions must be between 1 and 1000000
        json_depth = true # !! server.limits.json_depth must be a whole number, not true or false
        [auth]
        require = ["mtls", "mtls"] # !! auth.require names the same value twice
        """,
    )


def test_durations_sizes_rates(tmp_path: Path) -> None:
    check(
        tmp_path,
        MINIMAL
        + """\
[server.limits]
rate_limit = "100/fortnight" # !! server.limits.rate_limit is not a rate
idle_timeout = "5 minutes" # !! server.limits.idle_timeout is not a duration
write_timeout = 30 # !! server.limits.write_timeout is not a duration
body_timeout = "-5s" # !! server.limits.body_timeout is not a duration
header_timeout = "2d" # !! server.limits.header_timeout must be between 100ms and 5m
body_bytes = "4MB" # !! server.limits.body_bytes is not a size
header_bytes = "1GiB" # !! server.limits.header_bytes must be between 1KiB and 1MiB
[[clients]]
id = "a"
certificate = { san = "a" }
signing_keys = [{ id = "a", public_key = "a" }]
rate_limit = "off" # !! clients[0].rate_limit can't be "off" here
[[clients]]
id = "b"
certificate = { san = "b" }
signing_keys = [{ id = "b", public_key = "b" }]
rate_limit = { rate = "1/minute", burst = 0 }
# !! clients[1].rate_limit must have a whole number above 0 as its burst
[[clients]]
id = "c"
certificate = { san = "c" }
signing_keys = [{ id = "c", public_key = "c" }]
rate_limit = { rat = "1/minute" } # !! clients[2].rate_limit has no key 'rat'
""",
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("10s", 10), ("1.5s", 1.5), ("5m", 300), ("1h", 3600)],
)
def test_durations(tmp_path: Path, text: str, seconds: float) -> None:
    upstream = f'[upstreams.a]\nbuiltin = "demo"\ntimeout = "{text}"\n'
    assert load(file(tmp_path, MINIMAL + upstream)).upstreams["a"].timeout == seconds


@pytest.mark.parametrize(
    ("listen", "message"),
    [
        (":8443", "server.listen lacks its host"),
        ("127.0.0.1", "server.listen is not an address"),
        ("127.0.0.1:99999", "server.listen is not an address"),
        ("127.0.0.256:1", "server.listen is not an address"),
        ("::1:8443", "server.listen is not an address"),
        ("[::1]", "server.listen is not an address"),
        ("[::g]:1", "server.listen is not an address"),
        ("https://x:1", "server.listen is not an address"),
        ("a b:1", "server.listen is not an address"),
    ],
)
def test_addresses(tmp_path: Path, listen: str, message: str) -> None:
    check(tmp_path, MINIMAL.replace('"127.0.0.1:8443"', f'"{listen}" # !! {message}'))


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:8443", "localhost:8443", "127.8.0.1:1", "[0:0::1]:1"])
def test_loopback_addresses(tmp_path: Path, listen: str) -> None:
    text = MINIMAL.replace("127.0.0.1:8443", listen) + "[auth]\nrequire = []\n"
    assert load(file(tmp_path, text)).auth.require == ()


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ("Sun 2:00-4:00 UTC", "is not a time window"),
        ("Sunday 02:00-04:00 UTC", "is not a time window"),
        ("Sun 02:00-24:00 UTC", "is not a time window"),
        ("Sun 02:00-02:00 UTC", "is an empty time window"),
        ("Sun 02:00-04:00 Europe/Berln", "names an unknown time zone"),
        ("Sun 02:00-04:00 Europe", "names an unknown time zone"),
        ("Sun 02:00-04:00", "is not a time window"),
    ],
)
def test_windows(tmp_path: Path, window: str, message: str) -> None:
    rule = '[[rules]]\nresources = ["a/*"]\n[rules.require]\nwindow = '
    check(tmp_path, f'{MINIMAL}{rule}"{window}" # !! rules[0].require.window {message}\n')
    assert load(file(tmp_path, f'{MINIMAL}{rule}"daily 22:00-06:00 UTC"\n')).rules


def test_upstreams(tmp_path: Path) -> None:
    check(
        tmp_path,
        MINIMAL
        + """\
[upstreams.my_files] # !! upstreams: the name is not an upstream name: 'my_files'
builtin = "demo"
[upstreams.Files] # !! upstreams: the name is not an upstream name: 'Files'
builtin = "demo"
[upstreams.none] # !! upstreams.none needs exactly one of command, url, app or builtin: it has none
[upstreams.two]
command = ["x"]
url = "http://x/" # !! upstreams.two needs exactly one of command, url, app or builtin: it has command and url
[upstreams.a]
command = "x --root /" # !! upstreams.a.command must be a list, not text
[upstreams.b]
command = [] # !! upstreams.b.command lacks its program
[upstreams.c]
command = ["x", 3] # !! upstreams.c.command[1] must be text, not a number
headers = { a = "b" } # !! upstreams.c: headers means something only together with url
[upstreams.d]
url = "ftp://x/" # !! upstreams.d.url must be an absolute URL that starts with https:// or http://
cwd = "/" # !! upstreams.d: cwd means something only together with command
[upstreams.e]
builtin = "dmo" # !! upstreams.e.builtin must be "demo"
[upstreams.f]
url = "http://x/"
ca = "ca.pem" # !! upstream f has a ca, but its url is not https
[upstreams.f.headers]
"a b" = "c" # !! upstreams.f.headers: the name is not a header name
Host = "c" # !! upstreams.f.headers: the name Host is a header that the gateway sets itself
X-A = "c"
x-a = "d" # !! upstreams.f.headers names x-a twice
x-b = "c\\r\\nd" # !! upstreams.f.headers.x-b holds a line break or another control character
[upstreams.g]
builtin = "demo"
access = { "get_*" = "reed", "a b " = "read", "x[1]" = "read" }
# !! upstreams.g.access."get_*" must be one of "read", "write", "execute"
# !! upstreams.g.access: the name is not a glob
# !! upstreams.g.access: the name is not a glob
""",
    )


def test_grants(tmp_path: Path) -> None:
    check(
        tmp_path,
        MINIMAL
        + """\
[upstreams.files]
builtin = "demo"
[roles.a]
allow_resources = ["fils/*"] # !! there is no upstream fils
[roles.b]
allow_resources = ["files", "files/", "/x", "files/get_?"]
# !! roles.b.allow_resources[0] is not a glob over upstream/tool
# !! roles.b.allow_resources[1] is not a glob over upstream/tool
# !! roles.b.allow_resources[2] is not a glob over upstream/tool
# !! roles.b.allow_resources[3] is not a glob
[roles.c]
allow_methods = ["reads"] # !! roles.c.allow_methods[0] must be one of "read", "write", "execute"
[roles.c.resource_filters]
"files/x".a = [] # !! roles.c.resource_filters."files/x".a must not be empty
"files/y".a = "x" # !! roles.c.resource_filters."files/y".a must be a list or a table, not text
"files/z".a.b = ["x"] # !! roles.c.resource_filters."files/z".a is neither a range nor an expression
"files/u".a = { min = 2, max = 1 } # !! roles.c.resource_filters."files/u".a allows nothing: min is above max
"files/v".a = { min = 2, regex = "x" } # !! roles.c.resource_filters."files/v".a is a range and an expression at once
"files/w".a = { regex = "(?=x)" } # !! roles.c.resource_filters."files/w".a.regex is not a regular expression
"files/t".a = { min = nan } # !! roles.c.resource_filters."files/t".a.min must be a finite number, not a number
"files/s".a = { min = -inf } # !! roles.c.resource_filters."files/s".a.min must be a finite number, not a number
"other/t".a = ["x"] # !! there is no upstream other
[[clients]]
id = "one"
certificate = { san = "x" }
signing_keys = [{ id = "x", public_key = "x" }]
roles = ["a", "reader"] # !! there is no role reader
[[rules]]
resources = [] # !! rules[0].resources must not be empty
require = {} # !! rules[0].require is empty: it needs one of certificate_sha256, window, networks or confirmation_header
[[rules]]
resources = ["filez/*"] # !! there is no upstream filez
[rules.require]
window = "Sunday 2-4" # !! rules[1].require.window is not a time window
networks = ["10.0.0.1/8"] # !! rules[1].require.networks[0] is not a network
certificate_sha256 = ["aa"] # !! rules[1].require.certificate_sha256[0] is not a SHA-256 fingerprint
""",
    )


def test_without_upstreams_grants_may_name_those_of_the_command_line(tmp_path: Path) -> None:
    assert load(file(tmp_path, MINIMAL + '[roles.a]\nallow_resources = ["files/*"]\n')).upstreams == {}


def test_clients_that_could_not_be_told_apart(tmp_path: Path) -> None:
    other = "AA" * 32
    check(
        tmp_path,
        MINIMAL
        + f"""\
[[clients]]
id = "a"
certificate = {{ san = "api.example.com" }}
signing_keys = [{{ id = "k1", public_key = "x" }}]
[[clients]]
id = "a" # !! client a has the id of another client: they could not be told apart
certificate = {{ san = "spiffe://x/A" }}
signing_keys = [{{ id = "k2", public_key = "x" }}]
[[clients]]
id = "c"
certificate = {{ san = "API.example.com" }}
# !! client c has the certificate of client a: they could not be told apart
signing_keys = [{{ id = "k1", public_key = "x" }}]
# !! client c has the signing key id of client a: they could not be told apart
[[clients]]
id = "d"
certificate = {{ san = "spiffe://x/a" }}
signing_keys = [
  {{ id = "k4", public_key = "x" }},
  {{ id = "k4", public_key = "x" }},
# !! client d has the signing key id of the same client: they could not be told apart
]
[[clients]]
id = "e"
certificate = {{ sha256 = "{other}" }}
signing_keys = [{{ id = "k5", public_key = "x" }}]
[[clients]]
id = "f"
certificate = {{ sha256 = "{other.lower()}" }}
# !! client f has the certificate of client e: they could not be told apart
signing_keys = [{{ id = "k6", public_key = "x" }}]
""",
    )


def test_what_each_client_must_bring(tmp_path: Path) -> None:
    check(
        tmp_path,
        MINIMAL
        + """\
[[clients]]
# !! client a has no certificate, but every request needs one
# !! client a has no signing key, but every request must be signed
id = "a"
[[clients]] # !! client b has no signing key, but every request must be signed
id = "b"
certificate = { san = "b" }
signing_keys = []
[[clients]]
id = "c"
certificate = { san = "c", sha256 = "" }
# !! clients[2].certificate needs exactly one of san or sha256: it has san and sha256
# !! clients[2].certificate.sha256 is not a SHA-256 fingerprint
signing_keys = [{ id = "x" }]
# !! clients[2].signing_keys[0] needs exactly one of secret or public_key: it has none
""",
    )


def test_what_is_not_required_may_be_missing(tmp_path: Path) -> None:
    client = '[auth]\nrequire = ["{}"]\n[[clients]]\nid = "a"\n{}\n'
    assert load(file(tmp_path, MINIMAL + client.format("mtls", 'certificate = { san = "a" }'))).clients
    key = 'signing_keys = [{ id = "a", secret = { env = "A" } }]'
    assert load(file(tmp_path, MINIMAL + client.format("signature", key))).clients


def test_a_scheme_for_every_key(tmp_path: Path) -> None:
    check(
        tmp_path,
        MINIMAL
        + """\
[auth.signature]
schemes = ["hmac-sha256"]
[[clients]]
id = "a"
certificate = { san = "a" }
signing_keys = [{ id = "a", public_key = "x" }] # !! client a has public keys only, which no accepted scheme uses
""",
    )


@pytest.mark.parametrize("listen", ["0.0.0.0:8443", "[::]:8443", "192.0.2.1:8443", "mcp.example.com:8443"])
def test_the_network_needs_mutual_tls(tmp_path: Path, listen: str) -> None:
    text = MINIMAL.replace("127.0.0.1:8443", listen)
    assert load(file(tmp_path, text)).auth.require == ("mtls", "signature")
    message = f"{listen} can be reached from other machines, which needs mutual TLS or access tokens"
    signed = text.replace(f'"{listen}"', f'"{listen}" # !! {message}') + '[auth]\nrequire = ["signature"]\n'
    check(tmp_path, signed)
    message = f"require is empty, but {listen} can be reached from other machines"
    check(tmp_path, text + f"[auth]\nrequire = [] # !! {message}\n")


OAUTH = """
[auth]
require = ["bearer"]
[auth.oauth]
issuer = "https://login.example.com/"
"""


def test_access_tokens_need_an_issuer_and_a_client_they_belong_to(tmp_path: Path) -> None:
    public = MINIMAL.replace("127.0.0.1:8443", "0.0.0.0:8443")
    assert load(file(tmp_path, public + OAUTH)).auth.oauth is not None
    nobody = "access tokens are required, but nothing says who issues them"
    check(tmp_path, MINIMAL + f'[auth]\nrequire = ["bearer"] # !! {nobody}\n')
    own = '[[clients]]\nid = "a"\noauth = { subject = "a" }\nrequire = ["bearer"] # !! ' + nobody
    check(tmp_path, MINIMAL + "[auth]\nrequire = []\n" + own)
    lacks = "client a has no access tokens, but every request needs one"
    check(tmp_path, MINIMAL + OAUTH + f'[[clients]] # !! {lacks}\nid = "a"\n')
    for match in ('subject = "x"', 'client_id = "x"', 'subject = "x", client_id = "y"'):
        twice = f"oauth = {{ {match} }}"
        same = "client b has the access tokens of client a: they could not be told apart"
        text = f'[[clients]]\nid = "a"\n{twice}\n[[clients]]\nid = "b"\n{twice} # !! {same}\n'
        check(tmp_path, MINIMAL + OAUTH + text)


def test_a_client_may_need_other_factors_than_the_rest(tmp_path: Path) -> None:
    text = MINIMAL + OAUTH + '[[clients]]\nid = "a"\nrequire = ["mtls"]\ncertificate = { san = "a.example.com" }\n'
    deployment = load(file(tmp_path, text))
    assert deployment.factors_of(deployment.clients[0]) == {"mtls"}
    assert deployment.possible_factors == {"mtls", "bearer"}
    message = "0.0.0.0:8443 can be reached from other machines, which needs mutual TLS or access tokens"
    open_to_all = MINIMAL.replace("127.0.0.1:8443", "0.0.0.0:8443") + OAUTH
    key = 'signing_keys = [{ id = "k", secret = { env = "K" } }]'
    check(tmp_path, open_to_all + f'[[clients]]\nid = "a"\n{key}\nrequire = ["signature"] # !! {message}\n')


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('issuer = "http://login.example.com/"', "issuer must be https"),
        ('issuer = "https://login.example.com/?a=b"', "issuer must not have a query"),
        ('issuer = "https://u:p@login.example.com/"', "issuer has credentials in it"),
        ('algorithms = ["HS256"]', "must be one of"),
        ('algorithms = ["none"]', "must be one of"),
        ('scopes = ["two words"]', "is not a scope"),
        ('method_scopes = { delete = "x" }', "must be one of"),
        ('networks = ["10.0.0.1/8"]', "is not a network"),
    ],
)
def test_what_the_oauth_table_refuses(line: str, message: str, tmp_path: Path) -> None:
    table = "[auth.oauth]\n" if line.startswith("issuer") else '[auth.oauth]\nissuer = "https://login.example.com/"\n'
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        load(file(tmp_path, MINIMAL + table + line + "\n"))


def test_the_admin_listener_is_another_one(tmp_path: Path) -> None:
    message = "[server.admin] listens on 127.0.0.1:8443, which is the public listener's address"
    check(tmp_path, MINIMAL + f'[server.admin]\nlisten = "127.0.0.1:8443" # !! {message}\n')
    both = MINIMAL.replace(":8443", ":0") + '[server.admin]\nlisten = "127.0.0.1:0"\n'
    assert load(file(tmp_path, both)).server.admin is not None


def test_names_and_origins(tmp_path: Path) -> None:
    origins = '["*", "https://a/b", "https://a", "null"]'
    check(
        tmp_path,
        MINIMAL.replace(
            "[server]\n",
            "[server]\n"
            'allowed_hosts = ["*.example.com", "http://a", "a:b"]'
            " # !! server.allowed_hosts[0] is not a host: '*.example.com'"
            " !! server.allowed_hosts[1] is not a host: 'http://a' !! server.allowed_hosts[2] is not a host: 'a:b'\n"
            f"allowed_origins = {origins} # !! server.allowed_origins[0] can't allow every origin"
            " !! server.allowed_origins[1] is not an origin !! server.allowed_origins[3] is not an origin\n"
            'public_url = "http://a/" # !! server.public_url must be an absolute URL that starts with https://\n',
        ),
    )


# ---- secrets where a reference belongs

_HOLDS = "holds a secret itself; only a reference may stand here"
_LITERAL = "holds a secret, which must not stand in this file"
_IN_URL = "has credentials in it, which must not stand in this file"


@pytest.mark.parametrize(
    "name",
    ["authorization", "Authorization", "cookie", "x-api-key", "X-Auth-Token", "client-secret", "proxy-authorization"],
)
def test_a_secret_header(tmp_path: Path, name: str) -> None:
    upstream = f'[upstreams.a]\nurl = "https://x/"\n[upstreams.a.headers]\n{name} = '
    check(tmp_path, MINIMAL + upstream + f'"{SECRET}" # !! upstreams.a.headers.{name} {_HOLDS}\n')
    assert load(file(tmp_path, MINIMAL + upstream + '{ env = "A" }\n'))


@pytest.mark.parametrize("name", ["x-request-id", "accept-language", "x-public-key", "x-token-kind"])
def test_a_header_that_is_no_secret(tmp_path: Path, name: str) -> None:
    upstream = f'[upstreams.a]\nurl = "https://x/"\nheaders = {{ {name} = "plain" }}\n'
    assert load(file(tmp_path, MINIMAL + upstream)).upstreams["a"].headers == {name: "plain"}


@pytest.mark.parametrize(
    "name", ["API_KEY", "GITHUB_TOKEN", "DB_PASSWORD", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "secret"]
)
def test_a_secret_variable(tmp_path: Path, name: str) -> None:
    upstream = f'[upstreams.a]\ncommand = ["x"]\n[upstreams.a.environment]\n{name} = '
    check(tmp_path, MINIMAL + upstream + f'"{SECRET}" # !! upstreams.a.environment.{name} {_HOLDS}\n')
    assert load(file(tmp_path, MINIMAL + upstream + '{ file = "secrets/a" }\n'))


@pytest.mark.parametrize(
    "name", ["LOG_LEVEL", "AWS_ACCESS_KEY_ID", "TOKEN_FILE", "PUBLIC_KEY", "PWD", "KEYBOARD", "MAX_TOKENS"]
)
def test_a_variable_that_is_no_secret(tmp_path: Path, name: str) -> None:
    upstream = f'[upstreams.a]\ncommand = ["x"]\nenvironment = {{ {name} = "plain" }}\n'
    assert load(file(tmp_path, MINIMAL + upstream)).upstreams["a"].environment == {name: "plain"}


@pytest.mark.parametrize(
    "arguments",
    [
        f'"--token", "{SECRET}"',
        f'"--api-key={SECRET}"',
        f'"-password", "{SECRET}"',
        f'"postgres://u:{SECRET}@h/db"',
        f'"API_KEY={SECRET}", "x"',
        f'"ghp_{SECRET}{SECRET}".',
    ],
)
def test_a_secret_argument(tmp_path: Path, arguments: str) -> None:
    arguments = arguments.rstrip(".").replace(f"ghp_{SECRET}", f"ghp_{SECRET.replace('-', '')}")
    index = 2 if '", "' in arguments and "API" not in arguments else 1
    command = f'command = ["x", {arguments}] # !! upstreams.a.command[{index}] {_LITERAL}'
    check(tmp_path, f"{MINIMAL}[upstreams.a]\n{command}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        '"--token-file", "x"',
        '"--max-tokens", "5"',
        '"--key", "key.pem"',
        '"--token"',
        '"https://h/?page=1"',
        '"--token", "--x"',
    ],
)
def test_an_argument_that_is_no_secret(tmp_path: Path, arguments: str) -> None:
    assert load(file(tmp_path, f'{MINIMAL}[upstreams.a]\ncommand = ["x", {arguments}]\n'))


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{SECRET}@x/",
        f"https://{SECRET}@x/",
        f"https://x/?api_key={SECRET}",
        f"https://x/?a=1&token={SECRET}",
    ],
)
def test_a_url_with_credentials(tmp_path: Path, url: str) -> None:
    check(tmp_path, f'{MINIMAL}[upstreams.a]\nurl = "{url}" # !! upstreams.a.url {_IN_URL}\n')


def test_a_signing_secret(tmp_path: Path) -> None:
    start = f'{MINIMAL}[[clients]]\nid = "a"\ncertificate = {{ san = "a" }}\nsigning_keys = '
    at = "clients[0].signing_keys[0].secret"
    check(tmp_path, f'{start}[{{ id = "a", secret = "{SECRET}" }}]\n# !! {at} {_HOLDS}\n')
    unknown = f"{at}: a secret reference has no key 'value'"
    check(tmp_path, f'{start}[{{ id = "a", secret = {{ value = "{SECRET}" }} }}]\n# !! {unknown}\n')
    assert load(file(tmp_path, f'{start}[{{ id = "a", secret = {{ env = "A" }} }}]\n')).clients


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (f'env = "A", prefix = "Bearer {SECRET}"', "the prefix holds a secret itself"),
        (f'command = ["vault", "--token", "{SECRET}"]', "the command holds a secret itself"),
        (f'command = ["curl", "https://u:{SECRET}@h/"]', "the command holds a secret itself"),
        (f'env = "{SECRET}"', "env must be the name of an environment variable"),
        (f'file = "x", encoding = "{SECRET}"', "encoding must be one of text, base64url, hex"),
    ],
)
def test_a_secret_inside_a_reference(tmp_path: Path, reference: str, message: str) -> None:
    header = f'[upstreams.a]\nurl = "https://x/"\n[upstreams.a.headers]\nx-y-key = {{ {reference} }}\n'
    check(tmp_path, f"{MINIMAL}{header}# !! upstreams.a.headers.x-y-key: {message}\n")


def test_a_secret_as_a_key(tmp_path: Path) -> None:
    token = "ghp_" + SECRET.replace("-", "")
    _, problems = read(f'{MINIMAL}{token} = "x"\n', tmp_path / "mcpsec.toml")
    assert [problem.message for problem in problems] == ["log has no key …"]
    assert token not in repr(problems)


def test_no_model_value_holds_a_resolved_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TICKETS_TOKEN", SECRET)
    assert SECRET not in repr(load(file(tmp_path, FULL)))


# ---- any file at all

_SCALARS = st.one_of(
    st.booleans(),
    st.integers(-3, 10**7),
    st.floats(),
    st.dates(),
    st.text(max_size=5),
    st.sampled_from(["mtls", "read", "off", "5m", "4MiB", "1/second", "127.0.0.1:1", "demo", "a/b", "https://x/", "*"]),
)
_NAMES = st.sampled_from(sorted(set(re.findall(r"[a-z_]+(?= = )", FULL))))
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4), max_leaves=8
)


@settings(max_examples=300, deadline=None, database=None)
@given(st.data())
def test_any_document_is_read_or_each_problem_has_its_line(data: st.DataObject) -> None:
    import tomllib

    import tomli_w

    document = tomllib.loads(FULL)
    for _ in range(data.draw(st.integers(1, 3))):
        place = document
        while True:
            key = data.draw(st.sampled_from(sorted(place))) if isinstance(place, dict) else 0
            inner = place[key]
            if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
                break
            place = inner
        place[key] = data.draw(_VALUES)
    text = tomli_w.dumps(document)
    deployment, problems = read(text, Path("/base/mcpsec.toml"))
    assert (deployment is None) == bool(problems)
    assert all(0 < (problem.line or 0) <= text.count("\n") + 1 and problem.message for problem in problems)


def test_a_moment_is_a_date_time_or_text_with_its_offset(tmp_path: Path) -> None:
    role = '[roles.r]\nallow_resources = ["a/b"]\nallow_methods = ["read"]\nuntil = {}\n'
    for written in ("2030-12-31T18:00:00+01:00", '"2030-12-31T18:00:00+01:00"', "2030-12-31T17:00:00Z"):
        until = load(file(tmp_path, MINIMAL + role.format(written))).roles["r"].until
        assert until == datetime(2030, 12, 31, 17, tzinfo=UTC)
    for wrong in ("2030-12-31T18:00:00", "2030-12-31", '"tomorrow"', '"2030-12-31"', "7"):
        with pytest.raises(ConfigurationError, match="is not a moment"):
            load(file(tmp_path, MINIMAL + role.format(wrong)))


def test_confirmations_and_credentials_that_lead_nowhere(tmp_path: Path) -> None:
    check(
        tmp_path,
        MINIMAL
        + textwrap.dedent("""
        [upstreams.web]
        url = "http://127.0.0.1:1/mcp"
        [upstreams.own]
        command = ["x"]
        [upstreams.demo]
        builtin = "demo"
        [roles.a]
        upstream_headers = { web = { x-team = "a" }, own = { x-team = "a" } }
        # !! upstream own has no url, so it takes no upstream_headers
        upstream_environment = { demo = { TEAM = "a" } }
        # !! upstream demo has no command, so it takes no upstream_environment
        [roles.b]
        upstream_headers = { web = { x-team = "b" }, wed = { x-team = "b" } }
        # !! there is no upstream wed
        [[clients]]
        id = "one"
        certificate = { san = "a" }
        signing_keys = [{ id = "k", secret = { env = "K" } }]
        roles = ["a", "b"]
        # !! client one has two values of x-team for web: of the roles a and b
        [[clients]]
        id = "two"
        certificate = { san = "b" }
        signing_keys = [{ id = "k2", secret = { env = "K2" } }]
        roles = ["a", "b"]
        upstream_headers = { web = { X-Team = "mine", authorization = "hunter2-hunter2-hunter2" } }
        # !! clients[1].upstream_headers.web.authorization holds a secret itself; only a reference may stand here
        [[rules]]
        resources = ["web/x"]
        require = { confirmation_header = "x-confirm" }
        # !! a rule demands a confirmation, but there is no key that one could be made with
        [[rules]]
        resources = ["web/x"]
        require = { confirmation_header = "Authorization" }
        # !! rules[1].require.confirmation_header authorization is a header with a meaning of its own
        """),
    )


def test_the_approval_key_is_no_clients(tmp_path: Path) -> None:
    check(
        tmp_path,
        MINIMAL
        + textwrap.dedent("""
        [[clients]]
        id = "one"
        certificate = { san = "a" }
        signing_keys = [{ id = "k", secret = { env = "K" } }]
        [approval]
        secret = { env = "K" }
        # !! the approval secret is a signing key of client one, which could confirm its own calls
        """),
    )


def test_numbers_that_no_float_can_hold() -> None:
    """TOML has whole numbers of any size here; one is in or out of bounds like any other."""
    from mcpsec.deployment.policy_kinds import Number
    from mcpsec.deployment.shapes import Wrong
    from mcpsec.deployment.telemetry_keys import Number as Bounded

    assert Number().parse(10**400, None) == 10**400
    with pytest.raises(Wrong, match="between"):
        Bounded(1.1, 1000).parse(10**400, None)
