"""An upstream's stream of events on its way to the client: each message inspected, deadlines, what goes wrong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from mcpsec.gateway.answers import ANSWERS_ANOTHER
from mcpsec.gateway.message import Refusal
from mcpsec.gateway.state import StoreUnavailableError
from mcpsec.gateway.upstreams.base import unavailable, upstream_timeout
from mcpsec.gateway.upstreams.http_client import UpstreamFault
from mcpsec.protocol import codes
from mcpsec.protocol.jsonrpc import Kind, ProtocolError, request_error
from mcpsec.protocol.sse import SseEvent, SseParser, encode_event, replaced

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from mcpsec.deployment.model import Limits
    from mcpsec.gateway.answers import AnswerGuard
    from mcpsec.gateway.message import Exchange
    from mcpsec.gateway.sessions import Session, SessionTable
    from mcpsec.gateway.upstreams.body_stream import BodyStream
    from mcpsec.gateway.upstreams.timeouts import Timeouts

__all__ = ["LONG_LIVED", "EventRelay"]

LONG_LIVED = frozenset({"subscriptions/listen"})
_UNUSABLE = Refusal(503, codes.ANSWER_UNUSABLE, "the answer can't be passed on", ANSWERS_ANOTHER)


class _OutOfStepError(UpstreamFault):
    """The stream answers another request."""


def _fault_of(exchange: Exchange, stream: BodyStream, broken: Exception) -> Refusal:
    if isinstance(broken, _OutOfStepError):
        exchange.decision, exchange.rule = "refused", ANSWERS_ANOTHER
        stream.distrust()
        return _UNUSABLE
    return unavailable("upstream-stream-broken", "the stream broke off")


class EventRelay:
    """Relays streams of one upstream.

    ``cancel`` tells the upstream that nobody waits for a call any more, ``refuse`` answers a request that the server
    sent and that can't be passed on.
    """

    def __init__(
        self,
        guard: AnswerGuard,
        sessions: SessionTable,
        limits: Limits,
        timeouts: Timeouts,
        *,
        cancel: Callable[[Exchange], None],
        refuse: Callable[[Session, Any], None],
    ) -> None:
        self._guard = guard
        self._sessions = sessions
        self._limits = limits
        self._timeouts = timeouts
        self._cancel = cancel
        self._refuse = refuse

    async def events(
        self, exchange: Exchange, session: Session | None, stream: BodyStream
    ) -> AsyncGenerator[bytes, None]:
        """Pass events on as they come; a call's deadline starts anew with each message, up to the hard maximum."""
        loop = asyncio.get_running_loop()
        message = exchange.message
        waits = message is not None and message.kind is Kind.REQUEST and message.method not in LONG_LIVED
        hard_end = loop.time() + self._limits.stream_lifetime
        patience = self._timeouts.of(exchange)
        parser = SseParser(max_event_bytes=self._limits.response_bytes)
        answered = False
        fault: Refusal | None = None
        if session is not None:
            session.state.streams += 1
        try:
            end = min(hard_end, loop.time() + patience) if waits else hard_end
            async with asyncio.timeout_at(end) as deadline:
                async for piece in stream.pieces():
                    for event in self._sealed(exchange, parser.feed(piece)):
                        if not event.data:
                            yield event.raw
                            continue
                        if waits:
                            deadline.reschedule(min(hard_end, loop.time() + patience))
                        out, is_answer = self._inspect_event(exchange, session, event.data, event.raw)
                        answered = answered or is_answer
                        if out and session is not None and self._sessions.shared is not None:
                            out = await self._expect_elsewhere(session, out)
                        if out:
                            yield out
        except TimeoutError:
            fault = upstream_timeout("no message within the deadline") if waits else None
            self._cancel(exchange)
        except (UpstreamFault, ProtocolError) as broken:
            fault = _fault_of(exchange, stream, broken)
        finally:
            stream.close()
            if session is not None:
                session.state.stream_ended()
        if fault is not None and not answered and exchange.rpc_id is not None:
            # An answer to another says nothing about how the upstream is: a client may have chosen an odd id.
            exchange.decision = "refused" if fault is _UNUSABLE else "failed"
            exchange.rule = fault.rule
            yield encode_event(request_error(exchange.rpc_id, fault.code, fault.message))

    async def _expect_elsewhere(self, session: Session, out: bytes) -> bytes | None:
        """The client's response may come to any gateway: all of them know the question before the client does."""
        asked, session.state.asked = session.state.asked, None
        if asked is None or self._sessions.shared is None:
            return out
        try:
            await self._sessions.shared.expect(session.id, asked)
        except StoreUnavailableError:
            self._refuse(session, asked)
            return None
        return out

    def _sealed(self, exchange: Exchange, events: list[SseEvent]) -> Iterator[SseEvent]:
        """The events, under ids that only this client can come back with."""
        for event in events:
            if event.id:
                yield event._replace(raw=replaced(event.raw, id=self._guard.seal.seal_event(exchange, event.id)))
            else:
                yield event

    def _inspect_event(
        self, exchange: Exchange, session: Session | None, data: bytes, raw: bytes
    ) -> tuple[bytes | None, bool]:
        """What to pass on for one event, and whether it answers the call."""
        # A stream holds the answer to its own request only, and one that was opened by GET none, but where it goes on
        # with another that broke off (2025-11-25, basic/transports, listening for messages): whose, its server knows.
        inspected = self._guard.inspect(exchange, data, alone=not exchange.last_event_id)
        if inspected.rule == ANSWERS_ANOTHER:
            raise _OutOfStepError("the upstream answers another request")
        if inspected.server_request is not None and session is not None:
            # One too many is refused, too: its answer would be.
            if inspected.data is None or len(session.state.pending) >= self._limits.in_flight_per_client:
                self._refuse(session, inspected.server_request)
                return None, False
            session.state.asked = inspected.server_request
            session.state.pending.add(inspected.server_request)
        if inspected.data is None:
            return None, False
        return (raw if inspected.data is data else replaced(raw, data=inspected.data)), inspected.answers
