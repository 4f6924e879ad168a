"""What certificates look like: RFC 5280, in the form that strict verifiers and linters accept without a remark.

CA: basic constraints and key usage critical (CA:TRUE, keyCertSign and cRLSign only); issuing CAs with path length 0,
the one extended key usage of their purpose and, when asked for, critical name constraints. Leaf: CA:FALSE critical, key
usage digitalSignature only (what TLS 1.3 and every (EC)DHE suite of TLS 1.2 use), exactly one extended key usage,
subject alternative names that carry the identity, random 159-bit serial numbers, five minutes of backdating for clocks
that are behind, and never an hour beyond the CA's own end.
"""

from __future__ import annotations

import tomllib
from datetime import datetime, timedelta
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mcpsec.certs.ledger import Purpose
from mcpsec.certs.names import general_name, is_dns_name
from mcpsec.errors import ConfigurationError, UsageError
from mcpsec.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

    from mcpsec.certs.keys import KeyKind, PrivateKey
    from mcpsec.certs.names import SanKind

__all__ = [
    "BACKDATING",
    "CaSpec",
    "LeafBuilder",
    "LeafSpec",
    "Profile",
    "build_ca",
    "common_name",
    "key_identifier",
    "name_constraints",
    "profiles",
    "signature_hash",
]

BACKDATING = timedelta(minutes=5)
"""How far a certificate's beginning lies before its making, for verifiers whose clocks are behind."""

USAGES = {Purpose.CLIENT: ExtendedKeyUsageOID.CLIENT_AUTH, Purpose.SERVER: ExtendedKeyUsageOID.SERVER_AUTH}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One kind of leaf certificate. ``days`` is its usual lifetime, ``key`` its usual kind of key."""

    name: str
    purpose: Purpose
    days: float
    key: KeyKind


@cache
def _packaged() -> dict[str, dict[str, Any]]:
    return tomllib.loads(resources.files("mcpsec.certs").joinpath("profiles.toml").read_text(encoding="utf-8"))


def profiles(own: Mapping[str, Mapping[str, Any]] | None = None, path: Path | None = None) -> dict[str, Profile]:
    """Return the packaged profiles and a PKI's ``own`` ones (read from ``path``).

    Raises:
        ConfigurationError: one of them extends nothing known or has a wrong or unknown value.
    """
    from mcpsec.certs.keys import KEY_KINDS

    tables: dict[str, Mapping[str, Any]] = dict(_packaged())
    for name, table in (own or {}).items():
        base = tables.get(str(table.get("extends")))
        if base is None or name in _packaged() or "purpose" in table:
            raise ConfigurationError(f"profile {name!r} has to extend client or server, under a new name", path=path)
        tables[name] = {**base, **{key: value for key, value in table.items() if key != "extends"}}
    made: dict[str, Profile] = {}
    for name, table in tables.items():
        days, unknown = table.get("days"), set(table) - {"purpose", "days", "key"}
        key = next((each for each in KEY_KINDS if each == table.get("key")), None)
        if not isinstance(days, int | float) or days <= 0 or key is None or unknown:
            raise ConfigurationError(
                f"profile {name!r} is wrong",
                hint=f"its keys are extends, days (above 0) and key (one of {', '.join(KEY_KINDS)})",
                path=path,
            )
        made[name] = Profile(name=name, purpose=Purpose(table["purpose"]), days=float(days), key=key)
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class CaSpec:
    """One CA certificate to be. ``purpose`` None makes a root."""

    common_name: str
    purpose: Purpose | None
    not_before: datetime
    not_after: datetime
    organization: str | None = None
    constraints: x509.NameConstraints | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafSpec:
    """One leaf certificate to be."""

    common_name: str
    purpose: Purpose
    sans: tuple[tuple[SanKind, str], ...]
    not_before: datetime
    not_after: datetime
    organization: str | None = None


def signature_hash(key: object) -> hashes.SHA256 | hashes.SHA384 | None:
    """The hash that goes with a signing key: SHA-384 for P-384, none for Ed25519, SHA-256 otherwise."""
    if isinstance(key, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey):
        return None
    wide = isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) and key.curve.key_size >= 384
    return hashes.SHA384() if wide else hashes.SHA256()


def key_identifier(certificate: x509.Certificate) -> bytes:
    """A CA's subject key identifier, computed from its key when the extension is missing."""
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest


