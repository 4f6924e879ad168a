"""Certificate revocation lists (RFC 5280 section 5): building one, reading one, and knowing when it is due.

An expired CRL refuses every client, so a list is due again when half of its life has passed. Its beginning and the
revocation dates in it lie five minutes back, for verifiers whose clocks are behind, and no revocation date is later
than the list itself.
"""

from __future__ import annotations

from dataclasses import field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from mcpsec.certs.files import read
from mcpsec.certs.identity import serial_text
from mcpsec.errors import ConfigurationError, UsageError
from mcpsec.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from mcpsec.certs.keys import PrivateKey

__all__ = ["REASONS", "CrlFile", "build", "check_reason", "crl_is_due", "load_crl", "parse_crls"]

REASONS = (
    "unspecified",
    "keyCompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "privilegeWithdrawn",
)
"""Reasons that fit a leaf certificate for good (a hold that could be lifted is not offered)."""


@dataclass(frozen=True, slots=True)
class CrlFile:
    """The CRLs in one PEM file as one answer: what is revoked, and until when that answer may be used."""

    this_update: datetime
    next_update: datetime
    numbers: tuple[int, ...]
    revoked: frozenset[tuple[bytes, str]]
    """(DER form of the issuer's name, serial number in upper-case hexadecimal)."""
    newest: Mapping[tuple[bytes, bytes], int] = field(default_factory=dict)
    """The number of each issuer's list; an issuer is a name and the identifier of its key."""
    proven: frozenset[tuple[bytes, bytes]] = frozenset()
    """The issuers in ``newest`` whose certificate was there to verify the list with."""

    def covers(self, certificate: x509.Certificate) -> bool:
        """Tell whether ``certificate`` is on the list."""
        return (certificate.issuer.public_bytes(), serial_text(certificate.serial_number)) in self.revoked

    def due(self, now: datetime | None = None) -> bool:
        """Tell whether the list should be signed again by now; see ``crl_is_due``."""
        return crl_is_due(self.this_update, self.next_update, now)

    def expired(self, now: datetime | None = None) -> bool:
        """Tell whether verifiers refuse everyone by now because the list is too old."""
        return (now or datetime.now(UTC)) >= self.next_update


def crl_is_due(this_update: datetime, next_update: datetime, now: datetime | None = None) -> bool:
    """Tell whether half of the list's life has passed, or none of it: it was signed under a clock that was ahead."""
    return not this_update <= (now or datetime.now(UTC)) < this_update + (next_update - this_update) / 2


def check_reason(reason: str) -> str:
    """Return the RFC 5280 spelling of a revocation reason, however its case and dashes were typed.

    Raises:
        UsageError: it is none.
    """
    plain = reason.replace("-", "").replace("_", "").lower()
    for known in REASONS:
        if known.lower() == plain:
            return known
    raise UsageError(f"{reason!r} is no reason for a revocation", hint=f"one of {', '.join(REASONS)}")


def parse_crls(path: Path) -> list[x509.CertificateRevocationList]:
    """Read a PEM file of one or more CRLs (or one in DER form).

    Raises:
        ConfigurationError: the file is missing or holds no CRL.
    """
    data = read(path)
    marker = b"-----BEGIN X509 CRL-----"
    try:
        if marker in data:
            return [x509.load_pem_x509_crl(marker + part) for part in data.split(marker)[1:]]
        return [x509.load_der_x509_crl(data)]
    except (ValueError, x509.InvalidVersion) as error:
        raise ConfigurationError("this is no certificate revocation list", path=path) from error


