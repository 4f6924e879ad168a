"""One issuing authority of a PKI: its CA certificates and keys, its ledger, and the files it publishes.

Everything that changes something happens under the authority's lock, in this order: the ledger learns of a certificate
(flushed), its files appear (flushed), the ledger learns that they did. Whoever takes the lock next settles what a dead
process left between the first and the last step, so no command needs a repair mode.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mcpsec.certs import crl as crls
from mcpsec.certs import keys
from mcpsec.certs.constraints import check_permitted
from mcpsec.certs.delivery import Delivery, discard_staged
from mcpsec.certs.files import discard_unfinished, lock, make_directory, may_write
from mcpsec.certs.identity import serial_text
from mcpsec.certs.issuers import is_issuer, load_ca_key, load_issuer
from mcpsec.certs.leaf import Draft, Issued, LeafRequest, OvertakenError, now_utc, pem, request_of, with_key
from mcpsec.certs.ledger import Entry, Ledger, Purpose, Signer, StoredCrl
from mcpsec.certs.names import check_name, is_dns_name, parse_sans
from mcpsec.certs.profiles import BACKDATING, LeafBuilder, LeafSpec, common_name
from mcpsec.errors import ConfigurationError, RefusedError, SecretError, UsageError
from mcpsec.writing import PRIVATE, PUBLIC, readable_errors, sync_directory, write_atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mcpsec.certs.settings import Settings

__all__ = ["Authority"]

_BLOCK = 256
"""Certificates that are recorded, flushed and put in place together."""
_ROUNDING = timedelta(minutes=1)


class Authority:
    """The client or the server authority of the PKI in ``root`` (an absolute path)."""

    def __init__(self, root: Path, purpose: Purpose, settings: Settings, passphrase: keys.Passphrase | None) -> None:
        self.root = root
        self.purpose = purpose
        self.settings = settings
        self.passphrase = passphrase
        self.leaves = root / purpose
        self.private = root / "private" / purpose
        self.bundle = root / f"{purpose}-ca.pem"
        self.crl_file = root / f"{purpose}-ca.crl"
        self.ledger = Ledger(self.ledger_path(root, purpose), purpose)
        self.unpublished: set[Path] = set()
        self._keys: dict[str, keys.PrivateKey] = {}

    @staticmethod
    def ledger_path(root: Path, purpose: Purpose) -> Path:
        """Where an authority's ledger is."""
        return root / "private" / purpose / "ledger.sqlite3"

    # the lock, and mending what a dead process left

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the authority's lock, with everything settled and published.

        Raises:
            ConfigurationError: this account may not change the authority.
        """
        if not self.ledger.writable:
            raise ConfigurationError(
                f"this account may not change the {self.purpose} authority",
                path=self.private,
                hint="run it as the account that owns it",
            )
        with lock(self.private / "lock"):
            self.settle()
            yield

    def settle(self) -> None:
        """Bring ledger and files together. Only under the lock."""
        pending = self.ledger.pending()
        if pending:
            with readable_errors(self.leaves):
                discard_staged(self.leaves)
                sync_directory(self.leaves)
            delivered = [entry for entry in pending if self.on_disk(entry)]
            with self.ledger.transaction():
                self.ledger.delivered((entry.serial, entry.name) for entry in delivered)
                self.ledger.abandon(entry.serial for entry in pending)
        self.publish()

    def on_disk(self, entry: Entry) -> bool:
        """Tell whether the files under an entry's name are this very certificate's."""
        try:
            found = x509.load_pem_x509_certificate((self.leaves / entry.name / "cert.pem").read_bytes())
        except (OSError, ValueError):
            return False
        return serial_text(found.serial_number) == entry.serial

    def publish(self) -> None:
        """Write the CA bundle and the CRLs as the ledger has them, where they differ.

        What this account may not write is left to one that may, and named in ``unpublished``.
        """
        live = [signer for signer in self.ledger.signers() if signer.state != "retired"]
        lists = [stored.pem for signer in live if (stored := self.ledger.crl(signer.id)) is not None]
        roots = dict.fromkeys(signer.root for signer in live)
        for path, data in (
            (self.bundle, pem(*(signer.der for signer in live), *roots)),
            (self.crl_file, b"".join(lists)),
        ):
            discard_unfinished(path)
            if not data or (path.is_file() and path.read_bytes() == data):
                continue
            if may_write(path.parent):
                write_atomic(path, data, PUBLIC, inherit=True)
            else:
                self.unpublished.add(path)

    # CA certificates and keys

    def signer(self) -> Signer:
        """The CA certificate that signs leaves now."""
        return next(signer for signer in self.ledger.signers() if signer.state == "active")

    def key(self, signer: Signer) -> keys.PrivateKey:
        """A signer's key, checked against its certificate.

        Raises:
            SecretError: it is missing, open to others, encrypted under another passphrase, or another CA's key.
        """
        if signer.id not in self._keys:
            what = f"the {self.purpose} CA's key"
            key = load_ca_key(signer.key, self.root, what, self.passphrase)
            certificate = x509.load_der_x509_certificate(signer.der)
            if not keys.same_public_key(key.public_key(), certificate.public_key()):
                raise SecretError(f"{what} is not the key of its certificate", path=self.root / signer.key)
            self._keys[signer.id] = key
        return self._keys[signer.id]

    def usable_signer(self, now: datetime) -> tuple[Signer, x509.Certificate]:
        """The CA to sign leaves with.

        Raises:
            RefusedError: the CA has expired, or the clock says that it has not begun.
        """
        signer = self.signer()
        certificate = x509.load_der_x509_certificate(signer.der)
        if now >= certificate.not_valid_after_utc:
            raise RefusedError(
                f"the {self.purpose} CA expired on {certificate.not_valid_after_utc:%Y-%m-%d}",
                path=self.bundle,
                hint=f"make a new one: mcpsec certs rotate-ca {self.purpose}",
            )
        if now < certificate.not_valid_before_utc:
            raise RefusedError(
                f"this machine's clock says {now:%Y-%m-%d %H:%M} UTC, which is before the {self.purpose} CA begins "
                f"({certificate.not_valid_before_utc:%Y-%m-%d %H:%M})",
                path=self.bundle,
                hint="set the clock",
            )
        return signer, certificate

    def _sign_with(
        self, signer: Signer, issuer: x509.Certificate
    ) -> Callable[[LeafSpec, LeafRequest], x509.Certificate]:
        """What turns a specification into a certificate: the CA's key, or a CA that is run elsewhere."""
        if is_issuer(signer.key):
            remote = load_issuer(signer.key)
            return lambda spec, request: remote.sign(spec, request_of(request, spec))
        builder = LeafBuilder(self.purpose, issuer, self.key(signer), self.settings.crl_urls.get(self.purpose))

        def sign(spec: LeafSpec, request: LeafRequest) -> x509.Certificate:
            assert request.public_key is not None
            return builder.sign(spec, request.public_key)

        return sign

    def adopt(self, signer: Signer, key: keys.PrivateKey | None, now: datetime) -> None:
        """Make a new CA the active one and publish it together with its first CRL. Only under the lock."""
        if key is not None:
            self._keys[signer.id] = key
        with self.ledger.transaction():
            self.ledger.add_signer(signer)
            self._sign_crl(signer.id, now)
        self.publish()

    # issuing

    def issue(self, requests: Sequence[LeafRequest]) -> list[Issued]:
        """Issue certificates together: all of them, or, when one request is wrong, none.

        Raises:
            UsageError: a request is wrong, or a name already bears a good certificate.
            Error: the authority can't sign, or the disk refused; nothing half written is left.
        """
        ready = [with_key(request) for request in requests]
        make_directory(self.leaves)
        with self.held():
            now = now_utc()
            signer, issuer = self.usable_signer(now)
            self._check_names(ready, now)
            specs = [self._spec(request, issuer, now) for request in ready]
            sign = self._sign_with(signer, issuer)
            above = issuer.public_bytes(Encoding.PEM)
            drafts = (
                self._draft(request, spec, sign(spec, request), above, signer.id, now)
                for request, spec in zip(ready, specs, strict=True)
            )
            if not is_issuer(signer.key) and self.crl_due(signer.id, now):
                with self.ledger.transaction():  # the key is at hand, and a list that ends refuses everyone
                    self._sign_crl(signer.id, now)
                self.publish()
            return self._deliver(drafts)

    def check(self, requests: Sequence[LeafRequest]) -> None:
        """Raise what ``issue`` would say against these requests; changes nothing and needs neither lock nor key."""
        now = now_utc()
        _, issuer = self.usable_signer(now)
        self._check_names(requests, now)
        for request in requests:
            self._spec(request, issuer, now)

    def _check_names(self, requests: Sequence[LeafRequest], now: datetime) -> None:
        seen: set[str] = set()
        for request in requests:
            name = check_name(request.name)
            if name.lower() in seen:
                raise UsageError(f"{name!r} is asked for twice")
            seen.add(name.lower())
        spellings = self.ledger.spellings(seen)
        borne = self.ledger.borne(request.name for request in requests)
        for request in requests:
            name, current = request.name, borne.get(request.name)
            other = spellings.get(name.lower(), name)
            if other != name:
                raise UsageError(f"{name!r} differs only in case from {other!r}", hint="one spelling for one name")
            if request.renews is not None:
                self._check_renewal(request, current)
            elif not request.replace and current is not None and current.state(now) == "valid":
                raise UsageError(
                    f"{name!r} already bears a {self.purpose} certificate, good until {current.not_after:%Y-%m-%d}",
                    hint=f"mcpsec certs renew {name}, or issue with --replace",
                )
            if current is None and os.path.lexists(f"{self.leaves}/{name}"):
                raise UsageError(
                    f"the directory of {name!r} exists but the ledger knows no such certificate",
                    path=self.leaves / name,
                    hint="move it away",
                )

    @staticmethod
    def _check_renewal(request: LeafRequest, current: Entry | None) -> None:
        """Under the lock, because whoever looked at the certificate before did so without it."""
        if current is not None and current.revoked is not None:
            raise UsageError(
                f"the certificate of {request.name!r} was revoked, so it is not renewed",
                hint=f"mcpsec certs issue {request.name} gives it a new one, on your word",
            )
        if current is None or current.serial != request.renews:
            raise OvertakenError(f"{request.name!r} was given another certificate by another process meanwhile")

    def _sans(self, request: LeafRequest) -> tuple[str, ...]:
        if request.sans:
            return request.sans
        if self.purpose is Purpose.CLIENT:
            return (f"spiffe://{self.settings.trust_domain}/client/{request.name}",)
        if request.name == "localhost" or ("." in request.name and is_dns_name(request.name)):
            return (request.name,)
        raise UsageError(
            f"a server certificate needs the names that clients connect to, and {request.name!r} is none",
            hint="--san mcp.example.com --san 192.0.2.10",
        )

    def _spec(self, request: LeafRequest, issuer: x509.Certificate, now: datetime) -> LeafSpec:
        sans = parse_sans(self._sans(request))
        if self.purpose is Purpose.CLIENT and any(text.startswith("*.") for kind, text in sans if kind == "dns"):
            raise UsageError("a wildcard is no client's identity", hint="give the client's own name")
        check_permitted(sans, issuer)
        days = request.profile.days if request.days is None else request.days
        if not 0 < days <= 36525:
            raise UsageError(f"a certificate can't live for {days:g} days")
        return LeafSpec(
            common_name=request.name,
            purpose=self.purpose,
            sans=sans,
            not_before=max(now - BACKDATING, issuer.not_valid_before_utc),
            not_after=min(now + timedelta(days=days), issuer.not_valid_after_utc),
            organization=self.settings.organization,
        )

    def _draft(
        self,
        request: LeafRequest,
        spec: LeafSpec,
        certificate: x509.Certificate,
        above: bytes,
        signer: str,
        now: datetime,
    ) -> Draft:
        days = request.profile.days if request.days is None else request.days
        text = certificate.public_bytes(Encoding.PEM)
        files = {"cert.pem": (text, PUBLIC), "chain.pem": (text + above, PUBLIC)}
        if request.key is not None:
            files["key.pem"] = (keys.encode(request.key, request.key_passphrase), PRIVATE)
        entry = Entry(
            serial=serial_text(certificate.serial_number),
            name=request.name,
            purpose=self.purpose,
            sans=tuple(text for _, text in spec.sans),
            profile=request.profile.name,
            days=days,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            issued=now,
            signer=signer,
            recorded="pending",
            has_key=request.key is not None,
            der=certificate.public_bytes(Encoding.DER),
        )
        return Draft(entry, files, shortened=entry.not_after < now + timedelta(days=days) - _ROUNDING)

    def _deliver(self, drafts: Iterator[Draft]) -> list[Issued]:
        """Record certificates as they are signed, and then put their files in place: block after block.

        While the files of one block are written, the next one is signed; one transaction states that the former are
        there and that the latter exist.
        """
        issued: list[Issued] = []
        before: list[Draft] = []
        under_way: Delivery | None = None
        try:
            while block := list(itertools.islice(drafts, _BLOCK)):
                self._record(under_way, before, block)
                under_way = Delivery(self.leaves, {draft.entry.name: draft.files for draft in block})
                issued += [self.issued(draft.entry, shortened=draft.shortened) for draft in block]
                before = block
            self._record(under_way, before, [])
        except BaseException:
            with contextlib.suppress(Exception):  # the first failure is the one to tell; the next command settles
                if under_way is not None:
                    under_way.finish()
                self.settle()
            raise
        return issued

    def _record(self, under_way: Delivery | None, delivered: Sequence[Draft], signed: Sequence[Draft]) -> None:
        if under_way is not None:
            under_way.wait()
        with self.ledger.transaction():
            self.ledger.delivered((draft.entry.serial, draft.entry.name) for draft in delivered)
            self.ledger.add(draft.entry for draft in signed)

    def issued(self, entry: Entry, *, shortened: bool = False) -> Issued:
        """Where the files of the certificate that a name bears now are."""
        directory = self.leaves / entry.name
        return Issued(
            name=entry.name,
            serial=entry.serial,
            sans=entry.sans,
            purpose=self.purpose,
            not_before=entry.not_before,
            not_after=entry.not_after,
            certificate=directory / "cert.pem",
            chain=directory / "chain.pem",
            key=directory / "key.pem" if entry.has_key else None,
            shortened=shortened,
        )

    # revocation

    def revoke(self, which: str, reason: str) -> list[Entry]:
        """Revoke a name's certificates, or the one of a serial number, and sign the CRL that says so, in one step.

        Returns what was revoked: whatever of it a verifier would still have accepted. What a name bears is looked up
        under the lock, so that a renewal at the same moment can't escape.

        Raises:
            Error: the CA's key can't be used or the disk refused: then nothing is revoked.
        """
        reason = crls.check_reason(reason)
        with self.held():
            now = now_utc()
            entries = [entry for entry in self.named(which) if entry.accepted(now)]
            self._revoke_elsewhere(entries)
            with self.ledger.transaction():
                self.ledger.revoke((entry.serial for entry in entries), now, reason)
                for signer in {entry.signer for entry in entries}:
                    self._sign_crl(signer, now)
            self.publish()
        return [replace(entry, revoked=now, reason=reason) for entry in entries]

    def named(self, which: str) -> list[Entry]:
        """Every certificate that a name ever bore, oldest first, or the one of a serial number (hexadecimal)."""
        if named := self.ledger.of_name(which):
            return named
        serial = which.replace(":", "").upper().removeprefix("0X")
        if re.fullmatch("[0-9A-F]+", serial) is None:
            return []
        found = self.ledger.by_serial(serial if len(serial) % 2 == 0 else f"0{serial}")
        return [] if found is None else [found]

    def _revoke_elsewhere(self, entries: Sequence[Entry]) -> None:
        """Tell the CAs that are run elsewhere. Telling them twice is no harm, so a failure after this is none."""
        remote = {signer.id: signer.key for signer in self.ledger.signers() if is_issuer(signer.key)}
        for entry in entries:
            if entry.signer in remote:
                load_issuer(remote[entry.signer]).revoke(x509.load_der_x509_certificate(entry.der))

    def refresh_crl(self, *, force: bool = False) -> bool:
        """Sign the CRLs again that are due (or all, with ``force``); tell whether any was."""
        with self.held():
            now = now_utc()
            due = [signer.id for signer in self.ledger.signers() if signer.state != "retired"]
            if not force:
                due = [signer for signer in due if self.crl_due(signer, now)]
            with self.ledger.transaction():
                for signer in due:
                    self._sign_crl(signer, now)
            self.publish()
        return bool(due)

    def crl_due(self, signer: str, now: datetime) -> bool:
        """Tell whether a signer's CRL is missing or half its life is over."""
        stored = self.ledger.crl(signer)
        return stored is None or crls.crl_is_due(stored.this_update, stored.next_update, now)

    def _sign_crl(self, signer_id: str, now: datetime) -> None:
        signer = next(signer for signer in self.ledger.signers() if signer.id == signer_id)
        if signer.state == "retired":
            return
        issuer = x509.load_der_x509_certificate(signer.der)
        stored = self.ledger.crl(signer_id)
        if is_issuer(signer.key):
            self.ledger.store_crl(_remote_crl(signer))
            return
        # RFC 5280 section 3.3: an entry stays until one list after the certificate's own end.
        since = now if stored is None else min(now, stored.this_update)
        lifetime = min(
            timedelta(days=self.settings.crl_days), max(issuer.not_valid_after_utc - now, timedelta(hours=1))
        )
        number = 1 if stored is None else stored.number + 1
        beginning, end, text = crls.build(
            issuer,
            self.key(signer),
            self.ledger.revoked(signer_id, since),
            number=number,
            previous=None if stored is None else stored.this_update,
            lifetime=lifetime,
            now=now,
            url=self.settings.crl_urls.get(self.purpose),
        )
        self.ledger.store_crl(
            StoredCrl(signer=signer_id, number=number, this_update=beginning, next_update=end, pem=text)
        )

    def describe_signer(self, signer: Signer) -> str:
        """A CA's common name."""
        return common_name(x509.load_der_x509_certificate(signer.der).subject)


def _remote_crl(signer: Signer) -> StoredCrl:
    crl = load_issuer(signer.key).crl()
    assert crl.next_update_utc is not None
    try:
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        number = 0
    updates = {"this_update": crl.last_update_utc, "next_update": crl.next_update_utc}
    return StoredCrl(signer=signer.id, number=number, pem=crl.public_bytes(Encoding.PEM), **updates)
