"""The server side of one HTTP/1.1 connection: bytes in, requests out, answers back, all within deadlines and caps.

llhttp (through httptools, no lenient flag) refuses ambiguous framing: repeated or contradicting Content-Length,
Transfer-Encoding beside Content-Length, obsolete line folding, bare line feeds (RFC 9112 section 11.2). On top of it,
this module refuses what llhttp lets pass but an MCP endpoint never needs: HTTP/1.0, absolute targets, upgrades.
"""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httptools

from mcpsec.gateway.message import Answer, Peer, Refusal, Request, StreamAnswer
from mcpsec.gateway.reading import Reading
from mcpsec.gateway.tls import peer_of
from mcpsec.protocol.jsonrpc import request_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.gateway.calls import Call
    from mcpsec.gateway.message import Head, Headers
    from mcpsec.gateway.registry import ConnectionRegistry

__all__ = ["Connection", "refusal_answer"]

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
    for status in HTTPStatus
    if status.value >= 200
}
_PIPELINE_DEPTH = 16
_LINGER_SECONDS = 2.0
_CLOSE_SECONDS = 2.0
_PIECE = 256 * 1024
"""A large answer is written in pieces: TLS takes a write of any size at once, and nobody sees that it isn't read."""
_REPEATED = b"HTTP/1.1 200 OK\r\n%b%bcontent-length: %d\r\n\r\n%b"
_FIELD_LINE = b"%b: %b\r\n".__mod__
_NO_BODY = frozenset({202, 204, 304})
_PARSE_ERROR, _INVALID_REQUEST = -32700, -32600


def refusal_answer(refusal: Refusal, rpc_id: Any = None) -> Answer:
    """The JSON-RPC error that a caller gets when the gateway itself answers."""
    body = request_error(rpc_id, refusal.code, refusal.message, refusal.data)
    return Answer(refusal.status, [(b"content-type", b"application/json"), *refusal.headers], body)


