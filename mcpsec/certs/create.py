"""Making a PKI: a root, and under it a client and a server authority. It appears under its name whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import field
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mcpsec.certs import keys
from mcpsec.certs.authority import Authority
from mcpsec.certs.files import make_directory
from mcpsec.certs.issuers import is_external, is_issuer, load_ca_key, load_issuer
from mcpsec.certs.leaf import now_utc
from mcpsec.certs.ledger import Ledger, Purpose, Signer
from mcpsec.certs.profiles import BACKDATING, CaSpec, build_ca, common_name, key_identifier, name_constraints
from mcpsec.certs.settings import FILE as SETTINGS
from mcpsec.errors import UsageError
from mcpsec.frozen import dataclass
from mcpsec.writing import PRIVATE, PUBLIC, readable_errors, sync_directory, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from mcpsec.certs.names import SanKind
    from mcpsec.certs.settings import Settings

__all__ = ["ROOT", "NewPki", "common_name", "constraints_of", "create", "make_root", "make_signer"]

ROOT = "root-ca.pem"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPki:
    """What a new PKI's authorities are like.

    ``permitted`` are name constraints of an authority; ``passphrases`` encrypt the keys of ``root``, ``client``,
    ``server``; ``external_keys`` are references to keys held elsewhere, by the same names.
    """

    key_kind: keys.CaKeyKind = "p256"
    root_days: float = 3650
    ca_days: float = 1825
    permitted: Mapping[Purpose, tuple[tuple[SanKind, str], ...]] = field(default_factory=dict)
    passphrases: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    external_keys: Mapping[str, str] = field(default_factory=dict)


def create(directory: Path, settings: Settings, new: NewPki) -> None:
    """Make the PKI in ``directory``, which has to be missing or empty.

    Raises:
        UsageError: the directory holds something, or a value is wrong.
        ConfigurationError: it can't be written; nothing is left behind then.
    """
    _check(new)
    with readable_errors(directory):
        there = directory.exists()
        if there and (not directory.is_dir() or any(path.name != "lost+found" for path in directory.iterdir())):
            raise UsageError("this is not an empty directory", hint="give another --dir", path=directory)
    make_directory(directory.parent)
    # A directory that is there may be a volume's mount point, which nothing can be renamed over.
    building = (directory if there else directory.parent) / f".new-{directory.name}-{os.getpid()}"
    with readable_errors(directory, instead_of=building), _removed_on_failure(building):
        building.mkdir(mode=0o700)
        for part in (
            "private",
            "private/root",
            *(f"{place}{purpose}" for purpose in Purpose for place in ("private/", "")),
        ):
            (building / part).mkdir(mode=0o700)
        _fill(building, settings, new)
        for made in (*building.rglob("*"), building):
            if made.is_dir():
                sync_directory(made)
        if there:
            _move_into(building, directory)
        else:
            building.rename(directory)
            sync_directory(directory.parent)


def _move_into(building: Path, directory: Path) -> None:
    """Move what was built into a directory that is there. Its settings come last: before, it is no PKI to anyone."""
    for path in sorted(building.iterdir(), key=lambda path: path.name == SETTINGS):
        path.rename(directory / path.name)
    building.rmdir()
    sync_directory(directory)


def _check(new: NewPki) -> None:
    if new.key_kind not in keys.CA_KEY_KINDS:
        raise UsageError(
            f"a CA's key can't be {new.key_kind!r}",
            hint=f"one of {', '.join(keys.CA_KEY_KINDS)}; leaves may be ed25519",
        )
    if not 0 < new.ca_days <= new.root_days <= 36525:
        raise UsageError("lifetimes have to be above 0, and no CA may outlive the root")
    for permitted in new.permitted.values():
        name_constraints(permitted)


@contextlib.contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise


def _fill(building: Path, settings: Settings, new: NewPki) -> None:
    now = now_utc()
    passphrase = passphrase_of(new)
    root_key = load_or_make_key(building, settings.root_key, "root", new)
    root = make_root(settings, root_key, new, now)
    write_atomic(building / ROOT, root.public_bytes(Encoding.PEM), PUBLIC)
    settings.save(building)
    for purpose in Purpose:
        ledger = Ledger.create(Authority.ledger_path(building, purpose), purpose)
        ledger.close()
        authority = Authority(building, purpose, settings, passphrase)
        if is_issuer(new.external_keys.get(purpose, "")):
            adopt_issuer(authority, new.external_keys[purpose], now)
        else:
            constraints = name_constraints(new.permitted.get(purpose, ()))
            make_signer(authority, new, root, root_key, now, constraints=constraints)
        authority.ledger.close()


def passphrase_of(new: NewPki) -> keys.Passphrase:
    """Answer for the passphrases of the CA keys that were just written."""
    return lambda what: next((secret for name, secret in new.passphrases.items() if name in what), None)


def load_or_make_key(building: Path, reference: str, name: str, new: NewPki) -> keys.PrivateKey:
    """Make the key that a reference names, unless it is held elsewhere."""
    if is_external(reference):
        return load_ca_key(reference, building, f"the {name} CA's key", None)
    key = keys.generate(new.key_kind)
    write_atomic(building / reference, keys.encode(key, new.passphrases.get(name)), PRIVATE, inherit=True)
    return key


def make_root(
    settings: Settings, key: keys.PrivateKey, new: NewPki, now: datetime, *, number: int = 1
) -> x509.Certificate:
    """Sign a new root with its own key."""
    spec = CaSpec(
        common_name=f"{settings.organization or settings.trust_domain} Root CA {number}",
        purpose=None,
        not_before=now - BACKDATING,
        not_after=now + timedelta(days=new.root_days),
        organization=settings.organization,
    )
    return build_ca(spec, key.public_key(), key, None)


def make_signer(
    authority: Authority,
    new: NewPki,
    root: x509.Certificate,
    root_key: keys.PrivateKey,
    now: datetime,
    *,
    constraints: x509.NameConstraints | None,
) -> Signer:
    """Give an authority a new CA certificate, signed by the root, and make it the active one, with its first CRL.

    Call under the authority's lock.
    """
    purpose = authority.purpose
    number = len(authority.ledger.signers()) + 1
    reference = new.external_keys.get(purpose, f"private/{purpose}/key-{number}.pem")
    if not is_external(reference):
        (authority.root / reference).unlink(missing_ok=True)  # of a rotation that died before the ledger knew of it
    key = load_or_make_key(authority.root, reference, purpose, new)
    name = authority.settings.organization or authority.settings.trust_domain
    spec = CaSpec(
        common_name=f"{name} {purpose.capitalize()} CA {number}",
        purpose=purpose,
        not_before=max(now - BACKDATING, root.not_valid_before_utc),
        not_after=min(now + timedelta(days=new.ca_days), root.not_valid_after_utc),
        organization=authority.settings.organization,
        constraints=constraints,
    )
    certificate = build_ca(spec, key.public_key(), root_key, root)
    signer = Signer(
        id=key_identifier(certificate).hex(),
        state="active",
        key=reference,
        der=certificate.public_bytes(Encoding.DER),
        root=root.public_bytes(Encoding.DER),
    )
    authority.adopt(signer, key, now)
    return signer


def adopt_issuer(authority: Authority, reference: str, now: datetime) -> Signer:
    """Make a CA that is run elsewhere the active one. Call under the authority's lock.

    Raises:
        Error: it can't be reached.
    """
    chain = load_issuer(reference).chain()
    signer = Signer(
        id=key_identifier(chain[0]).hex(),
        state="active",
        key=reference,
        der=chain[0].public_bytes(Encoding.DER),
        root=chain[-1].public_bytes(Encoding.DER),
    )
    authority.adopt(signer, None, now)
    return signer


def constraints_of(certificate: x509.Certificate) -> x509.NameConstraints | None:
    """A CA's name constraints."""
    try:
        return certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return None
