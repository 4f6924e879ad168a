"""One timer for all who wait for an answer of one upstream.

While requests keep coming with the same timeout it is set once in a timeout, not once in a request.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Deadlines"]


class Due(Protocol):
    """Somebody who waits until ``deadline``, in the loop's time, and hears by ``expire`` that it has passed."""

    deadline: float

    def expire(self) -> None:
        """The answer did not come in time."""


class Deadlines:
    """Who begins to wait calls ``ring_at``, unless it ``rings_at`` that time or before. ``waiting`` has all who do."""

    def __init__(self, waiting: Callable[[], Iterable[Due]]) -> None:
        self._waiting = waiting
        self._timer: asyncio.TimerHandle | None = None
        self.rings_at = math.inf

    def ring_at(self, deadline: float) -> None:
        """Have the timer ring at this deadline, the first of all."""
        if self._timer is not None:
            self._timer.cancel()
        self.rings_at = deadline
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(deadline, self._expire, loop)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer, self.rings_at = None, math.inf
        now, later = loop.time(), math.inf
        for each in self._waiting():
            if each.deadline <= now:
                each.expire()
            else:
                later = min(later, each.deadline)
        if later < self.rings_at:
            self.ring_at(later)

    def close(self) -> None:
        """Ring no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self.rings_at = None, math.inf
