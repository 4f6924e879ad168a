"""A request under way without a task of its own: sent to its upstream at once, answered by a callback.

Most requests repeat one (``repeats``) and wait for nothing but their upstream. A task, its futures and the turns of the
event loop between them cost such a request as much as half the steps of its way. A ``Call`` stands in the upstream's
connection where a future would, and hands the answer to whoever began it; one that turns out to need more (a step that
waits, a stream, a new connection) says so, and is awaited like any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from mcpsec.gateway.connection import refusal_answer
from mcpsec.gateway.message import Answer, Refusal, StreamAnswer
from mcpsec.gateway.upstreams.http_client import Cut, UpstreamResponse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mcpsec.gateway.chain import Chain
    from mcpsec.gateway.cleaning import AnswerCleaner
    from mcpsec.gateway.message import Exchange
    from mcpsec.gateway.turns import Come
    from mcpsec.gateway.upstreams.breaker import Term
    from mcpsec.gateway.upstreams.http_client import UpstreamFault
    from mcpsec.gateway.upstreams.known_answers import AnswerHead
    from mcpsec.gateway.upstreams.sending import Sender

__all__ = ["Call", "answer_calls"]

_ENDS_SOON = 0.02
"""Seconds in which a stream of events may end by itself, before anything of it is passed on."""


class Response(Protocol):
    """What has come of an upstream; what else there is to it the sender knows."""

    @property
    def stream(self) -> object:
        """Where the rest comes from, None for one that is whole."""


class Call:
    """``answered`` gets the answer, once; or None when the call has to be awaited (``wait``) for it.

    Whoever began it calls ``cancel`` when the client goes away, unless ``wait`` is running: that is cancelled then.
    ``sender`` says, when it sends it, when that was and on what ``connection``; ``term`` is its breaker's.
    """

    __slots__ = (
        "_answered", "_chain", "_exchange", "_outcome", "_over", "awaited", "connection", "sender", "started", "term",
    )  # fmt: skip
    connection: Cut | None
    started: float
    term: Term

    def __init__(self, chain: Chain, exchange: Exchange, answered: Callable[[Answer | None], None]) -> None:
        self._chain = chain
        self._exchange = exchange
        self._answered = answered
        self._over = self.awaited = False
        self.sender: Sender | None = None
        self._outcome: Any = None

    # --- what the upstream's connection asks of a future -----------------------------------------------------------

    def done(self) -> bool:
        """Whether nobody waits any more."""
        return self._over

    def set_known(self, head: AnswerHead, body: bytes) -> None:
        """The answer has come, with a head that came before: it gets its turn with the others of this moment."""
        source, self.connection = self.connection, None  # it is others' again
        self._exchange.upstream_ms = (perf_counter() - self.started) * 1000
        self._chain.turn.answered(self, head, body, source)

    def set_result(self, response: Response) -> None:
        """The answer has come; it is still in the hands of the parser, so it gets its turn later."""
        loop = asyncio.get_running_loop()
        if isinstance(response, UpstreamResponse):
            stream = response.stream
            if stream is not None:  # mostly it brings the answer, and ends
                timer = loop.call_later(_ENDS_SOON, self._goes_on, response)
                stream.at_end = partial(self._has_ended, response, timer)
                return
            response.source, self.connection = self.connection, None  # it is others' again
        loop.call_soon(self._end, response)

    def set_exception(self, fault: UpstreamFault) -> None:
        """No answer will come; what still does belongs to nobody."""
        self._abort()
        asyncio.get_running_loop().call_soon(self._end, fault)

    # --- an answer in a stream of events ---------------------------------------------------------------------------

    def _goes_on(self, response: UpstreamResponse) -> None:
        """It is no short one: its events are passed on as they come."""
        stream = response.stream
        if stream is None or stream.at_end is None:
            return  # it has ended in this very turn of the loop
        stream.at_end = None
        self._end(response)

    def _has_ended(self, response: UpstreamResponse, timer: asyncio.TimerHandle) -> None:
        """It was a short one; it is still in the hands of the parser, so it gets its turn later."""
        timer.cancel()
        self.connection = None  # it is others' again
        asyncio.get_running_loop().call_soon(self._stream_over, response)

    def _stream_over(self, response: UpstreamResponse) -> None:
        """It has ended before anything of it was passed on. If it brought an answer alone, that needs no stream."""
        sender, exchange, answer = self.sender, self._exchange, None
        if self._over or self.awaited or sender is None:
            return
        exchange.upstream_ms = (perf_counter() - self.started) * 1000
        try:
            answer = sender.alone(exchange, response)
            if answer is not None and len(answer.body) > self._chain.stream_bytes:
                answer = None
            if answer is not None:
                sender.ended_well(self.term)
        except Exception:
            answer = None  # the long way meets it again, and says so
        if answer is None:
            self._end(response)
            return
        self._over = True
        self._tell(self._finished(answer))

    # --- how it ends -----------------------------------------------------------------------------------------------

    def _end(self, got: Response | UpstreamFault) -> None:
        """End it by what has come of the upstream."""
        if self._over or self.sender is None:
            return
        exchange, sender = self._exchange, self.sender
        exchange.upstream_ms = (perf_counter() - self.started) * 1000
        try:
            outcome = sender.outcome(exchange, got)
            if not isinstance(outcome, Answer | Refusal) or exchange.unshared:
                self.later(sender.later(exchange, outcome, self.term, self.started))
            else:
                self._over = True
                self._settle(failed=sender.verdict(outcome))
        except Exception as error:
            self._over = True
            self._settle(failed=None)
            outcome = self._chain.broken(exchange, error)
        # How it goes on is told out here: what goes wrong then is not this call's, and ends it no second time.
        if self.awaited:
            self._tell(None)
        elif isinstance(outcome, Answer | Refusal):
            self._tell(self._finished(outcome))

    def _finished(self, outcome: Answer | Refusal) -> Answer:
        chain, exchange = self._chain, self._exchange
        try:
            return chain.finished(exchange, outcome)
        except Exception as error:
            return refusal_answer(chain.broken(exchange, error), exchange.rpc_id)

    def _tell(self, answer: Answer | None) -> None:
        try:
            self._answered(answer)
        except Exception as error:  # of one connection, and none of the doing of those whose answers came with it
            asyncio.get_running_loop().call_exception_handler({"message": "an answer was not told", "exception": error})

    def unsent(self, refusal: Refusal) -> None:
        """It broke while it was sent; its place at the upstream is given back, if it has one."""
        self._abort()
        self._settle(failed=None)
        self.later(refusal)

    def later(self, outcome: Awaitable[Answer | StreamAnswer | Refusal | None] | Answer | Refusal | None) -> None:
        """It has to be awaited: this is what became of it so far."""
        self._outcome, self.awaited = outcome, True

    async def wait(self) -> Answer | StreamAnswer:
        """What ``answered`` did not get."""
        outcome, self._outcome, self._over = self._outcome, None, True
        return await self._chain.complete(self._exchange, outcome)

    def cancel(self) -> None:
        """The client is gone. Without effect once it has ended, or is awaited."""
        if self._over:
            return
        self._over = True
        if isinstance(self._outcome, Coroutine):
            _begin_and_cancel(self.wait())
            return
        if self.sender is not None:
            self._exchange.upstream_ms = (perf_counter() - self.started) * 1000
            self._abort()
            self._settle(failed=None)
        self._chain.left(self._exchange)

    def _abort(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abort()

    def _settle(self, *, failed: bool | None) -> None:
        """Give the place at the upstream back, once."""
        sender, self.sender = self.sender, None
        if sender is not None:
            sender.settle(self.term, self.started, failed=failed)


def answer_calls(come: Sequence[Come]) -> None:
    """Answer calls whose answers have come: what nearly all of them need is done for all before the next of it is."""
    results: dict[AnswerCleaner | None, list[tuple[Come, Any]]] = {}
    for each in come:
        call, head, body, source = each
        sender, message = call.sender, call._exchange.message
        if call._over or sender is None:
            continue  # its client has left
        ordinary = sender.ordinary
        try:
            frame = None if message is None else ordinary.result(body, message.id)
        except Exception:
            frame = None  # the long way meets it again, and says so
        if frame is None:
            call._end(UpstreamResponse(head, body, source))
        else:
            results.setdefault(ordinary.cleaner, []).append((each, frame))
    for cleaner, found in results.items():
        clean = _clean(cleaner, found)
        _answer_well([each for each, _ in clean])
        if len(clean) < len(found):
            ended = {id(each[0]) for each, _ in clean}
            for (call, head, body, source), _ in found:
                if id(call) not in ended:
                    call._end(UpstreamResponse(head, body, source))


def _answer_well(come: Sequence[Come]) -> None:
    """Answer calls with answers to which there is nothing."""
    answers: list[tuple[Call, Answer]] = []
    for call, head, body, source in come:
        sender = call.sender
        if sender is None or call._over:
            continue
        ended_well = sender.ended_well  # no method: called as one it costs more
        try:
            ended_well(call.term)
        except Exception:  # the long way meets it again, and says so
            call._end(UpstreamResponse(head, body, source))
            continue
        call._over = True
        answers.append((call, call._finished(Answer(head.status, [], body, head.lines))))
    for call, answer in answers:
        call._tell(answer)


def _clean(cleaner: AnswerCleaner | None, found: list[tuple[Come, Any]]) -> list[tuple[Come, Any]]:
    """Those of the answers in which nothing has to change."""
    if cleaner is None:
        return found
    try:
        if cleaner.are_clean([(frame, each[2]) for each, frame in found]):
            return found
        return [(each, frame) for each, frame in found if cleaner.is_clean(frame, each[2])] if len(found) > 1 else []
    except Exception:
        return []  # the long way meets it again, and says so


_ending: set[asyncio.Task[Any]] = set()


def _begin_and_cancel(work: Coroutine[Any, Any, Answer | StreamAnswer]) -> None:
    """End what has not begun as any work ends that is cancelled: it gives back itself what it holds."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(_dismiss(work))
    _ending.add(task)
    task.add_done_callback(_ending.discard)
    loop.call_soon(task.cancel)


async def _dismiss(work: Coroutine[Any, Any, Answer | StreamAnswer]) -> None:
    """Let go of the answer, if one comes before this is cancelled: only a stream that has begun gives back a place."""
    answer = await work
    if isinstance(answer, StreamAnswer):
        async for _ in answer.parts:
            break
        await answer.parts.aclose()
