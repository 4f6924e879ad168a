"""The body of an upstream's answer that comes as events: buffered up to a bound, then the upstream has to wait."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from mcpsec.gateway.upstreams.http_client import UpstreamFault

__all__ = ["BodyStream", "StreamSource"]

_STREAM_BUFFER = 256 * 1024


class StreamSource(Protocol):
    """What a stream's pieces come from."""

    def pause(self) -> None:
        """Send nothing for a while."""

    def resume(self) -> None:
        """Go on."""

    def abort(self) -> None:
        """Nobody reads any more."""


class BodyStream:
    """The body of a streaming answer. Closing it before its end closes the upstream connection, which cancels there."""

    def __init__(self, connection: StreamSource) -> None:
        self._connection = connection
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._ready: asyncio.Future[None] | None = None
        self._ended = False
        self._fault: UpstreamFault | None = None
        self.at_end: Callable[[], object] | None = None
        """Called once when it ends, or breaks off."""

    def feed(self, data: bytes) -> None:
        """A piece of the body has come."""
        self._chunks.append(data)
        self._size += len(data)
        if self._size > _STREAM_BUFFER:
            self._connection.pause()
        self._wake()

    def finish(self, fault: UpstreamFault | None = None) -> None:
        """The body is complete, or broke off."""
        self._ended = True
        self._fault = fault
        self._wake()
        told, self.at_end = self.at_end, None
        if told is not None:
            told()

    @property
    def whole(self) -> bytes | None:
        """All of it, of which nobody has read anything, once it is complete. It is still to be read."""
        return b"".join(self._chunks) if self._ended and self._fault is None else None

    def _wake(self) -> None:
        ready, self._ready = self._ready, None
        if ready is not None and not ready.done():
            ready.set_result(None)

    async def next(self) -> bytes:
        """The next piece, or ``b""`` at the end. Raises UpstreamFault when the stream breaks off."""
        while not self._chunks:
            if self._ended:
                if self._fault is not None:
                    raise self._fault
                return b""
            self._ready = asyncio.get_running_loop().create_future()
            await self._ready
        data = self._chunks.popleft()
        self._size -= len(data)
        if self._size <= _STREAM_BUFFER and not self._ended:  # after its end the connection may serve another request
            self._connection.resume()
        return data

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Every piece until the end."""
        while data := await self.next():
            yield data

    def distrust(self) -> None:
        """It is another request's: so would be all that comes behind it on its connection."""
        self._connection.abort()

    def close(self) -> None:
        """Let go of the stream; an unfinished one takes its connection with it."""
        if not self._ended:
            self._connection.abort()
