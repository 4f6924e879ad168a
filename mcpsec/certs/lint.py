"""Faults that verifiers let pass: what a certificate should not be like although TLS stacks accept it.

Each fault has a stable code, a severity and the source of the rule. ``error`` breaks a MUST of RFC 5280 or makes the
certificate unsafe, ``warning`` breaks a SHOULD or good practice, ``notice`` is worth knowing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from mcpsec.certs.identity import UNREADABLE
from mcpsec.certs.names import kind_of_san
from mcpsec.certs.reading import tolerant

__all__ = ["SEVERITIES", "Fault", "Severity", "lint", "unfit_key"]

Severity = Literal["error", "warning", "notice"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "notice")

_T = TypeVar("_T", bound=x509.ExtensionType)
_TLS_USAGES = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
_CURVES = {"secp256r1", "secp384r1", "secp521r1"}
_WEAK_HASHES = {"md5", "md2", "md4", "sha1"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a certificate."""

    code: str
    severity: Severity
    message: str
    source: str


def lint(certificate: x509.Certificate) -> list[Fault]:
    """Return the faults of one certificate, most severe first."""
    with tolerant():
        return sorted(_faults(certificate), key=lambda fault: SEVERITIES.index(fault.severity))


def _faults(certificate: x509.Certificate) -> list[Fault]:
    faults = list(_fields(certificate))
    try:
        _ = certificate.subject, certificate.issuer
    except (ValueError, TypeError) as error:
        return [*faults, Fault("names-unreadable", "error", f"its subject or issuer can't be parsed: {error}", "X.690")]
    try:
        extensions = certificate.extensions
    except UNREADABLE as error:
        fault = Fault("extensions-unreadable", "error", f"its extensions can't be parsed: {error}", "RFC 5280 4.2")
        return [*faults, fault]
    basic = _value(extensions, x509.BasicConstraints)
    is_ca = basic is not None and basic.value.ca
    return [*faults, *(_ca(certificate, extensions) if is_ca else _leaf(certificate, extensions))]


def _value(extensions: x509.Extensions, kind: type[_T]) -> x509.Extension[_T] | None:
    try:
        return extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _fields(certificate: x509.Certificate) -> Iterator[Fault]:
    serial = certificate.serial_number
    if certificate.version is not x509.Version.v3:
        yield Fault(
            "version", "error", "it is not of version 3, so it can't be limited to a purpose", "RFC 5280 4.1.2.1"
        )
    if serial <= 0:
        yield Fault("serial-not-positive", "error", "its serial number is not positive", "RFC 5280 4.1.2.2")
    elif serial.bit_length() > 160:
        yield Fault("serial-too-long", "error", "its serial number is longer than 20 bytes", "RFC 5280 4.1.2.2")
    elif serial.bit_length() < 56:
        yield Fault("serial-guessable", "warning", "its serial number is short enough to be guessed", "CA/B BR 7.1")
    if certificate.not_valid_after_utc <= certificate.not_valid_before_utc:
        yield Fault("validity-empty", "error", "it ends before it begins", "RFC 5280 4.1.2.5")
    yield from _signature(certificate)
    yield from _key(certificate)


def _signature(certificate: x509.Certificate) -> Iterator[Fault]:
    try:
        used = certificate.signature_hash_algorithm
    except Exception:  # an unknown algorithm
        yield Fault("signature-unknown", "warning", "its signature algorithm is not a common one", "NIST SP 800-57")
        return
    if used is not None and used.name in _WEAK_HASHES:
        yield Fault(
            "signature-weak", "error", f"it is signed over {used.name}, which can be forged", "NIST SP 800-131A"
        )


