"""A time of day that is set, beside a store that counts the seconds for itself: nothing is served twice."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from mcpsec.gateway.state.set_back import SetBack
from mcpsec.signing import MemoryReplayStore, ReplayStoreError

MAX_AGE, SKEW = 300.0, 30.0


class Clocks:
    """A time of day that can be set, and a clock that can't."""

    def __init__(self) -> None:
        self.steady, self.ahead = 50_000.0, 1_800_000_000.0

    def now(self) -> float:
        return self.steady + self.ahead

    def monotonic(self) -> float:
        return self.steady


class Remote:
    """What ``RedisState`` does: a store that keeps a nonce as long as the gateway said, behind ``SetBack``."""

    def __init__(self, clocks: Clocks, kept: dict[str, float] | None = None) -> None:
        self._clocks = clocks
        self._kept = {} if kept is None else kept
        self._set_back = SetBack(clock=clocks.now, steady=clocks.monotonic)

    def claim(self, key_id: str, nonce: str, expires_at: float) -> bool:
        created = expires_at - MAX_AGE - 1.0 if key_id == "k" else None
        if self._set_back.may_be_forgotten(expires_at, created):
            raise ReplayStoreError
        steady = self._clocks.steady
        first = self._kept.get(nonce, 0.0) < steady
        if first:
            self._kept[nonce] = steady + expires_at - self._clocks.now() + 1.0
        return first


Claim = Callable[[str, str, float], bool]


def remote(clocks: Clocks) -> Claim:
    return Remote(clocks).claim


def memory(clocks: Clocks) -> Claim:
    store = MemoryReplayStore(clock=clocks.now)
    store._steady = clocks.monotonic  # with a clock of one's own it is that one
    return store.claim


class Gateway:
    """Accepts what is young enough by its time of day, and counts how often it served what."""

    def __init__(self, clocks: Clocks, claim: Claim) -> None:
        self._clocks, self._claim = clocks, claim

    def serves(self, nonce: str, created: float) -> bool:
        """What ``Verifier`` does with a message."""
        if not -SKEW <= self._clocks.now() - created <= MAX_AGE:
            return False
        try:
            return self._claim("k", nonce, created + MAX_AGE + 1.0)
        except ReplayStoreError:
            return False


@pytest.fixture(params=[memory, remote])
def clocks_and_gateway(request: pytest.FixtureRequest) -> tuple[Clocks, Gateway]:
    clocks = Clocks()
    return clocks, Gateway(clocks, request.param(clocks))


def test_what_was_served_is_not_served_again_when_the_clock_is_set_back(
    clocks_and_gateway: tuple[Clocks, Gateway],
) -> None:
    clocks, gateway = clocks_and_gateway
    made = clocks.now()
    assert gateway.serves("recorded", made)
    for number in range(700):
        clocks.steady += 1
        assert gateway.serves(str(number), clocks.now())
    assert not gateway.serves("recorded", made), "too old"
    clocks.ahead -= 700
    for _ in range(400):
        assert not gateway.serves("recorded", made)
        clocks.steady += 1
    clocks.steady += 1000
    assert gateway.serves("new", clocks.now())


@pytest.mark.parametrize("ahead", [60, 3600, 31_000_000])
@pytest.mark.parametrize("lasts", [1, 10, 200])
def test_a_clock_that_went_ahead_and_came_back_keeps_nobody_out(
    clocks_and_gateway: tuple[Clocks, Gateway], ahead: int, lasts: int
) -> None:
    """Also when its clients' clocks did the same."""
    clocks, gateway = clocks_and_gateway
    for number in range(400):
        clocks.steady += 1
        assert gateway.serves(f"before {number}", clocks.now())
    clocks.ahead += ahead
    for number in range(lasts):
        clocks.steady += 1
        assert gateway.serves(f"ahead {number}", clocks.now())
    clocks.ahead -= ahead
    for number in range(800):
        clocks.steady += 1
        assert gateway.serves(f"after {number}", clocks.now()), number


@pytest.mark.parametrize("back", [1, 30, 250])
def test_a_small_step_back_keeps_nobody_out(clocks_and_gateway: tuple[Clocks, Gateway], back: int) -> None:
    clocks, gateway = clocks_and_gateway
    for number in range(1000):
        clocks.steady += 1
        assert gateway.serves(f"before {number}", clocks.now())
    clocks.ahead -= back
    for number in range(1000):
        clocks.steady += 1
        assert gateway.serves(f"after {number}", clocks.now()), number


def test_what_was_served_before_a_restart_is_not_served_again_when_the_clock_is_set_back() -> None:
    clocks, kept = Clocks(), dict[str, float]()
    made = clocks.now()
    assert Gateway(clocks, Remote(clocks, kept).claim).serves("recorded", made)
    clocks.steady += 700
    again = Gateway(clocks, Remote(clocks, kept).claim)
    clocks.steady += 60
    assert again.serves("new", clocks.now())
    clocks.ahead -= 760
    assert not again.serves("recorded", made)


def test_what_another_gateway_has_served_is_not_served_again_when_the_clock_is_set_back() -> None:
    """Also when it was made under a clock that was ahead, as nothing was that this gateway has seen."""
    clocks, others, kept = Clocks(), Clocks(), dict[str, float]()
    gateway, other = Gateway(clocks, Remote(clocks, kept).claim), Gateway(others, Remote(others, kept).claim)
    made = others.now() + SKEW - 1
    assert gateway.serves("seen", clocks.now() - 200)
    assert other.serves("recorded", made)
    clocks.ahead -= 700
    gateway.serves("an older one", clocks.now() - 50)  # whatever makes it notice
    for _ in range(1100):
        clocks.steady += 1
        others.steady += 1
        assert not gateway.serves("recorded", made)


@pytest.mark.parametrize("longest", [0, 7 * 86400])
def test_what_lives_long_keeps_nothing_else_out(longest: int) -> None:
    """As a confirmation does, whose nonce is kept in the same store."""
    clocks = Clocks()
    store = Remote(clocks)
    gateway = Gateway(clocks, store.claim)
    clocks.steady += 1000
    assert store.claim("confirmation", "z", clocks.now() + longest)
    assert gateway.serves("before", clocks.now())
    clocks.ahead -= 600
    assert not gateway.serves("at once", clocks.now())
    clocks.steady += 600 + SKEW + 1
    assert gateway.serves("once it has caught up", clocks.now())


@pytest.mark.parametrize("seed", range(30))
def test_no_course_of_the_clock_serves_a_message_twice(clocks_and_gateway: tuple[Clocks, Gateway], seed: int) -> None:
    clocks, gateway = clocks_and_gateway
    chance = random.Random(seed)
    served: dict[str, float] = {}
    for number in range(3000):
        clocks.steady += chance.choice([0.1, 1, 10])
        if chance.random() < 0.01:
            clocks.ahead += chance.choice([-3600, -400, -100, -20, -2, 2, 20, 100, 400, 3600])
        created = clocks.now() + chance.uniform(-MAX_AGE, SKEW)
        if gateway.serves(str(number), created):
            served[str(number)] = created
        for nonce in chance.sample(sorted(served), min(5, len(served))):
            assert not gateway.serves(nonce, served[nonce]), (number, nonce)
        near = [each for each, made in served.items() if abs(made - clocks.now()) < MAX_AGE]
        for nonce in chance.sample(near, min(10, len(near))):
            assert not gateway.serves(nonce, served[nonce]), (number, nonce)
    assert len(served) > 20