def common_name(name: x509.Name) -> str:
    """The first common name of a subject or issuer, or the whole name when it has none."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()


def _subject(common: str, organization: str | None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    names = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    never = dict.fromkeys((*names, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **never)


def name_constraints(permitted: Iterable[tuple[SanKind, str]]) -> x509.NameConstraints | None:
    """Build the constraint on a CA from (kind, text) pairs: networks for IP, hosts or .domains for the other kinds.

    None when there are no pairs.

    Raises:
        UsageError: a text is no constraint of its kind.
    """
    import ipaddress

    trees: list[x509.GeneralName] = []
    for kind, text in permitted:
        try:
            tree: x509.GeneralName
            tree = x509.IPAddress(ipaddress.ip_network(text)) if kind == "ip" else _host_constraint(kind, text)
        except ValueError as error:
            raise UsageError(f"{kind}:{text} is no name constraint: {error}") from error
        trees.append(tree)
    return x509.NameConstraints(permitted_subtrees=trees, excluded_subtrees=None) if trees else None


def _host_constraint(kind: SanKind, text: str) -> x509.GeneralName:
    host = text.rpartition("@")[2].removeprefix(".")
    if not is_dns_name(host, wildcard=False):
        raise ValueError("give a host (example.com), or a leading dot for every host below it")
    match kind:
        case "uri":
            return x509.UniformResourceIdentifier(text)
        case "email":
            return x509.RFC822Name(text)
        case _:
            return x509.DNSName(text.removeprefix("."))  # RFC 5280: a DNS constraint means everything below it anyway


def build_ca(
    spec: CaSpec,
    public_key: CertificatePublicKeyTypes,
    signing_key: PrivateKey,
    issuer: x509.Certificate | None,
) -> x509.Certificate:
    """Sign a CA certificate; ``issuer`` None makes it self-signed."""
    subject = _subject(spec.common_name, spec.organization)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(spec.not_before)
        .not_valid_after(spec.not_after)
        .add_extension(
            x509.BasicConstraints(ca=True, path_length=None if spec.purpose is None else 0),
            critical=True,
        )
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )
    if issuer is not None:
        identifier = x509.AuthorityKeyIdentifier(key_identifier(issuer), None, None)
        builder = builder.add_extension(identifier, critical=False)
    if spec.purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([USAGES[spec.purpose]]), critical=False)
    if spec.constraints is not None:
        builder = builder.add_extension(spec.constraints, critical=True)
    return builder.sign(signing_key, signature_hash(signing_key))


class LeafBuilder:
    """Signs the leaves of one CA. What all of them share is built once: a fleet is thousands of certificates."""

    def __init__(
        self, purpose: Purpose, issuer: x509.Certificate, signing_key: PrivateKey, crl_url: str | None = None
    ) -> None:
        self._key = signing_key
        self._hash = signature_hash(signing_key)
        builder = (
            x509.CertificateBuilder()
            .issuer_name(issuer.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([USAGES[purpose]]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier(key_identifier(issuer), None, None), critical=False)
        )
        if crl_url is not None:
            location = x509.DistributionPoint([x509.UniformResourceIdentifier(crl_url)], None, None, None)
            builder = builder.add_extension(x509.CRLDistributionPoints([location]), critical=False)
        self._common = builder

    def sign(
        self, spec: LeafSpec, public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
    ) -> x509.Certificate:
        """Sign one leaf certificate."""
        builder = (
            self._common.subject_name(_subject(spec.common_name, spec.organization))
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(spec.not_before)
            .not_valid_after(spec.not_after)
            .add_extension(x509.SubjectAlternativeName([general_name(*san) for san in spec.sans]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )
        return builder.sign(self._key, self._hash)
