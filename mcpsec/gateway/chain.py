"""The way of a request, in one place: every step in order, then the upstream, then the record.

``server.Gateway`` builds the list. A step that refuses ends the way; nothing after it has seen the request.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from mcpsec.gateway.connection import refusal_answer
from mcpsec.gateway.message import Answer, Exchange, Refusal, StreamAnswer
from mcpsec.gateway.quota import quota_headers
from mcpsec.gateway.repeats import Way, remember_way, way_of
from mcpsec.gateway.steps import CHANGED
from mcpsec.gateway.streams import recorded
from mcpsec.protocol import codes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mcpsec.gateway.limits import InFlight
    from mcpsec.gateway.message import Peer, Request
    from mcpsec.gateway.record import Recorder
    from mcpsec.gateway.steps import Outcome, Step

__all__ = ["Chain"]

_INTERNAL = Refusal(500, codes.INTERNAL_ERROR, "internal error", "internal-error")


class Chain:
    """Takes requests along ``steps`` and to the upstream that the steps have found.

    ``failed`` hears of exceptions that nobody foresaw; their caller gets a bare internal error. ``stream_bytes`` bounds
    all that one stream of events may bring.
    """

    def __init__(
        self, steps: Sequence[Step], in_flight: InFlight, recorder: Recorder, failed: Callable[[Exception, str], None]
    ) -> None:
        self.stream_bytes = 256 * 1024 * 1024
        self.use(steps)
        self._in_flight = in_flight
        self._recorder = recorder
        self._failed = failed
        self._prefix = secrets.token_hex(4)
        self._count = 0

    def use(self, steps: Sequence[Step]) -> None:
        """Take every request that comes from now on along these steps; what is under way goes on along its own."""
        self._way = Way.of(steps)

    async def handle(self, request: Request, peer: Peer) -> Answer | StreamAnswer:
        """Answer one request, and write its one event when it is over."""
        self._count += 1
        exchange = Exchange(request, peer, f"{self._prefix}{self._count:08x}")
        try:
            outcome = self._admit(exchange)
            if outcome is not None and not isinstance(outcome, Refusal | Answer):
                outcome = await outcome
            if outcome is None:
                outcome = await exchange.endpoint.call(exchange)
        except BaseException as error:
            exchange.let_go()
            if isinstance(error, Exception):
                self._failed(error, f"request {exchange.id}")
                outcome = _INTERNAL
            else:  # cancelled: the caller has gone
                exchange.decision, exchange.rule, exchange.status = "failed", "client-gone", 499
                self._recorder.request(exchange)
                raise
        answer = self._refuse(exchange, outcome) if isinstance(outcome, Refusal) else outcome
        exchange.status = answer.status
        if exchange.quotas:
            answer.headers = [*answer.headers, *quota_headers(exchange.quotas)]
        if isinstance(answer, StreamAnswer):
            return StreamAnswer(
                answer.status,
                answer.headers,
                recorded(exchange, answer.parts, self._recorder, most=self.stream_bytes),
                answer.endless,
            )
        exchange.let_go()
        exchange.answer_bytes = len(answer.body)
        self._recorder.request(exchange)
        return answer

    def _admit(self, exchange: Exchange) -> Outcome | Awaitable[Outcome]:
        """Take the steps; None when the upstream may be asked."""
        if not self._recorder.healthy:
            return Refusal(503, codes.UPSTREAM_UNAVAILABLE, "the service is not available", "log-unavailable")
        way = self._way
        known = exchange.request.known
        return self._take(exchange, way if known is None else way_of(exchange, known, way))

    def _take(self, exchange: Exchange, way: Way, begin: int = 0) -> Outcome | Awaitable[Outcome]:
        """Take a way from one step on, for as long as nothing has to be waited for."""
        for place, part in way.parts if not begin else [each for each in way.parts if each[0] >= begin]:
            outcome = part(exchange)
            if outcome is None:
                continue
            if outcome is CHANGED:
                return self._take(exchange, way.whole, place)
            if isinstance(outcome, Refusal | Answer):
                return outcome
            return self._go_on(exchange, way, place + 1, outcome)
        if way.whole is way:
            remember_way(exchange, way)
        else:
            exchange.alike = way.alike
        return self._enter(exchange)

    async def _go_on(self, exchange: Exchange, way: Way, begin: int, waited: Awaitable[Outcome]) -> Outcome:
        outcome = await waited
        if outcome is None:
            following = self._take(exchange, way, begin)
            outcome = following if following is None or isinstance(following, Refusal | Answer) else await following
        return outcome

    def _enter(self, exchange: Exchange) -> Refusal | None:
        """Take a place among the client's running requests."""
        client_id, in_flight = "" if exchange.client is None else exchange.client.id, self._in_flight
        if not in_flight.enter(client_id):
            return Refusal(
                429, codes.BUSY, "too many requests at once", "in-flight-client", headers=[(b"retry-after", b"1")]
            )
        exchange.held = client_id, in_flight
        return None

    def _refuse(self, exchange: Exchange, refusal: Refusal) -> Answer:
        exchange.decision = "failed" if refusal.status >= 500 else "refused"
        exchange.rule, exchange.detail = refusal.rule, refusal.detail
        if refusal.code > 0:  # ours: the request's id lets an operator find the event
            refusal.data = {**(refusal.data or {}), "request": exchange.id}
        if refusal.close:
            exchange.request.keep_alive = False
        return refusal_answer(refusal, exchange.rpc_id)