def load_crl(path: Path, *, signers: Iterable[x509.Certificate] = ()) -> CrlFile:
    """Read the CRLs in a file as one answer. Lists of other CAs than ``signers`` are not verified.

    Raises:
        ConfigurationError: the file is missing or holds no CRL, a CRL has no end, or one that says that it is of one of
            the ``signers`` is not.
    """
    lists = parse_crls(path)
    ends = [one.next_update_utc for one in lists if one.next_update_utc is not None]
    known = tuple(signers)
    try:
        revoked = frozenset(
            (one.issuer.public_bytes(), serial_text(entry.serial_number)) for one in lists for entry in one
        )
        numbered = [(one, number) for one in lists if (number := _number(one)) is not None]
        newest = {_issuer_of(one): number for one, number in sorted(numbered, key=lambda each: each[1])}
        proven = frozenset(_issuer_of(one) for one in lists if _is_signed(one, known, path))
    except (ValueError, TypeError, x509.DuplicateExtension) as error:
        raise ConfigurationError("this is no certificate revocation list", path=path) from error
    if len(ends) != len(lists):
        raise ConfigurationError("a CRL without an end (nextUpdate) can't be relied on", path=path)
    numbers = tuple(number for _, number in numbered)
    beginning = max(one.last_update_utc for one in lists)
    return CrlFile(beginning, min(ends), numbers, revoked, newest, proven & newest.keys())


def _is_signed(crl: x509.CertificateRevocationList, signers: Iterable[x509.Certificate], path: Path) -> bool:
    """Whether one of ``signers`` made the list: False when it is of none of them, an error when it only says so."""
    name, key = _issuer_of(crl)
    named = [one for one in signers if one.subject.public_bytes() == name and (not key or _key_of(one) == key)]
    if any(_made(one, crl) for one in named):
        return True
    if named and key:
        raise ConfigurationError("this revocation list was changed, or its CA didn't sign it", path=path)
    return False


def _made(signer: x509.Certificate, crl: x509.CertificateRevocationList) -> bool:
    try:
        return crl.is_signature_valid(signer.public_key())  # type: ignore[arg-type] # other keys: TypeError
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False


def _key_of(certificate: x509.Certificate) -> bytes:
    """The identifier of a CA's key, empty where it has none that can be read."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return b""


def _issuer_of(crl: x509.CertificateRevocationList) -> tuple[bytes, bytes]:
    try:
        key = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        key = None
    return crl.issuer.public_bytes(), key or b""


def _number(crl: x509.CertificateRevocationList) -> int | None:
    """A list's number; lists of other tools may have none."""
    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return None


def build(
    issuer: x509.Certificate,
    signing_key: PrivateKey,
    revoked: Iterable[tuple[str, datetime, str]],
    *,
    number: int,
    previous: datetime | None,
    lifetime: timedelta,
    now: datetime,
    url: str | None = None,
) -> tuple[datetime, datetime, bytes]:
    """Sign a CRL over (serial, moment, reason) triples; return its beginning, its end and its PEM form.

    Its beginning is later than the ``previous`` list's where the clock allows, because OpenSSL takes the latest one.
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    from mcpsec.certs.profiles import BACKDATING, key_identifier, signature_hash

    beginning = now - BACKDATING
    if previous is not None:
        beginning = min(now, max(beginning, previous + timedelta(seconds=1)))
    end = now + lifetime
    # One by one, each addition would copy all before it: 100,000 entries took 12 seconds.
    entries = [_revoked(serial, min(moment, beginning), reason) for serial, moment, reason in revoked]
    builder = (
        x509.CertificateRevocationListBuilder(revoked_certificates=entries)
        .issuer_name(issuer.subject)
        .last_update(beginning)
        .next_update(end)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(key_identifier(issuer), None, None), critical=False)
    )
    if url is not None:
        point = x509.IssuingDistributionPoint(
            full_name=[x509.UniformResourceIdentifier(url)],
            relative_name=None,
            only_contains_user_certs=True,
            only_contains_ca_certs=False,
            only_some_reasons=None,
            indirect_crl=False,
            only_contains_attribute_certs=False,
        )
        builder = builder.add_extension(point, critical=True)
    signed = builder.sign(signing_key, signature_hash(signing_key))
    return beginning, end, signed.public_bytes(Encoding.PEM)


def _revoked(serial: str, moment: datetime, reason: str) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(moment)
    if reason != "unspecified":  # RFC 5280 section 5.3.1: absent rather than "unspecified"
        builder = builder.add_extension(x509.CRLReason(x509.ReasonFlags(reason)), critical=False)
    return builder.build()
