import contextlib
import socket
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.x509.oid import NameOID

from mcpsec.certs import Issued, Pki, Purpose, keys
from mcpsec.certs.constraints import violations
from mcpsec.certs.handshake import strict_client_context, try_handshake
from mcpsec.certs.names import SanKind
from mcpsec.certs.verification import Verdict, _name_constraints, verify
from mcpsec.errors import ConfigurationError, NotAssessedError, UsageError
from tests.certs.helpers import load, server_context, tls_server


def _judge(pki: Pki, issued: Issued, purpose: Purpose, *, crl: bool = True, **more: object) -> Verdict:
    chain = load(issued.chain)
    list_file = pki.directory / f"{issued.purpose}-ca.crl" if crl else None
    return verify(chain[0], chain[1:], load(pki.root_file), purpose=purpose, crl=list_file, **more)  # type: ignore[arg-type]


def test_what_was_issued_is_accepted_for_its_purpose_only(pki: Pki) -> None:
    client, server = pki.issue("a", Purpose.CLIENT), pki.issue("s", Purpose.SERVER, ["mcp.example.com"])
    assert _judge(pki, client, Purpose.CLIENT).accepted
    assert _judge(pki, server, Purpose.SERVER, host="mcp.example.com").accepted
    assert not _judge(pki, client, Purpose.SERVER, crl=False).accepted
    assert not _judge(pki, server, Purpose.CLIENT, crl=False).accepted
    assert not _judge(pki, server, Purpose.SERVER, host="evil.example.com").accepted
    verdict = _judge(pki, client, Purpose.CLIENT)
    assert verdict.path[0] == "a" and len(verdict.path) == 3


def test_revocation_expiry_and_another_ca_are_refused(pki: Pki, tmp_path: Path) -> None:
    issued, other = pki.issue("a", Purpose.CLIENT), pki.issue("b", Purpose.CLIENT)
    pki.revoke("a")
    assert _judge(pki, issued, Purpose.CLIENT).outcomes["revocation"].accepted is False
    assert not _judge(pki, issued, Purpose.CLIENT).accepted and _judge(pki, other, Purpose.CLIENT).accepted
    assert _judge(pki, issued, Purpose.CLIENT, crl=False).accepted  # without a list nobody can know
    later = datetime.now(UTC) + timedelta(days=91)
    assert not _judge(pki, other, Purpose.CLIENT, crl=False, at=later).accepted
    assert not _judge(pki, other, Purpose.CLIENT, at=datetime.now(UTC) + timedelta(days=31)).accepted  # the CRL is over
    with Pki.create(tmp_path / "stranger") as stranger:
        assert not _judge(stranger, other, Purpose.CLIENT, crl=False).accepted
    with pytest.raises(UsageError):
        verify(load(other.certificate)[0], [], [], purpose=Purpose.CLIENT)
    (tmp_path / "no.crl").write_text("nonsense")
    with pytest.raises(ConfigurationError):
        verify(*_parts(pki, other), purpose=Purpose.CLIENT, crl=tmp_path / "no.crl")


def _parts(pki: Pki, issued: Issued) -> tuple[x509.Certificate, list[x509.Certificate], list[x509.Certificate]]:
    chain = load(issued.chain)
    return chain[0], chain[1:], load(pki.root_file)


def _forge(pki: Pki, purpose: Purpose, san: x509.GeneralName | None, *, usage: bool = True) -> x509.Certificate:
    """A leaf signed by the real CA key, without this program's own checks."""
    from mcpsec.certs.profiles import USAGES

    authority = pki.authority(purpose)
    signer = authority.signer()
    issuer = x509.load_der_x509_certificate(signer.der)
    now = datetime.now(UTC).replace(microsecond=0)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "forged")]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)  # type: ignore[arg-type]
    )
    if san is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([san]), critical=False)
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage([USAGES[purpose]]), critical=False)
    return builder.sign(authority.key(signer), hashes.SHA256())  # type: ignore[arg-type]


