"""A certificate in words: everything in it that matters for TLS, as plain data."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mcpsec.certs.identity import UNREADABLE, sans_of_certificate, serial_text, sha256_of
from mcpsec.certs.keys import kind_of
from mcpsec.certs.reading import tolerant

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["describe", "describe_list", "describe_request", "spki_pin"]


def spki_pin(certificate: x509.Certificate) -> str | None:
    """The base64 SHA-256 of the public key (the form of RFC 7469 pins); None for a key that can't be parsed."""
    try:
        spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return base64.b64encode(hashlib.sha256(spki).digest()).decode()


def describe(certificate: x509.Certificate) -> dict[str, Any]:
    """Return what a certificate says. Moments are RFC 3339 in UTC; absent extensions are null.

    A certificate whose extensions can't be parsed has an ``error`` in place of them.
    """
    with tolerant():
        return _describe(certificate)


def _describe(certificate: x509.Certificate) -> dict[str, Any]:
    der = certificate.public_bytes(Encoding.DER)
    facts: dict[str, Any] = {
        "subject": _name(certificate, "subject"),
        "issuer": _name(certificate, "issuer"),
        "serial": serial_text(certificate.serial_number),
        "not_before": certificate.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "not_after": certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "sans": [{"kind": san.kind, "value": str(san)} for san in sans_of_certificate(certificate)],
        "key": _key_kind(certificate),
        "signature": _signature(certificate),
        "sha256": sha256_of(der),
        "spki_sha256": spki_pin(certificate),
    }
    try:
        extensions = certificate.extensions
    except UNREADABLE as error:
        return {**facts, "error": f"its extensions can't be read: {error}"}
    return {**facts, **_extensions(extensions)}


def describe_list(crl: x509.CertificateRevocationList) -> dict[str, Any]:
    """Return what a revocation list says; the entries as serial number, moment and reason."""
    facts: dict[str, Any] = {
        "kind": "crl",
        "issuer": _name(crl, "issuer"),
        "this_update": _moment(crl.last_update_utc),
        "next_update": None if crl.next_update_utc is None else _moment(crl.next_update_utc),
        "signature": getattr(crl.signature_algorithm_oid, "_name", "unknown"),
    }
    try:
        numbers = [one.value.crl_number for one in crl.extensions if isinstance(one.value, x509.CRLNumber)]
        entries = [
            {"serial": serial_text(one.serial_number), "date": _moment(one.revocation_date_utc), "reason": _reason(one)}
            for one in crl
        ]
    except UNREADABLE as error:
        return {**facts, "error": f"it can't be read to its end: {error}"}
    return {**facts, "number": numbers[0] if numbers else None, "revoked": entries}


def _reason(entry: x509.RevokedCertificate) -> str:
    found = [one.value.reason.value for one in entry.extensions if isinstance(one.value, x509.CRLReason)]
    return found[0] if found else "unspecified"


def describe_request(request: x509.CertificateSigningRequest) -> dict[str, Any]:
    """Return what a signing request asks for, and whether its sender holds the key."""
    facts: dict[str, Any] = {
        "kind": "request",
        "subject": _name(request, "subject"),
        "key": _key_kind(request),
        "signature_valid": _is_genuine(request),
    }
    try:
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return {**facts, "names": [str(getattr(name, "value", name)) for name in names]}
    except x509.ExtensionNotFound:
        return {**facts, "names": []}
    except UNREADABLE as error:
        return {**facts, "error": f"its extensions can't be read: {error}"}


def _name(thing: Any, which: str) -> str | None:
    """A subject or issuer in words; None when it can't be parsed."""
    try:
        return str(getattr(thing, which).rfc4514_string())
    except (ValueError, TypeError):
        return None


def _is_genuine(request: x509.CertificateSigningRequest) -> bool:
    try:
        return request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm):
        return False


def _moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def _key_kind(certificate: x509.Certificate | x509.CertificateSigningRequest) -> str:
    try:
        return kind_of(certificate.public_key())
    except Exception:  # an unknown algorithm or curve comes as one of several exceptions
        return "unsupported"


def _signature(certificate: x509.Certificate) -> str:
    name: str = certificate.signature_algorithm_oid._name
    return name


def _extensions(extensions: x509.Extensions) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(
        ("ca", "path_length", "key_usage", "extended_key_usage", "permitted", "excluded", "subject_key_identifier")
    )
    found |= {"authority_key_identifier": None, "crl_urls": [], "critical": []}
    for extension in extensions:
        value = extension.value
        if extension.critical:
            found["critical"].append(extension.oid._name)
        match value:
            case x509.BasicConstraints():
                found["ca"], found["path_length"] = value.ca, value.path_length
            case x509.KeyUsage():
                found["key_usage"] = key_usages(value)
            case x509.ExtendedKeyUsage():
                found["extended_key_usage"] = [oid._name for oid in value]
            case x509.NameConstraints():
                found["permitted"] = [str(tree.value) for tree in value.permitted_subtrees or ()]
                found["excluded"] = [str(tree.value) for tree in value.excluded_subtrees or ()]
            case x509.SubjectKeyIdentifier():
                found["subject_key_identifier"] = value.digest.hex()
            case x509.AuthorityKeyIdentifier():
                found["authority_key_identifier"] = value.key_identifier.hex() if value.key_identifier else None
            case x509.CRLDistributionPoints():
                found["crl_urls"] = [str(name.value) for point in value for name in point.full_name or ()]
            case _:
                pass
    return found


def key_usages(usage: x509.KeyUsage) -> list[str]:
    """The bits that are set, by their RFC 5280 names."""
    names = {
        "digital_signature": "digitalSignature",
        "content_commitment": "nonRepudiation",
        "key_encipherment": "keyEncipherment",
        "data_encipherment": "dataEncipherment",
        "key_agreement": "keyAgreement",
        "key_cert_sign": "keyCertSign",
        "crl_sign": "cRLSign",
    }
    return [text for name, text in names.items() if getattr(usage, name)]