class Connection(Reading):
    """One client's connection. Requests are served one after the other, pipelined ones wait their turn."""

    __slots__ = (
        "_body", "_body_bytes", "_call", "_continue", "_deadline", "_drained", "_endless", "_head_bytes",
        "_identify", "_known", "_loop", "_lost", "_parser", "_part", "_paused", "_queue", "_registry", "_request",
        "_state", "_task", "_transport", "_url", "_waiter", "fault", "hear", "made", "peer", "turned_away",
    )  # fmt: skip

    def __init__(
        self,
        registry: ConnectionRegistry,
        address: str,
        *,
        identify: Callable[[Peer], Peer] = lambda peer: peer,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        self._registry = registry
        self._identify = identify
        self._lost = lost
        self.peer = Peer(address)
        self.made = self.turned_away = False
        self.fault: Exception | None = None
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Request | Refusal | tuple[Request, Answer | Call | None]] = deque()
        """What ``_serve`` has to do; of the first request more may be known: its answer, or the call that waits."""
        self._call: Call | None = None
        self.hear = self._answered  # made once: every call is told of it
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._endless = False
        self._known: Head | None = None
        self._state = "idle"  # idle → (arrived →) head → body → busy → idle; or linger / closing at the end
        self._part = ""  # "head" or "body" of the message being read: while busy, that is the next request already
        self._head_bytes = 0
        self._paused = False
        self._continue = False
        self._deadline = self._loop.time() + registry.limits.header_timeout

    # --- asyncio.BufferedProtocol ----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to serve. Whom nobody can tell, for whatever reason (``fault``), is turned away."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment] # a stream protocol gets a Transport
        self.made = True
        tls = transport.get_extra_info("ssl_object")
        self.use_buffer(self._registry.buffer, tls=tls is not None)
        self._parser = httptools.HttpRequestParser(self)
        self._task = self._loop.create_task(self._serve())
        try:
            self.peer = self._identify(peer_of(self.peer.address, tls))
            self.turned_away = not self._registry.admit(self)
        except Exception as error:
            self.fault, self.turned_away = error, True
        if self.turned_away:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller is gone: whatever still works for it is cancelled."""
        self._settle()
        self._registry.connections.discard(self)
        self._lost()
        self._state = "closed"
        self._wake_drained()
        self._give_up()
        self._task.add_done_callback(self._release)

    def _release(self, _task: asyncio.Task[None]) -> None:
        """Nothing is done with it any more: a cycle would keep what TLS had buffered until the next collection."""
        del self._parser, self._transport, self._task, self.hear

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; after a refusal the rest is thrown away."""
        if self._state == "arrived":
            self._settle()
        state, turn = self._state, self._registry.turn
        if state == "idle":
            self._state, self._deadline = "arrived", 0.0
            if turn is not None:
                turn.arrived(self, data)
            elif (request := self.take(data)) is not None:
                self.begun(request, None)
        elif state not in {"linger", "closing", "closed"}:
            self._parse(data, idle=False)

    def _settle(self) -> None:
        """Have what arrived in this turn worked on before anything else happens to the connection."""
        if self._state == "arrived" and self._registry.turn is not None:
            self._registry.turn.run()

    def take(self, data: bytes) -> Request | None:
        """The request that has arrived, if it is one with a known head; anything else is parsed, and gets its turn."""
        if self._state != "arrived":
            return None  # it was cut meanwhile
        request = self._registry.heads.request(data, self._known)
        if request is not None:
            self._known, self._state = request.known, "busy"
            return request
        self._state, self._deadline = "head", self._loop.time() + self._registry.limits.header_timeout
        self._parse(data, idle=True)
        return None

    def _parse(self, data: bytes, *, idle: bool) -> None:
        before = self._progress()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # refused when its head was complete; nothing behind it is read
        except httptools.HttpParserError:
            self._refuse(400, "malformed HTTP request", "http-malformed")
        else:
            # Everything that came is head or trailer: the cap holds even when no single line of it ever ends.
            if self._part and (self._state == "head" or before == self._progress()):
                self._head_bytes += len(data)
                if self._head_bytes > self._registry.limits.header_bytes and self._state != "linger":
                    self._refuse(431, "request header too large", "header-too-large")
            elif idle and self._state == "busy" and not self._part and len(self._queue) == 1:
                self._registry.heads.remember(data, self._request)

    def _progress(self) -> tuple[Request | None, str, int]:
        return (self._request, self._part, self._body_bytes) if self._part else (None, "", 0)

    def eof_received(self) -> bool:
        """A half-closed connection is closed (RFC 9112 section 9.6 leaves that to us), and TLS has no half ones.

        What was written is still sent; what is due would be written to nobody, so it isn't worked on any longer.
        """
        self._settle()
        self._registry.outbox.flush()
        if self._state not in {"closing", "closed"}:
            self._queue.clear()
            self._state = "closing"
            self._deadline = self._loop.time() + _CLOSE_SECONDS
            self._give_up()
        return False

    def _give_up(self) -> None:
        """Work no longer on what is due."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        self._task.cancel()

    def pause_writing(self) -> None:
        """The caller reads slowly: answers wait, but not for ever."""
        if self._drained is None:
            self._drained = self._loop.create_future()
            if self._state == "idle":  # the last answer was put into the outbox, and is too much
                self._state, self._deadline = "busy", 0.0
                self._queue.append((self._request, None))
                self._wake()

    def resume_writing(self) -> None:
        """The caller has read enough to go on."""
        self._wake_drained()

    # --- httptools callbacks ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request line starts."""
        self._request = Request()
        self._part = "head"
        self._head_bytes = 0
        self._continue = False
        self._url = b""
        self._body: list[bytes] = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Part of the request target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line; trailers after a chunked body are ignored (RFC 9110 section 6.5.1)."""
        if self._part == "head":
            self._request.add_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: refuse early what the body can't mend."""
        request, parser, limits = self._request, self._parser, self._registry.limits
        self._part, self._head_bytes = "body", 0
        if self._state in {"linger", "closing", "closed"}:
            return
        if self._state == "busy" and len(self._queue) >= _PIPELINE_DEPTH:
            self._refuse(429, "too many pipelined requests", "pipeline-too-deep")
            return
        request.method = parser.get_method()
        request.path, _, request.query = self._url.partition(b"?")
        request.keep_alive = parser.should_keep_alive()
        fields = request.fields
        size = sum(len(name) + len(value) + 4 for name, value in request.headers) + len(self._url)
        if size > limits.header_bytes:
            self._refuse(431, "request header too large", "header-too-large")
            return
        if parser.get_http_version() != "1.1":
            self._refuse(505, "HTTP/1.1 is required", "http-version")
            return
        if not request.path.startswith(b"/") or b"#" in self._url:
            self._refuse(400, "the request target must be a path", "http-target")
            return
        if parser.should_upgrade():
            self._refuse(400, "protocol upgrades are not offered", "http-upgrade")
            return
        if not _is_plain_framing(fields):
            self._refuse(501, "unsupported transfer coding", "transfer-encoding")
            return
        if int(fields.get(b"content-length", b"0")) > limits.body_bytes:
            self._refuse(413, "request body too large", "body-too-large")
            return
        if self._state != "busy":
            self._state = "body"
            self._deadline = self._loop.time() + limits.body_timeout
        expect = fields.get(b"expect")
        if expect is not None:
            if expect.lower() != b"100-continue":
                self._refuse(417, "unknown expectation", "expectation")
                return
            self._continue = True
            self._say_continue()

    def _say_continue(self) -> None:
        """Ask for the body that was announced, but never in the middle of the answer before it."""
        if self._continue and self._state == "body":
            self._continue = False
            self._write_now(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        """Part of the body."""
        self._body_bytes += len(data)
        self._head_bytes = 0
        if self._body_bytes > self._registry.limits.body_bytes:
            if self._state not in {"linger", "closing", "closed"}:
                self._refuse(413, "request body too large", "body-too-large")
            self._body.clear()
            return
        self._body.append(data)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._part = ""
        if self._state in {"linger", "closing", "closed"}:
            return
        request = self._request
        request.body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._enqueue(request)

    # --- serving ---------------------------------------------------------------------------------------------------

    def _enqueue(self, item: Request | Refusal) -> None:
        if self._state != "busy":
            self._state = "busy"
            self._deadline = 0.0
        elif len(self._queue) >= 2:
            self._paused = True
            self._transport.pause_reading()
        self._queue.append(item)
        if self._call is None:
            self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def begun(self, request: Request, begun: Answer | Call | None) -> None:
        """A request that was taken has its answer, or a call that will; None: it was not begun, and needs a task."""
        if begun is None:
            self._enqueue(request)
            return
        self._request = request
        if isinstance(begun, Answer):
            self._answered(begun)
            return
        self._call = begun
        if begun.awaited:
            self._answered(None)

    def _answered(self, answer: Answer | None) -> None:
        """The answer of the call that was begun is there; None: it has to be awaited."""
        call, self._call = self._call, None
        request = self._request
        if answer is None:
            self._call = call
            self._queue.appendleft((request, call))
        elif request.keep_alive and not self._drained and len(answer.body) <= _PIECE and not self._registry.draining:
            self._write(answer, keep_alive=True)
            if self._drained is None:
                self._next_request()
                if not self._queue:
                    return
            else:
                self._queue.appendleft((request, None))
        else:
            self._queue.appendleft((request, answer))
        self._wake()

    def _refuse(self, status: int, message: str, rule: str) -> None:
        """Answer what can't be a request, after the answers that are still due, and close."""
        code = _PARSE_ERROR if status == 400 else _INVALID_REQUEST
        self._enqueue(Refusal(status, code, message, rule, close=True))
        self._state = "linger"
        self._deadline = self._loop.time() + self._registry.limits.body_timeout

    async def _serve(self) -> None:
        try:
            while True:
                if not self._queue:
                    self._waiter = self._loop.create_future()
                    await self._waiter
                item = self._queue.popleft()
                if isinstance(item, Refusal):
                    self._registry.refused(item, self.peer)
                    self._write(refusal_answer(item), keep_alive=False)
                    return self._linger()
                if isinstance(item, Request):
                    request: Request = item
                    answer: Answer | StreamAnswer | None = await self._registry.handler(item, self.peer)
                else:
                    request, begun = item
                    answer = begun if begun is None or isinstance(begun, Answer) else await begun.wait()
                self._call = None
                if not await self._send(answer, keep_alive=request.keep_alive and not self._registry.draining):
                    return self._close()
                self._next_request()
        except asyncio.CancelledError:
            if self._state != "closing":  # else the transport closes by itself, once all is sent
                self.abort()
        except Exception:
            self.abort()
            raise

    async def _send(self, answer: Answer | StreamAnswer | None, *, keep_alive: bool) -> bool:
        """Write an answer (None: it is written) and wait until it is read; False when it was the last."""
        if isinstance(answer, StreamAnswer):
            keep_alive = await self._stream(answer, keep_alive=keep_alive)
        elif answer is not None:
            self._write(answer, keep_alive=keep_alive)
            if len(answer.body) > _PIECE:
                await self._write_rest(answer.body)
        if self._drained is not None:
            await self._flushed()
        return keep_alive

    async def _write_rest(self, body: bytes) -> None:
        for start in range(_PIECE, len(body), _PIECE):
            await self._flushed()
            self._write_now(body[start : start + _PIECE])

    def _next_request(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        if self._queue or self._state == "linger":
            return
        limits, part = self._registry.limits, self._part
        if not part:
            self._state, self._deadline = "idle", self._loop.time() + limits.idle_timeout
            return
        self._state = part  # a pipelined request has come in part
        self._deadline = self._loop.time() + (limits.header_timeout if part == "head" else limits.body_timeout)
        self._say_continue()

    def _head(self, status: int, headers: Headers, lines: bytes, *, keep_alive: bool) -> bytes:
        line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status  # an upstream may have numbers of its own
        close = b"" if keep_alive else b"connection: close\r\n"
        return b"%b%b%b%b%b" % (line, self._registry.fields, b"".join(map(_FIELD_LINE, headers)), lines, close)

    def _write(self, answer: Answer, *, keep_alive: bool) -> None:
        status, headers, body = answer.status, answer.headers, answer.body
        if status == 200 and keep_alive and not headers and 0 < len(body) <= _PIECE:  # of a call that repeats one
            registry = self._registry
            registry.outbox.put(self._transport, _REPEATED % (registry.fields, answer.lines, len(body), body))
            return
        head = self._head(status, headers, answer.lines, keep_alive=keep_alive)
        if body:
            data = b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body if len(body) <= _PIECE else body[:_PIECE])
        elif status == 202 or status not in _NO_BODY:
            data = b"%bcontent-length: 0\r\n\r\n" % head
        else:
            data = b"%b\r\n" % head
        self._write_now(data)

    def _write_now(self, data: bytes) -> None:
        """Write past the outbox, so that the transport says at once when it has too much."""
        self._registry.outbox.flush()
        self._transport.write(data)

    async def _stream(self, answer: StreamAnswer, *, keep_alive: bool) -> bool:
        self._endless = answer.endless
        head = self._head(answer.status, answer.headers, b"", keep_alive=keep_alive)
        self._write_now(head + b"transfer-encoding: chunked\r\n\r\n")
        try:
            async for part in answer.parts:
                if part:
                    self._write_now(b"%x\r\n%b\r\n" % (len(part), part))
                if self._drained is not None:
                    await self._flushed()
        finally:
            self._endless = False
            await answer.parts.aclose()
        self._write_now(b"0\r\n\r\n")
        return keep_alive

    async def _flushed(self) -> None:
        """Wait for a slow reader, at most ``write_timeout`` (the sweep cuts the connection then)."""
        if self._drained is None:
            return
        self._deadline = self._loop.time() + self._registry.limits.write_timeout
        await self._drained
        self._deadline = 0.0

    def _wake_drained(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # --- endings ---------------------------------------------------------------------------------------------------

    def _linger(self) -> None:
        """Keep reading for a moment so that the refusal is not lost to a TCP reset (RFC 9112 section 9.6)."""
        self._state = "linger"
        self._deadline = self._loop.time() + _LINGER_SECONDS
        self._paused = False
        self._transport.resume_reading()

    def _close(self) -> None:
        self._state = "closing"
        self._deadline = self._loop.time() + _CLOSE_SECONDS
        self._registry.outbox.flush()
        self._transport.close()

    def abort(self) -> None:
        """Cut the connection now, without a TLS farewell."""
        self._state = "closed"
        self._transport.abort()

    def close_when_idle(self) -> None:
        """Close now if nothing is being served, or nothing that has an end; else after the running answer."""
        self._settle()  # it may be half a request
        if self._state in {"idle", "head"} or self._endless:
            self._close()

    def enforce_deadline(self, now: float) -> None:
        """Called by the sweep."""
        if not self._deadline or now < self._deadline:
            return
        if self._state in {"head", "body"}:
            self._refuse(408, "the request took too long to arrive", f"{self._state}-timeout")
        elif self._state == "idle":
            self._close()
        else:
            self.abort()


def _is_plain_framing(fields: dict[bytes, bytes]) -> bool:
    coding = fields.get(b"transfer-encoding")
    return coding is None or coding.lower() == b"chunked"