@pytest.fixture
def constrained(tmp_path: Path) -> Pki:
    return Pki.create(
        tmp_path / "constrained",
        permitted={
            Purpose.CLIENT: [("uri", "example.com")],
            Purpose.SERVER: [("dns", "example.com"), ("ip", "10.0.0.0/8")],
        },
    )


@pytest.mark.parametrize(
    ("purpose", "san", "good"),
    [
        (Purpose.CLIENT, x509.UniformResourceIdentifier("spiffe://example.com/a"), True),
        (Purpose.CLIENT, x509.UniformResourceIdentifier("spiffe://evil.com/a"), False),
        (Purpose.CLIENT, x509.UniformResourceIdentifier("spiffe://sub.example.com/a"), False),
        (Purpose.SERVER, x509.DNSName("mcp.example.com"), True),
        (Purpose.SERVER, x509.DNSName("mcp.evil.com"), False),
        (Purpose.SERVER, x509.DNSName("notexample.com"), False),
    ],
)
def test_name_constraints_bind_even_against_the_cas_own_key(
    purpose: Purpose, san: x509.GeneralName, good: bool, constrained: Pki
) -> None:
    leaf = _forge(constrained, purpose, san)
    chain = load(constrained.directory / f"{purpose}-ca.pem")
    verdict = verify(leaf, chain[:1], chain[1:], purpose=purpose)
    assert verdict.accepted is good, verdict
    if purpose is Purpose.CLIENT and good:
        outcome = verdict.outcomes["cryptography"]
        assert outcome.accepted is None and "URI name constraints" in (outcome.reason or "")
    constrained.close()


def test_a_leaf_without_usage_or_names_is_refused(pki: Pki) -> None:
    chain = load(pki.directory / "client-ca.pem")
    for leaf in (
        _forge(pki, Purpose.CLIENT, x509.UniformResourceIdentifier("spiffe://example.com/a"), usage=False),
        _forge(pki, Purpose.CLIENT, None),
    ):
        assert not verify(leaf, chain[:1], chain[1:], purpose=Purpose.CLIENT).accepted
    good = _forge(pki, Purpose.CLIENT, x509.UniformResourceIdentifier("spiffe://example.com/a"))
    assert verify(good, chain[:1], chain[1:], purpose=Purpose.CLIENT).accepted


def test_a_live_server_is_believed_only_after_a_read(pki: Pki) -> None:
    server = pki.issue("gw", Purpose.SERVER, ["127.0.0.1"])
    client = pki.issue("agent", Purpose.CLIENT)
    assert server.key is not None and client.key is not None
    context = server_context(server.chain, server.key, pki.directory / "client-ca.pem", pki.directory / "client-ca.crl")
    with tls_server(context) as port:
        anonymous = strict_client_context(pki.root_file)
        refused = try_handshake("127.0.0.1", port, anonymous)  # TLS 1.3 says so only after the handshake
        assert refused.accepted is False
        known = strict_client_context(pki.root_file, client.chain, client.key)
        assert try_handshake("127.0.0.1", port, known).accepted is True
        assert try_handshake("127.0.0.1", port, known, name="other.example.com").accepted is False
    with pytest.raises(NotAssessedError, match="can't be reached"):
        try_handshake("127.0.0.1", port, known)
    with pytest.raises(ConfigurationError):
        strict_client_context(pki.root_file, client.chain, server.key)
    with pytest.raises(ConfigurationError):
        strict_client_context(client.key)


