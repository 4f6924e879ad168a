"""A Streamable HTTP server behind the gateway: requests are relayed, answers inspected, bytes kept.

Only headers that MCP needs pass, in both directions; nothing that identifies the caller to the gateway (certificate,
signature, Authorization) is ever forwarded. The upstream's own credential comes from the deployment file.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import orjson

from mcpsec.gateway.answers import ANSWERS_ANOTHER
from mcpsec.gateway.catalogue import Catalogue
from mcpsec.gateway.message import Answer, Refusal, StreamAnswer, too_many_sessions
from mcpsec.gateway.sessions import Session, TooManySessionsError
from mcpsec.gateway.state import StoreUnavailableError
from mcpsec.gateway.upstreams.asked import Asked
from mcpsec.gateway.upstreams.base import RpcError, broken_off, unavailable, upstream_timeout
from mcpsec.gateway.upstreams.conversation import CLIENT_INFO, modern_meta
from mcpsec.gateway.upstreams.http_client import NoRoomFault, UpstreamFault, UpstreamTimeout
from mcpsec.gateway.upstreams.origin import origin_of
from mcpsec.gateway.upstreams.passing import RETURNED, forwarded, is_encoded, trace_headers
from mcpsec.gateway.upstreams.relaying import LONG_LIVED, EventRelay
from mcpsec.gateway.upstreams.sending import HttpSender
from mcpsec.gateway.upstreams.timeouts import Timeouts
from mcpsec.protocol import codes
from mcpsec.protocol.eras import LATEST_LEGACY, LATEST_MODERN, Era, era_of
from mcpsec.protocol.headers import encode_value
from mcpsec.protocol.jsonrpc import Kind, ProtocolError, encode_notification, encode_request, request_error
from mcpsec.protocol.sse import SseParser

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Mapping

    from mcpsec.deployment.model import Client, Limits
    from mcpsec.deployment.model import Upstream as UpstreamConfig
    from mcpsec.gateway.answers import AnswerGuard, Inspected
    from mcpsec.gateway.message import Exchange, Headers
    from mcpsec.gateway.sessions import SessionTable
    from mcpsec.gateway.state import SessionRecord
    from mcpsec.gateway.upstreams.body_stream import BodyStream
    from mcpsec.gateway.upstreams.http_client import UpstreamResponse
    from mcpsec.gateway.upstreams.lanes import Lane
    from mcpsec.gateway.upstreams.protected import ProtectedUpstream

__all__ = ["HttpUpstream"]

_BOTH = b"application/json, text/event-stream"
_WITHOUT_EFFECTS = frozenset(
    {
        "server/discover", "initialize", "ping", "tools/list", "resources/list", "resources/templates/list",
        "resources/read", "prompts/list", "prompts/get", "completion/complete", "tasks/get", "tasks/list",
    }
)  # fmt: skip


class _Tracked:
    """What the upstream keeps for one of our sessions: its own id, and what it has asked that waits for an answer."""

    __slots__ = ("asked", "id", "newest", "streams")

    def __init__(self, id: bytes) -> None:
        self.id = id
        self.newest: Any = None  # the newest request of the server's, until the other gateways know of it
        self.streams = 0
        self.asked = Asked()

    def stream_ended(self, stream: BodyStream) -> None:
        """Outside of a session nobody waits for answers once no stream is open on which the server asked."""
        self.streams -= 1
        self.asked.carrier_over(stream)
        if not self.streams and not self.id:
            self.asked.clear()


class HttpUpstream:
    """One upstream reached over HTTP."""

    def __init__(
        self,
        config: UpstreamConfig,
        headers: dict[str, str],
        limits: Limits,
        sessions: SessionTable,
        guard: AnswerGuard,
        client_headers: Mapping[str, dict[str, str]] | None = None,
    ) -> None:
        self.name = config.name
        self.timeout = config.timeout
        self.timeouts = Timeouts(config)
        self.catalogue = Catalogue()
        self._limits, self.response_bytes = limits, limits.response_bytes
        self._sessions = sessions
        self.guard = guard
        self._origin = origin_of(config, limits)
        self._lanes = self._origin.lanes(headers, client_headers or {})
        self._target = self._origin.target
        self.silence = ""
        """Why it did not answer when it was tried at the start."""
        self._eras: frozenset[Era] = frozenset()
        self._own_sessions: dict[str, bytes] = {}
        self._sessionless: dict[str, Session] = {}
        self._own_id = 0
        self._background: set[asyncio.Task[None]] = set()
        self._relay = EventRelay(
            guard, sessions, limits, self.timeouts, cancel=self._cancel_upstream, refuse=self._refuse_server_request
        )

    # --- relaying --------------------------------------------------------------------------------------------------

    def use_headers(self, headers: dict[str, str], client_headers: Mapping[str, dict[str, str]]) -> None:
        """Send these from the next request on."""
        self._lanes.renew(headers, client_headers)

    async def start(self) -> None:
        """Find out which era the upstream speaks. A server that is down now may come up later, so that is no error.

        Raises UpstreamStartError for an application of this process that can't be started.
        """
        await self._origin.start()
        try:
            await self._find_eras(self._lanes.own)
        except UpstreamFault as fault:
            self.silence = fault.reason
        except RpcError as error:
            self.silence = f"it refused the handshake: {error.message}"

    async def call(self, exchange: Exchange) -> Answer | StreamAnswer | Refusal:
        """Relay one authorised request."""
        message = exchange.message
        method = "" if message is None else message.method
        if method == "notifications/cancelled" and exchange.session is None:
            # Over HTTP a request of 2026 ends with its stream (transports#cancellation). The number in this message is
            # one that each client chooses for itself: outside of a session, a server that believed it could end
            # another client's request.
            exchange.decision, exchange.rule = "refused", "cancelled-by-number"
            return Answer(202, [])
        opens_session = method == "initialize" and exchange.session is None
        if opens_session and exchange.client is not None:
            try:
                self._sessions.check_room(exchange.client.id)
            except TooManySessionsError:
                return too_many_sessions()
        started = time.perf_counter()
        try:
            lane = self.lane_of(exchange)
            response = await lane.pool.send(
                self._request_bytes(exchange, lane),
                timeout=self.timeouts.of(exchange),
                repeatable=method in _WITHOUT_EFFECTS,
            )
        except UpstreamFault as fault:
            return self.failed(exchange, fault)
        finally:
            exchange.upstream_ms = (time.perf_counter() - started) * 1000
        answer = self.answered(exchange, response, opens_session=opens_session)
        if opens_session and exchange.session is not None and self._sessions.shared is not None:
            return await self._publish(exchange.session, answer, response)
        return answer

    def sender(self, protected: ProtectedUpstream, exchange: Exchange) -> HttpSender | None:
        """What sends calls that repeat this one, which has passed all steps; ``protected`` stands before this."""
        if exchange.last_event_id:
            return None
        return HttpSender(protected, self, exchange, self.lane_of(exchange))

    def lane_of(self, exchange: Exchange) -> Lane:
        """Where its client's requests go now."""
        return self._lanes.of(None if exchange.client is None else exchange.client.id)

    def failed(self, exchange: Exchange, fault: UpstreamFault) -> Refusal:
        """What a call gets that got no answer."""
        if isinstance(fault, UpstreamTimeout):
            self._cancel_upstream(exchange)
            return upstream_timeout(fault.reason)
        # What the gateway has no room for says nothing about the upstream: no breaker counts it.
        rule = "too-many-calls-left" if isinstance(fault, NoRoomFault) else "upstream-unavailable"
        return broken_off(rule, fault)

    async def _publish(
        self, session: Session, answer: Answer | StreamAnswer | Refusal, response: UpstreamResponse
    ) -> Answer | StreamAnswer | Refusal:
        """Have every gateway know a new session before its client does."""
        published = False
        try:
            await self._sessions.publish(session, upstream_id=session.state.id.decode("latin-1"))
            published = True
        except StoreUnavailableError as error:
            return unavailable("store-unavailable", str(error))
        except TooManySessionsError:
            return too_many_sessions()
        finally:
            if not published:  # also when the client has left
                _drop(response)  # closing the parts of a stream that nobody has begun to read would not reach it
                self._spawn(self._end_upstream_session(session.state, session.client_id))
        return answer

    def adopt_session(self, id: str, record: SessionRecord) -> Session | None:
        """Serve a session that another gateway has opened; None when it can't be one of a server over HTTP.

        Raises TooManySessionsError.
        """
        try:
            upstream_id = record.upstream_id.encode("latin-1")
        except UnicodeEncodeError:
            return None
        return self._sessions.adopt(id, record, _Tracked(upstream_id))

    def head_of(self, exchange: Exchange, lane: Lane) -> bytes:
        """The lines of a request's head, but what belongs to a stream and to a body."""
        request, session = exchange.request, exchange.session
        of_session = b"" if session is None else b"mcp-session-id: %b\r\n" % session.state.id
        return b"%b %b HTTP/1.1\r\n%b%b%b" % (
            request.method, self._target, lane.head, forwarded(request), of_session
        )  # fmt: skip

    def _request_bytes(self, exchange: Exchange, lane: Lane) -> bytes:
        request = exchange.request
        known = request.known
        if known is not None and exchange.session is None and exchange.message is not None:
            if known.sent_by is not lane:
                known.sent, known.sent_by = self.head_of(exchange, lane), lane
            body = exchange.message.raw
            return b"%bcontent-length: %d\r\n\r\n%b" % (known.sent, len(body), body)
        parts = [self.head_of(exchange, lane)]
        if exchange.last_event_id:
            parts += (b"last-event-id: ", exchange.last_event_id, b"\r\n")
        body = request.body if exchange.message is None else exchange.message.raw
        if request.method == b"POST":
            parts.append(b"content-length: %d\r\n" % len(body))
        parts += (b"\r\n", body)
        return b"".join(parts)

    def answered(
        self, exchange: Exchange, response: UpstreamResponse, *, opens_session: bool = False
    ) -> Answer | StreamAnswer | Refusal:
        """What a request gets for the upstream's answer."""
        session: Session | None = exchange.session
        if session is not None and (response.status == 404 or (exchange.request.method == b"DELETE" and _ok(response))):
            self._sessions.close(session)
        status = response.status
        if status in {401, 403, 407} or status >= 500 or 300 <= status < 400 or is_encoded(response.fields):
            _drop(response)
            return unavailable("upstream-status", f"the upstream answered {response.status}")
        if response.known is None:
            headers: Headers = [(name, value) for name, value in response.fields.items() if name in RETURNED]
        else:
            headers = response.known.returned.copy()
        if opens_session and _ok(response):
            try:
                session = self._open_session(exchange, response)
            except TooManySessionsError:  # others were opened meanwhile
                _drop(response)
                return too_many_sessions()
        if opens_session and session is not None:
            headers.append((b"mcp-session-id", session.id.encode()))
        if response.stream is not None:
            headers.append((b"x-accel-buffering", b"no"))
            endless = exchange.message is None or exchange.message.method in LONG_LIVED
            parts = self._relay.events(exchange, session or self._without_session(exchange), response.stream)
            return StreamAnswer(response.status, headers, parts, endless)
        return self._alone(exchange, response, headers)

    def _alone(self, exchange: Exchange, response: UpstreamResponse, headers: Headers) -> Answer | Refusal:
        """What a request gets for an answer that is no stream."""
        waits = exchange.message is not None and exchange.message.kind is Kind.REQUEST
        if not response.body and not waits:
            return Answer(response.status, headers)
        if not response.body or response.content_type != b"application/json":
            return self._not_json(exchange, response)
        # Errors of HTTP itself have ids of all sorts (the SDK's servers say "server-error").
        inspected = self.guard.inspect(exchange, response.body, alone=response.status == 200)
        if inspected.data is None:
            if inspected.rule == ANSWERS_ANOTHER:
                response.distrust()
            return self.unusable(inspected)
        if waits and not inspected.answers:  # its client would wait for ever
            return self._not_json(exchange, response)
        return Answer(response.status, headers, inspected.data)

    @staticmethod
    def unusable(inspected: Inspected) -> Refusal:
        """What a call gets for an answer of which nothing can be passed on."""
        return Refusal(503, codes.ANSWER_UNUSABLE, "the answer can't be passed on", inspected.rule)

    def _not_json(self, exchange: Exchange, response: UpstreamResponse) -> Answer | Refusal:
        """An answer in no form that MCP knows: its status is kept, its words are not."""
        if response.status < 400:
            if response.content_type == b"application/json" or not response.body:
                return unavailable("upstream-no-answer", f"the upstream answered {response.status} with no response")
            return unavailable("upstream-content-type", "the upstream answered with another content type")
        error = request_error(exchange.rpc_id, codes.INVALID_REQUEST, "the server refused the request")
        kept = [(name, value) for name, value in response.fields.items() if name in {b"retry-after", b"allow"}]
        return Answer(response.status, [(b"content-type", b"application/json"), *kept], error)

    def _open_session(self, exchange: Exchange, response: UpstreamResponse) -> Session | None:
        upstream_id = response.fields.get(b"mcp-session-id")
        if upstream_id is None or exchange.client is None:
            return None
        tracked = _Tracked(upstream_id)
        try:
            exchange.session = session = self._sessions.open(exchange.client.id, self.name, tracked)
        except TooManySessionsError:
            self._spawn(self._end_upstream_session(tracked, exchange.client.id))
            raise
        return session

    def is_busy(self, session: Session) -> bool:
        """True while a stream of the session is open."""
        return bool(session.state.streams)

    async def end_session(self, session: Session) -> None:
        """Forget a session and have the upstream forget it."""
        self._sessions.close(session)
        await self._end_upstream_session(session.state, session.client_id)

    async def _end_upstream_session(self, tracked: _Tracked, client_id: str) -> None:
        lane = self._lanes.of(client_id)
        parts = [b"DELETE ", self._target, b" HTTP/1.1\r\n", lane.head]
        parts += [b"mcp-session-id: ", tracked.id, b"\r\n\r\n"]
        with contextlib.suppress(UpstreamFault):
            _drop(await lane.pool.send(b"".join(parts), timeout=self.timeout, repeatable=True))

    def _without_session(self, exchange: Exchange) -> Session | None:
        """What a server of 2025 that has no sessions has asked of this client: only that client may answer it."""
        client = exchange.client
        if exchange.era is Era.MODERN or client is None:
            return None
        known = self._sessionless.get(client.id)
        if known is None:  # never in the table: no client can name it
            known = Session(client.id, self.name, _Tracked(b""), f"{client.id}/{self.name}")
            self._sessionless[client.id] = known
        return known

    def expects_sessionless(self, exchange: Exchange, id: Any) -> bool | Awaitable[bool | None] | None:
        """``expects_response`` of a client's response outside of any session."""
        asked = self._without_session(exchange)
        return asked is not None and self.expects_response(asked, id)

    def expects_response(self, session: Session, id: Any) -> bool | Awaitable[bool | None] | None:
        """True, once, when the upstream sent the request that a client's response names; None when it withdrew it."""
        here: bool | None = session.state.asked.answer(id)
        if self._sessions.shared is None or here is None:
            return here
        return self._sessions.shared.expected(session.id, id)

    # --- what the gateway sends of its own -------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _cancel_upstream(self, exchange: Exchange) -> None:
        """A call that took too long goes on upstream in the 2025 era unless it is cancelled by a message."""
        message = exchange.message
        if exchange.session is None or message is None or message.id is None or message.method == "initialize":
            return  # without a session its number could be another client's request
        body = encode_notification("notifications/cancelled", {"requestId": message.id, "reason": "timeout"})
        version = exchange.request.fields.get(b"mcp-protocol-version", b"")
        lane = self._lanes.of(None if exchange.client is None else exchange.client.id)
        self._spawn(self._post_quietly(lane, body, exchange.session, version))

    def _refuse_server_request(self, session: Session, id: Any) -> None:
        body = request_error(id, codes.METHOD_NOT_FOUND, "this client may not be asked that")
        self._spawn(self._post_quietly(self._lanes.of(session.client_id), body, session, session.version.encode()))

    async def _post_quietly(self, lane: Lane, body: bytes, session: Session | None, version: bytes) -> None:
        headers: list[tuple[bytes, bytes]] = [(b"mcp-protocol-version", version)] if version else []
        if session is not None and session.state.id:
            headers.append((b"mcp-session-id", session.state.id))
        with contextlib.suppress(UpstreamFault):
            _drop(await self._post(lane, body, headers))

    async def _post(
        self, lane: Lane, body: bytes, headers: Headers, timeout: float | None = None, *, repeatable: bool = True
    ) -> UpstreamResponse:
        parts = [b"POST ", self._target, b" HTTP/1.1\r\n", lane.head]
        parts += [b"accept: ", _BOTH, b"\r\ncontent-type: application/json\r\n"]
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"content-length: %d\r\n\r\n" % len(body))
        parts.append(body)
        return await lane.pool.send(b"".join(parts), timeout=timeout or self.timeout, repeatable=repeatable)

    async def ask(
        self, client: Client, method: str, params: dict[str, Any], session: Session | None = None
    ) -> dict[str, Any]:
        """One request of the gateway's own. Raises RpcError or UpstreamFault."""
        lane = self._lanes.of(client.id)
        if session is not None:
            return await self._ask_legacy(lane, session.state.id, session.version or LATEST_LEGACY, method, params)
        if not self._eras:
            await self._find_eras(lane)
        if Era.MODERN in self._eras:
            return await self._ask_modern(lane, method, params)
        own = self._own_sessions.get(client.id)
        if own is None:
            own = self._own_sessions[client.id] = await self._open_own_session(lane)
        try:
            return await self._ask_legacy(lane, own, LATEST_LEGACY, method, params)
        except _SessionGoneError:
            own = self._own_sessions[client.id] = await self._open_own_session(lane)
            return await self._ask_legacy(lane, own, LATEST_LEGACY, method, params)

    async def _find_eras(self, lane: Lane) -> None:
        try:
            result = await self._ask_modern(lane, "server/discover", {})
            versions = result.get("supportedVersions")
            self.catalogue.greeting = result
            if isinstance(versions, list) and any(era_of(str(version)) is Era.MODERN for version in versions):
                self._eras = frozenset({Era.MODERN})
                return
        except RpcError:
            pass
        await self._open_own_session(lane)
        self._eras = frozenset({Era.LEGACY})

    async def _open_own_session(self, lane: Lane) -> bytes:
        params = {"protocolVersion": LATEST_LEGACY, "capabilities": {}, "clientInfo": CLIENT_INFO}
        own_id = self._next_id()
        response = await self._post(lane, encode_request(own_id, "initialize", params), [])
        self.catalogue.greeting = await self._result_of(response, own_id)
        id = response.fields.get(b"mcp-session-id", b"")
        headers = _session_headers(id, LATEST_LEGACY)
        _drop(await self._post(lane, encode_notification("notifications/initialized"), headers))
        return id

    async def _ask_legacy(
        self, lane: Lane, session_id: bytes, version: str, method: str, params: dict[str, Any]
    ) -> dict[str, Any]:
        id = self._next_id()
        body = encode_request(id, method, params)
        timeout, headers = self.timeouts.of_call(method, params), _session_headers(session_id, version)
        headers += trace_headers(params.get("_meta"))
        response = await self._post(lane, body, headers, timeout, repeatable=method in _WITHOUT_EFFECTS)
        if response.status == 404 and session_id:
            _drop(response)
            raise _SessionGoneError
        return await self._result_of(response, id)

    async def _ask_modern(self, lane: Lane, method: str, params: dict[str, Any]) -> dict[str, Any]:
        id = self._next_id()
        meta = modern_meta(params)
        headers = [(b"mcp-protocol-version", LATEST_MODERN.encode()), (b"mcp-method", method.encode())]
        headers += trace_headers(meta)
        if "name" in params:
            headers.append((b"mcp-name", encode_value(str(params["name"])).encode()))
        body = encode_request(id, method, {**params, "_meta": meta})
        timeout = self.timeouts.of_call(method, params)
        response = await self._post(lane, body, headers, timeout, repeatable=method in _WITHOUT_EFFECTS)
        return await self._result_of(response, id)

    def _next_id(self) -> str:
        self._own_id += 1
        return f"mcpsec-{self._own_id}"

    async def _result_of(self, response: UpstreamResponse, id: str | int) -> dict[str, Any]:
        if response.stream is not None:
            try:
                async with asyncio.timeout(self.timeout):
                    return await self._result_in(response.stream, id)
            except TimeoutError:
                raise UpstreamTimeout("no answer within the deadline") from None
            except ProtocolError:
                raise UpstreamFault("the upstream's stream can't be read") from None
            finally:
                response.stream.close()
        if response.status == 200 and not _answers(response.body, id):
            response.distrust()
            raise UpstreamFault("the upstream answered another request")
        return _result(response.body, response.status)

    async def _result_in(self, stream: BodyStream, id: str | int) -> dict[str, Any]:
        parser = SseParser(max_event_bytes=self._limits.response_bytes)
        async for piece in stream.pieces():
            for event in parser.feed(piece):
                if event.data and _is_response(event.data, id):
                    return _result(event.data, 200)
        raise UpstreamFault("the upstream ended its stream without an answer")

    async def close(self) -> None:
        """Cut every connection and wait for what still runs."""
        for task in tuple(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        for lane in self._lanes:
            lane.pool.close()
        await self._origin.close()


class _SessionGoneError(RpcError):
    def __init__(self) -> None:
        super().__init__(codes.INVALID_REQUEST, "the session is gone")


def _ok(response: UpstreamResponse) -> bool:
    return 200 <= response.status < 300


def _drop(response: UpstreamResponse) -> None:
    """Let go of an answer that nobody reads."""
    if response.stream is not None:
        response.stream.close()


def _session_headers(id: bytes, version: str) -> Headers:
    headers = [(b"mcp-protocol-version", version.encode())]
    return [(b"mcp-session-id", id), *headers] if id else headers


def _answers(data: bytes, id: str | int) -> bool:
    """Whether a body is no result of another request."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return True  # it is nobody's
    return not isinstance(value, dict) or "result" not in value or value.get("id") == id


def _is_response(data: bytes, id: str | int) -> bool:
    """Whether an event is the response to a request of ours; an error may not know to which it is."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    if not isinstance(value, dict) or "method" in value:
        return False
    answered = value.get("id")
    return answered == id or (answered is None and "error" in value)


def _result(body: bytes, status: int) -> dict[str, Any]:
    """The result in an answer. Raises RpcError for an error, UpstreamFault for anything else."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    if isinstance(value, dict) and isinstance(value.get("error"), dict):
        error = value["error"]
        raise RpcError.read(error)
    if isinstance(value, dict) and isinstance(value.get("result"), dict):
        return dict(value["result"])
    if 400 <= status < 500:
        raise RpcError(codes.INVALID_REQUEST, f"the upstream answered {status}")
    raise UpstreamFault(f"the upstream answered {status} with something that is not a result")
