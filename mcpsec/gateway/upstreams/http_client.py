"""A small HTTP/1.1 client for one upstream: keep-alive pool, deadlines, capped answers, streams with back pressure.

A general client costs more than the whole gateway here (docs/dependencies.md has the figures). It speaks only to the
one origin that the deployment file names, follows no redirect and keeps no cookie.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

import httptools

from mcpsec.gateway.outbox import Outbox
from mcpsec.gateway.reading import Reading, read_buffer
from mcpsec.gateway.upstreams.body_stream import BodyStream
from mcpsec.gateway.upstreams.deadlines import Deadlines
from mcpsec.gateway.upstreams.known_answers import KnownAnswers

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.gateway.upstreams.known_answers import AnswerHead

__all__ = [
    "Cut",
    "HttpPool",
    "NoRoomFault",
    "UpstreamConnection",
    "UpstreamFault",
    "UpstreamResponse",
    "UpstreamTimeout",
    "Waiting",
]

# Servers close idle connections after 5 s (uvicorn) or more: we let go first, so that no request meets a closing one.
_IDLE_SECONDS = 4.0
_IDLE_CONNECTIONS = 128


class UpstreamFault(Exception):
    """The upstream could not be reached or broke the protocol.

    ``reason`` is safe for logs; ``sent`` says whether the request may have reached it.
    """

    def __init__(self, reason: str, *, sent: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent


class UpstreamTimeout(UpstreamFault):
    """The upstream did not answer within the deadline."""


class TooLargeFault(UpstreamFault):
    """The upstream answered, with more than is taken."""


class NoRoomFault(UpstreamFault):
    """The gateway has no room for what the request needs, which says nothing about the upstream."""


class Cut(Protocol):
    """Where an answer is to come from: ``abort`` says that nobody waits for it any more."""

    def abort(self) -> None:
        """Take nothing more from there."""


class UpstreamResponse:
    """An answer's head, with its whole body, or with ``stream`` for an event stream.

    ``known`` is its head when that came before: then the fields are the head's own and must not be changed. ``source``
    is the connection that it came on, where there is one.
    """

    __slots__ = ("body", "content_type", "fields", "known", "source", "status", "stream")

    def __init__(self, known: AnswerHead | None = None, body: bytes = b"", source: Cut | None = None) -> None:
        self.known = known
        self.body = body
        self.source = source
        self.stream: BodyStream | None = None
        if known is None:
            self.status = 0
            self.fields: dict[bytes, bytes] = {}
            self.content_type = b""
            """The media type without parameters, in lower case."""
        else:
            self.status, self.fields, self.content_type = known.status, known.fields, known.content_type

    def distrust(self) -> None:
        """It is another request's answer: so would be all that comes behind it."""
        if self.source is not None:
            self.source.abort()


class Waiting(Protocol):
    """Who waits for an answer: a future, or what behaves like one."""

    def done(self) -> bool:
        """Whether nobody waits any more."""

    def set_result(self, result: UpstreamResponse, /) -> None:
        """The answer."""

    def set_known(self, head: AnswerHead, body: bytes, /) -> None:
        """The answer, when its head came before; the connection is others' again."""

    def set_exception(self, exception: UpstreamFault, /) -> None:
        """Why there will be none."""


class _Awaited(asyncio.Future[UpstreamResponse]):
    """An answer that is awaited."""

    def set_known(self, head: AnswerHead, body: bytes) -> None:
        """The answer, when its head came before."""
        self.set_result(UpstreamResponse(head, body))