def unfit_key(certificate: x509.Certificate) -> Fault | None:
    """What is wrong with a key with which nobody comes through a handshake of TLS 1.3; None if nothing is."""
    try:
        key = certificate.public_key()
    except Exception:  # an unknown algorithm or curve, in one of several exceptions
        return Fault(
            "key-unknown", "error", "its key is of a kind that common TLS stacks don't accept", "RFC 8446 4.2.3"
        )
    match key:
        case rsa.RSAPublicKey() if key.key_size < 2048:
            return Fault("key-weak", "error", f"its RSA key has only {key.key_size} bits", "NIST SP 800-57")
        case ec.EllipticCurvePublicKey() if key.curve.name not in _CURVES:
            text = f"its curve {key.curve.name} is none that TLS 1.3 signs with"
            return Fault("key-curve", "warning", text, "RFC 8446 4.2.3")
        case rsa.RSAPublicKey() | ec.EllipticCurvePublicKey() | ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return None
        case _:
            return Fault("key-unknown", "error", "its key is of a kind that TLS 1.3 doesn't know", "RFC 8446 4.2.3")


def _key(certificate: x509.Certificate) -> Iterator[Fault]:
    unfit = unfit_key(certificate)
    if unfit is not None:
        yield unfit
    if unfit is not None and unfit.code == "key-unknown":
        return
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        if 2048 <= key.key_size < 3072:
            yield Fault("key-ageing", "notice", "its RSA-2048 key is good until 2030 only", "NIST SP 800-57")
        if key.public_numbers().e < 65537 or key.public_numbers().e % 2 == 0:
            yield Fault("key-exponent", "warning", "its RSA exponent is below 65537 or even", "FIPS 186-5")


def _ca(certificate: x509.Certificate, extensions: x509.Extensions) -> Iterator[Fault]:
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    if not basic.critical:
        yield Fault("ca-basic-constraints", "error", "its basic constraints are not critical", "RFC 5280 4.2.1.9")
    usage = _value(extensions, x509.KeyUsage)
    if usage is None or not usage.value.key_cert_sign:
        yield Fault("ca-key-usage", "error", "it is a CA without the key usage keyCertSign", "RFC 5280 4.2.1.3")
    elif not usage.critical:
        yield Fault("ca-key-usage-critical", "warning", "its key usage is not critical", "RFC 5280 4.2.1.3")
    constraints = _value(extensions, x509.NameConstraints)
    if constraints is not None and not constraints.critical:
        yield Fault("name-constraints-critical", "error", "its name constraints may be ignored", "RFC 5280 4.2.1.10")
    if _value(extensions, x509.SubjectKeyIdentifier) is None:
        yield Fault("ca-key-identifier", "error", "it has no subject key identifier", "RFC 5280 4.2.1.2")
    if not list(certificate.subject):
        yield Fault("ca-subject", "error", "it is a CA without a subject", "RFC 5280 4.1.2.6")
    if isinstance(_try_key(certificate), ed25519.Ed25519PublicKey):
        yield Fault("ca-ed25519", "warning", "widespread verifiers refuse CAs with Ed25519 keys", "CA/B BR 6.1.5")
    if certificate.subject != certificate.issuer:
        yield from _issued(extensions)
        if _value(extensions, x509.ExtendedKeyUsage) is None:
            yield Fault("ca-any-purpose", "notice", "it may issue for any purpose", "Mozilla root policy 5.3")
        if basic.value.path_length is None:
            yield Fault("ca-path-length", "notice", "it may make CAs below itself", "RFC 5280 4.2.1.9")


def _try_key(certificate: x509.Certificate) -> object:
    try:
        return certificate.public_key()
    except Exception:  # reported as key-unknown already
        return None


def _issued(extensions: x509.Extensions) -> Iterator[Fault]:
    if _value(extensions, x509.AuthorityKeyIdentifier) is None:
        yield Fault("authority-key-identifier", "error", "it does not say which key signed it", "RFC 5280 4.2.1.1")


