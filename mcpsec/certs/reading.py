"""Other people's certificates: from PEM and DER files, from whole directories, and from whatever answers TLS."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.utils import CryptographyDeprecationWarning

from mcpsec.certs.crl import parse_crls
from mcpsec.certs.files import read
from mcpsec.certs.identity import UNREADABLE
from mcpsec.certs.profiles import common_name
from mcpsec.errors import ConfigurationError, NotAssessedError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Found",
    "FoundList",
    "NoCertificateError",
    "endpoint_of",
    "load_certificates",
    "read_lists",
    "read_target",
    "request_in",
    "served_chain",
    "title_of",
    "tolerant",
]

_SUFFIXES = frozenset({".pem", ".crt", ".cer", ".der", ".cert"})
_LISTS = frozenset({".crl", ".pem"})
_MARK = re.compile(rb"-----(?P<which>BEGIN|END) (?:TRUSTED |X509 )?CERTIFICATE-----")
_ENDPOINT = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})")
_LARGEST = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """A certificate and where it was: a file or an endpoint, and its position there, from 0."""

    certificate: x509.Certificate
    place: str
    position: int = 0


@dataclass(frozen=True, slots=True)
class FoundList:
    """A revocation list and the file it was in."""

    crl: x509.CertificateRevocationList
    place: str


def title_of(thing: x509.Certificate | x509.CertificateRevocationList) -> str:
    """The common name of a certificate's subject or a list's issuer; empty when it has none that can be parsed."""
    try:
        return common_name(thing.subject if isinstance(thing, x509.Certificate) else thing.issuer)
    except (ValueError, TypeError):
        return ""


def read_lists(target: str) -> list[FoundList]:
    """The revocation lists in a file, or in every ``.crl`` and ``.pem`` file below a directory; none at an endpoint."""
    path = Path(target)
    if endpoint_of(target) is not None:
        return []
    files = _below(path, _LISTS) if path.is_dir() else [path]
    found: list[FoundList] = []
    for file in files:
        with contextlib.suppress(ConfigurationError, OSError):  # whoever looks for certificates says what is unreadable
            if file.is_file() and file.stat().st_size <= _LARGEST:
                found += [FoundList(crl, str(file)) for crl in parse_crls(file)]
    return found


def endpoint_of(target: str) -> tuple[str, int] | None:
    """Read ``HOST:PORT`` or ``[IPv6]:PORT``; None when the text is neither, or a file has that name."""
    match = _ENDPOINT.fullmatch(target)
    if match is None or not 0 < int(match["port"]) < 65536 or Path(target).exists():
        return None
    return match["v6"] or match["host"], int(match["port"])


def read_target(target: str, *, timeout: float = 10.0) -> Iterator[Found]:
    """The certificates in a file, in every certificate file below a directory, or served at ``HOST:PORT``.

    Raises:
        NotAssessedError: the endpoint does not answer, or a file can't be read or holds no certificate.
    """
    endpoint = endpoint_of(target)
    if endpoint is not None:
        for position, certificate in enumerate(served_chain(*endpoint, timeout=timeout)):
            yield Found(certificate, target, position)
        return
    path = Path(target)
    if path.is_dir():
        seen: set[bytes] = set()  # chains repeat their CAs in every file
        for file in _below(path, _SUFFIXES):
            with contextlib.suppress(NoCertificateError):  # keys and lists lie beside certificates
                for found in _in_file(file):
                    digest = found.certificate.fingerprint(hashes.SHA256())
                    if digest not in seen:
                        seen.add(digest)
                        yield found
        return
    yield from _in_file(path)


def _below(directory: Path, suffixes: frozenset[str]) -> list[Path]:
    """The files of these suffixes below a directory.

    A directory that can't be listed is passed over: whoever looks at certificates need not see the keys beside them.
    """
    names = (Path(top, name) for top, _, inner in os.walk(directory) for name in inner)
    return sorted(each for each in names if each.suffix.lower() in suffixes and os.path.isfile(each))  # noqa: PTH113 # never raises


@contextlib.contextmanager
def tolerant() -> Iterator[None]:
    """Look at malformed certificates without ``cryptography`` warning about them: judging them is our job."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        yield


class NoCertificateError(NotAssessedError):
    """A file without a certificate."""


