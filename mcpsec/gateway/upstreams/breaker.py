"""A circuit breaker: an upstream that fails, or is slow, too often is left alone for a while, then tried carefully.

Closed: calls pass, and what became of them in the last ``window`` seconds is counted. Open: nothing passes for
``open_for`` seconds. Half-open: ``probes`` calls pass; when all of them end well it closes, when one does not it opens
again. A call is never repeated: a probe is the next call that a client makes.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.deployment.model import Breaker as BreakerConfig

__all__ = ["Breaker", "Pass"]

_SLOTS = 10


class Pass:
    """The permission for one call; ``settle`` it exactly once."""

    __slots__ = ("_breaker", "_period", "_started", "probe")

    def __init__(self, breaker: Breaker, period: int, started: float, *, probe: bool) -> None:
        self._breaker = breaker
        self._period = period
        self._started = started
        self.probe = probe

    def settle(self, *, failed: bool | None, answered_at: float | None = None) -> None:
        """How it ended: ``failed``, or None when nobody knows (the client left, the call was refused by others).

        ``answered_at`` is when the answer began, for a stream that goes on long after; in the breaker's clock.
        """
        self._breaker.settled(self, self._period, self._started, failed=failed, answered_at=answered_at)


class Breaker:
    """The breaker of one upstream. ``changed`` hears of each new state and the one before, with a sentence why."""

    def __init__(
        self,
        config: BreakerConfig,
        *,
        changed: Callable[[str, str, str], None] = lambda _state, _previous, _why: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self.slow_call = config.slow_call
        self._changed = changed
        self.clock = clock
        self.state = "closed"
        self.period = 0  # each change of state begins one; what a call of an earlier one says no longer counts
        self._until = 0.0
        self._probing = 0
        self._probed = 0
        self._slot = config.window / _SLOTS
        self._slots: deque[list[float]] = deque()  # [begin, calls, failures, slow calls]
        self.newest: list[float] = []
        self.fresh_until = 0.0  # when the newest slot ends, or the oldest leaves the window

    def admit(self) -> Pass | float:
        """A pass, or the seconds to wait before asking again."""
        now = self.clock()
        if self.state == "closed" or not self._config.enabled:
            return Pass(self, self.period, now, probe=False)
        if self.state == "open":
            if now < self._until:
                return self._until - now
            self._become("half-open", "it is tried again")
        if self._probing + self._probed >= self._config.probes:
            return 1.0
        self._probing += 1
        return Pass(self, self.period, now, probe=True)

    def well(self, period: int) -> None:
        """Count a call that began in this period and ended well; for ``slow_call`` is ``settled``."""
        if period == self.period and self._config.enabled:
            self._count(self.clock(), failed=False, slow=False)

    def settled(
        self, permit: Pass, period: int, started: float, *, failed: bool | None, answered_at: float | None
    ) -> None:
        """Count how a call ended."""
        if period != self.period or not self._config.enabled:
            return
        if failed is False and self.slow_call is None and not permit.probe:
            self._count(self.clock(), failed=False, slow=False)  # nearly always
            return
        if permit.probe:
            self._probing -= 1
        if failed is None:
            return
        now = self.clock()
        slow_call = self._config.slow_call
        slow = slow_call is not None and (answered_at or now) - started >= slow_call
        if permit.probe:
            self._judge_probe(bad=failed or slow)
        else:
            self._count(now, failed=failed, slow=slow)

    def _judge_probe(self, *, bad: bool) -> None:
        if bad:
            self._open("a trial call failed")
            return
        self._probed += 1
        if self._probed >= self._config.probes:
            self._become("closed", "trial calls went well")

    def _count(self, now: float, *, failed: bool, slow: bool) -> None:
        if not failed and not slow and now < self.fresh_until:
            self.newest[1] += 1
            return
        slots = self._slots
        while slots and slots[0][0] <= now - self._config.window:
            slots.popleft()
        if not slots or now >= slots[-1][0] + self._slot:
            slots.append([now, 0, 0, 0])
        self.newest = newest = slots[-1]
        self.fresh_until = min(newest[0] + self._slot, slots[0][0] + self._config.window)
        newest[1] += 1
        newest[2] += failed
        newest[3] += slow
        if not (failed or slow):
            return
        calls, failures, slows = (sum(slot[index] for slot in slots) for index in (1, 2, 3))
        if calls < self._config.minimum_calls:
            return
        if failures / calls >= self._config.failure_ratio:
            self._open(f"{failures:g} of {calls:g} calls failed")
        elif slows / calls >= self._config.slow_ratio:
            self._open(f"{slows:g} of {calls:g} calls were slow")

    def _open(self, why: str) -> None:
        self._until = self.clock() + self._config.open_for
        self._become("open", why)

    def _become(self, state: str, why: str) -> None:
        previous, self.state = self.state, state
        self.period += 1
        self._probing = self._probed = 0
        self._slots.clear()
        self.fresh_until = 0.0
        self._changed(state, previous, why)
