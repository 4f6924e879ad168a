"""A session id leads to its session only for the client that opened it; for anyone else it does not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.gateway.message import Exchange, Refusal
from mcpsec.protocol import codes
from mcpsec.protocol.eras import Era
from mcpsec.protocol.jsonrpc import Kind

if TYPE_CHECKING:
    from mcpsec.gateway.sessions import SessionTable

__all__ = ["FindSession"]


class FindSession:
    """The 2026 era has no sessions: an id that is sent along is ignored there (basic/transports/streamable-http)."""

    def __init__(self, sessions: SessionTable) -> None:
        self._sessions = sessions

    def __call__(self, exchange: Exchange) -> Refusal | None:
        """Resolve ``Mcp-Session-Id``."""
        if exchange.era is Era.MODERN:
            return None
        id = exchange.request.fields.get(b"mcp-session-id")
        if id is None or exchange.client is None:
            return None
        session = self._sessions.find(id.decode("latin-1"), exchange.client.id, exchange.upstream)
        if session is None:
            return Refusal(404, codes.INVALID_REQUEST, "Session not found", "session-unknown")
        exchange.session = session
        if not session.version:  # the era that the gateway's own requests in this session speak
            session.version = exchange.request.fields.get(b"mcp-protocol-version", b"").decode("ascii", "replace")
        message = exchange.message
        if message is not None and message.kind is Kind.RESPONSE:
            expects = getattr(exchange.endpoint, "expects_response", None)
            if expects is not None and not expects(session, message.id):
                return Refusal(400, codes.INVALID_REQUEST, "nothing was asked of this id", "response-unexpected")
        return None
