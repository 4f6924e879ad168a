"""The audit log's one writer: redacts, numbers, chains, signs, buffers, rotates.

``write`` is called for every request and does no I/O of its own but for a full buffer. What a crash (kill -9) can lose
is what the buffer holds: the events since the last ``maintain`` (the gateway calls it every 200 ms), at most
``buffer_bytes``; nothing with ``fsync="event"``. A power cut can also lose what the operating system had not written
yet: the events since the last checkpoint with ``fsync="checkpoint"``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

from mcpsec.errors import ConfigurationError, Error, ExitCode
from mcpsec.telemetry.chain import GENESIS, line_hash, seal
from mcpsec.telemetry.clean import Cleaner
from mcpsec.telemetry.events import SCHEMA, Event, timestamp
from mcpsec.telemetry.head import head_path, read_head, write_head
from mcpsec.telemetry.keys import LogKey, key_paths
from mcpsec.telemetry.lock import Lock
from mcpsec.telemetry.parts import compress, expired, part_path, rotated_parts
from mcpsec.telemetry.tail import Tail, read_tail

__all__ = ["AuditLog", "LogUnavailable"]

Fsync = Literal["never", "checkpoint", "event"]
OnFull = Literal["refuse", "drop"]
Subscriber = Callable[[Mapping[str, Any]], None]

_DRAIN_AT = 64 * 1024


class LogUnavailable(Error):
    """The log can't be written and the deployment says: then no request is served."""

    exit_code = ExitCode.NO


