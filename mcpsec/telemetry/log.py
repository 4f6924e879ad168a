"""The audit log's one writer: redacts, numbers, chains, signs, buffers, rotates.

``write`` is called for every request and does no I/O of its own but for a full buffer. What a crash (kill -9) can lose
is what the buffer holds: the events since the last ``maintain`` (the gateway calls it every 200 ms), at most
16 KiB while the disk takes them and ``buffer_bytes`` while it does not; nothing with ``fsync="event"``. A power cut can
also lose what the operating system had not written yet: the events since the last checkpoint with
``fsync="checkpoint"``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from operator import itemgetter
from pathlib import Path
from typing import Any

from mcpsec.errors import ConfigurationError, Error, ExitCode
from mcpsec.telemetry.chain import GENESIS, line_hash, seal
from mcpsec.telemetry.clean import Cleaner
from mcpsec.telemetry.events import SCHEMA, Event, timestamp
from mcpsec.telemetry.head import head_path, read_head, write_head
from mcpsec.telemetry.keys import LogKey, key_paths
from mcpsec.telemetry.likeness import Figures, Finished, Likeness, Row, chained, numbered, together
from mcpsec.telemetry.lock import Lock
from mcpsec.telemetry.options import LogOptions
from mcpsec.telemetry.parts import Compressor, expired, move_aside, part_path, rotated_parts, stamp
from mcpsec.telemetry.spool import Spool
from mcpsec.telemetry.tail import Tail, read_tail

__all__ = ["AuditLog", "LogUnavailable"]

Subscriber = Callable[[Mapping[str, Any]], None]
Observer = Callable[[Sequence[Row]], None]

_DRAIN_AT = 16 * 1024
_PATIENT = 256 * 1024
_LOOK_SECONDS = 1.0
"""How often the writer makes sure that its file is still the one at its path."""
_RETRY_SECONDS = 60.0
"""A rotation that failed is tried again after this: the log itself can be written meanwhile."""
_TOGETHER = 64
"""Events that are appended at once at most: their lines are far from what the buffer may hold."""
_ROWS = 256
"""Finished requests that wait for observers at most."""
_FRAME = frozenset({"schema", "seq", "prev", "time", "kind"})


class LogUnavailable(Error):
    """The log can't be written and the deployment says: then no request is served."""

    exit_code = ExitCode.NO


