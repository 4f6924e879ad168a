"""State in a real store, seen by two gateways: what one has used up is used up for the other."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mcpsec.deployment.model import Rate
from mcpsec.deployment.model import State as StateConfig
from mcpsec.gateway.policy.confirmation import ConfirmationKey, Confirmations, Presented
from mcpsec.gateway.policy.engine import Call
from mcpsec.gateway.state import SessionRecord, StoreUnavailableError, open_state, redis
from mcpsec.secretrefs import EnvSource, SecretRef
from mcpsec.signing import ReplayStoreError
from mcpsec.telemetry.baseline import Learned
from tests.fixtures.processes import PATIENCE
from tests.fixtures.stores import Store

pytestmark = pytest.mark.anyio

# Generous, because the machine may be busy; those tests that wait for it say so by a smaller one.
CONFIG = StateConfig(timeout=20.0)


@contextlib.asynccontextmanager
async def states(store: Store, count: int = 2, **changes: Any) -> AsyncIterator[list[Any]]:
    said: list[str | None] = []
    config = replace(CONFIG, **{"url": store.url, **changes})
    opened: list[Any] = [open_state(config, session_idle=60.0, changed=said.append) for _ in range(count)]
    for state in opened:
        state.said = said
        await state.start()
    try:
        yield opened
    finally:
        for state in opened:
            await state.close()


async def until(happened: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not happened():
            await asyncio.sleep(0.02)


async def test_a_nonce_is_served_once_by_all_gateways(store: Store) -> None:
    async with states(store) as (one, other):
        ends = time.time() + 300
        assert await one.claim("key", "n1", ends) is True
        assert await other.claim("key", "n1", ends) is False
        assert await one.claim("key", "n1", ends) is False
        assert await other.claim("another", "n1", ends) is True
        claims = [state.claim("key", "race", ends) for state in (one, other) * 20]
        assert sorted(await asyncio.gather(*claims)) == [False] * 39 + [True]


async def test_an_expired_message_is_refused_and_every_key_ends(store: Store) -> None:
    async with states(store, prefix="edge") as (one, other):
        with pytest.raises(ReplayStoreError):
            await one.claim("key", "old", time.time() - 2)
        await one.claim("key", "new", time.time() + 300)
        await one.take("client-rate", "alice", Rate(5, 60.0, 5))
        await other.sessions.publish("sid", SessionRecord("alice", "files", "u"), 3)
        await other.sessions.expect("sid", 7)
        keys = store.say("KEYS", "*").split(b"\r\n")[2::2]
        assert keys and all(key.startswith(b"edge:") for key in keys)
        lives = {key: int(store.say("PTTL", key.decode())[1:]) for key in keys if key != b"edge:epoch"}
        assert len(lives) == 5
        assert all(0 < life <= 302_000 for life in lives.values()), lives


@pytest.fixture
def gateways_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], float]:
    """Sets the gateways' clock ahead of the store's; the time that it shows then."""

    def set_ahead(seconds: float) -> float:
        monkeypatch.setattr("mcpsec.gateway.state.redis.time", SimpleNamespace(time=lambda: time.time() + seconds))
        return time.time() + seconds

    return set_ahead


async def test_a_gateway_that_is_behind_takes_nothing_for_new_that_the_store_has_forgotten(
    store: Store, gateways_clock: Callable[[float], float]
) -> None:
    """As one that was begun under a wrong clock: what the others served a while ago is young for it."""
    async with states(store) as (one, behind):
        created = time.time() + 0.01
        ends = created + 0.5
        assert await one.claim("key", "recorded", ends, created)
        await until(lambda: time.time() > ends + 3)
        assert store.say("EXISTS", f"mcpsec:n:{mark_of('key', 'recorded')}") == b":0\r\n", "forgotten"
        gateways_clock(-400)
        with pytest.raises(ReplayStoreError, match="by the store's clock"):
            await behind.claim("key", "recorded", ends, created)


@pytest.mark.parametrize("ahead", [-250, -30, 0, 30, 250, 86_400])
async def test_a_gateway_whose_clock_is_another_is_served_and_remembered(
    store: Store, gateways_clock: Callable[[float], float], ahead: int
) -> None:
    """A nonce is kept until its message has ended by the store's clock and by the gateway's, within an hour."""
    async with states(store) as (one, other):
        ends = gateways_clock(ahead) + 301
        made = time.time() + 10
        assert await one.claim("key", "n", ends, made) is True
        life = int(store.say("PTTL", f"mcpsec:n:{mark_of('key', 'n')}")[1:]) / 1000
        left = min(max(ahead, 0), 3300)
        assert 301 + left - PATIENCE < life <= (302 + left if ahead < 3300 else 3602)
        assert await other.claim("key", "n", ends, made) is False


def mark_of(key: str, nonce: str) -> str:
    return hashlib.blake2b(f"{key}\n{nonce}".encode(), digest_size=16).hexdigest()


@pytest.mark.parametrize("loss", ["FLUSHALL", "restart"])
async def test_what_was_served_before_the_store_forgot_is_not_served_again(store: Store, loss: str) -> None:
    async with states(store) as (one, other):
        created, ends = time.time(), time.time() + 300
        assert await one.claim("key", "n", ends, created + 0.01)
        if loss == "FLUSHALL":
            store.say("FLUSHALL")
        else:
            store.kill()
            await until(lambda: not one.store.usable and not other.store.usable)
            store.start()
            await until(lambda: one.store.usable and other.store.usable)
        with pytest.raises(ReplayStoreError):
            await other.claim("key", "n", ends, created)
        later = time.time() + 1
        assert await other.claim("key", "n2", ends, later) is True


async def test_a_bucket_is_shared_to_the_last_token(store: Store) -> None:
    rate = Rate(count=60, seconds=3600.0, burst=5)
    async with states(store) as (one, other):
        taken = await asyncio.gather(*(state.take("client-rate", "alice", rate) for state in (one, other) * 10))
        assert sum(each.wait == 0.0 for each in taken) == 5
        assert sorted(each.remaining for each in taken if each.wait == 0.0) == [0, 1, 2, 3, 4]
        refused = next(each for each in taken if each.wait)
        assert 0 < refused.wait <= 60
        assert (await other.take("client-rate", "bob", rate)).remaining == 4
        assert (await other.take("tool-rate", "alice", rate)).remaining == 4
        assert (await one.take("client-rate", "alice", rate)).wait > 0, "known without asking, too"


async def test_who_waits_for_a_slow_rate_gets_a_faster_one_at_once(store: Store) -> None:
    """The deployment is read again: what it says is in force from one request to the next."""
    async with states(store) as gateways:
        for gateway in gateways:
            await gateway.take("client-rate", "alice", Rate(1, 3600.0, 1))
        for gateway in gateways:
            assert (await gateway.take("client-rate", "alice", Rate(1, 3600.0, 1))).wait > 3000
            assert (await gateway.take("client-rate", "alice", Rate(1000, 1.0, 1000))).wait < 1
            assert (await gateway.take("client-rate", "alice", Rate(1000, 1.0, 1000))).wait < 1


async def test_a_bucket_refills(store: Store) -> None:
    rate = Rate(count=10, seconds=1.0, burst=1)
    async with states(store, count=1) as (one,):
        assert (await one.take("client-rate", "alice", rate)).wait == 0.0
        async with asyncio.timeout(PATIENCE):
            while (await one.take("client-rate", "alice", rate)).wait:
                await asyncio.sleep(0.02)


@pytest.mark.parametrize("left", [3600.0, float("inf"), float("nan")])
async def test_a_bucket_of_a_clock_that_was_set_back_refills(store: Store, left: float) -> None:
    """It says a time that is an hour off, as it would after the store's clock was set back by that; or no time at all."""
    rate = Rate(1000, 1.0, 1000)
    async with states(store, 1) as (state,):
        assert (await state.take("client-rate", "alice", rate)).wait == 0
        (key,) = [each for each in store.say("KEYS", "*:r:*").split(b"\r\n") if b":r:" in each]
        store.say("SET", key.decode(), repr(time.time() + left), "PX", "3600000")
        async with asyncio.timeout(PATIENCE):
            while (taken := await state.take("client-rate", "alice", rate)).wait:
                await asyncio.sleep(taken.wait)
        assert 0 < int(store.say("PTTL", key.decode())[1:]) <= 3000


