"""Handles that come back: only the client that got one may use it, and only for what it was given out for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.gateway.message import Exchange, Refusal
from mcpsec.gateway.steps.authorise import denied
from mcpsec.protocol import codes
from mcpsec.protocol.eras import Era
from mcpsec.protocol.jsonrpc import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.gateway.handles import HandleSeal
    from mcpsec.gateway.policy import Policy
    from mcpsec.gateway.steps import Repeated

__all__ = ["OpenHandles"]

_SHOWN = frozenset({"tool", "resource", "prompt"})


class OpenHandles:
    """Opens the seal of ``requestState`` and ``Last-Event-ID``, so that the upstream meets its own values again.

    ``policy`` gives the one of the moment.
    """

    def __init__(self, seal: HandleSeal, policy: Callable[[], Policy]) -> None:
        self._seal = seal
        self._policy = policy

    def __call__(self, exchange: Exchange) -> Refusal | None:
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

    def _open_event(self, exchange: Exchange) -> Refusal | None:
        request = exchange.request
        sealed = request.fields.get(b"last-event-id")
        if sealed is None or request.method != b"GET":
            return None
        opened = self._seal.open_event(exchange, sealed.decode("latin-1"))
        if opened is None:
            return Refusal(400, codes.INVALID_REQUEST, "there is no such event in this session", "event-id")
        exchange.resumed, exchange.last_event_id = opened.due, opened.id.encode()
        exchange.kind, exchange.resource = opened.kind, opened.resource
        if opened.kind in _SHOWN and not self._may_still_see(exchange):
            return denied("resumed-not-granted", "what the stream answers is not granted any more")
        return None

    def _may_still_see(self, exchange: Exchange) -> bool:
        """What is resent is what the call would show: it needs the right to that still."""
        upstream, _, name = exchange.resource.partition("/")
        name = name.removeprefix(f"{exchange.kind}:")
        client = exchange.client
        return client is not None and self._policy().visible(client.id, upstream, exchange.kind, name)
