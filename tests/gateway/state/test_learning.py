"""What is normal for a client, learned by two gateways that share a real store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mcpsec.gateway.learning import LearningTogether
from mcpsec.telemetry.baseline import Baselines
from tests.fixtures.deployments import make_deployment
from tests.fixtures.gateway import start_gateway
from tests.fixtures.raw import RawClient, call
from tests.fixtures.stores import Store
from tests.gateway.state.test_redis import states, until

pytestmark = pytest.mark.anyio

DAYS = [f"2026-03-{day:02}" for day in range(1, 11)]


def record(resource: str, *, day: str = DAYS[0], hour: int = 10, client: str = "alice") -> dict[str, Any]:
    return {"client": client, "time": f"{day}T{hour:02}:00:00.000Z", "resource": resource}


def own(**changes: Any) -> Baselines:
    return Baselines(**{"days": 2, "requests": 10, **changes})


def seen(baselines: Baselines, resource: str, **when: Any) -> list[str]:
    return [deviation.rule for deviation in baselines.observe(record(resource, **when))]


def known(baselines: Baselines, client: str) -> dict[str, Any]:
    explained = baselines.explain(client)
    assert explained is not None
    return explained


def teach(baselines: Baselines, *resources: str) -> None:
    for day in DAYS[:4]:
        for resource in resources:
            list(baselines.observe(record(resource, day=day), 5))


async def test_what_one_gateway_knows_the_other_does_not_report(store: Store) -> None:
    async with states(store, prefix="both") as (one, other):
        here, there = own(), own()
        teach(here, "files/read")
        await LearningTogether(here, one.patterns, 256).exchange()
        assert seen(there, "files/read", day=DAYS[4]) == []  # seen for the first time: nothing is known yet
        await LearningTogether(there, other.patterns, 256).exchange()
        assert seen(there, "files/read", day=DAYS[4]) == [], "the other gateway knows it, and has learned the client"
        assert seen(there, "files/delete", day=DAYS[4]) == ["new-resource"]
        assert seen(there, "files/read", day=DAYS[4], hour=3) == ["new-hour"]
        explained = known(there, "alice")
        assert explained["requests"] == 24 and explained["busiest_minute"] == 5


async def test_clients_and_deployments_are_apart(store: Store) -> None:
    async with states(store, count=1, prefix="a") as (one,), states(store, count=1, prefix="b") as (other,):
        here, there = own(), own()
        teach(here, "files/read")
        await LearningTogether(here, one.patterns, 256).exchange()
        seen(there, "x")
        await LearningTogether(there, other.patterns, 256).exchange()
        assert there.explain("alice") == {"requests": 1, "resources": ["x"], "hours": [10], "busiest_minute": 0}
        stranger = own()
        seen(stranger, "x", client="bob")
        await LearningTogether(stranger, one.patterns, 256).exchange()
        assert known(stranger, "bob")["resources"] == ["x"]


async def test_it_is_bounded_and_ends(store: Store) -> None:
    async with states(store, count=1, prefix="bound") as (one,):
        for _ in range(3):
            many = own(resources=20)
            for number in range(20):
                seen(many, f"r{_}/{number}")
            await LearningTogether(many, one.patterns, 20).exchange()
            assert len(known(many, "alice")["resources"]) == 20
        (key,) = store.say("KEYS", "bound:p:*").split(b"\r\n")[2::2]
        assert int(store.say("HLEN", key.decode())[1:]) == 24
        assert 0 < int(store.say("PTTL", key.decode())[1:]) <= 90 * 86400 * 1000


async def test_without_the_store_it_is_told_later(store: Store) -> None:
    async with states(store, timeout=1.0, prefix="later") as (one, other):
        here, there = own(), own()
        together = LearningTogether(here, one.patterns, 256)
        store.kill()
        await until(lambda: not one.store.usable)
        teach(here, "files/read")
        await together.exchange()
        store.start()
        await until(lambda: one.store.usable and other.store.usable)
        await together.exchange()
        seen(there, "y")
        await LearningTogether(there, other.patterns, 256).exchange()
        assert known(there, "alice")["resources"] == ["y", "files/read"]


async def test_what_stands_in_the_place_of_one_client_holds_up_no_other(store: Store) -> None:
    async with states(store, prefix="odd") as (one, other):
        store.say("SET", "odd:p:alice", "not a hash")
        here, there = own(), own()
        seen(here, "a")
        seen(here, "a", client="bob")
        together = LearningTogether(here, one.patterns, 256)
        await together.exchange()
        seen(there, "b", client="bob")
        await LearningTogether(there, other.patterns, 256).exchange()
        assert known(there, "bob")["resources"] == ["b", "a"]
        store.say("DEL", "odd:p:alice")
        await together.exchange()
        seen(there, "b")
        await LearningTogether(there, other.patterns, 256).exchange()
        assert known(there, "alice")["resources"] == ["b", "a"], "told when the place was free again"


async def test_a_request_amid_an_exchange_is_not_lost(store: Store) -> None:
    async with states(store, prefix="amid") as (one, other):
        here, there = own(), own()
        seen(here, "a")

        class Amid:
            async def merge(self, client: str, news: Any, most: int) -> Any:
                seen(here, "b")
                return await one.patterns.merge(client, news, most)

        await LearningTogether(here, Amid(), 256).exchange()
        await LearningTogether(here, one.patterns, 256).exchange()
        seen(there, "c")
        await LearningTogether(there, other.patterns, 256).exchange()
        assert sorted(known(there, "alice")["resources"]) == ["a", "b", "c"]
        assert known(there, "alice")["requests"] == 3


async def test_maintenance_exchanges_and_closing_tells_the_rest(store: Store) -> None:
    async with states(store, prefix="upkeep") as (one, other):
        here, there = own(), own()
        together = LearningTogether(here, one.patterns, 256)
        seen(here, "a")
        together.maintain()
        together.maintain()
        await until(lambda: store.say("KEYS", "upkeep:p:*").startswith(b"*1"))
        seen(here, "b")
        await together.close()
        seen(there, "c")
        await LearningTogether(there, other.patterns, 256).exchange()
        assert sorted(known(there, "alice")["resources"]) == ["a", "b", "c"]


def test_a_gateway_tells_what_it_has_learned_when_it_stops(store: Store, tmp_path: Path) -> None:
    made = make_deployment(tmp_path, {"demo": {"builtin": "demo"}})
    made.document["state"] = {"url": store.url, "prefix": "live"}
    made.write()
    running = start_gateway(made)
    try:
        with RawClient(running) as client:
            assert client.post(call("echo", {"text": "hello"})).status == 200
        running.stop()
    finally:
        running.kill()
    (key,) = store.say("KEYS", "live:p:*").split(b"\r\n")[2::2]
    assert b":demo/echo" in store.say("HKEYS", key.decode())
