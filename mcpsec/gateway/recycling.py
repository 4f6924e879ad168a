"""Ending what is idle: sessions that rest too long, and upstreams' processes that nobody uses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mcpsec.gateway.state import StoreUnavailableError
from mcpsec.gateway.upstreams.http import HttpUpstream
from mcpsec.gateway.upstreams.stdio import StdioUpstream

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from mcpsec.gateway.sessions import Session, SessionTable
    from mcpsec.gateway.upstreams.base import Upstream
    from mcpsec.gateway.upstreams.protected import ProtectedUpstream

__all__ = ["recycle"]


async def recycle(
    sessions: SessionTable, upstreams: Mapping[str, Upstream], protected: Mapping[str, ProtectedUpstream]
) -> None:
    """End what is idle now, and wait until it has gone: a child that won't go takes seconds."""
    now = asyncio.get_running_loop().time()
    for session in sessions:
        upstream = upstreams.get(session.upstream)
        if isinstance(upstream, StdioUpstream | HttpUpstream) and upstream.is_busy(session):
            sessions.use(session)  # a stream may be open for longer than a session may rest
    endings: list[Coroutine[None, None, None]] = []
    for session in sessions:
        if not sessions.is_idle(session, now):
            continue
        alive = await _is_alive(sessions, session)
        if alive is None or not sessions.is_idle(session, now):  # a request may have come meanwhile
            continue
        upstream = upstreams.get(session.upstream)
        if alive:
            sessions.forget(session)
            if isinstance(upstream, StdioUpstream):
                endings.append(upstream.stop_session(session))
        elif isinstance(upstream, StdioUpstream | HttpUpstream):
            endings.append(upstream.end_session(session))
        else:
            sessions.close(session)
    endings += [each.recycle(now) for each in protected.values()]
    await asyncio.gather(*endings)


async def _is_alive(sessions: SessionTable, session: Session) -> bool | None:
    """Whether another gateway serves a session that is idle here; None without an answer, and nothing is ended."""
    if sessions.shared is None:
        return False
    try:
        return await sessions.shared.is_alive(session.id)
    except StoreUnavailableError:
        return None
