"""The way of a request, in one place: every step in order, then the upstream, then the record.

``server.Gateway`` builds the list. A step that refuses ends the way; nothing after it has seen the request.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from mcpsec.gateway.calls import Call, answer_calls
from mcpsec.gateway.connection import refusal_answer
from mcpsec.gateway.limits import is_aside
from mcpsec.gateway.message import Answer, Exchange, Refusal, StreamAnswer, too_busy
from mcpsec.gateway.open_streams import OpenStreams
from mcpsec.gateway.quota import quota_headers, quota_lines
from mcpsec.gateway.repeats import Way, remember_way, remembered, way_of
from mcpsec.gateway.steps import Changed
from mcpsec.gateway.streams import recorded
from mcpsec.gateway.turns import Turn
from mcpsec.protocol import codes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mcpsec.gateway.limits import InFlight
    from mcpsec.gateway.message import Peer, Request
    from mcpsec.gateway.outbox import Outbox
    from mcpsec.gateway.record import Recorder
    from mcpsec.gateway.steps import Outcome, Step
    from mcpsec.gateway.turns import Arrival

__all__ = ["Chain"]

_WHOLE = (Refusal, Answer)
_INTERNAL = Refusal(500, codes.INTERNAL_ERROR, "internal error", "internal-error")


class Chain:
    """Takes requests along ``steps`` and to the upstream that the steps have found.

    ``failed`` hears of exceptions that nobody foresaw; their caller gets a bare internal error. ``stream_bytes`` bounds
    all that one stream of events may bring; ``streams`` are those that are open.
    """

    def __init__(
        self, steps: Sequence[Step], in_flight: InFlight, recorder: Recorder, failed: Callable[[Exception, str], None]
    ) -> None:
        self.stream_bytes = 256 * 1024 * 1024
        self.streams = OpenStreams()
        self.use(steps)
        self._in_flight = in_flight
        self._recorder = recorder
        self._failed = failed
        self._prefix = secrets.token_hex(4)
        self._count = 0
        self.turn = Turn(self.begin, answer_calls)

    def use(self, steps: Sequence[Step]) -> None:
        """Take every request that comes from now on along these steps; what is under way goes on along its own."""
        self._way = Way.of(steps)

    async def handle(self, request: Request, peer: Peer) -> Answer | StreamAnswer:
        """Answer one request, and write its one event when it is over."""
        self._count += 1
        exchange = Exchange(request, peer, f"{self._prefix}{self._count:08x}")
        known, way = request.known, self._way
        outcome = self._admit(exchange, way if known is None else way_of(exchange, known, way))
        return await self.complete(exchange, outcome)

    def begin(self, arrivals: Sequence[Arrival]) -> list[Answer | Call | None]:
        """``handle`` without waiting, for requests that repeat others.

        Of each the answer, or the call that will have it; None for any other request: nothing was done. Who hears of an
        answer does as ``Call`` says, and never before this has returned. Each step is taken by all that go one way
        before the next one is.
        """
        begun: list[Answer | Call | None] = [None] * len(arrivals)
        ways: dict[Way, list[tuple[int, Exchange]]] = {}
        for number, (request, peer, _) in enumerate(arrivals):
            known, client = request.known, peer.client
            way = None if known is None or client is None else remembered(known, client, request.body)
            if way is not None and way.sender is not None and way.whole is self._way and way.client is client:
                self._count += 1
                exchange = Exchange(request, peer, f"{self._prefix}{self._count:08x}")
                ways.setdefault(way, []).append((number, exchange))
        held: list[Outbox] = []
        try:
            for way, members in ways.items():
                outbox = None if way.sender is None else way.sender.outbox
                if outbox is not None:
                    outbox.hold()
                    held.append(outbox)
                outcomes = self._admit_together([exchange for _, exchange in members], way)
                for (number, exchange), outcome in zip(members, outcomes, strict=True):
                    try:
                        begun[number] = self._send(exchange, outcome, arrivals[number][2])
                    except Exception as error:
                        begun[number] = refusal_answer(self.broken(exchange, error), exchange.rpc_id)
        finally:
            for outbox in held:
                outbox.flush()
        return begun

    def _send(
        self, exchange: Exchange, outcome: Outcome | Awaitable[Outcome], answered: Callable[[Answer | None], None]
    ) -> Answer | Call:
        """Send a request to its upstream, unless its steps have come to something else."""
        if outcome is not None and isinstance(outcome, _WHOLE):
            return self.finished(exchange, outcome)
        call, sender = Call(self, exchange, answered), exchange.sender
        try:
            if outcome is not None or sender is None or not sender.send(exchange, call):
                call.later(outcome)
        except Exception as error:
            call.unsent(self.broken(exchange, error))
        return call

    def _admit_together(self, exchanges: list[Exchange], way: Way) -> list[Outcome | Awaitable[Outcome]]:
        """``_admit`` for several that go the same way."""
        if len(exchanges) == 1 or not self._recorder.healthy:
            return [self._admit(exchange, way) for exchange in exchanges]
        outcomes: list[Outcome | Awaitable[Outcome]] = [None] * len(exchanges)
        going = list(enumerate(exchanges))
        for place, part in way.parts:
            ended: list[int] = []
            for number, exchange in going:
                try:
                    outcome = part(exchange)
                    if outcome is not None:
                        outcomes[number] = self._held_up(exchange, way, place, outcome)
                        ended.append(number)
                except Exception as error:
                    outcomes[number] = self.broken(exchange, error)
                    ended.append(number)
            if ended:
                going = [each for each in going if each[0] not in ended]
        for number, exchange in going:
            try:
                outcomes[number] = self._enter(exchange, way)
            except Exception as error:
                outcomes[number] = self.broken(exchange, error)
        return outcomes

    def _admit(self, exchange: Exchange, way: Way) -> Outcome | Awaitable[Outcome]:
        """Take the steps of a way, for as long as nothing has to be waited for; None when the upstream may be asked."""
        if not self._recorder.healthy:
            return Refusal(503, codes.UPSTREAM_UNAVAILABLE, "the service is not available", "log-unavailable")
        try:
            for part in way.order:
                outcome = part(exchange)
                if outcome is not None:
                    return self._held_up(exchange, way, way.parts[way.order.index(part)][0], outcome)
            return self._enter(exchange, way)
        except Exception as error:
            return self.broken(exchange, error)

    async def complete(
        self, exchange: Exchange, outcome: Outcome | StreamAnswer | Awaitable[Outcome | StreamAnswer]
    ) -> Answer | StreamAnswer:
        """Wait for what is still to come, ask the upstream unless it was, and end the request."""
        ended: Refusal | Answer | StreamAnswer | None
        try:
            ended = (
                outcome if outcome is None or isinstance(outcome, Refusal | Answer | StreamAnswer) else await outcome
            )
            if ended is None:
                ended = await exchange.endpoint.call(exchange)
        except Exception as error:
            ended = self.broken(exchange, error)
        except BaseException:  # cancelled
            self.left(exchange)
            raise
        return self.finish(exchange, ended)

    def broken(self, exchange: Exchange, error: Exception) -> Refusal:
        """What nobody foresaw."""
        exchange.let_go()
        self._failed(error, f"request {exchange.id}")
        return _INTERNAL

    def left(self, exchange: Exchange) -> None:
        """The caller has gone."""
        exchange.let_go()
        exchange.decision, exchange.rule, exchange.status = "failed", "client-gone", 499
        self._recorder.request(exchange)

    def finish(self, exchange: Exchange, outcome: Refusal | Answer | StreamAnswer) -> Answer | StreamAnswer:
        """The answer as the caller gets it; a stream's event is written at its end."""
        if not isinstance(outcome, StreamAnswer):
            return self.finished(exchange, outcome)
        exchange.status = outcome.status
        if exchange.quotas:
            outcome.headers = [*outcome.headers, *quota_headers(exchange.quotas)]
        parts = recorded(exchange, outcome.parts, self._recorder, most=self.stream_bytes, streams=self.streams)
        return StreamAnswer(outcome.status, outcome.headers, parts, outcome.endless)

    def finished(self, exchange: Exchange, outcome: Refusal | Answer) -> Answer:
        """``finish`` for an answer that is whole."""
        answer = self._refuse(exchange, outcome) if isinstance(outcome, Refusal) else outcome
        exchange.status = answer.status
        if exchange.quotas:
            answer.lines += quota_lines(exchange.quotas)
        held = exchange.held
        if held is not None:  # ``let_go``
            exchange.held = None
            held.running -= 1
        exchange.answer_bytes = len(answer.body)
        self._recorder.request(exchange)
        return answer

    def _take(self, exchange: Exchange, way: Way, begin: int) -> Outcome | Awaitable[Outcome]:
        """Take a way from one step on."""
        for place, part in way.parts:
            if place >= begin:
                outcome = part(exchange)
                if outcome is not None:
                    return self._held_up(exchange, way, place, outcome)
        return self._enter(exchange, way)

    def _held_up(
        self, exchange: Exchange, way: Way, place: int, outcome: Refusal | Answer | Changed | Awaitable[Outcome]
    ) -> Outcome | Awaitable[Outcome]:
        """The step at ``place`` did not just let the request pass."""
        if isinstance(outcome, Refusal | Answer):
            return outcome
        if isinstance(outcome, Changed):
            return self._take(exchange, way.whole, place)
        return self._go_on(exchange, way, place + 1, outcome)

    async def _go_on(self, exchange: Exchange, way: Way, begin: int, waited: Awaitable[Outcome]) -> Outcome:
        outcome = await waited
        if outcome is None:
            following = self._take(exchange, way, begin)
            outcome = following if following is None or isinstance(following, Refusal | Answer) else await following
        return outcome

    def _enter(self, exchange: Exchange, way: Way) -> Refusal | None:
        """All steps were passed: take a place among the client's running requests."""
        in_flight, place = self._in_flight, way.place
        if way.whole is way:
            remember_way(exchange, way)
            key = "" if exchange.client is None else exchange.client.id
            place = in_flight.aside(key) if is_aside(exchange) else in_flight.place(key)
        else:
            exchange.alike, exchange.sender = way.alike, way.sender
            if place is None:
                place = way.place = in_flight.place("" if way.client is None else way.client.id)
        if place.running >= in_flight.bound:
            return too_busy("in-flight-client")
        place.running += 1
        exchange.held = place
        return None

    def _refuse(self, exchange: Exchange, refusal: Refusal) -> Answer:
        exchange.decision = "failed" if refusal.status >= 500 else "refused"
        exchange.rule, exchange.detail = refusal.rule, refusal.detail
        if refusal.code > 0:  # ours: the request's id lets an operator find the event
            refusal.data = {**(refusal.data or {}), "request": exchange.id}
        if refusal.close:
            exchange.request.keep_alive = False
        return refusal_answer(refusal, exchange.rpc_id)