class AuditLog:
    """An open, locked log. Not thread-safe: one event loop writes."""

    def __init__(
        self,
        path: Path,
        key: LogKey,
        lock: Lock,
        *,
        redact: Callable[[str], str],
        checkpoint_every: int,
        checkpoint_seconds: float,
        fsync: Fsync,
        on_full: OnFull,
        buffer_bytes: int,
        rotate_bytes: int | None,
        rotate_seconds: float | None,
        keep_parts: int | None,
        keep_seconds: float | None,
        compress_parts: bool,
    ) -> None:
        self.path = path
        self._key = key
        self._lock = lock
        self._cleaner = Cleaner(redact)
        self._checkpoint_every = checkpoint_every
        self._checkpoint_seconds = checkpoint_seconds
        self._fsync: Fsync = fsync
        self._write_through = fsync == "event"
        self._on_full: OnFull = on_full
        self._buffer_limit = buffer_bytes
        self._rotate_bytes = rotate_bytes
        self._rotate_seconds = rotate_seconds
        self._keep_parts = keep_parts
        self._keep_seconds = keep_seconds
        self._compress = compress_parts
        self._subscribers: list[Subscriber] = []
        self._fd = -1
        self._chain = ""
        self._part = 0
        self._seq = 0
        self._head = GENESIS
        self._signed_seq = 0
        self._signed_line = b""
        self._signed_at = time.monotonic()
        self._part_began = time.monotonic()
        self._part_bytes = 0
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._oldest = 0.0
        self._unsynced = False
        self._uncompressed: list[Path] = []
        self._compression: asyncio.Task[None] | None = None
        self._compressing: Path | None = None
        self._head_written = b""
        self._trouble: OSError | None = None
        self._dropped = 0
        self._dropped_since_gap = 0

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        redact: Callable[[str], str],
        checkpoint_every: int = 1000,
        checkpoint_seconds: float = 5.0,
        fsync: Fsync = "checkpoint",
        on_full: OnFull = "refuse",
        buffer_bytes: int = 1 << 20,
        rotate_bytes: int | None = 100 << 20,
        rotate_seconds: float | None = None,
        keep_parts: int | None = None,
        keep_seconds: float | None = None,
        compress_parts: bool = True,
    ) -> AuditLog:
        """Open a log for writing: begin a chain, or verify the end of the one there and continue it.

        A last line that a crash cut short is moved to ``FILE.torn-TIME`` and recorded. Sizes in bytes, times in
        seconds. Every ``checkpoint_every`` events, and ``checkpoint_seconds`` after an unsigned one, the head is
        signed. Parts beyond ``keep_parts`` or older than ``keep_seconds`` are deleted, and the chain says so.

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
        log = cls(
            path,
            key,
            lock,
            redact=redact,
            checkpoint_every=checkpoint_every,
            checkpoint_seconds=checkpoint_seconds,
            fsync=fsync,
            on_full=on_full,
            buffer_bytes=buffer_bytes,
            rotate_bytes=rotate_bytes,
            rotate_seconds=rotate_seconds,
            keep_parts=keep_parts,
            keep_seconds=keep_seconds,
            compress_parts=compress_parts,
        )
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
        return self._trouble is None or self._on_full == "drop"

    @property
    def trouble(self) -> str | None:
        """What keeps the log from being written, or None."""
        return None if self._trouble is None else self._trouble.strerror or "input/output error"

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
        """Events lost since the start because the disk was full and policy says go on."""
        return self._dropped

    @property
    def buffered_bytes(self) -> int:
        """Bytes not yet handed to the operating system."""
        return self._buffered

    @property
    def lag(self) -> float:
        """Seconds that the oldest buffered event has waited; 0 when all are written."""
        return time.monotonic() - self._oldest if self._buffer else 0.0

    def subscribe(self, subscriber: Subscriber) -> None:
        """Have ``subscriber`` called with each record as written, redacted (alerts, dashboard); must be quick."""
        self._subscribers.append(subscriber)

    def digest(self, content: bytes) -> str:
        """A keyed digest (BLAKE2b under a key derived from the log's) of a request's arguments, for ``Event``.

        Unkeyed, short arguments could be guessed from the log.
        """
        return hashlib.blake2b(content, key=self._key.digest_key, digest_size=16).hexdigest()

    # -- writing ---------------------------------------------------------------------------------------------------

    def write(self, event: Event) -> None:
        """Append one event.

        Raises:
            LogUnavailable: the log can't be written, the buffer is full and policy says refuse.
        """
        if self._buffered >= self._buffer_limit and not self._make_room():
            return
        self._append(self._cleaner.record(event, self._seq + 1, self._head), None)
        if self._seq - self._signed_seq >= self._checkpoint_every:
            self._checkpoint()
        if self._write_through:
            self.flush()
            self._sync()
        elif self._buffered >= _DRAIN_AT and self._trouble is None:
            self.flush()

    def flush(self) -> None:
        """Hand what is buffered to the operating system; trouble is kept in ``trouble`` and tried again."""
        if not self._buffer:
            return
        data = b"".join(self._buffer)
        done = 0
        try:
            while done < len(data):
                done += os.write(self._fd, data[done:] if done else data)
        except OSError as error:
            self._trouble = error
        else:
            self._trouble = None
        self._part_bytes += done
        self._buffered -= done
        self._buffer = [data[done:]] if done < len(data) else []
        self._unsynced = self._unsynced or done > 0

    async def maintain(self) -> None:
        """Flush, sign, rotate: the gateway awaits this about every 200 ms. Slow I/O is done in a thread.

        Raises nothing; what goes wrong is kept in ``trouble`` and tried again.
        """
        trouble, self._trouble = self._trouble, None
        try:
            self.flush()
            if self._trouble is None:
                await self._sign_and_settle()
                self._after_trouble(trouble)
                if self._rotation_due():
                    await self.rotate()
            self._compress_next()
        except OSError as error:
            self._trouble = error

    async def rotate(self) -> None:
        """Put the current file aside as a part, begin the next, and delete what retention no longer keeps."""
        old = self._turn_over()
        if old is not None:
            if self._compress:
                self._uncompressed.append(old)
            self._retain()

    def close(self) -> None:
        """Sign the head, write everything out, release the log. Harmless when repeated."""
        if self._fd < 0:
            return
        if self._seq > self._signed_seq:
            self._checkpoint()
        self.flush()
        if self._trouble is None and self._signed_line != self._head_written:
            with contextlib.suppress(OSError):
                self._settle(self._signed_line, os.dup(self._fd))
        self._abandon()

    def _compress_next(self) -> None:
        """Compress one part beside everything else; until it is done, and if it fails, the part is whole as it is."""
        if self._uncompressed and (self._compression is None or self._compression.done()):
            self._compressing = self._uncompressed.pop(0)
            self._compression = asyncio.get_running_loop().create_task(_compressed(self._compressing))

    def _after_trouble(self, trouble: OSError | None) -> None:
        """Say in the log what the time without it cost."""
        if self._dropped_since_gap:
            self._own("log-gap", {"count": self._dropped_since_gap, "detail": "events lost while the log was full"})
            self._dropped_since_gap = 0
        elif trouble is not None:
            self._own("log-recovered", {"detail": "the log can be written again; nothing was lost"})

    async def _sign_and_settle(self) -> None:
        if self._seq > self._signed_seq and time.monotonic() - self._signed_at >= self._checkpoint_seconds:
            self._checkpoint()
        self.flush()
        if self._trouble is None and self._signed_line != self._head_written:
            await asyncio.to_thread(self._settle, self._signed_line, os.dup(self._fd))

    # -- the chain -------------------------------------------------------------------------------------------------

    def _append(self, record: dict[str, Any], sign: Callable[[bytes], bytes] | None) -> bytes:
        try:
            line = seal(record, sign)
        except TypeError:  # something that JSON can't say slipped in: keep the event, as text
            record = {name: self._cleaner.text(str(value)) for name, value in record.items()}
            record["seq"] = self._seq + 1
            line = seal(record, sign)
        self._seq += 1
        self._head = line_hash(line)
        if not self._buffer:
            self._oldest = time.monotonic()
        self._buffer.append(line + b"\n")
        self._buffered += len(line) + 1
        for subscriber in self._subscribers:
            try:
                subscriber(record)
            except Exception:  # noqa: S112 # an observer's defect must not cost the request or the log
                continue
        return line

    def _own(self, kind: str, fields: Mapping[str, Any], *, signed: bool = False) -> bytes:
        """A line that the log writes about itself."""
        record = {"schema": SCHEMA, "seq": self._seq + 1, "prev": self._head, "kind": kind}
        record |= {"time": timestamp(time.time()), **fields}
        line = self._append(record, self._key.sign if signed else None)
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
        """Try to write once more; when the buffer stays full, refuse or drop as policy says."""
        self.flush()
        if self._buffered < self._buffer_limit:
            return True
        if self._on_full == "refuse":
            raise LogUnavailable(
                f"the audit log cannot be written: {self.trouble}", path=self.path, hint="free space on its disk"
            )
        self._dropped += 1
        self._dropped_since_gap += 1
        return False

    # -- files -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Open the current file: continue its chain, or the last part's, or begin a new one."""
        parts = rotated_parts(self.path)
        self._remove_leftovers()
        if self._compress:
            self._uncompressed = [part for part in parts.values() if part.suffix != ".gz"]
        tail = read_tail(self.path, self._key.public) if self.path.exists() else None
        notes: list[dict[str, Any]] = []
        if tail is not None:
            self._continue(tail)
            notes += self._recover(tail)
            self._open_file()
        else:
            torn = self.path.read_bytes() if self.path.exists() else b""
            if torn:
                notes.append(self._move_aside(torn, 0))
            self._open_file()
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
        self.flush()
        if self._trouble is not None:
            raise self._trouble
        if self._signed_line:
            self._settle(self._signed_line, os.dup(self._fd))

    def _continue(self, tail: Tail) -> None:
        self._chain, self._part = tail.chain, tail.part
        self._seq, self._head, self._signed_seq = tail.seq, tail.head, tail.signed_seq
        self._part_bytes = tail.size
        self._checkpoint_every = min(self._checkpoint_every, tail.checkpoint_every)  # what this part's head promised

    def _recover(self, tail: Tail) -> list[dict[str, Any]]:
        self._refuse_if_cut()
        if not tail.torn:
            return []
        note = self._move_aside(tail.torn, tail.size)
        return [note]

    def _move_aside(self, torn: bytes, keep: int) -> dict[str, Any]:
        """Cut a torn last line off, keep its bytes in a file of their own."""
        aside = self.path.with_name(f"{self.path.name}.torn-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{keep}")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(torn)
        os.truncate(self.path, keep)
        return {"name": aside.name, "count": len(torn), "detail": "a line that a crash had cut short was moved aside"}

    def _start_chain(self) -> None:
        self._chain, self._part = secrets.token_hex(16), 1
        self._own("log-start", {**self._names(), "checkpoint_every": self._checkpoint_every}, signed=True)

    def _start_part(self, follows: str) -> None:
        self._part += 1
        fields = {**self._names(), "follows": follows, "checkpoint_every": self._checkpoint_every}
        self._part_bytes, self._part_began = 0, time.monotonic()
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

    def _open_file(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._fd = os.open(self.path, flags, 0o600)

    def _settle(self, signed: bytes, descriptor: int) -> None:
        """Make what is written last (``fsync``), then say beside the log how far it goes. Closes ``descriptor``."""
        try:
            if self._fsync != "never":
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if write_head(self.path, signed):  # else the next checkpoint tries again; the log itself reports a full disk
            self._head_written = signed

    def _sync(self) -> None:
        if self._unsynced and self._trouble is None:
            try:
                os.fsync(self._fd)
            except OSError as error:
                self._trouble = error
            self._unsynced = False

    def _rotation_due(self) -> bool:
        if self._rotate_bytes is not None and self._part_bytes >= self._rotate_bytes:
            return True
        return self._rotate_seconds is not None and time.monotonic() - self._part_began >= self._rotate_seconds

    def _turn_over(self) -> Path | None:
        """Sign and finish the current file, rename it, begin the next. None when the disk doesn't let us."""
        if self._seq > self._signed_seq:
            self._checkpoint()
        self.flush()
        if self._trouble is not None:
            return None
        target = part_path(self.path, self._part)
        try:
            os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1
            self.path.rename(target)
        except OSError as error:
            self._trouble = error
            self._open_file() if self._fd < 0 else None
            return None
        self._open_file()
        self._start_part(target.name)
        self.flush()
        return target

    def _retain(self) -> None:
        """Delete parts beyond retention, oldest first; the chain records it before they go."""
        parts = rotated_parts(self.path)
        doomed = expired(parts, self._part, keep=self._keep_parts, seconds=self._keep_seconds)
        doomed = list(takewhile(lambda number: parts[number] != self._compressing, doomed))  # it would come back
        if not doomed:
            return
        fields = {"through_part": max(doomed), "count": len(doomed), "detail": "rotated parts deleted by retention"}
        self._own("log-retention", {**self._names(), **fields}, signed=True)
        self.flush()
        if self._trouble is None:
            for number in doomed:
                with contextlib.suppress(OSError):
                    parts[number].unlink()

    def _remove_leftovers(self) -> None:
        for leftover in self.path.parent.glob(f"{self.path.stem}.*.gz.tmp"):
            leftover.unlink(missing_ok=True)

    def _abandon(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._lock.release()


async def _compressed(part: Path) -> None:
    with contextlib.suppress(OSError):  # no space: the next start tries what is left
        await asyncio.to_thread(compress, part)


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"the audit log cannot be written: {error.strerror}",
        path=error.filename or path,
        hint="its directory must be writable by the gateway's user, and its disk must have space",
    )
