"""Handles that come back: only the client that got one may use it, and only for what it was given out for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mcpsec.gateway.message import Exchange, Refusal
from mcpsec.gateway.policy import Call, Context
from mcpsec.gateway.steps.authorise import denied
from mcpsec.gateway.steps.tools import Listed, differs_from_pin
from mcpsec.protocol import codes
from mcpsec.protocol.eras import Era
from mcpsec.protocol.jsonrpc import Kind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcpsec.gateway.handles import HandleSeal
    from mcpsec.gateway.policy import Policy
    from mcpsec.gateway.steps import Repeated
    from mcpsec.gateway.steps.scopes import ScopeCheck

__all__ = ["OpenHandles"]

_SHOWS_NOTHING = frozenset({"", "method"})
"""What a client may always ask for; what lists show of the rest is cut down when they pass."""
_JUDGED = frozenset({"tool", "resource", "prompt", "completion", "task"})


class OpenHandles:
    """Opens the seal of ``requestState`` and ``Last-Event-ID``, so that the upstream meets its own values again.

    ``policy`` gives the one of the moment, ``scopes`` say what a token must be good for.
    """

    def __init__(self, seal: HandleSeal, policy: Callable[[], Policy], *scopes: ScopeCheck) -> None:
        self._seal = seal
        self._policy = policy
        self._scopes = scopes

    def __call__(self, exchange: Exchange) -> Refusal | Awaitable[Refusal | None] | None:
        """Put the upstream's handle in the place of the client's."""
        message = exchange.message
        if message is None:
            return self._open_event(exchange)
        if message.kind is not Kind.REQUEST or "requestState" not in message.params:
            return None
        if exchange.era is not Era.MODERN:
            return Refusal(400, codes.INVALID_PARAMS, "this revision has no requestState", "request-state")
        state = self._seal.open_state(exchange, message.params["requestState"])
        if state is None:
            return Refusal(400, codes.INVALID_PARAMS, "requestState is not one of this request", "request-state")
        exchange.rewrite({**message.params, "requestState": state})
        return None

    def again(self, exchange: Exchange) -> Repeated | None:
        """Nothing for the form of a call without a state."""
        return self if exchange.message is None or "requestState" in exchange.message.params else None

    def _open_event(self, exchange: Exchange) -> Refusal | Awaitable[Refusal | None] | None:
        request = exchange.request
        sealed = request.fields.get(b"last-event-id")
        if sealed is None or request.method != b"GET":
            return None
        opened = self._seal.open_event(exchange, sealed.decode("latin-1"))
        if opened is None:
            return Refusal(400, codes.INVALID_REQUEST, "there is no such event in this session", "event-id")
        exchange.resumed, exchange.last_event_id = opened.due, opened.id.encode()
        exchange.kind, exchange.resource, exchange.tools = opened.kind, opened.resource, tuple(opened.tools)
        return None if opened.kind in _SHOWS_NOTHING else self._judge_again(exchange)

    def _judge_again(self, exchange: Exchange) -> Refusal | Awaitable[Refusal | None] | None:
        """What is resent is what the call would show: it needs the right to that still, as the request that asks now.

        Only the call's arguments, and that it was confirmed, were judged once for all.
        """
        client, peer = exchange.client, exchange.peer
        kind: Any = exchange.kind
        upstream, names = _named(exchange)
        if client is None or kind not in _JUDGED or not names:
            return denied("resumed-not-granted", "nobody can say whether what the stream answers is granted")
        context = Context(peer.fingerprint, peer.address, datetime.now(UTC))
        for name in names:
            decision = self._policy().decide(client.id, Call(upstream, kind, name), context, made=True)
            if not decision.allowed:
                return denied("resumed-not-granted", decision.reason)
            exchange.method_class = decision.method_class or ""
            if (refusal := next(filter(None, (check(exchange) for check in self._scopes)), None)) is not None:
                return refusal
        if (refusal := differs_from_pin(exchange, kind, names)) is not None or kind != "tool":
            return refusal
        listed = Listed(exchange, client, exchange.endpoint, names[0])
        return None if listed.is_known() else _if_listed(listed)


async def _if_listed(listed: Listed) -> Refusal | None:
    refusal = await listed.look()
    if refusal is None or refusal.rule != "tool-unlisted":
        return refusal
    return denied("resumed-not-granted", refusal.detail)


def _named(exchange: Exchange) -> tuple[str, tuple[str, ...]]:
    """The upstream of what was called, and its names as the policy has them."""
    upstream, _, name = exchange.resource.partition("/")
    if exchange.kind == "task":
        return upstream, exchange.tools
    if exchange.kind in ("resource", "prompt"):
        name = name.removeprefix(f"{exchange.kind}:")
    return upstream, (name,)