@pytest.mark.parametrize("failure", ["paused", "killed"])
async def test_without_the_store_nonces_are_refused_and_limits_go_on_as_configured(store: Store, failure: str) -> None:
    rate = Rate(count=60, seconds=3600.0, burst=2)
    async with (
        states(store, count=1, timeout=0.3) as (local,),
        states(store, count=1, timeout=0.3, on_failure="refuse") as (strict,),
    ):
        store.pause() if failure == "paused" else store.kill()
        for state in (local, strict):
            with pytest.raises(StoreUnavailableError):
                await state.claim("key", "n", time.time() + 300)
        assert [(await local.take("client-rate", "alice", rate)).wait == 0 for _ in range(3)] == [True, True, False]
        with pytest.raises(StoreUnavailableError):
            await strict.take("client-rate", "alice", rate)
        assert local.said[-1], "the operator hears of it"
        store.resume() if failure == "paused" else store.start()
        await until(lambda: local.store.usable and strict.store.usable)
        assert local.said[-1] is None
        assert await local.claim("key", "m", time.time() + 300, time.time() + 1) is True
        assert (await strict.take("client-rate", "carol", rate)).wait == 0.0


async def test_a_forgotten_script_is_said_again(store: Store) -> None:
    async with states(store, count=1) as (one,):
        store.say("SCRIPT", "FLUSH")
        assert await one.claim("key", "n", time.time() + 300) is True