def _leaf(certificate: x509.Certificate, extensions: x509.Extensions) -> Iterator[Fault]:
    if certificate.subject != certificate.issuer:
        yield from _issued(extensions)
    else:
        yield Fault("self-signed", "warning", "it is its own issuer: nobody can revoke it", "RFC 5280 6.1")
    yield from _leaf_usages(certificate, extensions)
    yield from _leaf_names(certificate, extensions)
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    if life > timedelta(days=398):
        yield Fault("life-too-long", "warning", f"it lives for {life.days} days", "CA/B BR 6.3.2")
    elif life > timedelta(days=91):
        yield Fault("life-long", "notice", f"it lives for {life.days} days; rotate every 90", "NIST SP 800-57")
    if _value(extensions, x509.SubjectKeyIdentifier) is None:
        yield Fault("key-identifier", "notice", "it has no subject key identifier", "RFC 5280 4.2.1.2")


def _leaf_usages(certificate: x509.Certificate, extensions: x509.Extensions) -> Iterator[Fault]:
    extended = _value(extensions, x509.ExtendedKeyUsage)
    usages = set(extended.value) if extended is not None else set()
    if extended is None:
        yield Fault("usage-missing", "error", "without extended key usage it is good for anything", "RFC 5280 4.2.1.12")
    elif ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usages:
        yield Fault("usage-any", "error", "its extended key usage allows anything", "RFC 5280 4.2.1.12")
    elif usages >= _TLS_USAGES:
        yield Fault("usage-both", "warning", "it serves as client and as server", "Chrome root policy 3.2")
    elif usages - _TLS_USAGES:
        yield Fault("usage-other", "warning", "it is good for more than TLS", "RFC 5280 4.2.1.12")
    usage = _value(extensions, x509.KeyUsage)
    if usage is None:
        yield Fault("key-usage-missing", "warning", "it has no key usage", "RFC 5280 4.2.1.3")
        return
    if usage.value.key_cert_sign or usage.value.crl_sign:
        yield Fault("key-usage-ca", "error", "it is no CA but may sign certificates or lists", "RFC 5280 4.2.1.3")
    if not usage.value.digital_signature:
        yield Fault("key-usage-signature", "error", "TLS 1.3 needs digitalSignature", "RFC 8446 4.4.2.2")
    if usage.value.key_encipherment and not isinstance(_try_key(certificate), rsa.RSAPublicKey):
        yield Fault("key-usage-encipherment", "error", "its key can't encipher, yet it says so", "RFC 5480 3")


def _leaf_names(certificate: x509.Certificate, extensions: x509.Extensions) -> Iterator[Fault]:
    names = _value(extensions, x509.SubjectAlternativeName)
    if names is None or not list(names.value):
        yield Fault("names-missing", "error", "its only identity is its subject, which nobody verifies", "RFC 9525 2")
        return
    has_subject = bool(list(certificate.subject))
    if names.critical and has_subject:
        yield Fault("names-critical", "warning", "its names are critical beside a subject", "RFC 5280 4.2.1.6")
    if not names.critical and not has_subject:
        yield Fault("names-not-critical", "error", "its only names are not critical", "RFC 5280 4.2.1.6")
    spiffe = [
        uri for uri in names.value.get_values_for_type(x509.UniformResourceIdentifier) if uri.startswith("spiffe:")
    ]
    if len(spiffe) > 1:
        yield Fault("spiffe-several", "error", "it holds more than one SPIFFE ID", "SPIFFE X509-SVID 2")
    yield from (
        Fault("spiffe-malformed", "error", "its SPIFFE ID is malformed", "SPIFFE-ID 2")
        for uri in spiffe
        if kind_of_san(uri) != "uri"
    )
    for dns in names.value.get_values_for_type(x509.DNSName):
        if kind_of_san(dns) != "dns":
            yield Fault("name-malformed", "error", f"{dns!r} is no DNS name", "RFC 5280 4.2.1.6")
        elif dns.startswith("*."):
            yield Fault("name-wildcard", "notice", f"{dns} stands for every host of its domain", "RFC 9525 6.3")
