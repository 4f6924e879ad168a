"""Sending calls that repeat one to their upstream: all that is the same in them is found out once.

The way of ``ProtectedUpstream.call`` and of the upstream's own ``call``, shortened: where anything is not as it was
(a breaker is not closed, no connection is free, the upstream has other credentials), nothing is done here, and the
call goes that way.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Coroutine
from time import perf_counter
from typing import TYPE_CHECKING, Any

from mcpsec.gateway.message import Answer, Refusal, StreamAnswer
from mcpsec.gateway.upstreams.breaker import Pass
from mcpsec.gateway.upstreams.http_client import UpstreamFault
from mcpsec.gateway.upstreams.passing import RETURNED, is_encoded

if TYPE_CHECKING:
    from mcpsec.gateway.answers import AnswerGuard
    from mcpsec.gateway.calls import Call
    from mcpsec.gateway.message import Exchange
    from mcpsec.gateway.outbox import Outbox
    from mcpsec.gateway.upstreams.breaker import Term
    from mcpsec.gateway.upstreams.http import HttpUpstream
    from mcpsec.gateway.upstreams.http_client import UpstreamResponse
    from mcpsec.gateway.upstreams.lanes import Lane
    from mcpsec.gateway.upstreams.protected import ProtectedUpstream

__all__ = ["HttpSender", "Outcome", "Sender"]

Outcome = Answer | StreamAnswer | Refusal
_LONE_EVENT = re.compile(rb"(?:event: message\r?\n)?data: ([^\r\n]*)\r?\n\r?\n")
"""One event with nothing but a message in it, as the SDKs' servers write it."""


class Sender(ABC):
    """Sends tools' calls of one client that have one known head, to an upstream behind ``protected``."""

    __slots__ = ("_breakers", "_bulkhead", "_client_id", "_known", "_protected", "ended_well", "ordinary")

    def __init__(self, protected: ProtectedUpstream, guard: AnswerGuard, exchange: Exchange) -> None:
        self._protected = protected
        self._bulkhead = protected.bulkhead
        self._breakers = protected.breakers
        self._client_id = "" if exchange.client is None else exchange.client.id
        self.ordinary = guard.ordinary(protected.name)
        self.ended_well = protected.bulkhead.ended_well
        """Gives a place back after an answer that shows nothing wrong; takes its breaker's term."""
        self._known = exchange.request.known

    @property
    def outbox(self) -> Outbox | None:
        """Where what it sends is put, if it is put anywhere."""
        return None

    @abstractmethod
    def send(self, exchange: Exchange, call: Call) -> bool:
        """Send it. False when it has to go the long way: then nothing was done."""

    def alone(self, exchange: Exchange, response: UpstreamResponse) -> Answer | None:
        """What a call gets for a stream of events that has ended, if its answer was all that it brought."""
        return None

    @abstractmethod
    def outcome(self, exchange: Exchange, got: Any) -> Outcome | Coroutine[Any, Any, Outcome]:
        """What a call gets for whatever has come, or what is to be awaited for that."""

    def later(
        self, exchange: Exchange, outcome: Outcome | Coroutine[Any, Any, Outcome], term: Term, started: float
    ) -> Coroutine[Any, Any, Outcome]:
        """The outcome, once what else has to be done was done."""
        answering = outcome if isinstance(outcome, Coroutine) else _given(outcome)
        return self._protected.pass_on(exchange, self._permit(term, started), answering)

    def verdict(self, outcome: Answer | Refusal) -> bool | None:
        """As ``ProtectedUpstream`` has it."""
        return self._protected.verdict(outcome)

    def settle(self, term: Term, started: float, *, failed: bool | None) -> None:
        """Give a place back."""
        self._bulkhead.leave(self._permit(term, started), failed=failed)

    def _permit(self, term: Term, started: float) -> Pass:
        return Pass(self._breakers, term, started)


class HttpSender(Sender):
    """To an HTTP upstream, on a connection that is free."""

    __slots__ = ("_head", "_lane", "_pool", "_timeout", "_upstream")

    def __init__(self, protected: ProtectedUpstream, upstream: HttpUpstream, exchange: Exchange, lane: Lane) -> None:
        super().__init__(protected, upstream.guard, exchange)
        self._upstream = upstream
        self._use(lane, exchange)
        self._timeout = upstream.timeouts.of(exchange)

    def _use(self, lane: Lane, exchange: Exchange) -> None:
        self._lane, self._pool = lane, lane.pool
        self._head = self._upstream.head_of(exchange, lane)

    @property
    def outbox(self) -> Outbox | None:
        """Where what it sends is put."""
        return self._pool.outbox

    def send(self, exchange: Exchange, call: Call) -> bool:
        """Send it on a connection that is free."""
        bulkhead, own, message = self._bulkhead, self._breakers.of.get(self._client_id), exchange.message
        if message is None or exchange.request.known is not self._known:
            return False
        if own is None or not own.passing or bulkhead.running >= bulkhead.bound:
            return False
        if self._lane.former:  # the upstream has other credentials now
            self._use(self._upstream.lane_of(exchange), exchange)
        connection = self._pool.take_idle()
        if connection is None:
            return False
        bulkhead.running += 1
        call.sender, call.connection, call.term, call.started = self, connection, own.term, perf_counter()
        body = message.raw
        connection.request(b"%bcontent-length: %d\r\n\r\n%b" % (self._head, len(body), body), self._timeout, call)
        return True

    def alone(self, exchange: Exchange, response: UpstreamResponse) -> Answer | None:
        """The event as it came, where there is nothing to it but an answer in which nothing has to change."""
        body = None if response.stream is None else response.stream.whole
        event = None if body is None else _LONE_EVENT.fullmatch(body)
        message = exchange.message
        if body is None or event is None or message is None or response.status != 200:
            return None
        if len(body) > self._upstream.response_bytes:
            return None
        if is_encoded(response.fields) or not self.ordinary(event[1], message.id):
            return None
        return Answer(200, [(name, value) for name, value in response.fields.items() if name in RETURNED], body)

    def outcome(self, exchange: Exchange, got: Any) -> Outcome:
        """As ``HttpUpstream`` has it."""
        if isinstance(got, UpstreamFault):
            return self._upstream.failed(exchange, got)
        return self._upstream.answered(exchange, got)


async def _given(outcome: Outcome) -> Outcome:
    return outcome
