"""The stdio side: lines in from the client's pipe, lines out to it, neither ever blocking the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import select
import threading
import time
from typing import TYPE_CHECKING, Final

from mcpsec.protocol import LineFramer, Oversize, frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["MOST_LINE_BYTES", "StdioPipe"]

MOST_LINE_BYTES: Final = 16 * 1024 * 1024
"""The longest message that a client may write, in bytes."""

_MOST_READ_BYTES = 1024 * 1024
_EACH_BYTES = 64  # what a message takes up beside its bytes: many empty ones count too
_MOST_WAITING = 256
_MOST_WAITING_BYTES = 64 * 1024 * 1024
_PIECE_BYTES = 16 * 1024  # written at once: a large message that is read slowly is seen to be read
_POLL_SECONDS = 0.005
_SILENCE_SECONDS = 5.0
"""How long, at the end, the client may take for the next bytes of what waits for it."""

_LAST_SECONDS = 30.0
"""How long, once it was told to end, for all of it."""


class StdioPipe:
    """Messages over two file descriptors, one line each. Threads do the blocking reads and writes.

    Of the client's messages 1 MiB is read ahead; 256 wait for the client, of 64 MiB together. One that is larger goes
    alone. Then the faster side waits.
    """

    def __init__(self, source: int = 0, sink: int = 1) -> None:
        self._source = source
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._incoming: asyncio.Queue[bytes | Oversize | None] = asyncio.Queue()
        self._read = 0  # bytes, counted by the thread that reads them, and
        self._used = 0  # by who takes them out: each number has one writer
        self._outgoing: queue.Queue[bytes | None] = queue.Queue(_MOST_WAITING)
        self._taken = 0  # the same of the other way
        self._written = 0
        self._closed = False
        self._until: float | None = None
        self.ended = asyncio.Event()  # the client's end is closed, though messages may still wait
        self.failed = asyncio.Event()  # the client takes nothing any more, and
        self.failure: OSError | None = None  # this is why
        self._writer = threading.Thread(target=self._write_all, name="stdout", daemon=True)
        self._writer.start()

    async def messages(self) -> AsyncIterator[bytes | Oversize]:
        """The client's messages until it closes its end; what it wrote last needs no line end."""
        threading.Thread(target=self._read_all, name="stdin", daemon=True).start()
        while (line := await self._incoming.get()) is not None:
            self._used += _cost(line)
            yield line

    def _read_all(self) -> None:
        framer = LineFramer(MOST_LINE_BYTES)
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody listens
            with contextlib.suppress(OSError):  # what can't be read any more is as good as ended
                while chunk := _read(self._source):
                    self._pass_on(framer.feed(chunk))
                if last := framer.close().removesuffix(b"\r"):
                    self._pass_on([last])
            self._loop.call_soon_threadsafe(self.ended.set)
            self._loop.call_soon_threadsafe(self._incoming.put_nowait, None)

    def _pass_on(self, lines: list[bytes | Oversize]) -> None:
        """Queue messages, as fast as they are taken. That the client hangs up meanwhile is heard all the same."""
        for line in lines:
            while self._read > self._used and self._read - self._used + _cost(line) > _MOST_READ_BYTES:
                if self._closed:
                    raise RuntimeError("nobody listens any more")
                if not self.ended.is_set() and _hung_up(self._source):
                    self._loop.call_soon_threadsafe(self.ended.set)
                time.sleep(_POLL_SECONDS)
            self._read += _cost(line)
            self._loop.call_soon_threadsafe(self._incoming.put_nowait, line)

    async def send(self, payload: bytes) -> None:
        """Write one message to the client; waits while the client reads slowly.

        Raises:
            BrokenPipeError: the client is gone.
        """
        while True:
            if self.failure is not None:
                raise BrokenPipeError
            if self._has_room(len(payload)):
                line = frame(payload)
                self._outgoing.put_nowait(line)
                self._taken += len(line)
                return
            await asyncio.sleep(_POLL_SECONDS)

    def _has_room(self, size: int) -> bool:
        waiting = self._taken - self._written
        return not self._outgoing.full() and (waiting == 0 or waiting + size <= _MOST_WAITING_BYTES)

    def _write_all(self) -> None:
        try:
            while (line := self._outgoing.get()) is not None:
                view = memoryview(line)
                while view:
                    written = _write(self._sink, view[:_PIECE_BYTES])
                    self._written += written
                    view = view[written:]
        except OSError as error:
            self.failure = error
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self.failed.set)

    def hurry(self) -> None:
        """End soon: whoever reads on has half a minute for what waits, and none at the second call."""
        now = time.monotonic()
        self._until = now + _LAST_SECONDS if self._until is None else now

    async def close(self) -> None:
        """Write what waits, then stop. A client that goes on to read is waited for, one that does not for 5 seconds."""
        self._closed = True
        told, written, since = False, self._written, time.monotonic()
        while self._writer.is_alive() and (now := time.monotonic()) - since < _SILENCE_SECONDS:
            if self._until is not None and now >= self._until:
                return
            if not told and not self._outgoing.full():
                self._outgoing.put_nowait(None)
                told = True
            if written != self._written:
                written, since = self._written, now
            await asyncio.sleep(_POLL_SECONDS)


def _cost(line: bytes | Oversize) -> int:
    return _EACH_BYTES + (len(line) if isinstance(line, bytes) else 0)


def _hung_up(source: int) -> bool:
    """Whether nobody can write any more, though there may be much to read yet. Where that can't be known, not."""
    if not hasattr(select, "poll"):
        return False
    ends = getattr(select, "POLLRDHUP", 0)  # of a socket whose other end still reads
    poll = select.poll()
    poll.register(source, ends)
    return any(event & (select.POLLHUP | ends) for _, event in poll.poll(0))


def _read(source: int) -> bytes:
    """The next bytes. Whoever shares the descriptor may have made it one that does not wait: then this does."""
    while True:
        try:
            return os.read(source, 64 * 1024)
        except BlockingIOError:
            select.select([source], [], [])


def _write(sink: int, data: memoryview) -> int:
    """How many bytes have been written, at least one."""
    while True:
        try:
            return os.write(sink, data)
        except BlockingIOError:
            select.select([], [sink], [])