class AuditLog:
    """An open, locked log. Not thread-safe: one event loop writes."""

    def __init__(
        self, path: Path, key: LogKey, lock: Lock, *, redact: Callable[[str], str], options: LogOptions
    ) -> None:
        self.path = path
        self._key = key
        self._keyed = hashlib.blake2b(key=key.digest_key, digest_size=16)
        self._lock = lock
        self._cleaner = Cleaner(redact)
        self._options = options
        self._checkpoint_every = options.checkpoint_every
        self._write_through = options.fsync == "event"
        self._patient = not self._write_through and options.buffer_bytes >= _PATIENT
        self._subscribers: list[tuple[Subscriber, Observer | None]] = []
        self._untold: list[Finished] = []
        self._untold_to = 0
        self._spool = Spool(path)
        self._chain = ""
        self._part = 0
        self._seq = 0
        self._head = GENESIS
        self._signed_seq = 0
        self._signed_line = b""
        self._signed_at = time.monotonic()
        self._part_began = time.monotonic()
        self._looked_at = time.monotonic()
        self._compressor = Compressor()
        self._head_written = b""
        self._rotation_trouble: OSError | None = None
        self._rotate_after = 0.0
        self._dropped = 0
        self._dropped_since_gap = 0

    @classmethod
    def open(cls, path: Path, *, redact: Callable[[str], str], options: LogOptions | None = None) -> AuditLog:
        """Open a log for writing: begin a chain, or verify the end of the one there and continue it.

        A last line that a crash cut short is moved to ``FILE.torn-TIME`` and recorded.

        Raises:
            ConfigurationError: the log or its key is damaged, another process writes it, or it can't be written.
        """
        path = Path(os.path.abspath(path))  # noqa: PTH100  # not resolve(): a link stays the name that people know
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            key = LogKey.load_or_make(path)
            lock = Lock.take(key_paths(path)[0], what=f"the audit log {path}")
        except OSError as error:
            raise _unwritable(path, error) from None
        log = cls(path, key, lock, redact=redact, options=options or LogOptions())
        try:
            log._begin()
        except OSError as error:
            log._abandon()
            raise _unwritable(path, error) from None
        except BaseException:
            log._abandon()
            raise
        return log

    # -- what others ask -------------------------------------------------------------------------------------------

    @property
    def available(self) -> bool:
        """False while the log can't be written and policy refuses: answer 503 before doing anything for a request."""
        return self._spool.trouble is None or self._options.on_full == "drop"

    @property
    def trouble(self) -> str | None:
        """What keeps the log from being written or rotated, or None."""
        error = self._spool.trouble or self._rotation_trouble
        return None if error is None else error.strerror or "input/output error"

    @property
    def head(self) -> str:
        """The hash of the newest line; ``log verify --expect`` says whether it is still there."""
        return self._head

    @property
    def sequence(self) -> int:
        """The number of the newest line."""
        return self._seq

    @property
    def dropped(self) -> int:
        """Events lost since the start because the disk was full and the buffer used up."""
        return self._dropped

    @property
    def buffered_bytes(self) -> int:
        """Bytes not yet handed to the operating system."""
        return self._spool.buffered

    @property
    def lag(self) -> float:
        """Seconds that the oldest buffered event has waited; 0 when all are written."""
        return self._spool.lag

    def subscribe(self, subscriber: Subscriber, *, batch: Observer | None = None) -> None:
        """Have ``subscriber`` called with each record as written, redacted (alerts, dashboard); must be quick.

        ``batch`` takes like requests together instead, before any other record that came after them, and at the
        latest at the next ``maintain``.
        """
        self._subscribers.append((subscriber, batch))

    def digest(self, content: bytes) -> str:
        """A keyed digest (BLAKE2b under a key derived from the log's) of a request's arguments, for ``Event``.

        Unkeyed, short arguments could be guessed from the log.
        """
        begun = self._keyed.copy()  # taking the key in costs half of a short digest
        begun.update(content)
        return begun.hexdigest()

    # -- writing ---------------------------------------------------------------------------------------------------

    def write(self, event: Event) -> Mapping[str, Any] | None:
        """Append one event and return its record, or None when it was dropped.

        Raises:
            LogUnavailable: the log can't be written, the buffer is full and policy says refuse.
        """
        if self._spool.buffered >= self._options.buffer_bytes and not self._make_room():
            return None
        record = self._cleaner.record(event, self._seq + 1, self._head)
        self._append(record, None)
        self._written()
        return record

    def likeness(self, event: Event) -> Likeness | None:
        """What this event has in common with others, for ``write_request``; None when it must be written whole."""
        return self._cleaner.likeness(event)

    @property
    def patient(self) -> bool:
        """Whether an event may wait a moment before it is written: its place in the buffer is sure."""
        return self._patient and self._spool.trouble is None

    def write_request(self, likeness: Likeness, figures: Figures, when: float | None = None) -> Row | None:
        """Append the event of a request that finished at ``when`` (now), or return None when it was dropped.

        Raises:
            LogUnavailable: as ``write`` does.
        """
        if self._spool.buffered >= self._options.buffer_bytes and not self._make_room():
            return None
        row = Row(self._seq + 1, likeness.finished(time.time() if when is None else when, figures))
        self._append_requests([row.request])
        return row

    def write_requests(self, requests: list[Finished]) -> None:
        """``write_request`` for several at once, which costs a third of it for each.

        Raises:
            LogUnavailable: as ``write`` does; the events from there on are lost.
        """
        spool, done = self._spool, 0
        while done < len(requests):
            some = requests[done : done + self._at_once()]
            done += len(some)
            if spool.buffered < self._options.buffer_bytes or self._make_room():
                self._append_requests(some)

    def _at_once(self) -> int:
        """How many requests may be appended before it is looked again whether something is due."""
        if not self._patient or self._spool.buffered >= _DRAIN_AT:
            return 1
        return min(_TOGETHER, max(1, self._checkpoint_every - (self._seq - self._signed_seq)))

    def _append_requests(self, requests: list[Finished]) -> None:
        lines, self._head = chained(requests, self._seq, self._head)
        self._seq += len(requests)
        self._spool.extend([lines], len(lines))
        self._untold += requests
        self._untold_to = self._seq
        if len(self._untold) >= _ROWS:
            self._tell_rows()
        self._written()

    def _written(self) -> None:
        """A line waits in the buffer: sign, force it to the disk, or hand it on, when it is time for that."""
        spool = self._spool
        if self._seq - self._signed_seq >= self._checkpoint_every:
            self._checkpoint()
        if self._write_through:
            spool.flush()
            spool.sync()
        elif spool.buffered >= _DRAIN_AT and spool.trouble is None:
            spool.flush()

    def _tell_rows(self) -> None:
        """Hand the requests that wait to the observers, like ones together."""
        untold, self._untold = self._untold, []
        if not untold:
            return
        rows = numbered(untold, self._untold_to - len(untold) + 1)  # no other line is between them: it would tell them
        for alike in together(rows, list(map(itemgetter(0), untold))):
            for subscriber, batch in self._subscribers:
                try:
                    if batch is not None:
                        batch(alike)
                    else:
                        for row in alike:
                            subscriber(row.record())
                except Exception:  # noqa: S112 # an observer's defect must not cost the request or the log
                    continue

    def flush(self) -> None:
        """Hand what is buffered to the operating system; trouble is kept in ``trouble`` and tried again."""
        self._spool.flush()

    async def maintain(self) -> None:
        """Flush, sign, rotate: the gateway awaits this about every 200 ms. Slow I/O is done in a thread.

        Raises nothing; what goes wrong is kept in ``trouble`` and tried again.
        """
        spool, before = self._spool, self._spool.trouble
        self._tell_rows()
        try:
            spool.flush()
            if spool.buffered:
                return
            await self._sign_and_settle()
            spool.forgive(again=self._write_through)
            if spool.trouble is not None:
                return
            self._after_trouble(before)
            self._look()
            settled = self._compressor.settled()
            if self._rotation_due():
                await self.rotate()
            elif settled:
                self._retain()  # while it was compressed it could not go, nor could those behind it
            self._compressor.go_on()
        except OSError as error:
            spool.trouble = error

    async def rotate(self) -> None:
        """Put the current file aside as a part, begin the next, and delete what retention no longer keeps."""
        old = self._turn_over()
        if old is not None:
            if self._options.compress_parts:
                self._compressor.add(old)
            self._retain()

    def close(self) -> None:
        """Sign the head, write everything out, release the log. Harmless when repeated."""
        if not self._spool.is_open:
            return
        self._tell_rows()
        if self._seq > self._signed_seq:
            self._checkpoint()
        self._spool.flush()
        if self._spool.trouble is None and self._signed_line != self._head_written:
            with contextlib.suppress(OSError):
                self._settle(self._signed_line, self._spool.duplicate())
        self._abandon()

    def _after_trouble(self, trouble: OSError | None) -> None:
        """Say in the log what the time without it cost."""
        if self._dropped_since_gap:
            self._own("log-gap", {"count": self._dropped_since_gap, "detail": "events lost while the log was full"})
            self._dropped_since_gap = 0
        elif trouble is not None:
            self._own("log-recovered", {"detail": "the log can be written again; nothing was lost"})

    async def _sign_and_settle(self) -> None:
        spool = self._spool
        if self._seq > self._signed_seq and time.monotonic() - self._signed_at >= self._options.checkpoint_seconds:
            self._checkpoint()
            spool.flush()
        if not spool.buffered and self._signed_line != self._head_written:
            await asyncio.to_thread(self._settle, self._signed_line, spool.duplicate())

    def _look(self) -> None:
        """Go on in a new file when somebody took the current one away or cut it; verification shows what is missing."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        if not self._spool.is_gone():
            return
        self._spool.close()
        if self.path.exists():  # what is there now is evidence
            self.path.rename(self.path.with_name(f"{self.path.name}.damaged-{stamp()}-{self._seq}"))
        self._spool.open()
        self._start_part("a file that was taken away")
        self._own("log-recovered", {"detail": "the log's file was taken away or cut while it was written"})
        self._spool.flush()

    # -- the chain -------------------------------------------------------------------------------------------------

    def _append(self, record: dict[str, Any], sign: Callable[[bytes], bytes] | None) -> bytes:
        try:
            line = seal(record, sign)
        except TypeError:  # something that JSON can't say slipped in: keep the event, as text
            text = self._cleaner.text
            record = {name: value if name in _FRAME else text(str(value)) for name, value in record.items()}
            line = seal(record, sign)
        self._seq += 1
        self._head = line_hash(line)
        self._spool.append(line)
        self._tell_rows()
        for subscriber, _ in self._subscribers:
            try:
                subscriber(record)
            except Exception:  # noqa: S112 # an observer's defect must not cost the request or the log
                continue
        return line

    def _own(self, kind: str, fields: Mapping[str, Any], *, signed: bool = False) -> bytes:
        """A line that the log writes about itself."""
        record = {"schema": SCHEMA, "seq": self._seq + 1, "prev": self._head, "time": timestamp(time.time())}
        line = self._append(record | {"kind": kind, **fields}, self._key.sign if signed else None)
        if signed:
            self._signed_seq, self._signed_at, self._signed_line = self._seq, time.monotonic(), line
        return line

    def _checkpoint(self) -> None:
        self._own(
            "log-checkpoint",
            {"chain": self._chain, "count": self._seq, "key": self._key.public.fingerprint},
            signed=True,
        )

    def _make_room(self) -> bool:
        """Try to write once more; when the buffer stays full, refuse or drop as policy says, and count."""
        self._spool.flush()
        if self._spool.buffered < self._options.buffer_bytes:
            return True
        self._dropped += 1
        self._dropped_since_gap += 1
        if self._options.on_full == "refuse":
            raise LogUnavailable(
                f"the audit log cannot be written: {self.trouble}", path=self.path, hint="free space on its disk"
            )
        return False

    # -- files -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Open the current file: continue its chain, or the last part's, or begin a new one."""
        parts = rotated_parts(self.path)
        Compressor.remove_leftovers(self.path)
        if self._options.compress_parts:
            self._compressor.add(*(part for part in parts.values() if part.suffix != ".gz"))
        tail = read_tail(self.path, self._key.public) if self.path.exists() else None
        notes: list[dict[str, Any]] = []
        if tail is not None:
            self._continue(tail)
            self._refuse_if_cut()
            notes += [self._move_torn(tail.torn, tail.size)] if tail.torn else []
            self._spool.open(tail.size)
        else:
            torn = self.path.read_bytes() if self.path.exists() else b""
            notes += [self._move_torn(torn, 0)] if torn else []
            self._spool.open()
            last = read_tail(parts[max(parts)], self._key.public) if parts else None
            if last is not None:
                self._continue(last)
                self._refuse_if_cut()
                self._start_part(parts[max(parts)].name)
            else:
                notes += self._note_missing_chain()
                self._start_chain()
        for note in notes:
            self._own("log-recovered", note)
        self._spool.flush()
        if self._spool.trouble is not None:
            raise self._spool.trouble
        if self._signed_line:
            self._settle(self._signed_line, self._spool.duplicate())

    def _continue(self, tail: Tail) -> None:
        self._chain, self._part = tail.chain, tail.part
        self._seq, self._head, self._signed_seq = tail.seq, tail.head, tail.signed_seq
        self._checkpoint_every = min(self._checkpoint_every, tail.checkpoint_every)  # what this part's head promised
        self._part_began = time.monotonic() - max(0.0, time.time() - tail.began)

    def _move_torn(self, torn: bytes, keep: int) -> dict[str, Any]:
        """Move a line that a crash cut short into a file of its own, and say so."""
        name = move_aside(self.path, torn, keep)
        return {"name": name, "count": len(torn), "detail": "a line that a crash had cut short was moved aside"}

    def _start_chain(self) -> None:
        self._chain, self._part = secrets.token_hex(16), 1
        self._own("log-start", {**self._names(), "checkpoint_every": self._checkpoint_every}, signed=True)

    def _start_part(self, follows: str) -> None:
        self._part += 1
        self._checkpoint_every = self._options.checkpoint_every
        fields = {**self._names(), "follows": follows, "checkpoint_every": self._checkpoint_every}
        self._part_began = time.monotonic()
        self._own("log-part", fields, signed=True)

    def _names(self) -> dict[str, Any]:
        return {"chain": self._chain, "part": self._part, "key": self._key.public.fingerprint}

    def _note_missing_chain(self) -> list[dict[str, Any]]:
        """A head file without its log: the log was taken away. Say so in the new chain."""
        before = read_head(self.path)
        if before is None:
            return []
        return [{"name": before["chain"], "count": before["seq"], "detail": "the log that was here before is gone"}]

    def _refuse_if_cut(self) -> None:
        before = read_head(self.path)
        if before is not None and before["chain"] == self._chain and before["seq"] > self._seq:
            raise ConfigurationError(
                f"the audit log was cut: it ends at event {self._seq}, and event {before['seq']} was written",
                path=self.path,
                hint=f"restore it, or keep it as evidence under another name and delete {head_path(self.path).name} "
                "to begin a new chain",
            )

    def _settle(self, signed: bytes, descriptor: int) -> None:
        """Make what is written last (``fsync``), then say beside the log how far it goes. Closes ``descriptor``."""
        try:
            if self._options.fsync != "never":
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if write_head(self.path, signed):  # else the next checkpoint tries again; the log itself reports a full disk
            self._head_written = signed

    def _rotation_due(self) -> bool:
        options = self._options
        if time.monotonic() < self._rotate_after:
            return False
        if options.rotate_bytes is not None and self._spool.size >= options.rotate_bytes:
            return True
        return options.rotate_seconds is not None and time.monotonic() - self._part_began >= options.rotate_seconds

    def _turn_over(self) -> Path | None:
        """Sign and finish the current file, rename it, begin the next. None when the disk doesn't let us."""
        if self._seq > self._signed_seq:
            self._checkpoint()
        self._spool.flush()
        if self._spool.trouble is not None:
            return None
        target = part_path(self.path, self._part)
        size = self._spool.size
        try:
            self._spool.sync()
            self._spool.close()
            self.path.rename(target)
        except OSError as error:
            self._rotation_trouble, self._rotate_after = error, time.monotonic() + _RETRY_SECONDS
            self._spool.open(size)
            return None
        self._rotation_trouble, self._rotate_after = None, 0.0
        self._spool.size = 0
        self._start_part(target.name)
        self._spool.flush()  # opens the next file; when that fails, the line waits and the next flush tries again
        return target

    def _retain(self) -> None:
        """Delete parts beyond retention, oldest first; the chain records it before they go."""
        parts = rotated_parts(self.path)
        doomed = expired(parts, self._part, keep=self._options.keep_parts, seconds=self._options.keep_seconds)
        doomed = list(takewhile(lambda number: parts[number] != self._compressor.busy_with, doomed))  # would come back
        if not doomed:
            return
        fields = {"through_part": max(doomed), "count": len(doomed), "detail": "rotated parts deleted by retention"}
        self._own("log-retention", {**self._names(), **fields}, signed=True)
        self._spool.flush()
        if self._spool.trouble is None:
            for number in doomed:
                with contextlib.suppress(OSError):
                    parts[number].unlink()

    def _abandon(self) -> None:
        self._spool.close()
        self._lock.release()


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"the audit log cannot be written: {error.strerror}",
        path=error.filename or path,
        hint="its directory must be writable by the gateway's user, and its disk must have space",
    )
