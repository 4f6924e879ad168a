"""The ledger of one authority: every certificate it ever signed, what became of it, and its revocation lists.

SQLite in rollback-journal mode with full synchronisation: one file that a copy or an archive carries whole, safe under
many processes and after a kill at any instant. The rule that everything rests on: a certificate's row (with the
certificate itself) is on the disk before its file can be seen, and a revocation is committed together with the signed
CRL that states it. What is published as files is derived from here and can be restored without any key.

States of a row: ``pending`` (signed, not yet delivered), ``issued``, ``superseded`` (renewed or replaced; it still
verifies until it expires) and ``abandoned`` (the process died before anyone could see it). Revocation is a date and a
reason beside the state.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import weakref
from dataclasses import field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from mcpsec.certs.files import may_write
from mcpsec.errors import ConfigurationError
from mcpsec.frozen import dataclass
from mcpsec.writing import PRIVATE, readable_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["Entry", "Ledger", "Purpose", "Signer", "StoredCrl", "from_seconds", "to_seconds"]

_VERSION = 1
_PAGE = 500
"""Entries read at once: a reader that takes its time (``certs ledger | less``) must not keep writers out."""
_SCHEMA = """
CREATE TABLE certificates (
    serial TEXT PRIMARY KEY, name TEXT NOT NULL, sans TEXT NOT NULL, profile TEXT NOT NULL, days REAL NOT NULL,
    not_before INTEGER NOT NULL, not_after INTEGER NOT NULL, issued INTEGER NOT NULL,
    signer TEXT NOT NULL, state TEXT NOT NULL, has_key INTEGER NOT NULL,
    revoked INTEGER, reason TEXT, der BLOB NOT NULL
);
CREATE INDEX by_name ON certificates (name, state);
CREATE INDEX by_spelling ON certificates (name COLLATE NOCASE);
CREATE INDEX by_state ON certificates (state) WHERE state = 'pending';
CREATE INDEX by_revocation ON certificates (revoked) WHERE revoked IS NOT NULL;
CREATE TABLE signers (
    id TEXT PRIMARY KEY, position INTEGER NOT NULL, state TEXT NOT NULL, key TEXT NOT NULL,
    der BLOB NOT NULL, root BLOB NOT NULL
);
CREATE TABLE crls (
    signer TEXT PRIMARY KEY, number INTEGER NOT NULL,
    this_update INTEGER NOT NULL, next_update INTEGER NOT NULL, pem BLOB NOT NULL
);
"""


class Purpose(StrEnum):
    """What a certificate may be used for; each purpose has an authority of its own."""

    CLIENT = "client"
    SERVER = "server"


def to_seconds(moment: datetime) -> int:
    """Whole seconds since 1970, as the ledger keeps moments."""
    return int(moment.timestamp())


def from_seconds(seconds: int) -> datetime:
    """The moment, in UTC, that the ledger kept."""
    return datetime.fromtimestamp(seconds, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One certificate that was ever signed. Moments are in UTC, ``serial`` is upper-case hexadecimal.

    ``days`` is the lifetime that was asked for; the CA's own end may have cut it short.
    """

    serial: str
    name: str
    purpose: Purpose
    sans: tuple[str, ...]
    profile: str
    days: float
    not_before: datetime
    not_after: datetime
    issued: datetime
    signer: str
    recorded: Literal["pending", "issued", "superseded", "abandoned"]
    has_key: bool
    der: bytes = field(repr=False)
    revoked: datetime | None = None
    reason: str | None = None

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked", "superseded", "abandoned", "pending"]:
        """What the certificate is worth at ``now``; the most telling word wins."""
        if self.recorded in ("abandoned", "pending"):
            return self.recorded
        if self.revoked is not None:
            return "revoked"
        if self.not_after <= now:
            return "expired"
        return "superseded" if self.recorded == "superseded" else "valid"

    def accepted(self, now: datetime) -> bool:
        """True while a verifier with a fresh CRL would still accept it, superseded or not."""
        return self.state(now) in ("valid", "superseded", "pending")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """One CA certificate of the authority and where its key is; ``id`` is its subject key identifier (hexadecimal).

    The ``active`` one signs leaves; an ``overlapping`` one, replaced by rotation, only signs CRLs; a ``retired`` one
    nothing any more.
    """

    id: str
    state: Literal["active", "overlapping", "retired"]
    key: str
    der: bytes
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCrl:
    """The newest CRL of one signer."""

    signer: str
    number: int
    this_update: datetime
    next_update: datetime
    pem: bytes


