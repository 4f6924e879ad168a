"""A time of day that is set back, beside a store that forgets each nonce when its message is too old.

The store counts the seconds for itself. To a gateway whose clock was set back by more than messages may be old, such a
message is young again when the store has forgotten it, and it would be served a second time.
"""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SetBack"]

_STEP = 1.0
"""Seconds that the time of day may differ from a steady clock: a nonce is kept for two more than it has to be."""
_SKEW = 30.0
"""Seconds that a message may be made ahead of the clock of who serves it."""
_MOST = 16


class _Era(NamedTuple):
    """A stretch in which the time of day went with the steady clock, ``ahead`` of it by so much.

    Messages that ended after ``low`` and were made before ``end`` (Unix seconds) may have been served in it, by any
    gateway of the store. The first has no ``low``: others, or this one before a restart, have served since long.
    """

    ahead: float
    low: float
    end: float


class SetBack:
    """Knows which messages were accepted under another time of day, and may have been forgotten since."""

    def __init__(self, *, clock: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._steady = clock, steady
        self._low = -inf
        self._ahead = clock() - steady()
        self._longest = 0.0
        self._eras: list[_Era] = []

    def may_be_forgotten(self, expires_at: float, created: float | None = None) -> bool:
        """Whether a message that ends then may have been served before, without anybody remembering it.

        When it was ``created`` is not said of all: those are taken for as long-lived as the longest of them.
        """
        now, steady = self._clock(), self._steady()
        if abs(now - steady - self._ahead) > _STEP:
            self._turn(now, steady)
        if created is None:
            self._longest = max(self._longest, expires_at - now)
            created = expires_at - self._longest
        return any(
            each.low <= expires_at and created <= each.end + _SKEW and expires_at - each.ahead <= steady
            for each in self._eras
        )

    def _turn(self, now: float, steady: float) -> None:
        """The time of day has been set."""
        self._eras.append(_Era(self._ahead, self._low, steady + self._ahead))
        self._ahead, self._low = now - steady, now
        if len(self._eras) > _MOST:
            first, second, *others = self._eras
            both = _Era(max(first.ahead, second.ahead), min(first.low, second.low), max(first.end, second.end))
            self._eras = [both, *others]