def _in_file(path: Path) -> Iterator[Found]:
    try:
        if path.stat().st_size > _LARGEST:
            raise NotAssessedError("too large for a certificate file", path=path)
        data = read(path)
    except OSError as error:
        raise NotAssessedError(f"can't be read ({error.strerror})", path=path) from error
    except ConfigurationError as error:
        raise NotAssessedError(error.message, path=path) from error
    for position, certificate in enumerate(_parse(data, path)):
        yield Found(certificate, str(path), position)


def _parse(data: bytes, path: Path) -> list[x509.Certificate]:
    try:
        with tolerant():
            return _load(data, path)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        kind = NotAssessedError if b"CERTIFICATE-----" in data else NoCertificateError
        raise kind("this is no certificate, or a damaged one", path=path) from error


def _load(data: bytes, path: Path) -> list[x509.Certificate]:
    if b"-----BEGIN" in data:
        blocks = [x509.load_pem_x509_certificate(block) for block in _blocks(data)]
        if not blocks:
            raise NoCertificateError("this file holds no certificate", path=path)
        return blocks
    return [x509.load_der_x509_certificate(data)]


def _blocks(data: bytes) -> Iterator[bytes]:
    """Each certificate in PEM form, from its beginning to its end; raises ValueError where one is missing.

    Of a thousand beginnings without an end only the first is looked at, and what lies between two marks is not looked
    at here at all: a single pattern for both and what is between them takes time or memory for each hyphen.
    """
    begun: int | None = None
    for mark in _MARK.finditer(data):
        if (begun is None) is not (mark["which"] == b"BEGIN"):
            raise ValueError("a beginning without an end, or the reverse")
        if begun is None:
            begun = mark.start()
        else:
            yield data[begun : mark.end()]
            begun = None
    if begun is not None:
        raise ValueError("a beginning without an end")


def request_in(target: str) -> x509.CertificateSigningRequest | None:
    """The signing request in a file, None when it holds something else or can't be read."""
    path = Path(target)
    try:
        if endpoint_of(target) is not None or not path.is_file() or path.stat().st_size > _LARGEST:
            return None
        data = path.read_bytes()
        return x509.load_pem_x509_csr(data) if b"-----BEGIN" in data else x509.load_der_x509_csr(data)
    except (OSError, ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        return None


def load_certificates(path: Path) -> list[x509.Certificate]:
    """Read a file that has to hold certificates.

    Raises:
        ConfigurationError: it is missing, unreadable, or holds none.
    """
    try:
        return [found.certificate for found in _in_file(path)]
    except NotAssessedError as error:
        raise ConfigurationError(error.message, path=path) from error


def served_chain(
    host: str, port: int, *, timeout: float = 10.0, context: ssl.SSLContext | None = None
) -> list[x509.Certificate]:
    """The certificates that a TLS server sends, leaf first. Nothing is verified: this only looks.

    Raises:
        NotAssessedError: no connection, no TLS, or a certificate that can't be read.
    """
    if context is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout=timeout) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            ders = chain_of(secured)
    except OSError as error:
        raise NotAssessedError(f"{host}:{port} does not answer TLS: {plain_reason(error)}") from error
    if not ders:
        raise NotAssessedError(f"{host}:{port} sends no certificate")
    try:
        return [x509.load_der_x509_certificate(der) for der in ders]
    except UNREADABLE as error:
        raise NotAssessedError(f"{host}:{port} sends a certificate that can't be read") from error


def chain_of(secured: ssl.SSLSocket) -> list[bytes]:
    """What the peer sent, leaf first, in DER form (the leaf alone where this Python can't say more)."""
    raw: Any = secured if hasattr(secured, "get_unverified_chain") else getattr(secured, "_sslobj", None)
    if hasattr(raw, "get_unverified_chain"):
        chain = raw.get_unverified_chain() or []
        encoding = getattr(__import__("_ssl"), "ENCODING_DER", 2)
        return [bytes(one) if isinstance(one, bytes) else one.public_bytes(encoding) for one in chain]
    leaf = secured.getpeercert(binary_form=True)
    return [leaf] if leaf else []


def plain_reason(error: OSError) -> str:
    """What a connection failed of, in few words and without addresses of memory or C files."""
    if isinstance(error, ssl.SSLError):
        return getattr(error, "verify_message", "") or (error.reason or "TLS error").replace("_", " ").lower()
    if isinstance(error, socket.gaierror):
        return "the name does not resolve"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror or "no connection").lower()
