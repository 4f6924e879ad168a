"""`verify` says of no key yes that a gateway would refuse in the handshake."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mcpsec.certs import Purpose
from mcpsec.certs.verification import Verdict, verify
from mcpsec.deployment.model import Tls
from mcpsec.gateway.tls import server_context

KEYS: dict[str, Callable[[], Any]] = {
    "rsa1024": lambda: rsa.generate_private_key(65537, 1024),
    "rsa2048": lambda: rsa.generate_private_key(65537, 2048),
    "dsa2048": lambda: dsa.generate_private_key(2048),
    "p192": lambda: ec.generate_private_key(ec.SECP192R1()),
    "p224": lambda: ec.generate_private_key(ec.SECP224R1()),
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "brainpool": lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
}
GOOD = {"rsa2048", "p256", "p384", "p521", "ed25519", "ed448"}


def _hash(key: Any) -> Any:
    return None if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()


def _certificate(name: str, key: Any, issuer: x509.Certificate | None, signer: Any, usage: Any) -> x509.Certificate:
    subject, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), datetime.now(UTC).replace(microsecond=0)
    ca = usage is None
    uses = dict.fromkeys(
        (
            "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
            "decipher_only",
        ),
        False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **uses), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if not ca:
        names = [x509.DNSName("localhost")]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(signer, _hash(signer))


def _written(file: Path, *parts: Any) -> Path:
    data = b""
    for part in parts:
        if isinstance(part, x509.Certificate):
            data += part.public_bytes(Encoding.PEM)
        else:
            data += part.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.touch(0o600)
    file.write_bytes(data)
    return file


def _let_in(server: ssl.SSLContext, client: ssl.SSLContext) -> bool:
    """Whether a handshake between the two comes to its end, and the server has not refused what it was shown."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(down, up, server_hostname="localhost"),
        server.wrap_bio(up, down, server_side=True),
    ]
    done = [False, False]
    for _ in range(8):
        for number, end in enumerate(ends):
            if not done[number]:
                try:
                    end.do_handshake()
                    done[number] = True
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError:
                    return False
    return all(done)


def _gateway_takes(tmp_path: Path, authority: x509.Certificate, signer: Any, leaf: x509.Certificate, key: Any) -> bool:
    own = ec.generate_private_key(ec.SECP256R1())
    root = ec.generate_private_key(ec.SECP256R1())
    trusted = _certificate("server CA", root, None, root, None)
    served = _certificate("gateway", own, trusted, root, ExtendedKeyUsageOID.SERVER_AUTH)
    files = [_written(tmp_path / "server.pem", served), _written(tmp_path / "server.key", own)]
    client_ca = _written(tmp_path / "client-ca.pem", authority)
    client = ssl.create_default_context(cafile=str(_written(tmp_path / "server-ca.pem", trusted)))
    client.set_ciphers("DEFAULT:@SECLEVEL=0")  # the client is for anything
    try:
        client.load_cert_chain(_written(tmp_path / "client.pem", leaf, key))
    except ssl.SSLError:
        return False
    return _let_in(server_context(Tls(certificate=files[0], key=files[1], client_ca=client_ca)), client)


def _judged(authority: x509.Certificate, leaf: x509.Certificate) -> Verdict:
    return verify(leaf, [], [authority], purpose=Purpose.CLIENT)


@pytest.mark.parametrize("kind", KEYS)
def test_a_clients_key(kind: str, tmp_path: Path) -> None:
    root, key = ec.generate_private_key(ec.SECP256R1()), KEYS[kind]()
    authority = _certificate("client CA", root, None, root, None)
    leaf = _certificate("agent", key, authority, root, ExtendedKeyUsageOID.CLIENT_AUTH)
    verdict, taken = _judged(authority, leaf), _gateway_takes(tmp_path, authority, root, leaf, key)
    assert verdict.accepted is (kind in GOOD)
    assert verdict.outcomes["key"].accepted is (kind in GOOD)
    assert taken or not verdict.accepted


@pytest.mark.parametrize("kind", KEYS)
def test_a_cas_key(kind: str, tmp_path: Path) -> None:
    """The second engine judges those, and is stricter than the gateway."""
    root, key = KEYS[kind](), ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("client CA", root, None, root, None)
    leaf = _certificate("agent", key, authority, root, ExtendedKeyUsageOID.CLIENT_AUTH)
    verdict, taken = _judged(authority, leaf), _gateway_takes(tmp_path, authority, root, leaf, key)
    assert taken or not verdict.accepted
    assert verdict.accepted is (kind in GOOD - {"ed25519", "ed448"})
