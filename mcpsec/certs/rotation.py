"""Replacing CAs without an instant at which anyone is refused: old and new overlap, and the old one goes last.

A new issuing CA signs leaves from the moment it is published; the one before it stays in the bundle and keeps signing
its own CRL until nothing that verifiers would accept depends on it. A new root is published beside the old one first;
issuing CAs move below it when they are rotated next, once every peer has the new ``root-ca.pem``.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mcpsec.certs import create as making
from mcpsec.certs import keys
from mcpsec.certs.files import lock, make_directory, read
from mcpsec.certs.issuers import is_external, is_issuer, load_ca_key, pinned
from mcpsec.certs.leaf import now_utc
from mcpsec.certs.settings import Settings
from mcpsec.errors import RefusedError, SecretError, UsageError
from mcpsec.writing import PRIVATE, PUBLIC, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from mcpsec.certs.authority import Authority
    from mcpsec.certs.ledger import Purpose, Signer
    from mcpsec.certs.pki import Pki

__all__ = ["Retirement", "retire", "retire_root", "retire_unused", "rotate", "rotate_root"]


@dataclass(frozen=True, slots=True)
class Retirement:
    """A CA that was retired, and how many superseded certificates are refused from now on."""

    name: str
    cut_off: int


def rotate(
    pki: Pki,
    purpose: Purpose,
    *,
    root_key: Path | None = None,
    key_kind: keys.CaKeyKind | None = None,
    days: float = 1825,
    external_key: str | None = None,
) -> Signer:
    """Give an authority a new CA below the newest root whose key is at hand (``root_key`` when it is kept elsewhere).

    Name constraints and key encryption stay as they are.

    Raises:
        Error: the root's key is not here or wrong, or this account may not.
    """
    _check_life(days)
    authority = pki.authority(purpose)
    if external_key is not None and is_issuer(external_key):
        with authority.held():
            return making.adopt_issuer(authority, external_key, now_utc())
    root, root_signing_key = _root(pki, root_key)
    with authority.held():
        now = now_utc()
        if now >= root.not_valid_after_utc:
            raise RefusedError("the root has expired", path=pki.root_file, hint="mcpsec certs rotate-ca root")
        old = authority.signer()
        old_certificate = x509.load_der_x509_certificate(old.der)
        local = not is_external(old.key) and not is_issuer(old.key)
        encrypted = local and b"ENCRYPTED" in read(authority.root / old.key)[:100]
        secret = pki.passphrase(f"the {purpose} CA's key") if encrypted and pki.passphrase else None
        if encrypted and not secret:
            raise SecretError(f"the {purpose} CA's key is encrypted and no passphrase was given")
        if local:
            authority.key(old)  # it has to sign its CRL during the overlap; this also proves the passphrase
        new = making.NewPki(
            key_kind=key_kind or keys.ca_kind_of(old_certificate.public_key()),
            ca_days=min(days, 36525),
            root_days=36525,
            passphrases={purpose.value: secret} if secret else {},
            external_keys={purpose.value: pinned(external_key)} if external_key else {},
        )
        return making.make_signer(
            authority, new, root, root_signing_key, now, constraints=making.constraints_of(old_certificate)
        )


def _root(pki: Pki, key_file: Path | None) -> tuple[x509.Certificate, keys.PrivateKey]:
    """The root certificate whose key is at hand, and that key."""
    what = "the root CA's key"
    if key_file is not None:
        key = keys.load(key_file, what, pki.passphrase)
    else:
        key = load_ca_key(pki.settings.root_key, pki.directory, what, pki.passphrase)
    for root in x509.load_pem_x509_certificates(read(pki.root_file)):
        if keys.same_public_key(root.public_key(), key.public_key()):
            return root, key
    raise SecretError(f"{what} is not the key of any root in {pki.root_file.name}", path=key_file)


def _check_life(days: float) -> None:
    if not 0 < days <= 36525:
        raise UsageError(f"a CA can't live for {days:g} days")


def rotate_root(
    pki: Pki, *, key_kind: keys.CaKeyKind | None = None, days: float = 3650, passphrase: bytes | None = None
) -> x509.Certificate:
    """Make a new root and publish it in front of the old one. Nothing is issued below it yet.

    Raises:
        Error: this account may not write the PKI.
    """
    _check_life(days)  # before there is a key without a certificate
    now = now_utc()
    directory = pki.directory / "private" / "root"
    make_directory(directory)
    with lock(pki.directory / "private" / "root.lock"):
        pki.settings = Settings.load(pki.directory)  # somebody may have edited it meanwhile
        old = x509.load_pem_x509_certificates(read(pki.root_file))
        kind = key_kind or keys.ca_kind_of(old[0].public_key())
        key = keys.generate(kind)
        reference = f"private/root/key-{now:%Y%m%d%H%M%S}.pem"
        write_atomic(pki.directory / reference, keys.encode(key, passphrase), PRIVATE, inherit=True)
        new = making.NewPki(key_kind=kind, root_days=days)
        root = making.make_root(pki.settings, key, new, now, number=len(old) + 1)
        texts = [certificate.public_bytes(Encoding.PEM) for certificate in (root, *old)]
        write_atomic(pki.root_file, b"".join(texts), PUBLIC, inherit=True)
        pki.settings = pki.settings.with_root_key(reference)
        pki.settings.save_root_key(pki.directory)
    return root


def retire_unused(authority: Authority) -> list[Retirement]:
    """Retire every overlapping CA that nothing acceptable depends on any more."""
    now = now_utc()
    overlapping = [signer for signer in authority.ledger.signers() if signer.state == "overlapping"]
    unused = [signer for signer in overlapping if not authority.ledger.leans_on(signer.id, now)]
    return [_retire(authority, signer, 0) for signer in unused]


def retire(pki: Pki, purpose: Purpose) -> list[Retirement]:
    """Retire an authority's overlapping CAs although superseded certificates still depend on them.

    Raises:
        RefusedError: a name has no newer certificate yet.
        UsageError: there is no overlapping CA.
    """
    authority = pki.authority(purpose)
    overlapping = [signer for signer in authority.ledger.signers() if signer.state == "overlapping"]
    if not overlapping:
        raise UsageError(
            f"no {purpose} CA overlaps another", hint=f"mcpsec certs rotate-ca {purpose} makes a new one first"
        )
    now = now_utc()
    done: list[Retirement] = []
    for signer in overlapping:
        leaning = authority.ledger.leans_on(signer.id, now)
        current = [entry.name for entry in leaning if entry.recorded == "issued"]
        if current:
            names = ", ".join(current[:5]) + (f" and {len(current) - 5} more" if len(current) > 5 else "")
            raise RefusedError(
                f"the old {purpose} CA can't go: its certificates are still borne by {names}",
                hint="mcpsec certs renew --all-due",
            )
        done.append(_retire(authority, signer, len(leaning)))
    return done


def _retire(authority: Authority, signer: Signer, cut_off: int) -> Retirement:
    with authority.held():
        with authority.ledger.transaction():
            authority.ledger.retire_signer(signer.id)
        authority.publish()
        if not is_external(signer.key) and not is_issuer(signer.key):
            with contextlib.suppress(FileNotFoundError):
                (authority.root / signer.key).unlink()
    return Retirement(authority.describe_signer(signer), cut_off)


def retire_root(pki: Pki) -> list[Retirement]:
    """Remove from ``root-ca.pem`` the older roots that no CA in use is below, and their keys.

    Raises:
        RefusedError: a CA in use is below every older root.
    """
    with lock(pki.directory / "private" / "root.lock"):
        roots = x509.load_pem_x509_certificates(read(pki.root_file))
        used = {
            signer.root
            for authority in pki.readable_authorities()
            for signer in authority.ledger.signers()
            if signer.state != "retired"
        }
        if pki.unreadable_purposes():
            raise RefusedError("this account can't see all authorities, so it can't tell which roots are in use")
        kept = [root for at, root in enumerate(roots) if at == 0 or root.public_bytes(Encoding.DER) in used]
        gone = [root for root in roots if root not in kept]
        if not gone:
            hint = "rotate the client and the server CA below the new root, and retire the old ones, first"
            raise RefusedError("no root is without a CA in use", hint=hint)
        write_atomic(pki.root_file, b"".join(root.public_bytes(Encoding.PEM) for root in kept), PUBLIC, inherit=True)
        for path in (pki.directory / "private" / "root").glob("key*.pem"):
            if path != pki.directory / pki.settings.root_key:
                path.unlink()
    return [Retirement(making.common_name(root.subject), 0) for root in gone]
