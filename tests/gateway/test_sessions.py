"""The table of sessions: bounded, forgotten when idle, and a session is nobody else's."""

from __future__ import annotations

import asyncio

import pytest

from mcpsec.deployment.model import Limits
from mcpsec.gateway.sessions import SessionTable, TooManySessionsError

pytestmark = pytest.mark.anyio


async def test_a_session_is_found_only_by_its_client_at_its_upstream() -> None:
    table = SessionTable(Limits())
    session = table.open("alice", "files", object())
    assert table.find(session.id, "alice", "files") is session
    for id, client, upstream in (
        (session.id, "bob", "files"),
        (session.id, "alice", "web"),
        (session.id[:-1], "alice", "files"),
        (session.id + "x", "alice", "files"),
        (session.id.swapcase(), "alice", "files"),
        ("", "alice", "files"),
    ):
        assert table.find(id, client, upstream) is None
    table.close(session)
    assert table.find(session.id, "alice", "files") is None


async def test_bounds_for_each_client_and_for_all() -> None:
    table = SessionTable(Limits(sessions=5, sessions_per_client=3))
    mine = [table.open("alice", "files", None) for _ in range(3)]
    with pytest.raises(TooManySessionsError):
        table.open("alice", "web", None)
    theirs = [table.open("bob", "files", None) for _ in range(2)]
    with pytest.raises(TooManySessionsError):
        table.open("bob", "files", None)
    with pytest.raises(TooManySessionsError):
        table.check_room("carol")
    table.close(mine[0])
    table.close(mine[0])  # harmless when repeated: it gives back one place, not two
    table.open("alice", "files", None)
    with pytest.raises(TooManySessionsError):
        table.open("alice", "files", None)
    for session in (*mine[1:], *theirs):
        table.close(session)
    assert len(table) == 1
    assert [session.client_id for session in table] == ["alice"]


async def test_a_session_rests_until_it_is_used() -> None:
    table = SessionTable(Limits(session_idle_timeout=10.0))
    idle, busy, used = (table.open("alice", "files", name) for name in ("idle", "busy", "used"))
    for session in (idle, busy, used):
        session.last_used -= 11
    assert table.find(used.id, "alice", "files") is used
    table.use(busy)
    now = asyncio.get_running_loop().time()
    assert [session for session in table if table.is_idle(session, now)] == [idle]
    assert not table.is_idle(idle, now - 2)


async def test_someone_elses_guess_does_not_keep_a_session_alive() -> None:
    table = SessionTable(Limits(session_idle_timeout=10.0))
    session = table.open("alice", "files", None)
    session.last_used -= 11
    assert table.find(session.id, "bob", "files") is None
    assert table.is_idle(session, asyncio.get_running_loop().time())


async def test_ids_are_long_and_never_repeat() -> None:
    table = SessionTable(Limits(sessions=2000, sessions_per_client=2000))
    ids = {table.open("alice", "files", None).id for _ in range(2000)}
    assert len(ids) == 2000
    assert {len(id) for id in ids} == {32}
