"""Calls that repeat one in a session that two gateways serve: a real store, and what each hears of the other's doing."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mcpsec.deployment.model import State as StateConfig
from mcpsec.gateway.sessions import Session, SessionTable
from mcpsec.gateway.state import SessionRecord, open_state
from tests.fixtures.stores import Store
from tests.gateway.test_repeats_legacy import HELLO, SESSION, LegacySite, alone, head

pytestmark = pytest.mark.anyio

HEAD = head(Mcp_Session_Id=SESSION)


class SharedSite(LegacySite):
    """One gateway of several: it knows a session only once a request has named it."""

    def __init__(self, state: Any) -> None:
        super().__init__()
        self.sessions = SessionTable(self.sessions.limits, state.sessions)
        self.chain.use(self.steps())
        self.seeing.adopt_session = self.adopt  # type: ignore[attr-defined]

    def adopt(self, id: str, record: SessionRecord) -> Session:
        return self.sessions.adopt(id, record, None)

    @property
    def own(self) -> Session:
        return self.sessions._sessions[SESSION]

    async def repeat(self, client: str = "a") -> None:
        for _ in range(4):
            assert (await self.post(HELLO, client, HEAD)).status == 200
        assert self.seeing.seen[-1][1] is self.own


@pytest.fixture
async def sites(store: Store) -> AsyncIterator[tuple[SharedSite, SharedSite, Any]]:
    config = StateConfig(url=store.url, timeout=20.0)
    async with contextlib.AsyncExitStack() as stack:
        states: list[Any] = [open_state(config, session_idle=60.0, changed=lambda _: None) for _ in range(2)]
        for state in states:
            await state.start()
            stack.push_async_callback(state.close)
        one, other = (SharedSite(state) for state in states)
        assert await states[0].sessions.publish(SESSION, SessionRecord("a", "demo", "", ""), 10)
        yield one, other, states[0]


async def judged(site: SharedSite, status: int, rule: str) -> None:
    """The next calls, on the short way that is remembered, are judged as on the whole one."""
    for _ in range(2):
        got = await site.outcome(HELLO, HEAD)
        assert (got[0], got[3][0].rule) == (status, rule)
    assert (await alone(site, HELLO, HEAD))[0] == status


async def test_a_session_moves_between_gateways_under_calls_that_repeat(
    sites: tuple[SharedSite, SharedSite, Any],
) -> None:
    """What one serves no longer it takes over again, as the session that it is then."""
    for site in sites[:2]:
        await site.repeat()
        former = site.own
        site.sessions.forget(former)
        await judged(site, 200, "granted")
        assert site.own is not former
        assert {each[1] for each in site.seeing.seen[-3:]} == {site.own}
        await site.repeat()


async def test_a_session_that_has_ended_elsewhere_is_taken_over_by_nobody(
    sites: tuple[SharedSite, SharedSite, Any],
) -> None:
    one, other, state = sites
    for site in (one, other):
        await site.repeat()
    one.sessions.close(one.own)
    assert not await state.sessions.is_alive(SESSION)  # what the store was told before, it has heard
    await judged(one, 404, "session-unknown")
    other.sessions.forget(other.own)
    await judged(other, 404, "session-unknown")


async def test_a_session_that_nobody_can_look_up_is_served_by_nobody(
    sites: tuple[SharedSite, SharedSite, Any], store: Store
) -> None:
    one, other, _ = sites
    for site in (one, other):
        await site.repeat()
    store.kill()
    one.sessions.forget(one.own)
    await judged(one, 503, "store-unavailable")
    await other.repeat()  # it serves it already


async def test_another_clients_session_is_unknown_at_each_gateway(sites: tuple[SharedSite, SharedSite, Any]) -> None:
    for site in sites[:2]:
        await site.repeat()
        site.sessions.forget(site.own)
        for _ in range(3):
            assert (await site.post(HELLO, "b", HEAD)).status == 404
            assert site.recorder.records[-1].rule == "session-unknown"
        await site.repeat()
