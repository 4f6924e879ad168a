"""Live probes against a strict server that shares no code with mcpsec: it passes whole, and each control that it lacks
turns exactly its checks red.
"""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime

import pytest

from mcpsec.audit.probes import load, session, traces
from mcpsec.audit.probes.consent import require
from mcpsec.audit.probes.session import Credentials
from mcpsec.audit.subjects import Context, Subject
from mcpsec.cli.root import main
from mcpsec.deployment import load as load_deployment
from mcpsec.deployment.model import Rate
from mcpsec.errors import UsageError
from mcpsec.gateway.pins.lock import Lock, UpstreamPins
from mcpsec.signing import Signer, SigningKey
from tests.audit.helpers import failing, judged
from tests.audit.strict_server import BURST, RATE, TOOLS, StrictServer
from tests.fixtures.pki import Authority

ALICE, BOB = "spiffe://t/alice", "spiffe://t/bob"
NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL."""

CONTROLS = {
    "authentication": {"AUT001", "SIG001", "TLS002"},
    "client certificates": {"TLS002"},
    "dates of certificates": {"TLS004"},
    "known names": {"TLS005"},
    "signatures": {"SIG001"},
    "body digest": {"SIG002"},
    "covered headers": {"SIG002"},
    "known keys": {"SIG002"},
    "age": {"SIG003"},
    "replay protection": {"SIG004"},
    "origin": {"ORG001"},
    "host": {"ORG002"},
    "cors": {"ORG003"},
    "type": {"ORG004"},
    "random sessions": {"SES001"},
    "known sessions": {"SES001"},
    "session owner": {"SES001"},
    "no sessions": {"SES002"},
    "mirror": {"HDR001"},
    "single headers": {"HDR002"},
    "strict JSON": {"INP003"},
    "short errors": {"ERR001"},
    "denial": {"PRM003"},
    "filtered lists": {"PRM004"},
    "redaction": {"LOG002"},
    "counters": {"MON003"},
}
"""Control → the checks that fail without it, and no others."""
LOADS = {
    "body limit": ("INP001", {"INP001"}),
    "depth": ("INP002", {"INP002"}),
    "deadlines": ("TMO003", {"TMO003"}),
    "rate limit": ("RTE", {"RTE003"}),
    "limit by client": ("RTE", {"RTE004"}),
    "limit by identity": ("RTE", {"RTE004"}),
}
POLICY = """\
version = 1
[server]
listen = "127.0.0.1:0"
[server.tls]
certificate = "{server.certificate}"
key = "{server.key}"
client_ca = "{client.ca}"
minimum_version = "1.2"
[log]
file = "server.log"
[upstreams.only]
url = "http://127.0.0.1:1/mcp"
[upstreams.only.access]
"*" = "read"
[[clients]]
id = "alice"
certificate = {{ san = "spiffe://t/alice" }}
signing_keys = [{{ id = "alice", secret = {{ env = "ALICE" }} }}]
allow_resources = ["only/echo", "only/lookup"]
allow_methods = ["read"]
"""


@pytest.fixture(autouse=True)
def unhurried(monkeypatch):
    """No pause between requests, and short waits; what is waited for is always a condition."""
    monkeypatch.setattr(session, "PACE", 0.0)
    monkeypatch.setattr(load, "GRACE", 0.5)
    monkeypatch.setattr(load, "LONGEST_BURST", 300.0)
    monkeypatch.setattr(load, "LONGEST_WINDOW", 300.0)
    monkeypatch.setattr(traces, "SETTLES", 3.0)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Certificates, keys and the policy file."""
    directory = tmp_path_factory.mktemp("live")
    servers, clients = Authority(directory / "s", "Servers"), Authority(directory / "c", "Clients")
    server = servers.server("server", trusts=clients.certificate)
    alice = clients.client("alice", ALICE, trusts=servers.certificate)
    bob = clients.client("bob", BOB, trusts=servers.certificate)
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = directory / "client-ca.key"
    key.write_bytes(clients._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    secrets = {name: name.encode() * 16 for name in ("alice", "bob")}
    signers = {name: Signer(SigningKey(name, secret=secret)) for name, secret in secrets.items()}
    (directory / "mcpsec.toml").write_text(POLICY.format(server=server, client=server))
    return {
        "server": server, "keys": secrets, "deployment": load_deployment(directory / "mcpsec.toml"),
        "alice": Credentials(alice.certificate, alice.key, servers.certificate, signers["alice"], client="alice"),
        "bob": Credentials(bob.certificate, bob.key, servers.certificate, signers["bob"], client="bob"),
        "authority": (clients.certificate, key), "ca": clients.certificate,
    }  # fmt: skip


def context_of(world, lacking):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world["server"].certificate, world["server"].key)
    context.load_verify_locations(world["ca"])
    optional = lacking in ("client certificates", "authentication")
    context.verify_mode = ssl.CERT_OPTIONAL if optional else ssl.CERT_REQUIRED
    if lacking == "dates of certificates":
        context.verify_flags |= NO_CHECK_TIME
    return context


