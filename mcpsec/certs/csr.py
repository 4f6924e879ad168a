"""Certificate signing requests (PKCS#10, RFC 2986): for keys that never leave their owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mcpsec.certs.files import read
from mcpsec.certs.identity import UNREADABLE
from mcpsec.certs.names import check_name, general_name, parse_sans
from mcpsec.certs.profiles import signature_hash
from mcpsec.errors import ConfigurationError, RefusedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mcpsec.certs.keys import PrivateKey, PublicKey

__all__ = ["Request", "make_request", "read_request"]


@dataclass(frozen=True, slots=True)
class Request:
    """What a request asks to certify. Everything else in it (usages, CA flags, subject) is ignored on purpose."""

    public_key: PublicKey
    sans: tuple[str, ...]
    pem: bytes


def read_request(path: Path) -> Request:
    """Read a request in PEM or DER form and check that its sender holds the key.

    Raises:
        ConfigurationError: the file can't be read, or is no request.
        RefusedError: its signature is wrong, its key is weak, or a name in it is malformed.
    """
    data = read(path)
    try:
        load = x509.load_pem_x509_csr if b"-----BEGIN" in data else x509.load_der_x509_csr
        request = load(data)
        genuine = request.is_signature_valid
        key = request.public_key()
        names = _names(request)
    except (*UNREADABLE, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        hint = "such as openssl req -new writes, in PEM or DER form"
        raise ConfigurationError(
            "this is no certificate signing request, or a damaged one", path=path, hint=hint
        ) from error
    if not genuine:
        raise RefusedError("its signature is wrong, so its sender may not hold the key", path=path)
    strong = _strong(key)
    if strong is None:
        hint = "P-256, P-384, Ed25519, or RSA with at least 2048 bits"
        raise RefusedError("its key is weak or of a kind that TLS 1.3 peers refuse", path=path, hint=hint)
    try:
        parse_sans(names)
    except UsageError as error:
        raise RefusedError(f"it asks for a malformed name: {error.message}", path=path) from error
    return Request(strong, names, request.public_bytes(Encoding.PEM))


def _strong(key: object) -> PublicKey | None:
    """The key, when TLS 1.3 peers take it."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key if key.curve.name in ("secp256r1", "secp384r1") else None
    if isinstance(key, rsa.RSAPublicKey):
        return key if key.key_size >= 2048 and key.public_numbers().e >= 65537 else None
    return key if isinstance(key, ed25519.Ed25519PublicKey) else None


def _names(request: x509.CertificateSigningRequest) -> tuple[str, ...]:
    try:
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(f"{_kind(name)}:{name.value}" for name in names)


def _kind(name: x509.GeneralName) -> str:
    match name:
        case x509.DNSName():
            return "dns"
        case x509.UniformResourceIdentifier():
            return "uri"
        case x509.IPAddress():
            return "ip"
        case x509.RFC822Name():
            return "email"
        case _:
            return "other"


def make_request(name: str, sans: Iterable[str], key: PrivateKey) -> bytes:
    """Make a request for ``sans`` in PEM form, signed with the key that it is for.

    Raises:
        UsageError: the name or a SAN is wrong.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, check_name(name))])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    parsed = parse_sans(sans)
    if parsed:
        names = x509.SubjectAlternativeName([general_name(*san) for san in parsed])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, signature_hash(key)).public_bytes(Encoding.PEM)
