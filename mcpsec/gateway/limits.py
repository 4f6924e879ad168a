"""Token buckets and counters, in this process's memory and of bounded number."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.deployment.model import Rate

__all__ = ["BucketTable", "InFlight"]


class BucketTable:
    """A token bucket for each key: ``burst`` at most, refilled evenly at the rate.

    Holds ``size`` keys at most; beyond that the one used longest ago is forgotten, which gives it a full bucket again.
    Keys are therefore identities that were proven, or are counted with ample ``size``.
    """

    def __init__(self, rate: Rate, *, size: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = float(rate.burst)
        self._per_second = rate.count / rate.seconds
        self._size = size
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def _level(self, key: str, now: float) -> float:
        tokens, updated = self._buckets.get(key, (self._burst, now))
        return min(self._burst, tokens + (now - updated) * self._per_second)

    def wait_for(self, key: str) -> float:
        """Seconds until one token is there; 0 when it is."""
        level = self._level(key, self._clock())
        return 0.0 if level >= 1.0 else (1.0 - level) / self._per_second

    def take(self, key: str) -> float:
        """Take a token: 0 when there was one, else the seconds until there is (and nothing is taken)."""
        now = self._clock()
        level = self._level(key, now)
        if level < 1.0:
            return (1.0 - level) / self._per_second
        self._buckets[key] = (level - 1.0, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._size:
            self._buckets.popitem(last=False)
        return 0.0


class InFlight:
    """How many requests run at once for each key, with one bound for all keys."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._running: dict[str, int] = {}

    def __len__(self) -> int:
        return sum(self._running.values())

    def enter(self, key: str) -> bool:
        """Count one more; False (and not counted) when the bound is reached."""
        running = self._running.get(key, 0)
        if running >= self._bound:
            return False
        self._running[key] = running + 1
        return True

    def leave(self, key: str) -> None:
        """Count one less."""
        running = self._running[key] - 1
        if running:
            self._running[key] = running
        else:
            del self._running[key]
