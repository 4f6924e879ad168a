"""A certificate in words: everything in it that matters for TLS, as plain data."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mcpsec.certs.identity import sans_of_certificate, serial_text, sha256_of
from mcpsec.certs.keys import kind_of
from mcpsec.certs.reading import tolerant

__all__ = ["describe", "spki_pin"]


def spki_pin(certificate: x509.Certificate) -> str:
    """The base64 SHA-256 of the public key (the form of RFC 7469 pins)."""
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
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
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
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
    except (ValueError, x509.DuplicateExtension) as error:
        return {**facts, "error": f"its extensions can't be read: {error}"}
    return {**facts, **_extensions(extensions)}


def _key_kind(certificate: x509.Certificate) -> str:
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
