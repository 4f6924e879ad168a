"""Ending what is idle: sessions that rest too long, and upstreams' processes that nobody uses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mcpsec.gateway.state import StoreUnavailableError
from mcpsec.gateway.upstreams.http import HttpUpstream
from mcpsec.gateway.upstreams.stdio import StdioUpstream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpsec.gateway.sessions import Session, SessionTable
    from mcpsec.gateway.upstreams.base import Upstream
    from mcpsec.gateway.upstreams.protected import ProtectedUpstream

__all__ = ["recycle"]


async def recycle(
    sessions: SessionTable, upstreams: Mapping[str, Upstream], protected: Mapping[str, ProtectedUpstream]
) -> None:
    """End what is idle now, and wait until it has gone: a child that won't go takes seconds."""

    def is_busy(session: Session) -> bool:
        upstream = upstreams.get(session.upstream)
        return isinstance(upstream, StdioUpstream | HttpUpstream) and upstream.is_busy(session)

    now = asyncio.get_running_loop().time()
    endings = []
    for session in sessions.expired(now, is_busy):
        if await _used_elsewhere(sessions, session):
            continue
        upstream = upstreams.get(session.upstream)
        if isinstance(upstream, StdioUpstream | HttpUpstream):
            endings.append(upstream.end_session(session))
        else:
            sessions.close(session)
    endings += [each.recycle(now) for each in protected.values()]
    await asyncio.gather(*endings)


async def _used_elsewhere(sessions: SessionTable, session: Session) -> bool:
    """Whether another gateway serves a session that is idle here; without an answer nothing is ended."""
    if sessions.shared is None:
        return False
    try:
        alive = await sessions.shared.is_alive(session.id)
    except StoreUnavailableError:
        return True
    if alive:
        sessions.forget(session)
    return alive
