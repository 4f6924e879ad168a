"""One leaf certificate on its way: what is asked for, what was signed, and what lies on the disk in the end."""

from __future__ import annotations

from dataclasses import field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mcpsec.certs import keys
from mcpsec.certs.csr import make_request
from mcpsec.errors import RefusedError, UsageError
from mcpsec.frozen import dataclass

if TYPE_CHECKING:
    from pathlib import Path

    from mcpsec.certs.delivery import Files
    from mcpsec.certs.ledger import Entry, Purpose
    from mcpsec.certs.profiles import LeafSpec, Profile

__all__ = ["Draft", "Issued", "LeafRequest", "OvertakenError", "now_utc", "pem", "request_of", "with_key"]


class OvertakenError(RefusedError):
    """Another process gave the name a newer certificate between a look at the ledger and the lock."""


def now_utc() -> datetime:
    """The current second, in UTC: certificates express nothing finer."""
    return datetime.now(UTC).replace(microsecond=0)


def pem(*ders: bytes) -> bytes:
    """PEM text of certificates in DER form, in that order."""
    return b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in ders)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafRequest:
    """One certificate to issue. Give either ``key_kind`` or a key there already is (``key``, or ``public_key`` alone).

    ``request`` is the signing request (PEM) that a public key came with.

    ``sans`` are names as people type them. A name that bears a good certificate is refused unless ``replace``.
    ``renews`` is the serial number of the certificate that this one renews: the name has to bear it still, unrevoked.
    """

    name: str
    profile: Profile
    sans: tuple[str, ...] = ()
    days: float | None = None
    key_kind: keys.KeyKind | None = None
    key: keys.PrivateKey | None = None
    public_key: keys.PublicKey | None = None
    request: bytes | None = None
    key_passphrase: bytes | None = field(default=None, repr=False)
    replace: bool = False
    renews: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A certificate as it lies on the disk. Paths are absolute; ``key`` is None when the key stayed with its owner.

    ``shortened`` is true when the CA's own end cut the lifetime that was asked for.
    """

    name: str
    serial: str
    sans: tuple[str, ...]
    purpose: Purpose
    not_before: datetime
    not_after: datetime
    certificate: Path
    chain: Path
    key: Path | None
    shortened: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """A certificate that is signed and not yet delivered: its ledger entry and its files."""

    entry: Entry
    files: Files
    shortened: bool


def with_key(request: LeafRequest) -> LeafRequest:
    """Give a request its key. Outside the lock: an RSA key takes its time."""
    if request.public_key is not None and request.key is None:
        return request
    key = request.key or keys.generate(request.key_kind or request.profile.key)
    return replace(request, key=key, public_key=key.public_key())


def request_of(request: LeafRequest, spec: LeafSpec) -> bytes:
    """The signing request that a CA elsewhere needs.

    Raises:
        UsageError: only the public key is known, so nobody here can prove that its owner asks.
    """
    if request.request is not None:
        return request.request
    if request.key is None:
        raise UsageError(f"the CA of {request.name!r} needs a signing request", hint="--csr FILE")
    return make_request(request.name, (f"{kind}:{text}" for kind, text in spec.sans), request.key)