class UpstreamConnection(Reading):
    """One connection; one request at a time."""

    def __init__(self, pool: HttpPool) -> None:
        self._pool = pool
        self._transport: asyncio.Transport
        self._answer: Waiting | None = None
        self._response = UpstreamResponse()
        self._stream: BodyStream | None = None
        self._body: list[bytes] = []
        self._size = 0
        self._unread = 0
        self._complete = True
        self._untouched = False  # nothing has come of the answer that is due
        self._until_eof = False
        self.closed = False
        self.idle_since = 0.0
        self.deadline = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to ask."""
        self._transport = transport  # type: ignore[assignment] # a stream protocol gets a Transport
        self.use_buffer(self._pool.buffer, tls=self._pool.tls is not None)
        self._parser = httptools.HttpResponseParser(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The upstream is gone: whoever waits hears of it."""
        self.closed = True
        self._pool.forget(self)
        if not self._complete and self._until_eof and exc is None:
            self.on_message_complete()
        elif not self._complete:
            self._fail(UpstreamFault("the upstream closed the connection before its answer was complete"))

    def data_received(self, data: bytes) -> None:
        """Take what has come of the answer."""
        if self._complete:
            # Bytes that nobody asked for: an answer to a request we never sent must not meet the next one.
            self.abort()
            return
        untouched, self._untouched = self._untouched, False
        if untouched and self._read_known(data):
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(UpstreamFault("the upstream's answer is not HTTP"))
            self.abort()
            return
        # The parser keeps a header's value, or a trailer's, until it is whole: what is no body is counted as it comes.
        self._unread = 0 if self._unread < 0 else self._unread + len(data)
        if self._unread > self._pool.header_bytes and not self.closed:
            self._fail(UpstreamFault("the upstream's answer has too large a header"))
            self.abort()
        elif untouched:
            self._remember(data)

    def _read_known(self, data: bytes) -> bool:
        """Take a whole answer whose head came before; False when it is not one, and nothing was taken."""
        pool = self._pool
        known = None if self.closed else pool.known.read(data)
        if known is None:
            return False
        self._complete = True
        pool.give_back(self)
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            head, body = known
            answer.set_known(head, body)
        return True

    def _remember(self, data: bytes) -> None:
        """Keep the head of an answer that came whole in one piece, on a connection that stays."""
        if self._complete and not self.closed:
            got = self._response
            self._pool.known.remember(data, got.status, got.content_type, got.fields, got.body)

    def on_message_begin(self) -> None:
        """An answer starts."""
        if self._complete:  # behind the answer, in the same piece: nobody asked for it either
            self.abort()
            return
        self._response = UpstreamResponse()
        self._body, self._size, self._unread = [], 0, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line, or trailer."""
        self._size += len(name) + len(value)
        if self._size > self._pool.header_bytes:
            self._fail(UpstreamFault("the upstream's answer has too large a header"))
            self.abort()
            return
        self._response.fields.setdefault(name.lower(), value)

    def on_headers_complete(self) -> None:
        """The head is whole; of a stream that is all there is to wait for."""
        response = self._response
        response.status = self._parser.get_status_code()
        if response.status < 200:
            return
        self._size = 0
        fields = response.fields
        self._until_eof = b"content-length" not in fields and b"transfer-encoding" not in fields
        media_type = fields.get(b"content-type", b"")
        if media_type != b"application/json":
            media_type = media_type.partition(b";")[0].strip().lower()
        response.content_type = media_type
        if media_type == b"text/event-stream" and self._answer is not None:
            self._stream = response.stream = BodyStream(self)
            self._resolve(response)

    def on_body(self, data: bytes) -> None:
        """Part of the body."""
        self._unread = -1
        if self._stream is not None:
            self._stream.feed(data)
            return
        self._size += len(data)
        if self._size > self._pool.response_bytes:
            self._fail(TooLargeFault("the upstream's answer is too large"))
            self.abort()
            return
        self._body.append(data)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        response = self._response
        if response.status < 200 or self._complete:
            return
        self._complete = True
        if self._stream is not None:
            self._stream.finish()
            self._stream = None
            self.resume()  # a slow reader of this answer must not hold up the next one on this connection
        else:
            response.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            self._resolve(response)
        if self._until_eof or self.closed or not self._parser.should_keep_alive():
            self.abort()
        else:
            self._pool.give_back(self)

    def _resolve(self, response: UpstreamResponse) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result(response)

    def _fail(self, fault: UpstreamFault) -> None:
        self._complete = True
        if self._stream is not None:
            self._stream.finish(fault)
            self._stream = None
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(fault)

    def request(self, data: bytes, timeout: float, waiting: Waiting) -> None:
        """Send one request; its answer is to come (of an event stream, its head), to ``waiting``.

        Whoever waits for it in vain, or no longer, calls ``abort``: what still arrives then belongs to nobody.
        """
        self._complete, self._untouched, self._answer = False, True, waiting
        pool = self._pool
        now = pool.now
        self.deadline = deadline = now() + timeout
        if deadline < pool.deadlines.rings_at:
            pool.deadlines.ring_at(deadline)
        pool.outbox.put(self._transport, data)

    async def answer_to(self, data: bytes, timeout: float) -> UpstreamResponse:
        """Send one request, and wait for its answer. Raises UpstreamFault or UpstreamTimeout."""
        answer = _Awaited()
        try:
            self.request(data, timeout, answer)
            response = await answer
            response.source = self
            return response
        except BaseException:
            self.abort()
            raise

    @property
    def waits(self) -> bool:
        """True while an answer is due."""
        return self._answer is not None

    def expire(self) -> None:
        """The answer did not come in time."""
        self._fail(UpstreamTimeout("no answer within the deadline"))

    def pause(self) -> None:
        """Send nothing for a while."""
        if not self.closed:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on."""
        if not self.closed:
            self._transport.resume_reading()

    def abort(self) -> None:
        """Cut it: nobody waits for what still comes."""
        self.closed = True
        self._transport.abort()


