"""A private PKI in one directory: the object that commands, ``init`` and ``serve`` work with.

Layout (keys 0600, directories 0700)::

    root-ca.pem                     the root, newest first while two overlap
    client-ca.pem  client-ca.crl    issuing CA first, then the root; its revocation list
    server-ca.pem  server-ca.crl
    client/NAME/   server/NAME/     cert.pem, chain.pem (leaf first, then its CA), key.pem
    private/root/                   the root's key: may be taken away
    private/client/  private/server/  each CA's key, its ledger and its lock
    pki.toml                        settings, no secret
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cryptography import x509

from mcpsec.certs import create as making
from mcpsec.certs import keys, rotation
from mcpsec.certs.authority import Authority
from mcpsec.certs.files import read
from mcpsec.certs.identity import serial_text
from mcpsec.certs.issuers import pinned
from mcpsec.certs.leaf import Issued, LeafRequest, OvertakenError, now_utc
from mcpsec.certs.ledger import Entry, Purpose
from mcpsec.certs.profiles import common_name
from mcpsec.certs.settings import ROOT_KEY, Settings
from mcpsec.errors import ConfigurationError, UsageError
from mcpsec.frozen import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    from mcpsec.certs.names import SanKind

__all__ = ["AuthorityInfo", "Pki", "Renewal"]

_CHUNK = 1024
"""Certificates for which a batch holds the lock once: under a second, in which others wait."""
_JITTER = 1 / 20
"""The part of a life over which the renewals of certificates issued together are spread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityInfo:
    """One CA certificate of the PKI; ``state`` is active, overlapping, retired or expired."""

    name: str
    role: str
    serial: str
    not_before: datetime
    not_after: datetime
    state: str
    certificate: Path
    der: bytes


@dataclass(frozen=True, slots=True)
class Renewal:
    """The outcome for one certificate (or revocation list) that was due: the new one, or why there is none."""

    name: str
    purpose: Purpose
    issued: Issued | None
    error: Exception | None = None
    kind: Literal["leaf", "crl"] = "leaf"