@pytest.fixture
def probed(world, tmp_path):
    """Runs a server that lacks one control, and probes it: ``probed("origin")``."""
    running = []

    def run(lacking="", *, profile="refuse", **more):
        log = tmp_path / f"{len(running)}.log"
        log.touch()
        grants = {ALICE: ("echo", "lookup"), BOB: tuple(TOOLS)}
        server = StrictServer(context_of(world, lacking), grants=grants, keys=world["keys"], lacking=lacking, log=log)
        running.append(server)
        if profile != "load":
            server.buckets = None
        options = {
            "credentials": world["alice"], "other": world["bob"], "authority": world["authority"], "log": log,
            "owned": {"localhost"}, "deployment": world["deployment"], "metrics": f"{server.url[:-4]}/private/metrics",
            "longest": 4.0, "rate": Rate(1, 1 / RATE, BURST), **more.pop("options", {}),
        }  # fmt: skip
        return server, judged(tmp_path, server.url, profile=profile, options=options, **more)

    yield run
    for server in running:
        server.close()


@pytest.mark.parametrize("control", ["", *CONTROLS])
def test_each_control_that_is_missing_turns_exactly_its_checks_red(control, probed):
    server, found = probed(control)
    told = [(r.check, r.observed) for r in failing(found)]
    assert {r.check for r in failing(found)} == CONTROLS.get(control, set()), told
    assert server.called == []
    assert set(server.methods) <= {
        "server/discover", "initialize", "notifications/initialized", "tools/list", "tools/call", "prompts/get", "ping",
    }  # fmt: skip
    if not control:
        unknown = {(r.check, r.observed) for r in found.results if r.state == "not-assessed"}
        assert {check for check, _ in unknown} == {"CRT006"}, unknown
        assert found.exit_code == 0
        assert server.sessions == {}  # what was opened is closed
    for result in failing(found):
        assert result.fix
        assert result.location.path == server.url


@pytest.mark.parametrize("control", LOADS)
def test_load_finds_what_has_no_bounds(control, probed):
    select, red = LOADS[control]
    _, found = probed(control, profile="load", select=[select], options={"window": 1.0})
    told = [(r.check, r.state, r.observed) for r in found.results]
    assert {r.check for r in failing(found)} == red, told
    assert [r.check for r in found.results if r.state == "not-assessed" and r.required] == [], told


@pytest.mark.parametrize("checks", [{"RTE003", "RTE004"}, {"INP001", "INP002", "TMO003"}], ids=["limits", "bounds"])
def test_load_passes_what_has_bounds(checks, probed):
    _, found = probed(profile="load", select=sorted(checks), options={"window": 1.0})
    told = [(r.check, r.state, r.observed) for r in found.results]
    assert {r.check for r in found.results if r.state == "pass"} == checks, told
    assert {r.state for r in found.results} == {"pass"}, told


def test_nobody_is_attacked_without_consent(world, probed, tmp_path):
    server, _ = probed(profile="passive")
    before = len(server.methods)
    for profile in ("refuse", "load"):
        with pytest.raises(UsageError, match="owner has to agree"):
            judged(tmp_path, server.url, profile=profile, options={"owned": {"elsewhere"}})
    with pytest.raises(UsageError, match="of this machine"):
        judged(tmp_path, "https://mcp.acme.example:8443/mcp", profile="load", options={"owned": {"mcp.acme.example"}})
    assert len(server.methods) == before


