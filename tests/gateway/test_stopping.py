"""What one Ctrl-C means, and what two mean."""

from __future__ import annotations

import pytest

from mcpsec.gateway.stopping import ONE_PRESS_SECONDS, Stopping


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("first", [Stopping.interrupt, Stopping.set])
def test_one_press_that_arrives_twice_is_one(first: object) -> None:
    """From the terminal, from a program that passes it on, or as the SIGTERM that it makes of it."""
    clock = Clock()
    stopping = Stopping(clock=clock)
    assert callable(first)
    first(stopping)
    for _ in range(3):
        clock.now += ONE_PRESS_SECONDS / 4
        stopping.interrupt()
        stopping.set()
    assert stopping.is_set() and not stopping.hurried
    clock.now += ONE_PRESS_SECONDS / 4
    stopping.interrupt()
    assert stopping.hurried


def test_in_whatever_order_end_and_hurry_are_heard() -> None:
    stopping = Stopping(clock=Clock())
    stopping.hurry()
    stopping.interrupt()
    stopping.set()
    assert stopping.is_set() and stopping.hurried
