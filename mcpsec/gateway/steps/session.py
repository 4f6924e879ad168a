"""A session id leads to its session only for the client that opened it; for anyone else it does not exist."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING
from weakref import ref

from mcpsec.gateway.message import Answer, Exchange, Refusal, too_many_sessions
from mcpsec.gateway.sessions import TooManySessionsError
from mcpsec.gateway.state import StoreUnavailableError
from mcpsec.gateway.steps import CHANGED
from mcpsec.protocol import codes
from mcpsec.protocol.eras import Era
from mcpsec.protocol.jsonrpc import Kind

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mcpsec.gateway.sessions import Session, SessionTable
    from mcpsec.gateway.state import SharedSessions
    from mcpsec.gateway.steps import Changed, Outcome, Repeated

__all__ = ["FindSession", "store_unavailable"]

_LONGEST_ID = 256


class FindSession:
    """The 2026 era has no sessions: an id that is sent along is ignored there (basic/transports/streamable-http)."""

    def __init__(self, sessions: SessionTable) -> None:
        self._sessions = sessions

    def __call__(self, exchange: Exchange) -> Outcome | Awaitable[Outcome]:
        """Resolve ``Mcp-Session-Id``."""
        if exchange.era is Era.MODERN:
            return None
        id = exchange.request.fields.get(b"mcp-session-id")
        if exchange.client is None:
            return None
        if id is None:
            return self._outside(exchange)
        session = self._sessions.find(id.decode("latin-1"), exchange.client.id, exchange.upstream)
        if session is not None:
            return self._found(exchange, session)
        if self._sessions.shared is None:
            return _unknown()
        return self._look_elsewhere(exchange, self._sessions.shared, id.decode("latin-1"))

    def again(self, exchange: Exchange) -> Repeated | None:
        """Whether its session, if it is part of one, is still the same, and of the same version."""
        session, client = exchange.session, exchange.client
        if session is None or client is None:
            return None  # of what is part of none, responses alone are looked at
        find, id, client_id, upstream = self._sessions.find, session.id, client.id, exchange.upstream
        version, kept = session.version, ref(session)  # what is over, and all that it holds, is not kept by this

        def repeated(exchange: Exchange) -> Changed | None:
            found = find(id, client_id, upstream)
            if found is None or found.version != version or found is not kept():
                return CHANGED
            exchange.session = found
            return None

        return repeated

    @staticmethod
    def _outside(exchange: Exchange) -> Outcome | Awaitable[Outcome]:
        """A server without sessions knows what it asked by its id alone: another client must not answer it."""
        message, expects = exchange.message, getattr(exchange.endpoint, "expects_sessionless", None)
        if message is None or message.kind is not Kind.RESPONSE or expects is None:
            return None
        expected = expects(exchange, message.id)
        return _expected(expected) if isawaitable(expected) else _unless(expected)

    async def _look_elsewhere(self, exchange: Exchange, shared: SharedSessions, id: str) -> Outcome:
        """Another gateway may have opened it."""
        adopt = getattr(exchange.endpoint, "adopt_session", None)
        try:
            record = await shared.fetch(id) if len(id) <= _LONGEST_ID else None
            if record is None or adopt is None or exchange.client is None:
                return _unknown()
            if (record.client_id, record.upstream) != (exchange.client.id, exchange.upstream):
                return _unknown()
            session = adopt(id, record)
            found = _unknown() if session is None else self._found(exchange, session)
            return await found if isawaitable(found) else found
        except StoreUnavailableError as error:
            return store_unavailable(error)
        except TooManySessionsError:
            return too_many_sessions()

    def _found(self, exchange: Exchange, session: Session) -> Outcome | Awaitable[Outcome]:
        exchange.session = session
        version = exchange.request.fields.get(b"mcp-protocol-version", b"").decode("ascii", "replace")
        if not session.version:  # the era that the gateway's own requests in this session speak
            session.version = version
        elif version not in ("", session.version):
            # Clients exist that name another one of the era. The session keeps the version it was opened for, and
            # the upstream hears that one: nobody is talked down to an older version.
            exchange.request.replace_header(b"mcp-protocol-version", session.version.encode())
        message = exchange.message
        if message is not None and message.kind is Kind.RESPONSE:
            expects = getattr(exchange.endpoint, "expects_response", None)
            expected = True if expects is None else expects(session, message.id)
            return _expected(expected) if isawaitable(expected) else _unless(expected)
        return None


async def _expected(answer: Awaitable[bool | None]) -> Outcome:
    try:
        return _unless(await answer)
    except StoreUnavailableError as error:
        return store_unavailable(error)


def _unless(expected: bool | None) -> Outcome:
    if expected is None:  # it was withdrawn when the client had answered it already
        return Answer(202, [])
    if expected:
        return None
    return Refusal(400, codes.INVALID_REQUEST, "nothing was asked of this id", "response-unexpected")


def _unknown() -> Refusal:
    return Refusal(404, codes.INVALID_REQUEST, "Session not found", "session-unknown")


def store_unavailable(error: Exception) -> Refusal:
    """The answer to what can't be decided without the shared store: come back, nothing is lost."""
    return Refusal(
        503, codes.UPSTREAM_UNAVAILABLE, "the service is not available", "store-unavailable", str(error),
        headers=[(b"retry-after", b"1")],
    )  # fmt: skip
