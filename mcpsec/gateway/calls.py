"""A request under way without a task of its own: sent to its upstream at once, answered by a callback.

Most requests repeat one and wait for nothing but their upstream. A task, its futures and the turns of the event loop
between them cost such a request more than all steps of its way. A ``Call`` stands in the upstream's connection where a
future would, and hands the answer to whoever began it; one that turns out to need more (a step that waits, a stream, a
new connection) says so, and is awaited like any other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from mcpsec.gateway.message import StreamAnswer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcpsec.gateway.chain import Chain
    from mcpsec.gateway.message import Answer, Exchange, Refusal
    from mcpsec.gateway.upstreams.breaker import Pass
    from mcpsec.gateway.upstreams.http import HttpUpstream
    from mcpsec.gateway.upstreams.http_client import UpstreamConnection, UpstreamFault, UpstreamResponse
    from mcpsec.gateway.upstreams.protected import ProtectedUpstream

__all__ = ["Call"]


class Call:
    """``answered`` gets the answer, once; or None when the call has to be awaited (``wait``) for it.

    Whoever began it calls ``cancel`` when the client goes away, unless ``wait`` is running: that is cancelled then.
    """

    __slots__ = (
        "_answered", "_chain", "_exchange", "_outcome", "_over", "_permit", "_protected", "_sent_on", "_started",
        "_upstream", "awaited",
    )  # fmt: skip

    def __init__(self, chain: Chain, exchange: Exchange, answered: Callable[[Answer | None], None]) -> None:
        self._chain = chain
        self._answered = answered
        self._over = False
        self._sent_on: UpstreamConnection | None = None
        self._permit: Pass | None = None
        self._outcome: Any = None
        self._exchange = exchange
        self.awaited = False
        """Whether ``wait`` is what gives the answer."""

    def passed(self, protected: ProtectedUpstream, permit: Pass) -> None:
        """The upstream's breaker and bulkhead let it pass; ``permit`` is settled when it has ended."""
        self._protected, self._permit = protected, permit

    def sent(self, upstream: HttpUpstream, connection: UpstreamConnection) -> None:
        """It is on its way."""
        self._upstream, self._sent_on = upstream, connection
        self._started = time.perf_counter()

    # --- what the upstream's connection asks of a future -----------------------------------------------------------

    def done(self) -> bool:
        """Whether nobody waits any more."""
        return self._over

    def set_result(self, response: UpstreamResponse) -> None:
        """The answer has come. What has not come whole is still in the hands of the parser: it gets its turn later."""
        if response.known is None:
            asyncio.get_running_loop().call_soon(self._end, response, None)
        else:
            self._end(response, None)

    def set_exception(self, fault: UpstreamFault) -> None:
        """No answer will come."""
        asyncio.get_running_loop().call_soon(self._end, None, fault)

    # --- how it ends -----------------------------------------------------------------------------------------------

    def _end(self, response: UpstreamResponse | None, fault: UpstreamFault | None) -> None:
        if self._over:
            return
        self._over = True
        exchange, protected, permit = self._exchange, self._protected, self._permit
        exchange.upstream_ms = (time.perf_counter() - self._started) * 1000
        try:
            if response is None:
                self._abort()
                outcome = self._upstream.failed(exchange, fault)
            else:
                if response.stream is None:
                    self._sent_on = None  # it has gone back to where others find it
                outcome = self._upstream.answered(exchange, response)
            if exchange.unshared or isinstance(outcome, StreamAnswer):
                self.later(protected.pass_on(exchange, permit, _given(outcome)))
                self._answered(None)
                return
            self._permit = None
            protected.leave(permit, failed=protected.verdict(outcome))
        except Exception as error:
            self._settle()
            outcome = self._chain.broken(exchange, error)
        self._answered(self._chain.finish(exchange, outcome))

    def later(self, outcome: Awaitable[Answer | StreamAnswer | Refusal | None] | Answer | Refusal | None) -> None:
        """It has to be awaited: this is what became of it so far."""
        self._over, self._outcome, self.awaited = False, outcome, True

    async def wait(self) -> Answer | StreamAnswer:
        """What ``answered`` did not get."""
        outcome, self._outcome, self._permit, self._over = self._outcome, None, None, True
        return await self._chain.complete(self._exchange, outcome)

    def cancel(self) -> None:
        """The client is gone. Without effect once it has ended, or is awaited."""
        if self._over:
            return
        self._over = True
        if self._sent_on is not None:
            self._exchange.upstream_ms = (time.perf_counter() - self._started) * 1000
            self._abort()
        self._settle()
        outcome, self._outcome = self._outcome, None
        if isinstance(outcome, Coroutine):
            outcome.close()
        self._chain.left(self._exchange)

    def _abort(self) -> None:
        """What still comes on the connection belongs to nobody."""
        connection, self._sent_on = self._sent_on, None
        if connection is not None:
            connection.abort()

    def _settle(self) -> None:
        """Give the place at the upstream back; what became of the call says nothing about it."""
        permit, self._permit = self._permit, None
        if permit is not None:
            self._protected.leave(permit, failed=None)


async def _given(outcome: Answer | StreamAnswer | Refusal) -> Answer | StreamAnswer | Refusal:
    return outcome
