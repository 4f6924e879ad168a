"""What stands before every upstream: its circuit breakers, and a bulkhead so that one upstream can't starve another.

The bulkhead is ``in_flight``: so many calls of all clients at once; the next is refused at once, not queued. Beside
them there may be as many notifications and answers of clients (``is_aside``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mcpsec.gateway.limits import is_aside
from mcpsec.gateway.message import Answer, Refusal, StreamAnswer, too_busy
from mcpsec.gateway.streams import watched
from mcpsec.gateway.upstreams.base import TOO_LARGE, RpcError
from mcpsec.gateway.upstreams.breaker import Breakers, Pass
from mcpsec.gateway.upstreams.bulkhead import Bulkhead
from mcpsec.gateway.upstreams.http_client import NoRoomFault, UpstreamFault
from mcpsec.protocol import codes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcpsec.deployment.model import Client
    from mcpsec.deployment.model import Upstream as UpstreamConfig
    from mcpsec.gateway.message import Exchange
    from mcpsec.gateway.sessions import Session
    from mcpsec.gateway.upstreams.base import Upstream
    from mcpsec.gateway.upstreams.sending import Sender

__all__ = ["ProtectedUpstream"]

# What an upstream itself did wrong. Refusals for other reasons (a full table, a guard's no) say nothing about it.
_FAULTS = frozenset(
    {
        "timeout", "upstream-unavailable", "upstream-stream-broken", "upstream-status", "upstream-content-type",
        "upstream-no-answer", "answer-not-json", "answer-not-a-message", TOO_LARGE,
    }
)  # fmt: skip


class ProtectedUpstream:
    """An upstream behind its breakers and bulkhead; everything else is the upstream's own.

    ``changed`` hears of the breakers (upstream, state, previous state, why, and the client whose it is, if it is not
    the common one), ``answers`` whether the upstream answers.
    ``share`` tells the other gateways of a task that an answer has made, before the answer goes on.
    """

    def __init__(
        self,
        inner: Upstream,
        config: UpstreamConfig,
        *,
        changed: Callable[[str, str, str, str, str | None], None],
        answers: Callable[[str, bool], None],
        share: Callable[[Exchange], Awaitable[None]],
    ) -> None:
        self.inner = inner
        self.name = inner.name
        self.catalogue = inner.catalogue
        self.breakers = Breakers(config.breaker, changed=lambda *what: changed(config.name, *what))
        self.bulkhead = Bulkhead(inner.name, self.breakers, config.in_flight, answers)
        self.share = share

    def __getattr__(self, name: str) -> Any:
        """Whatever else the upstream offers (sessions, streams)."""
        return getattr(self.inner, name)

    async def start(self) -> None:
        """Get ready. Raises UpstreamStartError."""
        await self.inner.start()

    async def close(self) -> None:
        """Stop everything that belongs to this upstream."""
        await self.inner.close()

    async def recycle(self, now: float) -> None:
        """Let go of what nobody uses any more."""
        self.breakers.tidy()
        recycle = getattr(self.inner, "recycle", None)
        if recycle is not None:
            await recycle(now)

    # --- calls -----------------------------------------------------------------------------------------------------

    async def call(self, exchange: Exchange) -> Answer | StreamAnswer | Refusal:
        """Answer one authorised message, if there is room and the upstream is well."""
        permit = self._enter(exchange.client, exchange)
        if isinstance(permit, Refusal):
            return permit
        return await self.pass_on(exchange, permit, self.inner.call(exchange))

    def sender(self, exchange: Exchange) -> Sender | None:
        """What sends calls that repeat this one, where the upstream knows a shorter way for them."""
        sender = getattr(self.inner, "sender", None)
        if sender is None or self.breakers.slow_call is not None:
            return None
        made: Sender = sender(self, exchange)
        return made

    async def pass_on(
        self, exchange: Exchange, permit: Pass, answering: Awaitable[Answer | StreamAnswer | Refusal]
    ) -> Answer | StreamAnswer | Refusal:
        """An answer of the upstream, once what it says about the upstream is counted."""
        failed: bool | None = None
        streams = False
        try:
            answer = await answering
            if isinstance(answer, StreamAnswer):
                streams = True
                parts = watched(self, exchange, answer, permit)
                return StreamAnswer(answer.status, answer.headers, parts, answer.endless)
            failed = self.verdict(answer)
            if exchange.unshared:
                await self.share(exchange)
            return answer
        finally:
            if not streams:
                self.bulkhead.leave(permit, failed=failed)

    async def ask(
        self, client: Client, method: str, params: dict[str, Any], session: Session | None = None
    ) -> dict[str, Any]:
        """One request of the gateway's own. Raises RpcError or UpstreamFault."""
        permit = self._enter(client)
        if isinstance(permit, Refusal):
            raise UpstreamFault(permit.message, sent=False)
        failed: bool | None = None
        try:
            result = await self.inner.ask(client, method, params, session)
        except RpcError:  # an answer, if not the one that was hoped for
            failed = False
            raise
        except UpstreamFault as fault:
            failed = None if isinstance(fault, NoRoomFault) else True
            raise
        else:
            failed = False
            return result
        finally:
            self.bulkhead.leave(permit, failed=failed)

    def _enter(self, client: Client | None, exchange: Exchange | None = None) -> Pass | Refusal:
        bulkhead = self.bulkhead
        aside = exchange is not None and is_aside(exchange)
        if (bulkhead.asides if aside else bulkhead.running) >= bulkhead.bound:
            return too_busy("in-flight-upstream")
        permit = self.breakers.admit("" if client is None else client.id)
        if not isinstance(permit, Pass):
            seconds = max(1, math.ceil(permit.seconds))
            return Refusal(
                503, codes.CIRCUIT_OPEN, "the server behind the gateway failed too often and is left alone for a while",
                "breaker-open", f"it is left alone {permit.whose}", data={"retryAfter": seconds},
                headers=[(b"retry-after", b"%d" % seconds)],
            )  # fmt: skip
        permit.aside = aside
        if aside:
            bulkhead.asides += 1
        else:
            bulkhead.running += 1
        return permit

    @staticmethod
    def verdict(answer: Answer | Refusal) -> bool | None:
        """Whether an answer shows the upstream to have failed; None when it says nothing about it."""
        if isinstance(answer, Answer):
            return False
        return True if answer.rule in _FAULTS else None