class Pki:
    """The PKI in ``directory``. Open it with ``Pki.open``, make one with ``Pki.create``.

    Safe to use from many processes at once; use one object a thread. ``close`` it, or use it as a context manager.
    """

    def __init__(self, directory: Path, settings: Settings, passphrase: keys.Passphrase | None = None) -> None:
        self.directory = directory
        self.settings = settings
        self.profiles = settings.profiles
        self.passphrase = passphrase
        self._authorities: dict[Purpose, Authority] = {}

    @classmethod
    def create(
        cls,
        directory: Path,
        *,
        trust_domain: str = "mcp.internal",
        organization: str | None = None,
        key_kind: keys.CaKeyKind = "p256",
        root_days: float = 3650,
        ca_days: float = 1825,
        crl_days: float = 30,
        crl_urls: Mapping[str, str] | None = None,
        permitted: Mapping[Purpose, Sequence[tuple[SanKind, str]]] | None = None,
        passphrases: Mapping[str, bytes] | None = None,
        external_keys: Mapping[str, str] | None = None,
    ) -> Pki:
        """Make a PKI in ``directory`` (missing or empty) and open it.

        ``passphrases`` encrypt CA keys and ``external_keys`` name keys held elsewhere, both by ``root``, ``client``
        and ``server``. ``permitted`` are critical name constraints of an authority.

        Raises:
            UsageError: the directory is in use or a value is wrong.
            ConfigurationError: it can't be written; nothing is left behind then.
        """
        directory = Path(directory).absolute()
        external = {name: pinned(reference) for name, reference in (external_keys or {}).items()}
        settings = Settings(
            trust_domain=trust_domain,
            organization=organization,
            crl_days=crl_days,
            crl_urls=dict(crl_urls or {}),
            root_key=external.get("root", ROOT_KEY),
        )
        new = making.NewPki(
            key_kind=key_kind,
            root_days=root_days,
            ca_days=ca_days,
            permitted={purpose: tuple(pairs) for purpose, pairs in (permitted or {}).items()},
            passphrases=dict(passphrases or {}),
            external_keys=external,
        )
        making.create(directory, settings, new)
        return cls.open(directory, passphrase=making.passphrase_of(new))

    @classmethod
    def open(cls, directory: Path, *, passphrase: keys.Passphrase | bytes | None = None) -> Pki:
        """Open the PKI in ``directory``. ``passphrase`` is asked for only when an encrypted key is needed.

        Raises:
            ConfigurationError: there is no PKI, or its settings are wrong.
        """
        directory = Path(directory).absolute()
        if isinstance(passphrase, bytes):
            secret = passphrase
            passphrase = lambda _what: secret  # noqa: E731 # one word says it
        return cls(directory, Settings.load(directory), passphrase)

    def __enter__(self) -> Pki:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the ledgers."""
        for authority in self._authorities.values():
            authority.ledger.close()
        self._authorities.clear()

    def authority(self, purpose: Purpose) -> Authority:
        """One of the two authorities.

        Raises:
            ConfigurationError: this account may not read it.
        """
        if purpose not in self._authorities:
            self._authorities[purpose] = Authority(self.directory, purpose, self.settings, self.passphrase)
        return self._authorities[purpose]

    def readable_authorities(self) -> list[Authority]:
        """The authorities that this account may look into (an account that serves may be kept from the client CA's).

        Raises:
            ConfigurationError: none of them is readable.
        """
        found: list[Authority] = []
        failure: ConfigurationError | None = None
        for purpose in Purpose:
            try:
                found.append(self.authority(purpose))
            except ConfigurationError as error:
                failure = error
        if not found and failure is not None:
            raise failure
        return found

    def writable_authorities(self, purpose: Purpose | None = None) -> list[Authority]:
        """The authorities that this account may change, or the one of ``purpose``.

        Raises:
            ConfigurationError: there is none.
        """
        chosen = [self.authority(purpose)] if purpose else self.readable_authorities()
        found = [authority for authority in chosen if authority.ledger.writable]
        if not found:
            hint = "run it as the account that owns the PKI"
            raise ConfigurationError("this account may change no authority here", path=self.directory, hint=hint)
        return found

    def unpublished(self) -> list[Path]:
        """The bundles and CRLs that lag behind the ledger because this account may not write them."""
        return sorted(path for authority in self._authorities.values() for path in authority.unpublished)

    def unreadable_purposes(self) -> list[Purpose]:
        """The authorities whose ledger this account may not read."""
        seen = [authority.purpose for authority in self.readable_authorities()]
        return [purpose for purpose in Purpose if purpose not in seen]

    # issuing

    def request(
        self,
        name: str,
        purpose: Purpose,
        sans: Iterable[str] = (),
        *,
        profile: str | None = None,
        days: float | None = None,
        key_kind: keys.KeyKind | None = None,
        public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey | None = None,
        request: bytes | None = None,
        key_passphrase: bytes | None = None,
        replace: bool = False,
    ) -> LeafRequest:
        """Describe a certificate to issue, by profile and what differs from it.

        Raises:
            UsageError: the profile is unknown or for another purpose.
        """
        known = self.profiles
        chosen = known.get(profile or purpose.value)
        if chosen is None:
            raise UsageError(f"there is no profile {profile!r}", hint=f"one of {', '.join(known)}")
        if chosen.purpose != purpose:
            raise UsageError(f"profile {chosen.name!r} is for {chosen.purpose} certificates")
        return LeafRequest(
            name=name,
            profile=chosen,
            sans=tuple(sans),
            days=days,
            key_kind=key_kind,
            public_key=public_key,
            request=request,
            key_passphrase=key_passphrase,
            replace=replace,
        )

    def issue(
        self,
        name: str,
        purpose: Purpose,
        sans: Iterable[str] = (),
        *,
        days: float | None = None,
        profile: str | None = None,
        key_kind: keys.KeyKind | None = None,
        public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey | None = None,
        request: bytes | None = None,
        key_passphrase: bytes | None = None,
        replace: bool = False,
    ) -> Issued:
        """Issue one certificate. Without ``sans`` a client is named by SPIFFE ID, a server by its own name.

        ``days`` is 90 unless the profile says otherwise. With ``public_key`` and ``request`` (PEM; of a key that
        stays with its owner) no key is written. A name that bears a good certificate is refused unless ``replace``.

        Raises:
            UsageError: the name, a SAN or a value is wrong.
            RefusedError: the CA has expired, the clock is wrong, or its name constraints exclude a name.
            SecretError: the CA's key can't be used.
            ConfigurationError: this account may not, or the disk refused.
        """
        leaf = self.request(
            name,
            purpose,
            sans,
            days=days,
            profile=profile,
            key_kind=key_kind,
            public_key=public_key,
            request=request,
            key_passphrase=key_passphrase,
            replace=replace,
        )
        return self.authority(purpose).issue([leaf])[0]

    def issue_many(
        self, requests: Iterable[LeafRequest], progress: Callable[[int], None] | None = None
    ) -> Iterator[Issued]:
        """Issue many certificates, some at a time, so that the disk is flushed for many at once and memory stays flat.

        ``progress`` hears how many more are done. A wrong request stops the run with everything before its chunk
        issued and nothing of its chunk.
        """
        chunk: list[LeafRequest] = []
        for request in requests:
            chunk.append(request)
            if len(chunk) == _CHUNK or chunk[0].profile.purpose != request.profile.purpose:
                yield from self._issue_chunk(chunk, progress)
                chunk = []
        if chunk:
            yield from self._issue_chunk(chunk, progress)

    def _issue_chunk(self, chunk: list[LeafRequest], progress: Callable[[int], None] | None) -> Iterator[Issued]:
        for purpose in Purpose:
            mine = [request for request in chunk if request.profile.purpose == purpose]
            if mine:
                yield from self.authority(purpose).issue(mine)
        if progress is not None:
            progress(len(chunk))

    # looking

    def entries(self, *, everything: bool = False) -> Iterator[Entry]:
        """The certificate of every name, or every certificate ever signed, from the ledgers this account may read."""
        for authority in self.readable_authorities():
            yield from authority.ledger.entries(everything=everything)

    def authorities(self) -> list[AuthorityInfo]:
        """The root and the CA certificates below it, as far as this account may see them."""
        now = now_utc()
        found = [
            _info(certificate, "root", "active" if position == 0 else "overlapping", self.root_file, now)
            for position, certificate in enumerate(x509.load_pem_x509_certificates(read(self.root_file)))
        ]
        for authority in self.readable_authorities():
            for signer in authority.ledger.signers():
                certificate = x509.load_der_x509_certificate(signer.der)
                found.append(_info(certificate, authority.purpose.value, signer.state, authority.bundle, now))
        return found

    @property
    def root_file(self) -> Path:
        """``root-ca.pem``."""
        return self.directory / making.ROOT

    def find(self, which: str, purpose: Purpose | None = None) -> list[Entry]:
        """The certificates that a name ever bore, or the one of a serial number (hexadecimal); never empty.

        Raises:
            UsageError: there is none, or the name is borne by a client and a server and ``purpose`` is not given.
        """
        looked = [self.authority(purpose)] if purpose else self.readable_authorities()
        named = [entries for authority in looked if (entries := authority.ledger.of_name(which))]
        if len(named) > 1:
            raise UsageError(f"{which!r} is a client and a server", hint="add --client or --server")
        if named:
            return named[0]
        for authority in looked:
            if found := authority.named(which):
                return found
        raise UsageError(f"no certificate has the name or serial number {which!r}", hint="mcpsec certs list --all")

    def current(self, name: str, purpose: Purpose | None = None) -> Entry:
        """The certificate that a name (or serial number) stands for now.

        Raises:
            UsageError: there is none.
        """
        found = self.find(name, purpose)
        return next((entry for entry in found if entry.recorded == "issued"), found[-1])

    def files_of(self, entry: Entry) -> Issued | None:
        """Where an entry's files are, None when the name has other ones by now or they are gone."""
        authority = self.authority(entry.purpose)
        return authority.issued(entry) if entry.recorded == "issued" else None

    # renewing

    def renew(
        self,
        name: str,
        purpose: Purpose | None = None,
        *,
        days: float | None = None,
        key_kind: keys.KeyKind | None = None,
        reuse_key: bool = False,
        request: bytes | None = None,
        public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey | None = None,
    ) -> Issued:
        """Give a name a new certificate with the same names and lifetime, and a new key unless ``reuse_key``.

        The old certificate stays good until it expires (revoke it if it must not). A key that was encrypted stays
        encrypted under the same passphrase. Without a key here, the same public key is certified again.

        Raises:
            UsageError: the name bears no certificate, or it was revoked.
        """
        entry = self.current(name, purpose)
        if entry.recorded != "issued":
            raise UsageError(f"{name!r} bears no certificate that could be renewed")
        authority = self.authority(entry.purpose)
        old = x509.load_der_x509_certificate(entry.der).public_key()
        leaf = LeafRequest(
            name=entry.name,
            profile=self.profiles.get(entry.profile) or self.profiles[entry.purpose.value],
            sans=entry.sans,
            days=entry.days if days is None else days,
            renews=entry.serial,
        )
        if public_key is not None or not entry.has_key:
            kept = old if public_key is None else public_key
            if not isinstance(kept, keys.PublicKey):
                raise UsageError(
                    f"the key of {name!r} is of a kind that is not certified: {keys.kind_of(kept)}",
                    hint="issue a new certificate under another name, or with --replace",
                )
            leaf = replace(leaf, public_key=kept, request=request)
        else:
            path = authority.leaves / entry.name / "key.pem"
            secret = self._leaf_passphrase(path)
            key = keys.load(path, f"the key of {name}", lambda _what: secret) if reuse_key else None
            same = next((each for each in keys.KEY_KINDS if each == keys.kind_of(old)), None)  # None: the profile's
            leaf = replace(leaf, key=key, key_kind=key_kind or same, key_passphrase=secret)
        return authority.issue([leaf])[0]

    def _leaf_passphrase(self, path: Path) -> bytes | None:
        if b"ENCRYPTED" not in read(path)[:100]:
            return None
        secret = self.passphrase(f"the key of {path.parent.name}") if self.passphrase else None
        # Loading proves the passphrase before a new key is locked away under a mistyped one.
        keys.load(path, f"the key of {path.parent.name}", lambda _what: secret)
        return secret

    def due(self, now: datetime | None = None, *, within: timedelta | None = None) -> list[Entry]:
        """The certificates to renew: a third of their life is left (spread over a twentieth), or their CA was rotated.

        With ``within``: those that expire within that time instead. Revoked ones are left out, expired ones are not: a
        machine that was off comes back. Nor are those that have yet to begin: they were issued under a wrong clock.
        """
        moment = now or now_utc()
        found: list[Entry] = []
        for authority in self.readable_authorities():
            active = authority.signer().id
            for entry in authority.ledger.entries():
                if entry.state(moment) not in ("valid", "expired"):
                    continue
                limit = entry.not_after - within if within is not None else renewal_moment(entry)
                if moment >= limit or moment < entry.not_before or entry.signer != active:
                    found.append(entry)
        return found

    def renew_due(
        self, now: datetime | None = None, *, within: timedelta | None = None, purpose: Purpose | None = None
    ) -> list[Renewal]:
        """Renew everything that is due, sign CRLs that are, retire CAs nobody needs; one failure doesn't stop the rest.

        What this account may not change is left out: the account that serves renews its own certificates only.

        Raises:
            ConfigurationError: it may change nothing that was asked for.
        """
        outcomes: list[Renewal] = []
        mine = self.writable_authorities(purpose)
        for entry in self.due(now, within=within):
            if self.authority(entry.purpose) not in mine:
                continue
            try:
                outcomes.append(Renewal(entry.name, entry.purpose, self.renew(entry.name, entry.purpose)))
            except OvertakenError:  # renewed by another process meanwhile, which is as well
                continue
            except Exception as error:  # every certificate gets its turn; the caller reports each failure
                outcomes.append(Renewal(entry.name, entry.purpose, None, error))
        for authority in mine:
            try:
                authority.refresh_crl()
                rotation.retire_unused(authority)
            except Exception as error:  # what was renewed is to be told, and its hooks are to run, all the same
                outcomes.append(Renewal(authority.crl_file.name, authority.purpose, None, error, kind="crl"))
        return outcomes

    # revoking

    def revoke(self, which: str, reason: str = "unspecified", purpose: Purpose | None = None) -> list[Entry]:
        """Revoke every certificate of a name that is still accepted, or the one of a serial number; the CRL follows.

        Returns what was revoked; empty when all of it was revoked or expired before.

        Raises:
            UsageError: there is no such certificate, or the reason is none.
        """
        return self.authority(self.find(which, purpose)[0].purpose).revoke(which, reason)

    def refresh_crls(self, purpose: Purpose | None = None, *, force: bool = False) -> list[Path]:
        """Sign CRLs again that are due (or all, with ``force``); return the files that were written.

        Raises:
            ConfigurationError: this account may change no authority that was asked for.
        """
        signed = [authority for authority in self.writable_authorities(purpose) if authority.refresh_crl(force=force)]
        return [authority.crl_file for authority in signed if authority.crl_file not in authority.unpublished]


def renewal_moment(entry: Entry) -> datetime:
    """When an entry is due: a third of its life before its end, and up to a twentieth earlier, by its serial number."""
    life = entry.not_after - entry.issued
    digest = hashlib.sha256(json.dumps([entry.name, entry.serial]).encode()).digest()
    jitter = int.from_bytes(digest[:4], "big") / 2**32 * _JITTER
    return entry.not_after - life * (1 / 3 + jitter)


def _info(certificate: x509.Certificate, role: str, state: str, path: Path, now: datetime) -> AuthorityInfo:
    expired = certificate.not_valid_after_utc <= now
    from cryptography.hazmat.primitives.serialization import Encoding

    return AuthorityInfo(
        name=common_name(certificate.subject),
        role=role,
        serial=serial_text(certificate.serial_number),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        state="expired" if expired else state,
        certificate=path,
        der=certificate.public_bytes(Encoding.DER),
    )
