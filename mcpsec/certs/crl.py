"""Certificate revocation lists (RFC 5280 section 5): building one, reading one, and knowing when it is due.

An expired CRL refuses every client, so a list is due again when half of its life has passed. Its beginning and the
revocation dates in it lie five minutes back, for verifiers whose clocks are behind, and no revocation date is later
than the list itself.
"""

from __future__ import annotations

from dataclasses import field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

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

_NUMBER_BITS = 160
"""RFC 5280 section 5.2.3."""

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_ComparableName = tuple[tuple[tuple[str, str | bytes], ...], ...]


@dataclass(frozen=True, slots=True)
class CrlFile:
    """The CRLs in one PEM file as one answer: what is revoked, and until when that answer may be used."""

    this_update: datetime
    next_update: datetime
    numbers: tuple[int, ...]
    revoked: frozenset[tuple[_ComparableName, str]]
    """(The issuer's name as names are compared, serial number in upper-case hexadecimal)."""
    verified: Mapping[str, int] = field(default_factory=dict)
    """The highest number among the lists of each CA that was there to verify them with; a CA is its public key."""
    unverified: Mapping[str, int] = field(default_factory=dict)
    """The highest number of each other issuer, which is what a list says of itself: a name and a key's identifier."""

    def covers(self, certificate: x509.Certificate) -> bool:
        """Tell whether ``certificate`` is on the list."""
        return (_comparable(certificate.issuer), serial_text(certificate.serial_number)) in self.revoked

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
        ConfigurationError: the file is missing or holds no CRL, a CRL has no end or too long a number, or one bears the
            name of one of the ``signers`` and none of them signed it.
    """
    lists = parse_crls(path)
    ends = [one.next_update_utc for one in lists if one.next_update_utc is not None]
    known, numbers = tuple(signers), []
    verified: dict[str, int] = {}
    unverified: dict[str, int] = {}
    try:
        revoked = frozenset(
            (issuer, serial_text(entry.serial_number))
            for one, issuer in [(one, _comparable(one.issuer)) for one in lists]
            for entry in one
        )
        for one in lists:
            signer, number = _signer_of(one, known, path), _number(one, path)
            if number is not None:
                numbers.append(number)
                kind, issuer = (unverified, _said_issuer(one)) if signer is None else (verified, signer)
                kind[issuer] = max(number, kind.get(issuer, number))
    except (ValueError, TypeError, x509.DuplicateExtension) as error:
        raise ConfigurationError("this is no certificate revocation list", path=path) from error
    if len(ends) != len(lists):
        raise ConfigurationError("a CRL without an end (nextUpdate) can't be relied on", path=path)
    beginning = max(one.last_update_utc for one in lists)
    return CrlFile(beginning, min(ends), tuple(numbers), revoked, verified, unverified)


def _signer_of(crl: x509.CertificateRevocationList, signers: Iterable[x509.Certificate], path: Path) -> str | None:
    """The SHA-256 of the public key that verifies the list; None when it is of none of ``signers``, or nobody can tell.

    OpenSSL goes by the name alone where a list says nothing of a key, and would let in no client of that CA any more.
    """
    name, unclear = _comparable(crl.issuer), False
    named = [one for one in signers if _comparable(one.subject) == name]
    for one in named:
        try:
            key = one.public_key()
            if crl.is_signature_valid(key):  # type: ignore[arg-type] # of a key that signs nothing: TypeError, below
                return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
        except (TypeError, ValueError, UnsupportedAlgorithm):  # a key that OpenSSL may know, and this library doesn't
            unclear = True
    if named and not unclear:
        raise ConfigurationError("this revocation list was changed, or its CA didn't sign it", path=path)
    return None


def _comparable(name: x509.Name) -> _ComparableName:
    """A name as OpenSSL compares it: without regard to case, spaces and how the text is encoded (RFC 5280, 7.1)."""
    return tuple(
        tuple(
            sorted(
                (
                    (each.oid.dotted_string, " ".join(each.value.lower().split()))
                    if isinstance(each.value, str)
                    else (each.oid.dotted_string, each.value)
                )
                for each in part
            )
        )
        for part in name.rdns
    )


def _said_issuer(crl: x509.CertificateRevocationList) -> str:
    identifier = _extension(crl, x509.AuthorityKeyIdentifier)
    name, key = crl.issuer.public_bytes(), (identifier and identifier.key_identifier) or b""
    return sha256(len(name).to_bytes(4, "big") + name + key).hexdigest()


def _number(crl: x509.CertificateRevocationList, path: Path) -> int | None:
    """A list's number; lists of other tools may have none."""
    found = _extension(crl, x509.CRLNumber)
    if found is not None and found.crl_number.bit_length() > _NUMBER_BITS:
        raise ConfigurationError("a CRL with a number of more than 20 octets can't be relied on", path=path)
    return None if found is None else found.crl_number


def _extension(crl: x509.CertificateRevocationList, kind: type[_Extension]) -> _Extension | None:
    """None also where another extension is one that can't be read, and nobody can tell."""
    try:
        return crl.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, x509.UnsupportedGeneralNameType):
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
