"""What is idle at one gateway ends there and nowhere else: two gateways' sessions, real programs, a real store."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mcpsec.deployment import load
from mcpsec.gateway.recycling import recycle
from mcpsec.gateway.sessions import Session, SessionTable
from mcpsec.gateway.state import SessionRecord, open_state
from mcpsec.gateway.upstreams.stdio import StdioUpstream
from tests.fixtures.deployments import fixture_command
from tests.fixtures.stores import Store

pytestmark = pytest.mark.anyio

HANDSHAKE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
RECORD = SessionRecord("tester", "fixture", json.dumps(HANDSHAKE))
KEY = "mcpsec:s:id"


class Side:
    """One gateway, as far as its sessions go."""

    def __init__(self, file: Any) -> None:
        limits, upstream, guard = file.server.limits, file.upstreams["fixture"], None
        self.state: Any = open_state(file.state, session_idle=limits.session_idle_timeout, changed=lambda _: None)
        self.sessions = SessionTable(limits, self.state.sessions)
        self.upstream = StdioUpstream(upstream, {}, limits, self.sessions, guard)  # type: ignore[arg-type] # no answers
        self.client = next(client for client in file.clients if client.id == "tester")

    async def serve(self) -> Session:
        """A request of the session, which another gateway may have opened."""
        session = self.sessions.find("id", "tester", "fixture") or self.upstream.adopt_session("id", RECORD)
        assert session is not None
        assert await self.upstream.ask(self.client, "tools/list", {}, session)
        return session

    async def recycle(self) -> None:
        await recycle(self.sessions, {"fixture": self.upstream}, {})
        await self.state.sessions.is_alive("id")  # what the store was told before, it has heard

    def is_served(self, session: Session) -> bool:
        return session in list(self.sessions) and session.state.child.alive


@pytest.fixture
async def sides(deployment: Any, store: Store) -> AsyncIterator[tuple[Side, Side]]:
    made = deployment(
        {"fixture": {"command": fixture_command()}},
        state={"url": store.url, "timeout": "20s"},
        server={"limits": {"sessions": 1}},
    )
    file = load(made.config)
    async with contextlib.AsyncExitStack() as stack:
        both = Side(file), Side(file)
        for side in both:
            await side.state.start()
            stack.push_async_callback(side.state.close)
            stack.push_async_callback(side.upstream.close)
        assert await both[0].state.sessions.publish("id", RECORD, 1)
        yield both


def remains(store: Store) -> int:
    """Milliseconds."""
    return int(store.say("PTTL", KEY)[1:])


async def test_a_session_that_moves_between_gateways_leaves_no_program_behind(sides: tuple[Side, Side]) -> None:
    """Each may run one at once here: one that was left would keep everybody out."""
    one, other = sides
    theirs = await other.serve()
    for _ in range(3):
        mine = await one.serve()
        assert one.is_served(mine)
        mine.last_used = -math.inf
        await one.recycle()
        assert not mine.state.child.alive
        assert not len(one.sessions)
    assert other.is_served(theirs)
    assert await other.serve() is theirs, "it goes on where it is used"


async def test_a_session_that_nobody_uses_is_over(sides: tuple[Side, Side], store: Store) -> None:
    one, other = sides
    mine, theirs = await one.serve(), await other.serve()
    store.say("DEL", KEY)
    mine.last_used = -math.inf
    await one.recycle()
    await other.recycle()
    assert not mine.state.child.alive
    assert other.is_served(theirs), "a store that was flushed ends nothing that is used"


async def test_an_open_stream_keeps_a_session_for_all_gateways(sides: tuple[Side, Side], store: Store) -> None:
    one, other = sides
    mine, theirs = await one.serve(), await other.serve()
    store.say("PEXPIRE", KEY, "600000")
    mine.last_used = theirs.last_used = -math.inf
    for side in sides:
        side.state.sessions._touched.clear()  # its last word is long ago
    with contextlib.ExitStack() as stream:
        listener = theirs.state.channel.listen()
        stream.callback(theirs.state.channel.unlisten, listener)
        await other.recycle()
        assert remains(store) > 600_000
        await one.recycle()
        assert not len(one.sessions) and other.is_served(theirs)
    await other.recycle()
    assert other.is_served(theirs), "its client may come back as after any other request"


async def test_what_rests_does_not_keep_a_session(sides: tuple[Side, Side], store: Store) -> None:
    one, _ = sides
    await one.serve()
    store.say("PEXPIRE", KEY, "600000")
    one.state.sessions._touched.clear()
    await one.recycle()
    assert remains(store) <= 600_000


@pytest.mark.parametrize("alive", [True, False])
async def test_a_request_that_comes_while_the_store_is_asked_is_served(
    sides: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch, alive: bool
) -> None:
    one, _ = sides
    mine = await one.serve()
    mine.last_used = -math.inf

    async def is_alive(id: str) -> bool:
        await asyncio.sleep(0)
        one.sessions.find(id, "tester", "fixture")
        return alive

    monkeypatch.setattr(one.state.sessions, "is_alive", is_alive)
    await one.recycle()
    assert one.is_served(mine)
