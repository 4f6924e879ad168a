"""Handles that come back: only the client that got one may use it, and only for what it was given out for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.gateway.message import Exchange, Refusal
from mcpsec.protocol import codes
from mcpsec.protocol.eras import Era
from mcpsec.protocol.jsonrpc import Kind

if TYPE_CHECKING:
    from mcpsec.gateway.handles import HandleSeal
    from mcpsec.gateway.steps import Repeated

__all__ = ["OpenHandles"]


class OpenHandles:
    """Opens the seal of ``requestState`` and ``Last-Event-ID``, so that the upstream meets its own values again."""

    def __init__(self, seal: HandleSeal) -> None:
        self._seal = seal

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
        exchange.resumed, exchange.last_event_id = opened[0], opened[1].encode()
        return None
