"""The stdio side: lines in from the client's pipe, lines out to it, neither ever blocking the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import select
import threading
import time
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Final

from mcpsec.protocol import LineFramer, Oversize, frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["MOST_LINE_BYTES", "StdioPipe"]

MOST_LINE_BYTES: Final = 16 * 1024 * 1024
"""The longest message that a client may write, in bytes."""

_MOST_READ = 4
_MOST_WAITING = 256
_MOST_WAITING_BYTES = 64 * 1024 * 1024
_SILENCE_SECONDS = 5.0
"""How long, at the end, the client may take for the next bytes of what waits for it."""


class StdioPipe:
    """Messages over two file descriptors, one line each. Threads do the blocking reads and writes.

    Of the client's messages 4 are read ahead; 256 wait for the client, of 64 MiB together or else alone. Then the
    faster side waits.
    """

    def __init__(self, source: int = 0, sink: int = 1) -> None:
        self._source = source
        self._sink = sink
        self._incoming: asyncio.Queue[bytes | Oversize | None] = asyncio.Queue(_MOST_READ)
        self._outgoing: queue.Queue[bytes | None] = queue.Queue(_MOST_WAITING)
        self._taken = 0  # bytes, counted by who puts them in, and
        self._written = 0  # by the thread that takes them out: each number has one writer
        self.ended = asyncio.Event()  # the client's end is closed, though messages may still wait
        self.failure: OSError | None = None  # why the client's end takes nothing any more
        self._writer = threading.Thread(target=self._write_all, name="stdout", daemon=True)
        self._writer.start()

    async def messages(self) -> AsyncIterator[bytes | Oversize]:
        """The client's messages until it closes its end."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._read_all, args=(loop,), name="stdin", daemon=True).start()
        while (line := await self._incoming.get()) is not None:
            yield line

    def _read_all(self, loop: asyncio.AbstractEventLoop) -> None:
        framer = LineFramer(MOST_LINE_BYTES)
        with contextlib.suppress(RuntimeError, CancelledError):  # the loop was closed: nobody listens
            with contextlib.suppress(OSError):  # what can't be read any more is as good as ended
                while chunk := _read(self._source):
                    for line in framer.feed(chunk):
                        asyncio.run_coroutine_threadsafe(self._incoming.put(line), loop).result()
            loop.call_soon_threadsafe(self.ended.set)
            asyncio.run_coroutine_threadsafe(self._incoming.put(None), loop).result()

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
            await asyncio.sleep(0.005)

    def _has_room(self, size: int) -> bool:
        waiting = self._taken - self._written
        return not self._outgoing.full() and (waiting == 0 or waiting + size <= _MOST_WAITING_BYTES)

    def _write_all(self) -> None:
        try:
            while (line := self._outgoing.get()) is not None:
                view = memoryview(line)
                while view:
                    written = _write(self._sink, view)
                    self._written += written
                    view = view[written:]
        except OSError as error:
            self.failure = error

    async def close(self) -> None:
        """Write what waits, then stop. A client that goes on to read is waited for, one that does not for 5 seconds."""
        told, written, since = False, self._written, time.monotonic()
        while self._writer.is_alive() and time.monotonic() - since < _SILENCE_SECONDS:
            if not told and not self._outgoing.full():
                self._outgoing.put_nowait(None)
                told = True
            if written != self._written:
                written, since = self._written, time.monotonic()
            await asyncio.sleep(0.005)


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
