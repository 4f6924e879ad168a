"""Certificate and key files, with what lies beside them."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mcpsec.clientfiles.positions import Malformed

if TYPE_CHECKING:
    from cryptography import x509

    from mcpsec.audit.subjects import Subject

__all__ = ["CertificateFile", "KeyFile", "is_authority", "read"]

_PEM_KEY = re.compile(rb"-----BEGIN ((?:[A-Z]+ )?)(ENCRYPTED )?PRIVATE KEY-----")


@dataclass(frozen=True)
class CertificateFile:
    """The certificates of a file, in order."""

    certificates: list[x509.Certificate]
    keys: bool = False
    """The file holds a private key, too."""


@dataclass(frozen=True)
class KeyFile:
    """A private key's file: its permissions, and whether it is encrypted."""

    mode: int
    owner: int
    encrypted: bool
    folder_mode: int
    path: Path = field(default_factory=Path)


def read(subject: Subject) -> CertificateFile | KeyFile:
    """Read a certificate or key file. Raises Malformed."""
    if subject.kind == "key":
        match = _PEM_KEY.search(subject.raw)
        if match is None:
            raise Malformed("there is no private key in it")
        status, folder = subject.path.stat(), subject.path.parent.stat()
        encrypted = bool(match[2]) or b"Proc-Type: 4,ENCRYPTED" in subject.raw
        return KeyFile(
            stat.S_IMODE(status.st_mode), status.st_uid, encrypted, stat.S_IMODE(folder.st_mode), subject.path
        )
    return CertificateFile(_certificates(subject.raw), bool(_PEM_KEY.search(subject.raw)))


def _certificates(raw: bytes) -> list[x509.Certificate]:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    from mcpsec.certs.reading import tolerant

    try:
        with tolerant():
            if b"-----BEGIN" in raw:
                return x509.load_pem_x509_certificates(raw)
            return [x509.load_der_x509_certificate(raw)]
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise Malformed("this is no certificate, or a damaged one") from None


def is_authority(certificate: x509.Certificate) -> bool:
    """True for the certificate of a CA."""
    from cryptography import x509

    from mcpsec.certs.identity import UNREADABLE
    from mcpsec.certs.reading import tolerant

    try:
        with tolerant():
            return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, *UNREADABLE):
        return False
