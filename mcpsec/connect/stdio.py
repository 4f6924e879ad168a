"""The stdio side: lines in from the client's pipe, lines out to it, neither ever blocking the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
from typing import TYPE_CHECKING, Final

from mcpsec.protocol import LineFramer, Oversize, frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["MOST_LINE_BYTES", "StdioPipe"]

MOST_LINE_BYTES: Final = 16 * 1024 * 1024
"""The longest message that a client may write, in bytes."""

_MOST_WAITING = 256


class StdioPipe:
    """Messages over two file descriptors, one line each. Threads do the blocking reads and writes.

    At most 256 messages wait in either direction; then the faster side waits.
    """

    def __init__(self, source: int = 0, sink: int = 1) -> None:
        self._source = source
        self._sink = sink
        self._incoming: asyncio.Queue[bytes | Oversize | None] = asyncio.Queue(_MOST_WAITING)
        self._outgoing: queue.Queue[bytes | None] = queue.Queue(_MOST_WAITING)
        self._broken = False
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
        with contextlib.suppress(OSError, RuntimeError):  # the descriptor or the loop was closed: nobody listens
            while chunk := os.read(self._source, 64 * 1024):
                for line in framer.feed(chunk):
                    asyncio.run_coroutine_threadsafe(self._incoming.put(line), loop).result()
            asyncio.run_coroutine_threadsafe(self._incoming.put(None), loop).result()

    async def send(self, payload: bytes) -> None:
        """Write one message to the client; waits while the client reads slowly.

        Raises:
            BrokenPipeError: the client is gone.
        """
        while True:
            if self._broken:
                raise BrokenPipeError
            try:
                self._outgoing.put_nowait(frame(payload))
                return
            except queue.Full:
                await asyncio.sleep(0.005)

    def _write_all(self) -> None:
        try:
            while (line := self._outgoing.get()) is not None:
                view = memoryview(line)
                while view:
                    view = view[os.write(self._sink, view) :]
        except OSError:
            self._broken = True

    async def close(self) -> None:
        """Write what waits, then stop."""
        while not self._broken:
            try:
                self._outgoing.put_nowait(None)
                break
            except queue.Full:
                await asyncio.sleep(0.005)
        await asyncio.to_thread(self._writer.join, 5.0)