async def test_the_password_is_a_reference(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Store(tmp_path / "guarded", ("--requirepass", "open-sesame"))
    server.start()
    try:
        monkeypatch.setenv("STATE_PASSWORD", "open-sesame")
        reference = SecretRef(EnvSource("STATE_PASSWORD"))
        async with states(server, count=1, password=reference) as (one,):
            assert await one.claim("key", "n", time.time() + 300) is True
        monkeypatch.setenv("STATE_PASSWORD", "wrong")
        async with states(server, count=1, password=reference) as (one,):
            with pytest.raises(StoreUnavailableError) as refusal:
                await one.claim("key", "n", time.time() + 300)
            assert "open-sesame" not in str(refusal.value) and "wrong" not in str(refusal.value).split()
            monkeypatch.setenv("STATE_PASSWORD", "open-sesame")
            await until(lambda: one.store.usable)
    finally:
        server.kill()


async def test_a_store_that_may_evict_is_told(store: Store) -> None:
    async with states(store, count=1) as (one,):
        assert one.warning == ""
    store.say("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    async with states(store, count=1) as (one,):
        assert "noeviction" in one.warning


async def test_sessions_are_known_to_all_and_bounded_for_each_client(store: Store) -> None:
    async with states(store) as (one, other):
        record = SessionRecord("alice", "files", "upstream-id")
        assert await one.sessions.publish("a", record, 2)
        assert await other.sessions.fetch("a") == record
        assert await other.sessions.fetch("b") is None
        assert await other.sessions.publish("b", record, 2)
        assert not await other.sessions.publish("c", record, 2)
        assert await one.sessions.publish("d", record._replace(client_id="bob"), 2)
        one.sessions.touch("a")
        other.sessions.drop("a", "alice")
        assert await other.sessions.fetch("a") is None
        assert not await one.sessions.is_alive("a")
        assert await one.sessions.publish("c", record, 2), "its place was given back"


async def test_a_question_of_the_upstream_is_answered_once(store: Store) -> None:
    async with states(store) as (one, other):
        await one.sessions.expect("a", 7)
        assert not await other.sessions.expected("a", "7")
        assert not await other.sessions.expected("b", 7)
        answers = await asyncio.gather(other.sessions.expected("a", 7), one.sessions.expected("a", 7))
        assert sorted(answers) == [False, True]


async def test_a_question_that_is_withdrawn_is_answered_by_nobody(store: Store) -> None:
    async with states(store) as (one, other):
        for id in (7, 8):
            await one.sessions.expect("a", id)
        one.sessions.withdraw("a", 7)
        assert await one.sessions.expected("a", 8), "behind it on the same connection"
        assert await other.sessions.expected("a", 7) is None, "too late, which harms nobody"
        assert await other.sessions.expected("a", 8) is False, "answered already"
        assert await other.sessions.expected("b", 7) is False, "of another session"
        one.sessions.withdraw("a", 9)
        assert await one.sessions.expected("a", 9) is False, "never asked"
        await one.sessions.expect("a", 7)
        assert await other.sessions.expected("a", 7) is True, "asked again under its old number"
        for id in range(100, 300):
            await one.sessions.expect("a", id)
            one.sessions.withdraw("a", id)
        assert [await one.sessions.expected("a", id) for id in (100, 235, 236, 299)] == [False, False, None, None]
        one.sessions.drop("a", "alice")
        assert await one.sessions.expected("a", 299) is False


@pytest.mark.parametrize(
    "written",
    [
        *("garbage", "[]", '["alice"]', '{"a":1}', '["alice","files",5,""]', '["alice","files","u","","more"]'),
        *('["alice","files","u\\r\\nx-user: admin",""]', "null", "\udcff"),
    ],
)
async def test_what_no_gateway_has_written_is_no_session(store: Store, written: str) -> None:
    """Another tenant of the store, or an attacker in it: least of all may its text become headers."""
    record = SessionRecord("alice", "files", "u")
    async with states(store, prefix="edge") as (one, other):
        await one.sessions.publish("sid", record, 3)
        assert await other.sessions.fetch("sid") == record
        store.say_bytes(b"SET", b"edge:s:sid", written.encode("utf-8", "surrogateescape"))
        with pytest.raises(StoreUnavailableError, match="no gateway has written"):
            await other.sessions.fetch("sid")
        await other.sessions.publish("next", record, 3)
        assert await one.sessions.fetch("next") == record


async def test_what_no_gateway_has_written_is_neither_task_nor_pattern(store: Store) -> None:
    async with states(store, prefix="edge") as (one, other):
        await one.tasks.add("alice", "files", "t1", ("echo",), 10)
        assert await other.tasks.fetch("alice", "files", 10) == {"t1": ("echo",)}
        store.say("HSET", 'edge:t:["alice","files"]', "t2", "garbage")
        with pytest.raises(StoreUnavailableError, match="no gateway has written"):
            await other.tasks.fetch("alice", "files", 10)
        news = Learned(20_000.5, 3, ("files/read",), 1, 2)
        assert (await one.patterns.merge("alice", news, 10)).requests == 3
        store.say("HSET", "edge:p:alice", "first", "nan", "requests", "9", ":x", "1")
        assert (await other.patterns.merge("alice", news, 10)).requests == 12
        store.say_bytes(b"HSET", b"edge:p:alice", b":\xff", b"1")
        with pytest.raises(StoreUnavailableError, match="no gateway has written"):
            await other.patterns.merge("alice", news, 10)


async def test_a_task_whose_name_is_no_text_is_none(store: Store) -> None:
    async with states(store, count=1, prefix="edge") as (one,):
        store.say_bytes(b"HSET", b'edge:t:["alice","files"]', b"\xff", b'["echo"]')
        with pytest.raises(StoreUnavailableError, match="no gateway has written"):
            await one.tasks.fetch("alice", "files", 10)
        store.say("DEL", 'edge:t:["alice","files"]')
        assert await one.tasks.fetch("alice", "files", 10) == {}


async def test_more_than_any_gateway_writes_is_not_read(store: Store) -> None:
    async with states(store, count=1, prefix="edge") as (one,):
        for number in range(11):
            await one.tasks.add("alice", "files", f"t{number}", ("echo",), 10)
        assert len(await one.tasks.fetch("alice", "files", 10)) == 10
        store.say("HSET", 'edge:t:["alice","files"]', "one-more", '["echo"]')
        with pytest.raises(StoreUnavailableError):
            await one.tasks.fetch("alice", "files", 10)


@pytest.mark.parametrize("number", ["nan", "-nan", "inf", "-inf", "-1", "1e300", "9" * 400, "x", "", "\udcff"])
async def test_a_number_that_no_gateway_has_written_is_as_good_as_none(store: Store, number: str) -> None:
    """Gateways tell each other what they know: believed once, it would outlive its key for ever."""
    news = Learned(738_000.5, 3, ("files/read",), 6, 2)
    async with states(store, prefix="edge") as (one, other):
        await one.patterns.merge("alice", news, 10)
        for field in ("first", "requests", "hours", "busiest"):
            value = number.encode("utf-8", "surrogateescape")
            store.say_bytes(b"HSET", b"edge:p:alice", field.encode(), value)
            known = await other.patterns.merge("alice", news, 10)
            assert (known.first_day, known.hours, known.busiest) == (738_000.5, 6, 2)
            assert known.requests in {3, 6, 9, 12}
        assert known.resources == ("files/read",)


@pytest.mark.parametrize("epoch", ["nan", "inf", "x", "", "9" * 400])
async def test_an_epoch_that_no_gateway_has_written_lets_nothing_in(store: Store, epoch: str) -> None:
    async with states(store, count=1, prefix="edge") as (one,):
        store.say("SET", "edge:epoch", epoch)
        with pytest.raises((StoreUnavailableError, ReplayStoreError)):
            await one.claim("key", "n1", time.time() + 300)
        store.say("DEL", "edge:epoch")
        await asyncio.sleep(0.01)
        assert await one.claim("key", "n2", time.time() + 300, time.time() + 1) is True


async def test_a_used_confirmation_is_not_taken_again_by_a_store_that_forgot(store: Store) -> None:
    key, about = ConfirmationKey(b"k" * 32, 3600.0), ("agent", "tools/call", Call("files", "tool", "delete"), {})
    async with states(store, count=1) as (one,):
        await asyncio.sleep(1.1)  # a confirmation says the second in which it was made, no more
        desk = Confirmations(key, one)

        def confirmed() -> Presented:
            shown = desk.presented(key.make(desk.digest(*about), 600).encode(), *about)
            assert shown is not None
            return shown

        used = confirmed()
        assert await desk.claim(used) is True
        assert await desk.claim(used) is False
        await asyncio.sleep(1.1)
        store.say("FLUSHALL")
        with pytest.raises(ReplayStoreError):
            await desk.claim(used)
        await asyncio.sleep(1.1)
        assert await desk.claim(confirmed()) is True


def commands_of_the_page() -> set[str]:
    page = (Path(__file__).parents[3] / "docs" / "scaling.md").read_text(encoding="utf-8")
    return set(re.findall("`([A-Z]+)`", page.partition("in ACL terms")[2].partition("on keys that begin")[0]))


async def test_the_page_names_every_command_that_the_store_must_allow() -> None:
    sources = Path(redis.__file__).parent.glob("*.py")
    text = "".join(each.read_text(encoding="utf-8") for each in sources)
    used = set(re.findall(r"""(?:redis\.call\('|\(b")([A-Z]+)""", text))
    assert {"SCRIPT", "DEL", "HEXISTS", "EVALSHA"} < used, "all three ways of saying one"
    # AUTH needs no leave; SUBSCRIBE is what only the tests' listening connections say.
    assert commands_of_the_page() == used - {"AUTH", "SUBSCRIBE"}


async def test_a_user_of_the_store_that_may_do_what_the_page_says_is_enough(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    may = [f"+{each.lower()}" for each in sorted(commands_of_the_page())]
    store.say("ACL", "SETUSER", "gateway", "on", ">open-sesame", "~edge:*", *may)
    monkeypatch.setenv("STATE_PASSWORD", "open-sesame")
    user = {"username": "gateway", "password": SecretRef(EnvSource("STATE_PASSWORD")), "prefix": "edge"}
    async with states(store, count=1, url=store.url.removesuffix("0") + "1", **user) as (one,):
        assert await one.claim("key", "n", time.time() + 300) is True
        assert (await one.take("client-rate", "alice", Rate(5, 60.0, 5))).wait == 0
        assert await one.sessions.publish("a", SessionRecord("alice", "files", "u"), 2)
        one.sessions.touch("a")
        for id in (7, 8):
            await one.sessions.expect("a", id)
        one.sessions.withdraw("a", 7)
        assert [await one.sessions.expected("a", id) for id in (7, 8)] == [None, True]
        one.sessions.drop("a", "alice")
        assert not await one.sessions.is_alive("a")
        await one.tasks.add("alice", "files", "t", ("tool",), 5)
        assert await one.tasks.fetch("alice", "files", 10)
        assert (await one.patterns.merge("alice", Learned(20_000.5, 3, ("files/read",), 1, 2), 10)).requests == 3
        assert one.said == [None] and one.warning == ""
    assert b"gateway" not in store.say("ACL", "LOG"), "nothing was refused"
