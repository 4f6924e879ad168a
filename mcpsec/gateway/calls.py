"""A request under way without a task of its own: sent to its upstream at once, answered by a callback.

Most requests repeat one (``repeats``) and wait for nothing but their upstream. A task, its futures and the turns of the
event loop between them cost such a request as much as half the steps of its way. A ``Call`` stands in the upstream's
connection where a future would, and hands the answer to whoever began it; one that turns out to need more (a step that
waits, a stream, a new connection) says so, and is awaited like any other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from mcpsec.gateway.message import Answer, StreamAnswer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcpsec.gateway.chain import Chain
    from mcpsec.gateway.message import Exchange, Refusal
    from mcpsec.gateway.upstreams.http_client import UpstreamConnection, UpstreamFault, UpstreamResponse
    from mcpsec.gateway.upstreams.sending import Sender

__all__ = ["Call"]


class Call:
    """``answered`` gets the answer, once; or None when the call has to be awaited (``wait``) for it.

    Whoever began it calls ``cancel`` when the client goes away, unless ``wait`` is running: that is cancelled then.
    """

    __slots__ = (
        "_answered", "_chain", "_connection", "_exchange", "_outcome", "_over", "_period", "_sender", "_started",
        "awaited",
    )  # fmt: skip

    def __init__(self, chain: Chain, exchange: Exchange, answered: Callable[[Answer | None], None]) -> None:
        self._chain = chain
        self._exchange = exchange
        self._answered = answered
        self._over = self.awaited = False
        self._sender: Sender | None = None
        self._outcome: Any = None

    def sent(self, sender: Sender, connection: UpstreamConnection, period: int) -> None:
        """It is on its way; ``period`` is the breaker's."""
        self._sender = sender
        self._connection: UpstreamConnection | None = connection
        self._period = period
        self._started = time.perf_counter()

    # --- what the upstream's connection asks of a future -----------------------------------------------------------

    def done(self) -> bool:
        """Whether nobody waits any more."""
        return self._over

    def set_result(self, response: UpstreamResponse) -> None:
        """The answer has come. One that is not known is still in the hands of the parser: it gets its turn later."""
        sender, known = self._sender, response.known
        if response.stream is None:
            self._connection = None  # it is others' again
        if known is None or sender is None:
            asyncio.get_running_loop().call_soon(self._end, response, None)
            return
        exchange = self._exchange
        exchange.upstream_ms = (time.perf_counter() - self._started) * 1000
        try:
            outcome = sender.pass_on(exchange, known, response.body)
            ordinary = isinstance(outcome, Answer) and not exchange.unshared
            if ordinary:
                sender.ended_well(self._period)
        except Exception as error:
            ordinary = True
            self._settle(failed=None)
            outcome = self._chain.broken(exchange, error)
        if not ordinary:
            self._end(response, outcome)
            return
        self._over = True
        self._answered(self._chain.finished(exchange, outcome))

    def set_exception(self, fault: UpstreamFault) -> None:
        """No answer will come; what still does belongs to nobody."""
        self._abort()
        asyncio.get_running_loop().call_soon(self._end, fault, None)

    # --- how it ends -----------------------------------------------------------------------------------------------

    def _end(self, got: UpstreamResponse | UpstreamFault, outcome: Answer | StreamAnswer | Refusal | None) -> None:
        """End it by what has come of the upstream, or by ``outcome``, what that means for the client."""
        if self._over or self._sender is None:
            return
        exchange, sender = self._exchange, self._sender
        exchange.upstream_ms = (time.perf_counter() - self._started) * 1000
        try:
            if outcome is None:
                outcome = sender.outcome(exchange, got)
            if isinstance(outcome, StreamAnswer) or exchange.unshared:
                self.later(sender.later(exchange, outcome, self._period, self._started))
                self._answered(None)
                return
            self._over = True
            self._settle(failed=sender.verdict(outcome))
        except Exception as error:
            self._over = True
            self._settle(failed=None)
            outcome = self._chain.broken(exchange, error)
        self._answered(self._chain.finished(exchange, outcome))

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
        if self._sender is not None:
            self._exchange.upstream_ms = (time.perf_counter() - self._started) * 1000
            self._abort()
            self._settle(failed=None)
        self._chain.left(self._exchange)

    def _abort(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()

    def _settle(self, *, failed: bool | None) -> None:
        """Give the place at the upstream back, once."""
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.settle(self._period, self._started, failed=failed)


_ending: set[asyncio.Task[Any]] = set()


def _begin_and_cancel(work: Coroutine[Any, Any, Any]) -> None:
    """End what has not begun as any work ends that is cancelled: it gives back itself what it holds."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    _ending.add(task)
    task.add_done_callback(_ending.discard)
    loop.call_soon(task.cancel)