def test_passive_sends_nothing_that_must_be_refused(probed):
    server, found = probed(profile="passive")
    assert failing(found) == []
    assert "tools/call" not in server.methods
    assert {r.check for r in found.results}.isdisjoint({"SIG002", "SIG003", "SIG004", "TLS003", "PRM003", "INP003"})
    (endpoint,) = [each for each in found.subjects if each.kind == "endpoint"]
    assert endpoint.facts["requests"] <= 30
    assert server.connections <= 31  # each request has its own, and one only looks whether anybody is there
    assert server.failures <= 3


def test_passive_asks_an_open_server_little_more(world, tmp_path):
    """Of both eras, with the pages that only an open server is asked for."""
    server = StrictServer(None, grants={}, keys={}, lacking="authentication")
    try:
        found = judged(tmp_path, server.url, profile="passive", options={})
        assert server.connections <= 31
        assert server.sessions == {}
    finally:
        server.close()
    judged_checks = {r.check for r in found.results if r.state in ("pass", "fail")}
    assert {"AUT001", "ORG001", "ORG002", "ORG003", "ORG004", "ERR002", "SES001", "SES002", "SES003", "HDR001", "TOL001",
            "PRM006"} <= judged_checks  # fmt: skip


def test_ids_of_few_bits_are_sampled_six_times_before_they_are_blamed(probed):
    _, found = probed("random sessions", profile="passive", select=["SES001"])
    assert [r.observed for r in failing(found)] and "6 ids" in failing(found)[0].observed


def test_a_lock_out_ends_the_attack_and_is_not_clean(world, probed, tmp_path):
    server, _ = probed(profile="passive")
    server.buckets = {ALICE: (-1e9, 1e12)}  # locked for good
    options = {"credentials": world["alice"], "owned": {"localhost"}}
    found = judged(tmp_path, server.url, profile="refuse", options=options)
    assert found.exit_code == 3
    stopped = [r for r in found.results if r.state == "not-assessed" and "429" in r.observed]
    assert {"SIG002", "PRM003", "INP003"} <= {r.check for r in stopped}
    assert all(r.required for r in stopped)


def test_without_a_key_what_needs_one_is_said_and_not_clean(probed):
    _, found = probed(options={"credentials": Credentials(), "other": None, "authority": None, "deployment": None})
    assert failing(found, "AUT001", "SIG001", "TLS002", "PRM003") == []
    unknown = {r.check: r.observed for r in found.results if r.state == "not-assessed"}
    assert "--client-ca-key" in unknown["TLS004"]
    assert {"PRM003", "INP003", "TOL001", "HDR001"} <= set(unknown)


def test_the_lists_that_are_shown_are_judged(world, tmp_path):
    hidden = "Gives the text back.\u200b\U000e0041"
    tools = {
        **TOOLS,
        "echo": {**TOOLS["echo"], "description": hidden},
        "delete_all": {**TOOLS["echo"], "name": "delete_all"},
    }
    server = StrictServer(None, grants={}, keys={}, lacking="authentication", tools=tools)
    try:
        server.buckets = None
        found = judged(tmp_path, server.url, profile="passive", options={})
    finally:
        server.close()
    assert {(r.check, r.subject) for r in failing(found) if r.check.startswith("TOL")} == {
        ("TOL001", "echo"), ("TOL005", "delete_all"),
    }  # fmt: skip


def test_what_is_listed_is_held_against_the_lock(world, tmp_path):
    lock = tmp_path / "mcpsec.pins.toml"
    Lock({"only": UpstreamPins({"tools": TOOLS})}).write(lock)
    changed = {**TOOLS, "echo": {**TOOLS["echo"], "description": "Gives the text to somebody else."}}
    for tools, red in ((TOOLS, set()), (changed, {"only/echo"})):
        server = StrictServer(None, grants={}, keys={}, lacking="authentication", tools=tools)
        server.buckets = None
        try:
            found = judged(tmp_path, server.url, str(lock), profile="passive", select=["TOL004"])
        finally:
            server.close()
        told = [(r.subject, r.state, r.observed) for r in found.results]
        assert {r.subject for r in failing(found)} == red, told
        assert any(r.state == "pass" for r in found.results)


