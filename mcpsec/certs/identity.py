"""Who a certificate says it is for: its subject alternative names and fingerprint. The common name is never one.

This is what the gateway asks for every new connection, so it stays small: one parse of the DER form.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from cryptography import x509

from mcpsec.certs.names import kind_of_san

if TYPE_CHECKING:
    from mcpsec.certs.names import SanKind

__all__ = ["UNREADABLE", "San", "sans_of", "sans_of_certificate", "serial_text", "sha256_of"]


UNREADABLE = (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""What reading a certificate, a request or a list, or its extensions, may raise when it is malformed or odd."""


class San(str):
    """One subject alternative name as plain text, which is what policies compare; ``kind`` says which form it had."""

    __slots__ = ("kind",)
    kind: SanKind

    def __new__(cls, kind: SanKind, text: str) -> San:
        """Make a name of the given kind."""
        self = super().__new__(cls, text)
        self.kind = kind
        return self

    def __repr__(self) -> str:
        return f"{self.kind}:{self!s}"


def sans_of(der: bytes) -> list[San]:
    """Return the DNS names, URIs, IP addresses and e-mail addresses of a certificate in DER form.

    A name whose text reads as another kind (a dNSName that holds a URI) is left out: compared as text, it could pass
    for an identity that its issuer never vetted as one. An unreadable certificate has no names.
    """
    try:
        return sans_of_certificate(x509.load_der_x509_certificate(der))
    except UNREADABLE:  # of version 4, say, which OpenSSL lets pass
        return []


def sans_of_certificate(certificate: x509.Certificate) -> list[San]:
    """Return the names of a parsed certificate; see ``sans_of``."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        return []
    found: list[San] = []
    for name in names:
        match name:
            case x509.DNSName():
                san = San("dns", name.value)
            case x509.UniformResourceIdentifier():
                san = San("uri", name.value)
            case x509.RFC822Name():
                san = San("email", name.value)
            case x509.IPAddress():
                san = San("ip", str(name.value))
            case _:
                continue
        if kind_of_san(san) == san.kind:
            found.append(san)
    return found


def sha256_of(der: bytes) -> str:
    """Return the SHA-256 of a certificate's DER form in lower-case hexadecimal."""
    return hashlib.sha256(der).hexdigest()


def serial_text(serial: int) -> str:
    """Write a serial number as OpenSSL does: upper-case hexadecimal, whole bytes."""
    text = f"{serial:X}"
    return text if len(text) % 2 == 0 else f"0{text}"
