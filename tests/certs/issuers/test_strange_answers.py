"""What a server that is no OpenBao, a broken one, or one with a careless role can answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mcpsec.certs import Purpose, keys
from mcpsec.certs.csr import make_request
from mcpsec.certs.issuers import transit
from mcpsec.certs.issuers.openbao_pki import OpenBaoPki
from mcpsec.certs.leaf import now_utc
from mcpsec.certs.profiles import CaSpec, LeafBuilder, LeafSpec, build_ca, general_name
from mcpsec.errors import ConfigurationError, Error, RefusedError, UsageError

Answers = dict[str, tuple[int, bytes]]
Heard = list[tuple[str, dict[str, str], bytes]]


@pytest.fixture
def pretender(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Answers, Heard]]:
    """A server on loopback that says what it was told to say: path → status and body."""
    answers: Answers = {}
    heard: Heard = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.removeprefix("/v1/")
            heard.append((path, dict(self.headers), body))
            status, answer = answers.get(path, (404, b""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    for name in ("ADDR", "TOKEN", "TOKEN_FILE", "CACERT", "NAMESPACE"):
        monkeypatch.delenv(f"VAULT_{name}", raising=False)
        monkeypatch.delenv(f"BAO_{name}", raising=False)
    monkeypatch.setenv("BAO_ADDR", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("BAO_TOKEN", "a-token")
    yield answers, heard
    server.shutdown()
    thread.join()
    server.server_close()


def _data(**members: Any) -> tuple[int, bytes]:
    return 200, json.dumps({"data": members}).encode()


_ROLE = "openbao-pki:mcp/client"


@pytest.fixture(scope="module")
def ca() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    now = now_utc()
    spec = CaSpec(common_name="Fleet", purpose=None, not_before=now, not_after=now + timedelta(days=300))
    return build_ca(spec, key.public_key(), key, None), key


def _spec(**changed: Any) -> LeafSpec:
    now = now_utc()
    known: dict[str, Any] = {
        "common_name": "agent",
        "purpose": Purpose.CLIENT,
        "sans": (("dns", "agent.example.com"),),
        "not_before": now,
        "not_after": now + timedelta(days=1),
    }
    return LeafSpec(**{**known, **changed})


def _signed(ca: tuple[x509.Certificate, ec.EllipticCurvePrivateKey], spec: LeafSpec, public_key: Any) -> bytes:
    return LeafBuilder(spec.purpose, *ca).sign(spec, public_key).public_bytes(Encoding.PEM)


def _without_usage(ca: tuple[x509.Certificate, ec.EllipticCurvePrivateKey], spec: LeafSpec, public_key: Any) -> bytes:
    builder = (
        x509.CertificateBuilder()
        .subject_name(ca[0].subject)
        .issuer_name(ca[0].subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(spec.not_before)
        .not_valid_after(spec.not_after)
        .add_extension(x509.SubjectAlternativeName([general_name(*san) for san in spec.sans]), critical=False)
    )
    return builder.sign(ca[1], hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("changed", "other_key", "make", "said"),
    [
        ({}, False, _signed, None),
        ({}, True, _signed, "another key"),
        ({"sans": (("dns", "evil.example.com"),)}, False, _signed, "other names"),
        ({"purpose": Purpose.SERVER}, False, _signed, "other usages"),
        ({}, False, _without_usage, "other usages"),
        ({"not_after": now_utc() + timedelta(days=200)}, False, _signed, "a longer life"),
    ],
)
def test_a_certificate_that_is_not_what_was_asked_for_is_revoked_at_once(
    changed: dict[str, Any],
    other_key: bool,
    make: Callable[..., bytes],
    said: str | None,
    ca: tuple[x509.Certificate, ec.EllipticCurvePrivateKey],
    pretender: tuple[Answers, Heard],
) -> None:
    answers, heard = pretender
    key = ec.generate_private_key(ec.SECP256R1())
    request = make_request("agent", ["agent.example.com"], key)
    signs_for = ec.generate_private_key(ec.SECP256R1()) if other_key else key
    made = make(ca, _spec(**changed), signs_for.public_key())
    answers["mcp/sign/client"] = _data(certificate=made.decode())
    answers["mcp/revoke"] = _data()
    if said is None:
        assert OpenBaoPki(_ROLE).sign(_spec(), request) == x509.load_pem_x509_certificate(made)
        assert [path for path, _, _ in heard] == ["mcp/sign/client"]
        return
    with pytest.raises(RefusedError, match=f"{said}.*revoked at once"):
        OpenBaoPki(_ROLE).sign(_spec(), request)
    path, _, body = heard[-1]
    serial = int(json.loads(body)["serial_number"].replace(":", ""), 16)
    assert (path, serial) == ("mcp/revoke", x509.load_pem_x509_certificate(made).serial_number)


def _ask_certificate() -> object:
    return OpenBaoPki(_ROLE).sign(_spec(), make_request("agent", ["agent.example.com"], keys.generate("p256")))


@pytest.mark.parametrize(
    ("ask", "path", "answer", "said"),
    [
        (_ask_certificate, "mcp/sign/client", _data(), "certificate can't be understood"),
        (_ask_certificate, "mcp/sign/client", _data(certificate="none"), "certificate can't be understood"),
        (_ask_certificate, "mcp/sign/client", (200, b"[1]"), "answer can't be understood"),
        (_ask_certificate, "mcp/sign/client", (200, b"<html>"), "answer can't be understood"),
        (_ask_certificate, "mcp/sign/client", (200, b'{"data": 5}'), "certificate can't be understood"),
        (_ask_certificate, "mcp/sign/client", (500, b"<html>"), "HTTP status 500"),
        (_ask_certificate, "mcp/sign/client", (400, b'{"errors": ["no\\nway"]}'), "no way"),
        (lambda: OpenBaoPki(_ROLE).chain(), "mcp/ca_chain", (200, b"nothing"), "has no CA"),
        (lambda: OpenBaoPki(_ROLE).crl(), "mcp/crl/pem", (200, b"nothing"), "has no CRL"),
    ],
)
def test_an_answer_that_makes_no_sense_is_one_clear_error(
    ask: Callable[[], object], path: str, answer: tuple[int, bytes], said: str, pretender: tuple[Answers, Heard]
) -> None:
    pretender[0].update({"mcp/crl/rotate": _data(), path: answer})
    with pytest.raises(Error, match=said):
        ask()


def test_a_list_without_an_end_is_no_list(
    ca: tuple[x509.Certificate, ec.EllipticCurvePrivateKey], pretender: tuple[Answers, Heard]
) -> None:
    now = now_utc()
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca[0].subject)
    made = builder.last_update(now).next_update(now + timedelta(days=1)).sign(ca[1], hashes.SHA256())
    pretender[0].update(
        {"mcp/crl/rotate": _data(), "mcp/crl/pem": (200, made.public_bytes(Encoding.PEM))},
    )
    assert OpenBaoPki(_ROLE).crl() == made


def test_the_namespace_travels_and_https_is_verified(
    pretender: tuple[Answers, Heard], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, heard = pretender
    answers["mcp/ca_chain"] = (200, b"nothing")
    monkeypatch.setenv("BAO_NAMESPACE", "team/one")
    with pytest.raises(Error, match="has no CA"):
        OpenBaoPki(_ROLE).chain()
    assert {name.lower(): value for name, value in heard[0][1].items()}["x-vault-namespace"] == "team/one"
    monkeypatch.setenv("BAO_ADDR", "https://127.0.0.1:9")
    with pytest.raises(Error, match="can't be reached"):
        OpenBaoPki(_ROLE).chain()
    monkeypatch.setenv("BAO_CACERT", str(tmp_path / "none.pem"))
    with pytest.raises(ConfigurationError, match="no file of CA certificates"):
        OpenBaoPki(_ROLE)


def _transit_key(public_key: Any) -> tuple[int, bytes]:
    pem = public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return _data(latest_version=1, keys={"1": {"public_key": pem}})


@pytest.mark.parametrize(
    "answer",
    [_data(), _data(signature=""), _data(signature="vault:v1"), _data(signature="vault:v1:!!!"), (200, b"no json")],
)
def test_a_signature_that_makes_no_sense(answer: tuple[int, bytes], pretender: tuple[Answers, Heard]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pretender[0].update({"transit/keys/ca": _transit_key(key.public_key()), "transit/sign/ca/sha2-256": answer})
    remote = transit.load("transit:ca#1", "the key")
    with pytest.raises(Error, match="can't be understood"):
        remote.sign(b"data", ec.ECDSA(hashes.SHA256()))  # type: ignore[call-arg]


def test_what_a_key_that_only_signs_does_not_do(pretender: tuple[Answers, Heard]) -> None:
    pretender[0]["transit/keys/ca"] = _transit_key(ec.generate_private_key(ec.SECP384R1()).public_key())
    curved: Any = transit.load("transit:ca#1", "the key")
    assert curved.key_size == 384
    with pytest.raises(UsageError, match="doesn't sign over md5"):
        curved.sign(b"data", ec.ECDSA(hashes.MD5()))
    with pytest.raises(UsageError, match="a prepared digest"):
        curved.sign(b"data", ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    with pytest.raises(UsageError, match="can only sign"):
        curved.private_numbers()
    public_key = rsa.RSAPublicNumbers(65537, 2**3071 + 1).public_key()
    pretender[0]["transit/keys/ca"] = _transit_key(public_key)
    remote: Any = transit.load("transit:ca#1", "the key")
    assert remote.key_size == 3072
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH)
    with pytest.raises(UsageError, match="signed with PKCS#1"):
        remote.sign(b"data", pss, hashes.SHA256())
    assert [path for path, _, _ in pretender[1] if "/sign/" in path] == []