class Ledger:
    """One authority's ledger file. Writers hold the authority's lock; readers need none."""

    def __init__(self, path: Path, purpose: Purpose) -> None:
        """Open an existing ledger.

        Raises:
            ConfigurationError: it is missing, not readable by this account, damaged or of a newer version.
        """
        self.path = path
        self.purpose = purpose
        with readable_errors(path):
            path.open("rb").close()
        self.writable = may_write(path) and may_write(path.parent)
        with self._errors():
            mode = "rw" if self.writable else "ro"
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=60,
                isolation_level=None,
                check_same_thread=False,
            )
            weakref.finalize(self, self._db.close)  # who drops a ledger need not say so
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA synchronous = FULL")
            if self.writable:
                self._db.execute("PRAGMA journal_mode = TRUNCATE")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version != _VERSION:
            raise ConfigurationError(f"the ledger has version {version}, this program reads {_VERSION}", path=path)

    @classmethod
    def create(cls, path: Path, purpose: Purpose) -> Ledger:
        """Make an empty ledger file that only this account can open."""
        with readable_errors(path):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, PRIVATE))
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous = FULL")
            db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        return cls(path, purpose)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            hint = "free some space and run the command again" if "full" in str(error) else None
            raise ConfigurationError(f"the ledger can't be used: {error}", path=self.path, hint=hint) from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it on the disk afterwards, or none of it."""
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with self._errors():
            return self._db.execute(sql, values).fetchall()

    # certificates

    def add(self, entries: Iterable[Entry]) -> None:
        """Record signed certificates. Call within a transaction."""
        self._db.executemany(
            "INSERT INTO certificates VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)", (self._values(entry) for entry in entries)
        )

    @staticmethod
    def _values(entry: Entry) -> tuple[object, ...]:
        revoked = None if entry.revoked is None else to_seconds(entry.revoked)
        lifetime = (to_seconds(entry.not_before), to_seconds(entry.not_after), to_seconds(entry.issued))
        head = (entry.serial, entry.name, json.dumps(entry.sans), entry.profile, entry.days)
        return (*head, *lifetime, entry.signer, entry.recorded, entry.has_key, revoked, entry.reason, entry.der)

    def delivered(self, serials: Iterable[tuple[str, str]]) -> None:
        """Settle pending (serial, name) rows as issued; what bore their names before is superseded."""
        pairs = list(serials)
        self._db.executemany(
            "UPDATE certificates SET state = 'superseded' WHERE name = ? AND state = 'issued'",
            ((name,) for _, name in pairs),
        )
        self._db.executemany("UPDATE certificates SET state = 'issued' WHERE serial = ?", ((s,) for s, _ in pairs))

    def abandon(self, serials: Iterable[str]) -> None:
        """Settle pending rows whose certificates nobody ever saw."""
        self._db.executemany(
            "UPDATE certificates SET state = 'abandoned' WHERE serial = ? AND state = 'pending'",
            ((serial,) for serial in serials),
        )

    def revoke(self, serials: Iterable[str], moment: datetime, reason: str) -> None:
        """Record revocations. Call within the transaction that also stores the CRL."""
        self._db.executemany(
            "UPDATE certificates SET revoked = ?, reason = ? WHERE serial = ? AND revoked IS NULL",
            ((to_seconds(moment), reason, serial) for serial in serials),
        )

    def borne(self, names: Iterable[str]) -> dict[str, Entry]:
        """The certificates that names bear now (perhaps expired or revoked); names that bear none are left out."""
        chosen = json.dumps(list(names))
        found = self._entries("WHERE state = 'issued' AND name IN (SELECT value FROM json_each(?))", chosen)
        return {entry.name: entry for entry in found}

    def spellings(self, names: Iterable[str]) -> dict[str, str]:
        """How names (in lower case) were ever spelled: one directory on some file systems, one identity to readers."""
        sql = "SELECT DISTINCT name FROM certificates WHERE name COLLATE NOCASE IN (SELECT value FROM json_each(?))"
        rows = self._rows(sql, json.dumps(list(names)))
        return {str(row["name"]).lower(): str(row["name"]) for row in rows}

    def by_serial(self, serial: str) -> Entry | None:
        """The certificate of a serial number (upper-case hexadecimal)."""
        rows = self._rows("SELECT * FROM certificates WHERE serial = ?", serial)
        return self._entry(rows[0]) if rows else None

    def of_name(self, name: str) -> list[Entry]:
        """Every certificate a name ever bore, oldest first."""
        return self._entries("WHERE name = ? ORDER BY rowid", name)

    def pending(self) -> list[Entry]:
        """What a process signed and has not settled: somebody's work under the lock, otherwise a dead one's."""
        return self._entries("WHERE state = 'pending'")

    def entries(self, *, everything: bool = False) -> Iterator[Entry]:
        """The certificate of every name, or every certificate ever signed; by name, then oldest first."""
        states = "" if everything else "AND state = 'issued'"
        clause = f"WHERE (name, rowid) > (?, ?) {states} ORDER BY name, rowid LIMIT {_PAGE}"
        after: tuple[str, int] = ("", 0)
        while rows := self._rows(f"SELECT rowid AS position, * FROM certificates {clause}", *after):  # noqa: S608 # no outside text
            yield from map(self._entry, rows)
            after = rows[-1]["name"], rows[-1]["position"]

    def revoked(self, signer: str, since: datetime) -> list[tuple[str, datetime, str]]:
        """(serial, moment, reason) of a signer's revoked certificates that expire after ``since``."""
        rows = self._rows(
            "SELECT serial, revoked, reason FROM certificates "
            "WHERE signer = ? AND revoked IS NOT NULL AND not_after > ? ORDER BY revoked, serial",
            signer,
            to_seconds(since),
        )
        return [(row["serial"], from_seconds(row["revoked"]), row["reason"]) for row in rows]

    def leans_on(self, signer: str, now: datetime) -> list[Entry]:
        """A signer's certificates that a verifier would still accept."""
        found = self._entries("WHERE signer = ? AND revoked IS NULL AND not_after > ?", signer, to_seconds(now))
        return [entry for entry in found if entry.accepted(now)]

    def _entries(self, clause: str, *values: object) -> list[Entry]:
        return [self._entry(row) for row in self._rows(f"SELECT * FROM certificates {clause}", *values)]  # noqa: S608 # clauses are literals above

    def _entry(self, row: Any) -> Entry:
        return Entry(
            serial=row["serial"],
            name=row["name"],
            purpose=self.purpose,
            sans=tuple(json.loads(row["sans"])),
            profile=row["profile"],
            days=row["days"],
            not_before=from_seconds(row["not_before"]),
            not_after=from_seconds(row["not_after"]),
            issued=from_seconds(row["issued"]),
            signer=row["signer"],
            recorded=row["state"],
            has_key=bool(row["has_key"]),
            der=row["der"],
            revoked=None if row["revoked"] is None else from_seconds(row["revoked"]),
            reason=row["reason"],
        )

    # signers and their CRLs

    def signers(self) -> list[Signer]:
        """The authority's CA certificates, newest first."""
        rows = self._rows("SELECT * FROM signers ORDER BY position DESC")
        names = ("id", "state", "key", "der", "root")
        return [Signer(**{name: row[name] for name in names}) for row in rows]

    def add_signer(self, signer: Signer) -> None:
        """Record a new active signer; the one before it overlaps from now on. Call within a transaction."""
        self._db.execute("UPDATE signers SET state = 'overlapping' WHERE state = 'active'")
        self._db.execute(
            "INSERT INTO signers VALUES (?, (SELECT coalesce(max(position), 0) + 1 FROM signers), ?, ?, ?, ?)",
            (signer.id, signer.state, signer.key, signer.der, signer.root),
        )

    def retire_signer(self, signer: str) -> None:
        """Record that nothing depends on a signer any more. Call within a transaction."""
        self._db.execute("UPDATE signers SET state = 'retired' WHERE id = ?", (signer,))
        self._db.execute("DELETE FROM crls WHERE signer = ?", (signer,))

    def crl(self, signer: str) -> StoredCrl | None:
        """The newest CRL of a signer."""
        rows = self._rows("SELECT * FROM crls WHERE signer = ?", signer)
        if not rows:
            return None
        row = rows[0]
        updates = {name: from_seconds(row[name]) for name in ("this_update", "next_update")}
        return StoredCrl(signer=row["signer"], number=row["number"], pem=row["pem"], **updates)

    def store_crl(self, crl: StoredCrl) -> None:
        """Replace a signer's CRL. Call within a transaction."""
        moments = (to_seconds(crl.this_update), to_seconds(crl.next_update))
        self._db.execute(
            "INSERT OR REPLACE INTO crls VALUES (?, ?, ?, ?, ?)", (crl.signer, crl.number, *moments, crl.pem)
        )
