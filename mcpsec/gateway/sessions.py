"""Sessions of the 2025 era, each bound to the client that opened it.

The id a client sees is the gateway's own: 192 random bits, whatever the upstream uses. A session id is a handle, never
an authentication: another client's use of it looks exactly like an unknown id (specification 2025-11-25,
basic/transports; security best practices, session hijacking).
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from mcpsec.gateway.catalogue import Listing
from mcpsec.gateway.state import SessionRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcpsec.deployment.model import Limits
    from mcpsec.gateway.state import SharedSessions

__all__ = ["Session", "SessionTable", "TooManySessionsError"]


class TooManySessionsError(Exception):
    """The client, or the gateway as a whole, has as many sessions as it may have."""


class Session:
    """One session: who owns it, which upstream it leads to, what that upstream keeps for it (``state``) and listed."""

    __slots__ = ("__weakref__", "client_id", "id", "last_used", "listing", "state", "upstream", "version")

    def __init__(self, client_id: str, upstream: str, state: Any, id: str = "") -> None:
        self.id = id or secrets.token_urlsafe(24)
        self.client_id = client_id
        self.upstream = upstream
        self.state = state
        self.version = ""
        self.listing = Listing()
        self.last_used = 0.0


class SessionTable:
    """Every session that this process serves; bounded in all and per client, forgotten after a time without use.

    With ``shared``, other gateways serve them too: ``publish`` tells them, ``adopt`` takes one over from them.
    """

    def __init__(self, limits: Limits, shared: SharedSessions | None = None) -> None:
        self.limits = limits
        self.shared = shared
        self._sessions: dict[str, Session] = {}
        self._per_client: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._sessions.values()))

    def check_room(self, client_id: str) -> None:
        """Raise TooManySessionsError when this client may not open another one."""
        full = len(self._sessions) >= self.limits.sessions
        if full or self._per_client.get(client_id, 0) >= self.limits.sessions_per_client:
            raise TooManySessionsError

    def open(self, client_id: str, upstream: str, state: Any) -> Session:
        """Open a session. Raises TooManySessionsError."""
        self.check_room(client_id)
        return self._add(Session(client_id, upstream, state))

    def adopt(self, id: str, record: SessionRecord, state: Any) -> Session:
        """Serve a session that another gateway has opened. Raises TooManySessionsError."""
        known = self._sessions.get(id)
        if known is not None:  # two of its requests came at once
            return known
        if len(self._sessions) >= self.limits.sessions:
            raise TooManySessionsError
        return self._add(Session(record.client_id, record.upstream, state, id))

    async def publish(self, session: Session, *, upstream_id: str = "", owner: str = "") -> None:
        """Let every gateway serve it. Raises TooManySessionsError or StoreUnavailableError; it is closed then."""
        if self.shared is None:
            return
        record = SessionRecord(session.client_id, session.upstream, upstream_id, owner)
        published = False
        try:
            published = await self.shared.publish(session.id, record, self.limits.sessions_per_client)
        finally:
            if not published:
                self.close(session)
        if not published:
            raise TooManySessionsError

    def _add(self, session: Session) -> Session:
        client_id = session.client_id
        session.last_used = asyncio.get_running_loop().time()
        self._sessions[session.id] = session
        self._per_client[client_id] = self._per_client.get(client_id, 0) + 1
        return session

    def find(self, id: str, client_id: str, upstream: str) -> Session | None:
        """The session, if it is this client's and leads to this upstream."""
        session = self._sessions.get(id)
        if session is None or session.client_id != client_id or session.upstream != upstream:
            return None
        self.use(session)
        return session

    def use(self, session: Session) -> None:
        """It is in use, for every gateway."""
        session.last_used = asyncio.get_running_loop().time()
        if self.shared is not None:
            self.shared.touch(session.id)

    def close(self, session: Session) -> None:
        """The session is over, for every gateway."""
        if self.shared is not None:
            self.shared.drop(session.id, session.client_id)
        self.forget(session)

    def forget(self, session: Session) -> None:
        """Serve it no longer here."""
        if self._sessions.pop(session.id, None) is None:
            return
        left = self._per_client[session.client_id] - 1
        if left:
            self._per_client[session.client_id] = left
        else:
            del self._per_client[session.client_id]

    def is_idle(self, session: Session, now: float) -> bool:
        """Whether nobody has used it here for ``session_idle_timeout`` seconds."""
        return session.last_used < now - self.limits.session_idle_timeout