def test_a_later_reading_sees_the_certificate_change(world, probed, tmp_path):
    state = tmp_path / "state.json"

    def told(*, certificate=None):
        if certificate is not None:
            readings = json.loads(state.read_text())
            (row,) = next(iter(readings["endpoints"].values()))
            row["serial"] = certificate
            state.write_text(json.dumps(readings))
            target = next(iter(readings["endpoints"]))
            options = {"state": state, "credentials": world["alice"]}
            found = judged(tmp_path, target, profile="passive", select=["CRT006"], options=options)
        else:
            _, found = probed(profile="passive", select=["CRT006"], options={"state": state})
        return {str(r.state) for r in found.results}

    assert told() == {"not-assessed"}
    assert told(certificate="beef") == {"pass"}
    state.write_text("[]")
    with pytest.raises(UsageError, match="no file of readings"):
        probed(profile="passive", select=["CRT006"], options={"state": state})


def test_the_command_says_who_has_to_agree(world, probed, tmp_path, capsys):
    server, _ = probed(profile="passive", select=["TLS001"])
    alice = world["alice"]
    own = ["--cert", str(alice.certificate), "--key", str(alice.key), "--ca", str(alice.ca)]
    assert main(["audit", server.url, *own, "--profile", "refuse"]) == 2
    assert "--i-own-this localhost" in capsys.readouterr().err
    code = main(
        ["audit", server.url, *own, "--profile", "refuse", "--i-own-this", "localhost", "--format", "json",
         "--select", "TLS003", "--no-waivers"]
    )  # fmt: skip
    document = json.loads(capsys.readouterr().out)
    assert code == 0 and document["profile"] == "refuse"
    assert {(r["check"], r["state"]) for r in document["results"]} == {("TLS003", "pass")}
    for wrong, text in (
        (["--client", "alice"], "-c FILE"),
        (["--other-cert", str(alice.certificate)], "belong together"),
        (["--rate-limit", "often"], "--rate-limit"),
        (["--log", str(tmp_path / "none.log")], "no such file"),
    ):
        assert main(["audit", server.url, *own, *wrong]) == 2
        assert text in capsys.readouterr().err.replace("\n", " ")


def test_an_entry_of_the_deployment_file_is_consent(world, tmp_path):
    text = POLICY.format(server=world["server"], client=world["server"])
    text += '[[audit.targets]]\nurl = "https://one.invalid:8443/mcp"\nallow_load = true\n'
    text += '[[audit.targets]]\nurl = "https://two.invalid:8443/mcp"\n'
    (tmp_path / "mcpsec.toml").write_text(text)
    options = {"deployment": load_deployment(tmp_path / "mcpsec.toml")}
    for url, profile, good in (
        ("https://one.invalid:8443/mcp", "load", True),
        ("https://two.invalid:8443/mcp", "refuse", True),
        ("https://two.invalid:8443/mcp", "load", False),
        ("https://three.invalid:8443/mcp", "refuse", False),
    ):
        context = Context([Subject("endpoint", tmp_path, url)], tmp_path, datetime.now(UTC), profile, options)
        if good:
            require(context)
        else:
            with pytest.raises(UsageError):
                require(context)


def test_old_tls_a_small_key_and_another_certificate_than_on_disk(world, tmp_path):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = rsa.generate_private_key(65537, 1024)
    good = x509.load_pem_x509_certificate(world["server"].certificate.read_bytes())
    builder = x509.CertificateBuilder(
        issuer_name=good.issuer, subject_name=good.subject, public_key=key.public_key(), serial_number=7,
        not_valid_before=good.not_valid_before_utc, not_valid_after=good.not_valid_after_utc,
    )  # fmt: skip
    bundle = tmp_path / "small.pem"
    bundle.write_bytes(
        builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
        + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    weak = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    weak.set_ciphers("DEFAULT@SECLEVEL=0")
    weak.load_cert_chain(bundle)
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    for context, red in ((weak, {"TLS007", "TLS009", "CRT009"}), (context_of(world, ""), set())):
        server = StrictServer(context, grants={}, keys={})
        options = {"deployment": world["deployment"], "credentials": world["alice"]}
        try:
            found = judged(
                tmp_path, server.url, profile="passive", select=["TLS007", "TLS009", "CRT009"], options=options
            )
        finally:
            server.close()
        told = [(r.check, r.state, r.observed) for r in found.results]
        assert {r.check for r in failing(found)} == red, told
