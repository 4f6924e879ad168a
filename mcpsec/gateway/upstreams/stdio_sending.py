"""Sending calls that repeat one to a stdio child: the way of ``StdioUpstream.call``, shortened."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from mcpsec.gateway.upstreams.base import broken_off, upstream_timeout
from mcpsec.gateway.upstreams.http_client import UpstreamFault, UpstreamTimeout
from mcpsec.gateway.upstreams.sending import Outcome, Sender
from mcpsec.protocol.exact import exact_value

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from mcpsec.gateway.calls import Call
    from mcpsec.gateway.message import Exchange
    from mcpsec.gateway.upstreams.channel import DirectCall
    from mcpsec.gateway.upstreams.protected import ProtectedUpstream
    from mcpsec.gateway.upstreams.stdio import StdioUpstream

__all__ = ["StdioSender"]


class StdioSender(Sender):
    """To the child of a session, or that of one client for its calls of the 2026 era, while it runs and has room."""

    __slots__ = ("_replies", "_timeout", "_upstream")

    def __init__(self, protected: ProtectedUpstream, upstream: StdioUpstream, exchange: Exchange) -> None:
        super().__init__(protected, upstream.replies.guard, exchange)
        self._upstream = upstream
        self._replies = upstream.replies
        self._timeout = upstream.replies.timeouts.of(exchange)

    def send(self, exchange: Exchange, call: Call) -> bool:
        """Write it to the child."""
        bulkhead, own, message = self._bulkhead, self._breakers.of.get(self._client_id), exchange.message
        if message is None or exchange.request.known is not self._known:
            return False
        if own is None or not own.passing or bulkhead.running >= bulkhead.bound:
            return False
        session = exchange.session
        channel = self._upstream.ready(self._client_id, session)
        if channel is None:
            return False
        try:
            direct = channel.begin_direct(
                message.id, message.method, message.params, call, self._timeout, cancels=session is None
            )
        except UpstreamFault:  # its end has not been noticed yet, or it does not read
            return False
        bulkhead.running += 1
        call.sender, call.connection, call.term, call.started = self, direct, own.term, perf_counter()
        return True

    def outcome(self, exchange: Exchange, got: Any) -> Outcome | Coroutine[Any, Any, Outcome]:
        """As ``StdioUpstream`` has it."""
        if isinstance(got, UpstreamTimeout):
            return upstream_timeout()
        if isinstance(got, UpstreamFault):
            return broken_off("upstream-unavailable", got)
        if got.stream is not None:
            return self._more(exchange, got.stream)
        return self._replies.alone(exchange, exact_value(got.body))

    async def _more(self, exchange: Exchange, direct: DirectCall) -> Outcome:
        """What comes of a call whose answer did not come first."""
        began, before = perf_counter(), exchange.upstream_ms
        try:
            return await self._replies.answer(exchange, direct.channel, direct)
        finally:
            exchange.upstream_ms = before + (perf_counter() - began) * 1000
