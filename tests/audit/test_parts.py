"""Parts of the audit by themselves: certificates and keys beside each other, locks, evidence, kinds of files, waivers."""

from __future__ import annotations

import base64
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePath

import pytest

from mcpsec.audit import baseline, evidence
from mcpsec.audit.checks import crt, pinned, sec, tools
from mcpsec.audit.collection import Collected, open_subject
from mcpsec.audit.detection import detect
from mcpsec.audit.literals import is_literal_secret, query_secret, url_password
from mcpsec.audit.probes.given import Given, live_options
from mcpsec.audit.proxies import plain_remote, seconds
from mcpsec.audit.runner import Request, audit
from mcpsec.audit.subjects import Context, Subject
from mcpsec.audit.waivers import load as load_waivers
from mcpsec.clientfiles.positions import Malformed
from mcpsec.deployment.scaffold import create
from mcpsec.errors import ConfigurationError, UsageError
from tests.audit.helpers import failing, judged, of_text
from tests.fixtures.pki import Authority


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A CA, two clients of it and a deployment."""
    directory = tmp_path_factory.mktemp("parts")
    authority = Authority(directory / "ca", "CA")
    one, two = (authority.client(name, f"spiffe://t/{name}", trusts=authority.certificate) for name in ("one", "two"))
    return {"ca": authority, "one": one, "two": two, "deployment": create(directory / "d", ["agent"]).directory}


# --- certificates and keys ---


def leaf_of(identity):
    from cryptography import x509

    return x509.load_pem_x509_certificate(identity.certificate.read_bytes())


@pytest.mark.parametrize(
    ("later", "state", "words"),
    [
        (timedelta(0), "pass", "ends in"), (timedelta(days=-400), "fail", "not valid yet"),
        (timedelta(days=4000), "fail", "ended"),
    ],
)  # fmt: skip
def test_what_is_left_of_a_certificate(later, state, words, made, tmp_path):
    leaf = leaf_of(made["one"])
    subject = Subject("certificate", tmp_path, "c.pem")
    found = crt.remaining(
        subject, leaf, Context([subject], tmp_path, leaf.not_valid_before_utc + timedelta(minutes=5) + later), 1
    )
    assert (str(found.state), words in found.observed) == (state, True), found
    life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    due = crt.remaining(subject, leaf, Context([subject], tmp_path, leaf.not_valid_after_utc - life / 5), 1)
    assert due.key == "due" and due.severity == ("high" if life / 5 <= crt.LAST_CALL else "medium")


def test_the_key_that_lies_beside_a_certificate(made, tmp_path):
    leaf = leaf_of(made["one"])
    path = tmp_path / "server.pem"
    assert crt._key_fits(path, leaf) is None
    (tmp_path / "server.key").write_text("no key")
    assert crt._key_fits(path, leaf) is None
    (tmp_path / "server-key.pem").write_bytes(made["two"].key.read_bytes())
    assert crt._key_fits(path, leaf) is False
    (tmp_path / "server.key").write_bytes(made["one"].key.read_bytes())
    assert crt._key_fits(path, leaf) is True


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX")
@pytest.mark.parametrize(
    ("mode", "folder", "keys"),
    [(0o600, 0o700, set()), (0o640, 0o700, set()), (0o660, 0o700, {"mode"}), (0o604, 0o700, {"mode"}), (0o600, 0o707, {"folder"}),
     (0o600, 0o1707, set())],
)  # fmt: skip
def test_who_may_read_and_replace_a_key(mode, folder, keys, made, tmp_path):
    path = tmp_path / "k" / "server.key"
    path.parent.mkdir()
    path.write_bytes(made["one"].key.read_bytes())
    path.chmod(mode)
    path.parent.chmod(folder)
    found = judged(tmp_path, str(path), select=["CRT003"])
    path.parent.chmod(0o700)
    assert {each.observed.partition(":")[0][:4] for each in failing(found)} == {
        "mode": {"mode"},
        "folder": {"ever"},
    }.get(next(iter(keys), ""), set())


@pytest.mark.skipif(os.name == "nt", reason="accounts are POSIX")
@pytest.mark.parametrize(
    ("unit", "state", "words"),
    [
        ("", "manual", "see that the gateway runs as another account"),
        ("User={me}\n", "fail", "that serves can read the CA's key"),
        ("User=mcp-gateway\n", "pass", "the gateway runs as mcp-gateway"),
        ("DynamicUser=yes\n", "pass", "the gateway runs as a dynamic user"),
    ],
)
def test_whose_the_key_of_the_client_ca_is(unit, state, words, made, tmp_path):
    key = tmp_path / "private" / "client" / "ca.key"
    key.parent.mkdir(parents=True)
    key.write_bytes(made["ca"].key().read_bytes())
    key.chmod(0o600)
    (tmp_path / "broken.service").write_text("[Service\n")
    if unit:
        me = crt._account(key.stat().st_uid)
        text = f"[Unit]\nDescription=x\n[Service]\nExecStart=/usr/bin/mcpsec serve -c x\n{unit.format(me=me)}"
        (tmp_path / "gateway.service").write_text(text)
    found = judged(tmp_path, select=["CRT007"])
    told = [(str(each.state), each.observed) for each in found.results]
    assert any(one == state and words in said for one, said in told), told
    key.chmod(0o644)
    assert [each.severity for each in failing(judged(tmp_path, select=["CRT007"]))] != []
    assert crt._account(4_000_000_000).startswith("account ")


@pytest.mark.parametrize(("text", "hours"), [("2160h", 2160), ("1h30m", 1.5), ("90d", None), ("", None), ("10", None)])
def test_durations_of_cert_manager(text, hours):
    assert crt._hours(text) == hours


CERTIFICATE = "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {{name: c}}\nspec: {{{}}}\n"


@pytest.mark.parametrize(
    ("spec", "states"),
    [
        ("duration: 2160h", {("CRT001", "pass"), ("CRT005", "pass")}), ("duration: 8760h", {("CRT001", "fail"), ("CRT005", "pass")}),
        ("duration: a year", {("CRT005", "pass")}), ("isCA: true, duration: 87600h", set()),
    ],
)  # fmt: skip
def test_certificates_that_a_cluster_renews(spec, states, tmp_path):
    found = of_text(tmp_path, "c.yaml", CERTIFICATE.format(spec), select=["CRT001", "CRT005"])
    assert {(each.check, str(each.state)) for each in found.results} - {("CRT001", "not-applicable")} >= states
    assert bool(failing(found)) is any(state == "fail" for _, state in states)


def test_a_unit_that_renews(tmp_path):
    text = "[Unit]\nDescription=x\n[Service]\nExecStart=/usr/bin/mcpsec certs --dir pki renew\n"
    found = of_text(tmp_path, "renew.service", text, select=["CRT005"])
    assert [(str(each.state), each.observed) for each in found.results] == [("pass", "renews certificates")]


# --- locks ---


def lock(tmp_path, **entries):
    text = 'schema = "mcpsec.pins/1"\n'
    for name, (definition, digest) in entries.items():
        text += f"[upstreams.only.tools.{name}]\nsha256 = '{digest}'\ndefinition = '{definition}'\n"
    return Subject("pins", tmp_path / "mcpsec.pins.toml", "lock", text.encode())


def test_a_lock_whose_text_and_digest_differ(tmp_path):
    good = {"name": "a"}
    subject = lock(
        tmp_path, a=(json.dumps(good), pinned._digest(good)), b=(json.dumps(good), "00" * 32), c=("no json", "00" * 32), d=("7", "")
    )  # fmt: skip
    found = list(pinned.whole(subject, Context([subject], tmp_path, datetime.now(UTC))))
    assert [(each.subject, str(each.state)) for each in found] == [
        ("only/a", "pass"), ("only/b", "fail"), ("only/c", "fail"), ("only/d", "fail"),
    ]  # fmt: skip
    assert not pinned._own("text")


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ([{"name": "a"}], "1 definitions are those of lock"),
        ([{"name": "a"}, {"name": "new"}], "new was never reviewed"),
        ([{"name": "a", "description": "x"}], "a is not what was reviewed: description changed"),
        ([{"name": "b"}, {"name": "a"}], "b is not what was reviewed: its text changed"),
        ([{"name": "nobody"}], None),
        ([], None),
    ],
)
def test_what_is_listed_against_a_lock(listed, words, tmp_path):
    subject = lock(tmp_path, a=('{"name": "a"}', pinned._digest({"name": "a"})), b=("no json", "00" * 32))
    dump = Subject("pins", tmp_path / "dump.json", "dump", json.dumps({"result": {"tools": listed}}).encode())
    broken = Subject("pins", tmp_path / "broken.json", "broken", b"{")
    found = list(pinned.dumps(Context([dump, subject, broken], tmp_path, datetime.now(UTC))))
    assert [words in each.observed for each in found] == [True] * bool(words) if words else found == []
    other = Subject("pins", tmp_path / "x.toml", "x", b"not toml =")
    assert pinned._lock(other) == {} == pinned._lock(dump)
    assert pinned._digest({"name": float("nan")}) == "" or pinned._digest({"name": {1, 2}}) == ""


def test_definitions_wherever_they_stand():
    def of(document):
        from mcpsec.clientfiles.positions import json_document

        return [(server, name, row) for server, name, row, _ in tools._definitions(json_document(json.dumps(document)))]

    assert of([1]) == []
    assert of({"result": {"tools": [{"name": "a"}, 7]}}) == [("", "a", {"name": "a"})]
    pins = {
        "u": {
            "tools": {
                "a": {"definition": '{"name": "a"}'},
                "b": {"definition": "text"},
                "c": {"x": 1},
                "d": {"definition": "7"},
            }
        }
    }
    assert of({"upstreams": pins}) == [
        ("u", "a", {"name": "a"}), ("u", "b", {"description": "text"}), ("u", "c", {"x": 1}), ("u", "d", {"description": "7"}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "leak"),
    [
        ("short", ""), ("see http://10.1.2.3/admin for more", "the address of an internal service"),
        ("see http://[fd00::1]/admin for more", "the address of an internal service"),
        ("see http://8.8.8.8/ or http://h.example", ""), ("listens at http://127.0.0.1:80", ""),
    ],
)  # fmt: skip
def test_what_a_description_gives_away(text, leak):
    assert tools._leak(text) == leak


# --- evidence ---


def test_evidence_is_signed_and_every_change_shows(made, tmp_path):
    found = judged(made["deployment"], select=["TLS010"])
    written = json.loads(evidence.write(found, tmp_path / "kept").read_text())
    good = written["signature"]
    assert evidence.signed_by(written) == good["fingerprint"]
    assert (
        good["fingerprint"]
        == json.loads(evidence.write(found, tmp_path / "kept").read_text())["signature"]["fingerprint"]
    )
    rsa = "-----BEGIN PUBLIC KEY-----\nnone\n-----END PUBLIC KEY-----\n"
    p256 = leaf_of(made["one"]).public_key()
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    other = p256.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for change in (None, {**good, "key": rsa}, {**good, "key": other}, {**good, "value": "%"}, {"key": good["key"]},
                   {**good, "value": base64.b64encode(b"0" * 64).decode()}):  # fmt: skip
        assert evidence.signed_by({**written, "signature": change}) == ""
    assert evidence.signed_by({**written, "created": "2020-01-01T00:00:00Z"}) == ""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="can't be made"):
        evidence.write(found, tmp_path / "file")


# --- what is read ---


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("mcpsec-waivers.toml", "", "waivers"), ("x.cer", "garbage", None), ("a.der", b"\x30\x82\x01\x00", "certificate"),
        (".env.prod", "A=1", "environment"), ("Dockerfile", "FROM a", "dockerfile"), ("Dockerfile.py", "FROM a", None),
        ("x.caddy", "a.example {\n reverse_proxy b\n}\n", "caddy"), ("settings.json", '{"a": 1}', None),
        ("x.toml", "[mcp_servers.a]\ncommand = 'x'\n", "client"), ("x.toml", "[http.routers.a]\n", "traefik"),
        ("x.yaml", "groups:\n- name: a\n  rules:\n  - alert: b\n    expr: c\n", "prometheus"),
        ("x.yaml", "static_resources:\n  listeners: []\n", "envoy"), ("x.json", '{"static_resources": {}}', "envoy"),
        ("x.yaml", "services:\n  a:\n    image: b\n", "compose"),
        (".github/workflows/x.yaml", "on: push\n", "workflow"), (".gitlab-ci.yml", "a: {}\n", "workflow"),
        ("x.json", '{"panels": [], "schemaVersion": 1}', "grafana"), ("x.json", '{"schema": "mcpsec.drill/1"}', "evidence"),
        ("x.json", '{"apiVersion": "v1", "kind": "Pod", "metadata": {}}', "kubernetes"), ("x.txt", "hello", None),
        ("x.txt", '{"mcpServers": {}}', "client"), ("x.cfg", "defaults\n mode http\nfrontend a\n bind :1\n", "haproxy"),
    ],
)  # fmt: skip
def test_kinds_of_files(name, text, kind):
    assert detect(PurePath(name), text if isinstance(text, bytes) else text.encode()) == kind


def test_what_is_too_large_what_is_no_file_and_what_windows_writes(tmp_path, monkeypatch):
    monkeypatch.setattr("mcpsec.audit.collection.MAXIMUM_BYTES", 100)
    monkeypatch.setattr("mcpsec.audit.collection.MAXIMUM_LOG", 100)
    found = Collected()
    (tmp_path / "compose.yaml").write_text("services:\n" + "#" * 200)
    (tmp_path / "a.log").write_text("x" * 200)
    (tmp_path / "small.json").write_bytes('{"mcpServers": {}}'.encode("utf-16"))
    assert open_subject(tmp_path / "compose.yaml", tmp_path, found) is None
    assert len(open_subject(tmp_path / "a.log", tmp_path, found).raw) == 100
    small = open_subject(tmp_path / "small.json", tmp_path, found)
    assert small.text == '{"mcpServers": {}}' and open_subject(tmp_path / "small.json", tmp_path, found) is small
    assert open_subject(tmp_path, tmp_path, found, kind="client") is None
    assert open_subject(tmp_path / "none", tmp_path, found, quiet=True) is None
    assert [label for label, _ in found.unreadable] == ["compose.yaml", "a.log"]
    open_subject(tmp_path / "none", tmp_path, found)
    assert found.unreadable[-1] == ("none", "No such file or directory")
    monkeypatch.setattr("mcpsec.audit.collection.MAXIMUM_FILES", 1)
    walked = judged(tmp_path)
    assert any("more than 1 files" in each.observed for each in walked.results)
    with pytest.raises(UsageError, match="this is nothing that an audit judges"):
        (tmp_path / "x.txt").write_text("hello")
        judged(tmp_path, str(tmp_path / "x.txt"))


def test_names_that_are_left_out_of_a_walk(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".env").write_text("A=1\n")
    assert [each.label for each in judged(tmp_path, exclude=["a/**"]).subjects] == ["b/.env"]


def test_the_configurations_of_this_user(tmp_path, monkeypatch):
    (tmp_path / "rules").mkdir()
    for path in (tmp_path / "one.json", tmp_path / "rules" / "two.json"):
        path.write_text('{"mcpServers": {"a": {"command": "bash"}}}')
    places = [("one", str(tmp_path / "one.json")), ("two", str(tmp_path / "rules")), ("none", str(tmp_path / "none"))]
    monkeypatch.setattr("mcpsec.clientfiles.clients.configurations", lambda: places[:2])
    found = audit(Request(targets=(), root=tmp_path, discover=True, persona="auditor"))
    assert {each.label: each.facts["client"] for each in found.subjects} == {"one.json": "one", "rules/two.json": "two"}
    assert found.failures("never") == [] and found.failures("low")


def test_a_document_that_holds_nothing():
    with pytest.raises(Malformed):
        _ = Subject("compose", Path("a.yaml"), "a.yaml", b"# nothing\n").document


# --- small judgements ---


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("API_KEY", "7f3c9a1e" + "5b2d8f4a", True), ("API_ACCESS_TOKEN", "access-token", False), ("DB_PASSWORD", "/run/secrets/x", False),
        ("API_KEY", "https://h.example/abc", False), ("API_KEY", "abc", False), ("COLOR", "7f3c9a1e", False),
        ("API_KEY", "two words", False),
    ],
)  # fmt: skip
def test_literal_secrets(name, value, secret):
    assert is_literal_secret(name, value) is secret


def test_urls_that_can_not_be_split_hold_no_secret():
    assert not url_password("http://[bad") and query_secret("http://[bad?token=abcdefgh") == ""


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("http://[bad", ""), ("https://h.example", ""), ("h.example:80", "h.example"), ("db", ""), ("a.svc.cluster.local", ""),
        ("8.8.8.8:1", "8.8.8.8"), ("0.0.0.0:1", ""), ("${HOST}:1", ""),
    ],
)  # fmt: skip
def test_other_machines_that_plain_http_is_spoken_to(target, host):
    assert plain_remote(target) == host


@pytest.mark.parametrize(
    ("text", "length"), [("10", 10), ("1m 30s", 90), ("500ms", 0.5), ("1 fortnight", None), ("s", None)]
)
def test_durations_of_proxies(text, length):
    assert seconds(text) == length


def test_where_a_key_path_leads():
    assert sec._value_at({"a": [1]}, ("a", 0)) == 1
    assert sec._value_at({"a": [1]}, ("a", 5)) is sec._value_at({"a": [1]}, ("b",)) is sec._value_at(7, ("a",)) is None


WAIVER = '[[waivers]]\ncheck = "DEP001"\nreason = "on the lab network only"\nowner = "a@acme.io"\nexpires = {}\n'


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("owner", "kind = 'whim'\nowner", "there is no kind"), ('"a@acme.io"', "7", "are texts"), ("DEP001", "DEP999", "no check DEP999"),
        ("[[waivers]]", "a = 1\n[[waivers]]", "and nothing else"), ("[[", "[[[", "not TOML"),
    ],
)  # fmt: skip
def test_waivers_that_are_none(old, new, words, tmp_path):
    path = tmp_path / "w.toml"
    path.write_text(WAIVER.format((datetime.now(UTC) + timedelta(days=9)).date()).replace(old, new))
    with pytest.raises(ConfigurationError, match=words):
        load_waivers(path)
    with pytest.raises(ConfigurationError, match="can't be read"):
        load_waivers(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("raw", "words"), [(b"\xff\xfe", "not a baseline"), (None, "can't be read"), (b"x\n", "the first line")]
)
def test_baselines_that_are_none(raw, words, tmp_path):
    path = tmp_path / "known"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(ConfigurationError, match=words):
        baseline.load(path)
    path.write_text(f"{baseline.HEADER}\n\n# said\nnothing\n")
    with pytest.raises(ConfigurationError, match="not a line of a baseline"):
        baseline.load(path)


def test_who_a_probe_is(made, tmp_path):
    token = tmp_path / "token"
    config = made["deployment"] / "mcpsec.toml"
    for text, words in (("", "no access token"), ("two words", "no access token"), ("\u00e9", "can't be read")):
        token.write_text(text)
        with pytest.raises(UsageError, match=words):
            live_options(Given(token_file=token))
    token.write_text("abc\n")
    given = live_options(Given(token_file=token, rate="5/minute", owned=["h"]))
    assert (given["credentials"].token, given["other"], str(given["rate"])) == ("abc", None, "5/minute")
    given = live_options(Given(config=config))
    assert given["credentials"].client == "agent" and given["credentials"].signer is not None
    with pytest.raises(UsageError, match="another one than --client"):
        live_options(Given(config=config, other_client="agent"))
    other = live_options(Given(config=config, other_certificate=made["one"].certificate, other_key=made["one"].key))[
        "other"
    ]
    assert other.certificate == made["one"].certificate
    bare = tmp_path / "mcpsec.toml"
    bare.write_text(config.read_text().partition("\n[[clients]]")[0].replace('"pki/', f'"{made["deployment"]}/pki/'))
    assert live_options(Given(config=bare))["credentials"].signer is None
