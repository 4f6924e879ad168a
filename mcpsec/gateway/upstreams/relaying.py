"""An upstream's stream of events on its way to the client: each message inspected, deadlines, what goes wrong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from mcpsec.gateway.answers import ANSWERS_ANOTHER
from mcpsec.gateway.message import Refusal
from mcpsec.gateway.state import StoreUnavailableError
from mcpsec.gateway.upstreams.base import broken_off, unavailable, upstream_timeout
from mcpsec.gateway.upstreams.http_client import TooLargeFault, UpstreamFault
from mcpsec.protocol import codes
from mcpsec.protocol.eras import Era
from mcpsec.protocol.jsonrpc import Kind, ProtocolError, request_error
from mcpsec.protocol.sse import SseEvent, SseParser, encode_event, replaced, without_remarks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from mcpsec.deployment.model import Limits
    from mcpsec.gateway.answers import AnswerGuard
    from mcpsec.gateway.message import Exchange
    from mcpsec.gateway.sessions import Session, SessionTable
    from mcpsec.gateway.upstreams.asked import Asked
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
    if isinstance(broken, ProtocolError) and broken.code == codes.ANSWER_UNUSABLE:  # an event of it is
        return broken_off("upstream-stream-broken", TooLargeFault("a message of the stream is too large"))
    return unavailable("upstream-stream-broken", "the stream broke off")


def _waits(exchange: Exchange) -> bool:
    message = exchange.message
    return message is not None and message.kind is Kind.REQUEST and message.method not in LONG_LIVED


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
        waits = _waits(exchange)
        hard_end = loop.time() + self._limits.stream_lifetime
        patience = self._timeouts.of(exchange)
        parser = SseParser(max_event_bytes=self._limits.response_bytes)
        answered = resumable = False
        fault: Refusal | None = None
        if session is not None:
            session.state.streams += 1
        try:
            end = min(hard_end, loop.time() + patience) if waits else hard_end
            async with asyncio.timeout_at(end) as deadline:
                async for piece in stream.pieces():
                    for event in self._sealed(exchange, parser.feed(piece)):
                        resumable = resumable or (bool(event.id) and exchange.era is not Era.MODERN)
                        if not event.data:
                            yield event.raw
                            continue
                        if waits:
                            deadline.reschedule(min(hard_end, loop.time() + patience))
                        out, is_answer = self._inspect_event(exchange, session, stream, event)
                        answered = answered or is_answer
                        if out and session is not None and self._sessions.shared is not None:
                            out = await self._expect_elsewhere(session, out)
                        if out:
                            yield out
            # In the 2025 era a server may close a stream to which its client comes back (transports, SEP-1699).
            fault = None if resumable or not waits else unavailable("upstream-stream-broken", "it ended unanswered")
        except TimeoutError:
            fault = upstream_timeout("no message within the deadline") if waits else None
            self._cancel(exchange)
        except (UpstreamFault, ProtocolError) as broken:
            fault = _fault_of(exchange, stream, broken)
        finally:
            stream.close()
            if session is not None:
                session.state.stream_ended(stream)
        if fault is not None and not answered and exchange.rpc_id is not None:
            # An answer to another says nothing about how the upstream is: a client may have chosen an odd id.
            exchange.decision = "refused" if fault is _UNUSABLE else "failed"
            exchange.rule = fault.rule
            yield encode_event(request_error(exchange.rpc_id, fault.code, fault.message))

    async def _expect_elsewhere(self, session: Session, out: bytes) -> bytes | None:
        """The client's response may come to any gateway: all of them know the question before the client does."""
        asked, session.state.newest = session.state.newest, None
        if asked is None or self._sessions.shared is None:
            return out
        try:
            await self._sessions.shared.expect(session.id, asked)
        except StoreUnavailableError:
            session.state.asked.forget(asked)
            self._refuse(session, asked)
            return None
        return out

    def _sealed(self, exchange: Exchange, events: list[SseEvent]) -> Iterator[SseEvent]:
        """The events, under ids that only this client can come back with, and with no words that nobody looks at."""
        for event in events:
            raw = without_remarks(event)
            if event.id:
                raw = replaced(raw, id=self._guard.seal.seal_event(exchange, event.id))
            yield event if raw is event.raw else event._replace(raw=raw)

    def _inspect_event(
        self, exchange: Exchange, session: Session | None, stream: BodyStream, event: SseEvent
    ) -> tuple[bytes | None, bool]:
        """What to pass on for one event, and whether it answers the call."""
        # A stream holds the answer to its own request only, and one that was opened by GET none, but where it goes on
        # with another that broke off: then that one's (2025-11-25, basic/transports, listening for messages).
        data = event.data or b""
        inspected = self._guard.inspect(exchange, data, alone=True)
        if inspected.rule == ANSWERS_ANOTHER:
            raise _OutOfStepError("the upstream answers another request")
        if session is not None and inspected.withdrawn is not None:
            self._withdraw(session, inspected.withdrawn)
        asked = inspected.server_request
        # One too many is refused, too: its answer would be.
        if session is not None and asked is not None and not (inspected.data and self._take(session, stream, asked)):
            self._refuse(session, asked)
            return None, False
        if inspected.data is None:
            return None, False
        return (event.raw if inspected.data is data else replaced(event.raw, data=inspected.data)), inspected.answers

    def _take(self, session: Session, stream: BodyStream, id: Any) -> bool:
        """Keep in mind what the server asks; what it asked in a stream that is over gives way, and is refused."""
        asked: Asked = session.state.asked
        taken, lost = asked.add(id, stream, self._limits.in_flight_per_client)
        if lost is not None:
            self._refuse(session, lost)
            self._withdraw(session, lost)
        if taken:
            session.state.newest = id
        return taken

    def _withdraw(self, session: Session, id: Any) -> None:
        session.state.asked.withdraw(id)
        if self._sessions.shared is not None and session.id:
            self._sessions.shared.withdraw(session.id, id)
