"""The memory of nonces: once each, bounded, and closed when it can't tell."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpsec.signing import MemoryReplayStore, ReplayStoreError


class Clock:
    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_true_the_first_time_only() -> None:
    store = MemoryReplayStore(clock=Clock())
    assert store.claim("k", "n", 1300) is True
    assert store.claim("k", "n", 1300) is False
    assert store.claim("k", "n", 1400) is False
    assert store.claim("other", "n", 1300) is True
    assert store.claim("k", "m", 1300) is True


def test_of_500_concurrent_copies_one_is_first() -> None:
    store = MemoryReplayStore(clock=Clock())
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: store.claim("k", "n", 1300), range(500)))
    assert answers.count(True) == 1


def test_full_means_no() -> None:
    clock = Clock()
    store = MemoryReplayStore(10, clock=clock)
    for number in range(5):
        assert store.claim("flood", str(number), 1300)
    with pytest.raises(ReplayStoreError):
        store.claim("flood", "one too many", 1300)
    for number in range(5):
        assert store.claim("calm", str(number), 1300), "half of the store is left for others"
    with pytest.raises(ReplayStoreError):
        store.claim("late", "0", 1300)
    assert store.claim("flood", "0", 1300) is False, "a copy is still known as one"
    clock.now = 1302
    assert store.claim("flood", "later", 1600)
    assert len(store) == 1


def test_memory_is_given_back() -> None:
    clock = Clock()
    store = MemoryReplayStore(1000, clock=clock)
    for number in range(20_000):
        clock.now = 1000 + number / 100
        store.claim("k", str(number), clock.now + 3)
    assert len(store) < 500
    assert len(store._seconds) < 10


def test_a_clock_set_back_brings_nothing_to_life() -> None:
    clock = Clock()
    store = MemoryReplayStore(clock=clock)
    assert store.claim("k", "old", 1300)
    clock.now = 5000
    for number in range(200):
        store.claim("k", str(number), 5300)
    clock.now = 1000
    with pytest.raises(ReplayStoreError):
        store.claim("k", "old", 1300)


def test_what_a_clock_far_ahead_leaves_behind_is_bounded_and_replays_nothing() -> None:
    """The time of day is a year ahead for three seconds: what was claimed then is valid again if that happens again."""
    clock, steady, year, max_age = Clock(), Clock(), 31_536_000, 5
    store = MemoryReplayStore(1000, clock=clock)
    store._steady = steady
    for ahead, seconds in ((year, 3), (0, 600)):
        for second in range(seconds):
            clock.now, steady.now = 1000 + ahead + second, steady.now + 1
            for number in range(10):
                assert store.claim("k", f"{ahead} {second} {number}", clock.now + max_age)
    assert len(store) <= 30 + (max_age + 2) * 10, "those of the three seconds, and of one max_age"
    clock.now = 1000 + year + 2
    assert not store.claim("k", f"{year} 2 0", clock.now + max_age), "a copy, under the same wrong clock"
    clock.now = 1600
    with pytest.raises(ReplayStoreError, match="full"):
        for number in range(2000):
            store.claim("k", f"flood {number}", clock.now + max_age)
    assert len(store) == 500, "a key's half"
    assert store.claim("another", "key", clock.now + max_age)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 400), st.integers(0, 30)), max_size=200))
def test_never_true_twice_while_the_message_lives(steps: list[tuple[int, float, int]]) -> None:
    clock, claimed = Clock(), {}
    store = MemoryReplayStore(50, clock=clock)
    for nonce, lifetime, wait in steps:
        clock.now += wait
        expires = clock.now + lifetime
        try:
            first = store.claim("k", str(nonce), expires)
        except ReplayStoreError:
            continue
        alive = claimed.get(nonce, 0) >= clock.now
        assert not (first and alive)
        if first:
            claimed[nonce] = expires