CONSTRAINTS = {
    "dns": ([x509.DNSName("example.com")], "a.example.com example.com", "badexample.com example.com.evil.test"),
    "email": (
        [x509.RFC822Name("ops@a.test"), x509.RFC822Name("b.test"), x509.RFC822Name(".c.test")],
        "ops@a.test x@b.test x@mail.c.test",
        "x@a.test OPS@a.test x@mail.b.test x@c.test x@evil-c.test",
    ),
    "ip": (
        [x509.IPAddress(ip_network("10.1.0.0/16")), x509.IPAddress(ip_network("fd00::/8"))],
        "10.1.2.3 fd00::1",
        "10.2.0.1 192.0.2.1 fe80::1",
    ),
    "uri": (
        [x509.UniformResourceIdentifier("a.test"), x509.UniformResourceIdentifier(".b.test")],
        "spiffe://a.test/x https://A.test/x spiffe://x.b.test/y",
        "spiffe://b.test/y spiffe://evil-a.test/x spiffe://x.a.test/x urn:a.test",
    ),
}


@pytest.mark.parametrize("kind", CONSTRAINTS)
def test_each_kind_of_name_is_constrained(kind: SanKind) -> None:
    """Permitted names are the only ones of their kind; excluded ones are the only ones that are refused."""
    trees, inside, outside = CONSTRAINTS[kind]
    within = [(kind, name) for name in inside.split()]
    beyond = [(kind, name) for name in outside.split()]
    permitting, excluding = _constrained_ca(trees, None), _constrained_ca(None, trees)
    assert violations(within + beyond, permitting) == beyond
    assert violations(within + beyond, excluding) == within


def _constrained_ca(
    permitted: list[x509.GeneralName] | None, excluded: list[x509.GeneralName] | None
) -> x509.Certificate:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.NameConstraints(permitted, excluded), critical=True)
        .sign(key, hashes.SHA256())
    )


def test_what_the_constraints_exclude_is_refused_by_our_own_check_too(constrained: Pki) -> None:
    forged = {
        x509.DNSName("mcp.evil.com"): "does not permit the dns name mcp.evil.com",
        x509.IPAddress(ip_address("192.0.2.1")): "does not permit the ip name 192.0.2.1",
        x509.DNSName("10.0.0.1"): "a malformed name",
    }
    chain = load(constrained.directory / "server-ca.pem")
    for name, said in forged.items():
        outcome = _name_constraints(_forge(constrained, Purpose.SERVER, name), [chain[0], chain[0]])
        assert outcome.accepted is False and said in (outcome.reason or "")
    constrained.close()


def test_a_server_is_verified_under_its_address_too(pki: Pki) -> None:
    server = pki.issue("gw", Purpose.SERVER, ["127.0.0.1", "mcp.example.com"])
    assert _judge(pki, server, Purpose.SERVER, host="127.0.0.1").accepted
    assert not _judge(pki, server, Purpose.SERVER, host="127.0.0.2").accepted


def test_a_server_that_speaks_at_once_and_one_that_hangs_up(pki: Pki) -> None:
    server = pki.issue("gw", Purpose.SERVER, ["127.0.0.1"])
    assert server.key is not None
    context = server_context(server.chain, server.key)
    for greeting, accepted in ((b"220 hello", True), (b"", False)):
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def talk(listener: socket.socket = listener, greeting: bytes = greeting) -> None:
                with listener.accept()[0] as plain, context.wrap_socket(plain, server_side=True) as secured:
                    secured.sendall(greeting) if greeting else None
                    with contextlib.suppress(OSError):
                        secured.unwrap()

            thread = threading.Thread(target=talk)
            thread.start()
            outcome = try_handshake("127.0.0.1", listener.getsockname()[1], strict_client_context(pki.root_file))
            thread.join()
        assert outcome.accepted is accepted
        assert accepted or "closed the connection" in (outcome.reason or "")


def test_an_encrypted_key_is_an_error_and_not_a_question(pki: Pki) -> None:
    client = pki.issue("agent", Purpose.CLIENT)
    assert client.key is not None
    key = keys.load(client.key, "the key")
    form = (Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret"))
    client.key.write_bytes(key.private_bytes(*form))
    with pytest.raises(ConfigurationError, match="can't be used together"):
        strict_client_context(pki.root_file, client.chain, client.key)
