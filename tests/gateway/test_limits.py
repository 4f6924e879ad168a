"""Token buckets with a clock of our own: the edges, and the law that they obey whatever the clients do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpsec.deployment.model import Rate
from mcpsec.gateway.limits import BucketTable, InFlight


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def table(rate: Rate, **options: int) -> tuple[BucketTable, Clock]:
    clock = Clock()
    return BucketTable(rate, clock=clock, **options), clock


def test_a_full_bucket_holds_its_burst_and_not_one_more() -> None:
    buckets, _ = table(Rate(count=60, seconds=60.0, burst=5))
    assert [buckets.take("a") for _ in range(5)] == [0.0] * 5
    assert buckets.take("a") == 1.0
    assert buckets.take("b") == 0.0, "another key has its own bucket"


def test_it_refills_evenly_and_says_when() -> None:
    buckets, clock = table(Rate(count=120, seconds=60.0, burst=1))
    assert buckets.take("a") == 0.0
    assert buckets.take("a") == pytest.approx(0.5)
    clock.now += 0.25
    assert buckets.take("a") == pytest.approx(0.25)
    clock.now += 0.25 - 1e-6
    assert 0 < buckets.take("a") < 1e-5
    clock.now += 1e-5
    assert buckets.take("a") == 0.0
    assert buckets.take("a") > 0


def test_a_refused_attempt_costs_nothing() -> None:
    buckets, clock = table(Rate(count=60, seconds=60.0, burst=1))
    buckets.take("a")
    for _ in range(100):
        assert buckets.take("a") > 0
    clock.now += 1.0
    assert buckets.take("a") == 0.0


def test_it_never_holds_more_than_its_burst() -> None:
    buckets, clock = table(Rate(count=60, seconds=60.0, burst=3))
    for _ in range(3):
        buckets.take("a")
    clock.now += 1_000_000
    assert [buckets.take("a") == 0.0 for _ in range(4)] == [True, True, True, False]


def test_asking_takes_nothing() -> None:
    buckets, _ = table(Rate(count=60, seconds=60.0, burst=1))
    assert [buckets.wait_for("a") for _ in range(10)] == [0.0] * 10
    assert buckets.take("a") == 0.0
    assert buckets.wait_for("a") == 1.0


def test_the_key_used_longest_ago_is_forgotten() -> None:
    buckets, _ = table(Rate(count=1, seconds=3600.0, burst=1), size=2)
    for key in ("a", "b"):
        assert buckets.take(key) == 0.0
    assert buckets.take("c") == 0.0
    assert buckets.wait_for("b") > 0
    assert buckets.wait_for("c") > 0
    assert buckets.wait_for("a") == 0.0, "forgotten, so full"


RATES = st.builds(
    Rate,
    count=st.integers(1, 10_000),
    seconds=st.sampled_from([1.0, 60.0, 3600.0, 86400.0]),
    burst=st.integers(1, 1000),
)


@settings(max_examples=60, deadline=None)
@given(RATES, st.lists(st.tuples(st.floats(0, 100, allow_subnormal=False), st.integers(1, 50)), max_size=40))
def test_never_more_than_burst_and_rate_times_time(rate: Rate, visits: list[tuple[float, int]]) -> None:
    """Over any stretch of time; and whoever waits as long as told is let in."""
    buckets, clock = table(rate)
    start, taken = clock.now, 0
    for pause, attempts in visits:
        clock.now += pause
        for _ in range(attempts):
            wait = buckets.take("a")
            taken += wait == 0.0
            assert wait <= rate.seconds / rate.count + 1e-6
        allowed = rate.burst + rate.count / rate.seconds * (clock.now - start)
        assert taken <= allowed + 1e-6
    clock.now += buckets.wait_for("a") + 1e-9
    wait = buckets.take("a")
    assert wait < 1e-6


def test_in_flight_counts_each_client_apart() -> None:
    running = InFlight(2)
    one, other = running.place("a"), running.place("b")
    assert running.place("a") is one
    one.running, other.running = 2, 1
    assert len(running) == 3
    one.running -= 2
    assert len(running) == 1
