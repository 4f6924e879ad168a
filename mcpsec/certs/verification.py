"""Would a peer be let in? A certificate is accepted only when two independent engines both accept it.

Strict OpenSSL and ``cryptography``'s own validator each let pass what the other refuses. Neither alone is right, so one
refusal is a refusal. The second engine can't judge URI name constraints or CRLs: the first are checked here, over every
CA of the path that OpenSSL built, and the outcome says so; CRLs are OpenSSL's part.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from mcpsec.certs.constraints import violations
from mcpsec.certs.crl import parse_crls
from mcpsec.certs.identity import UNREADABLE, sans_of_certificate
from mcpsec.certs.leaf import now_utc
from mcpsec.certs.ledger import Purpose
from mcpsec.certs.lint import unfit_key
from mcpsec.certs.profiles import USAGES
from mcpsec.certs.reading import title_of
from mcpsec.certs.strict_openssl import verify_strict
from mcpsec.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

_T = TypeVar("_T", bound=x509.ExtensionType)

__all__ = ["Outcome", "Verdict", "verify"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One examiner's answer; ``accepted`` None means that it can't judge, and ``reason`` why."""

    accepted: bool | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """All answers about one certificate. ``path`` holds the names from the leaf to the anchor, empty when refused."""

    purpose: Purpose
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    path: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        """True when OpenSSL accepts and nobody refuses."""
        strict = self.outcomes["openssl"].accepted is True
        return strict and all(outcome.accepted is not False for outcome in self.outcomes.values())


def verify(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    *,
    purpose: Purpose,
    crl: Path | None = None,
    host: str | None = None,
    at: datetime | None = None,
) -> Verdict:
    """Judge a certificate for ``purpose`` against trust ``anchors``; ``host`` also has to be one of a server's names.

    Raises:
        UsageError: there is no anchor to verify against.
        ConfigurationError: the CRL file can't be read.
        NotAssessedError: OpenSSL can't be asked.
    """
    if not anchors:
        raise UsageError("there is no CA to verify against", hint="--ca FILE")
    moment = at or now_utc()
    lists = parse_crls(crl) if crl is not None else []
    strict = verify_strict(leaf, intermediates, anchors, purpose=purpose, crls=lists, host=host, at=moment)
    path = [x509.load_der_x509_certificate(der) for der in strict.chain]
    outcomes = {
        "openssl": Outcome(strict.reason is None, strict.reason),
        "cryptography": _second_engine(leaf, intermediates, anchors, purpose, host, moment),
        "name constraints": _name_constraints(leaf, path),
        "extended key usage": _usage(leaf, purpose),
        "key": _key(leaf),
        "revocation": _revocation(strict.reason, given=bool(lists)),
    }
    return Verdict(purpose, outcomes, tuple(title_of(certificate) for certificate in path))


def _second_engine(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    anchors: Sequence[x509.Certificate],
    purpose: Purpose,
    host: str | None,
    moment: datetime,
) -> Outcome:
    try:
        builder = PolicyBuilder().store(Store(list(anchors))).time(moment)
        if purpose is Purpose.CLIENT:
            builder.build_client_verifier().verify(leaf, list(intermediates))
        else:
            name = host or next((san for san in sans_of_certificate(leaf) if san.kind in ("dns", "ip")), None)
            if name is None:
                return Outcome(False, "a server certificate has to hold a DNS name or an IP address")
            builder.build_server_verifier(_subject(name)).verify(leaf, list(intermediates))
    except VerificationError as error:
        reason = _innermost(str(error))
        if "unsupported name constraint" in reason.lower():
            return Outcome(None, "can't judge URI name constraints; mcpsec checks them itself")
        return Outcome(False, reason)
    except (*UNREADABLE, TypeError) as error:
        return Outcome(False, f"can't be parsed: {error}")
    return Outcome(True)


def _subject(name: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.replace("*.", "any.", 1) if name.startswith("*.") else name)


def _innermost(text: str) -> str:
    """The cause inside the engine's nested wording."""
    inner = text.rpartition("Other(")[2] if "Other(" in text else text
    return inner.strip('")( ') or text


def _name_constraints(leaf: x509.Certificate, path: Sequence[x509.Certificate]) -> Outcome:
    if not path:
        return Outcome(None, "no path to check")
    names = [(san.kind, str(san)) for san in sans_of_certificate(leaf)]
    constrained = [ca for ca in path[1:] if _value(ca, x509.NameConstraints) is not None]
    every = _value(leaf, x509.SubjectAlternativeName)
    if constrained and every is not None and len(names) < len(list(every)):
        return Outcome(False, "it holds a malformed name, which no constraint can be checked against")
    for ca in constrained:
        for kind, text in violations(names, ca):
            return Outcome(False, f"{title_of(ca)} does not permit the {kind} name {text}")
    return Outcome(True)


def _value(certificate: x509.Certificate, kind: type[_T]) -> _T | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        return None


def _usage(leaf: x509.Certificate, purpose: Purpose) -> Outcome:
    try:
        usages = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return Outcome(False, "it has no extended key usage, so it is good for anything")
    except UNREADABLE as error:
        return Outcome(False, f"its extensions can't be parsed: {error}")
    return Outcome(True) if USAGES[purpose] in usages else Outcome(False, f"it is not for a TLS {purpose}")


def _key(leaf: x509.Certificate) -> Outcome:
    """No engine asks whether a handshake would come to its end with this key; those of CAs the second one judges."""
    unfit = unfit_key(leaf)
    return Outcome(True) if unfit is None else Outcome(False, unfit.message)


def _revocation(reason: str | None, *, given: bool) -> Outcome:
    if not given:
        return Outcome(None, "no CRL was given")
    if reason is not None and ("revoked" in reason or "CRL" in reason):
        return Outcome(False, reason)
    return Outcome(True if reason is None else None, None if reason is None else "the path was refused before")