class HttpPool:
    """Keep-alive connections to one origin."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None,
        connect_timeout: float,
        response_bytes: int,
        header_bytes: int = 64 * 1024,
    ) -> None:
        self._host, self._port, self.tls = host, port, tls
        self.buffer = read_buffer()
        self.outbox = Outbox()
        self._connect_timeout = connect_timeout
        self.response_bytes = response_bytes
        self.header_bytes = header_bytes
        self.known = KnownAnswers(response_bytes)
        self._idle: deque[UpstreamConnection] = deque()
        self._live: set[UpstreamConnection] = set()
        self.deadlines = Deadlines(lambda: [each for each in self._live if each.waits])
        self.now: Callable[[], float] = time.monotonic
        """The clock of the event loop, once there is a connection."""

    async def send(self, data: bytes, *, timeout: float, repeatable: bool) -> UpstreamResponse:
        """Send a whole request and return its answer.

        A kept connection may close under our hands; then a ``repeatable`` request (one without effects) is sent once
        more on a new one, any other is not. Raises UpstreamFault or UpstreamTimeout.
        """
        kept = self.take_idle()
        if kept is not None:
            try:
                return await kept.answer_to(data, timeout)
            except UpstreamFault as fault:
                if not repeatable or isinstance(fault, UpstreamTimeout):
                    raise
        connection = await self._connect()
        return await connection.answer_to(data, timeout)

    def take_idle(self) -> UpstreamConnection | None:
        """A kept connection, which is the taker's now; None when there is none."""
        idle, now = self._idle, self.now
        while idle:
            connection = idle.pop()
            if connection.idle_since + _IDLE_SECONDS >= now() and not connection.closed:
                return connection
            connection.abort()
        return None

    async def _connect(self) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        self.now = loop.time
        extra: dict[str, Any] = {}
        if self.tls is not None:
            extra = {"ssl": self.tls, "server_hostname": self._host, "ssl_handshake_timeout": self._connect_timeout}
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, connection = await loop.create_connection(
                    lambda: UpstreamConnection(self), self._host, self._port, **extra
                )
        except TimeoutError:
            raise UpstreamTimeout("the upstream could not be reached in time", sent=False) from None
        except ssl.SSLError as error:
            raise UpstreamFault(f"TLS with the upstream failed: {error.reason or 'error'}", sent=False) from None
        except OSError as error:
            raise UpstreamFault(f"the upstream can't be reached: {error.strerror or 'no answer'}", sent=False) from None
        self._live.add(connection)
        return connection

    def give_back(self, connection: UpstreamConnection) -> None:
        """A connection has finished its request."""
        if len(self._idle) >= _IDLE_CONNECTIONS:
            connection.abort()
            return
        now = self.now
        connection.idle_since = now()
        self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection is gone."""
        self._live.discard(connection)
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)

    def close(self) -> None:
        """Cut everything."""
        self.deadlines.close()
        for connection in tuple(self._live):
            connection.abort()
