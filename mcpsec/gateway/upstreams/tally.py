"""Calls of the last while: how many there were, how many of them failed, and how many were slow."""

from __future__ import annotations

__all__ = ["Tally"]

_SLOTS = 10


class Tally:
    """Counts of a window of so many seconds, in slots: the oldest slot leaves it as a whole.

    ``newest`` is the slot of the moment, [number, calls, failures, slow calls], until ``ends``. Two tallies of one
    window have the same slots.
    """

    __slots__ = ("_slots", "_width", "ends", "newest")

    def __init__(self, window: float) -> None:
        self._width = window / _SLOTS
        self._slots: list[list[int]] = []
        self.newest: list[int] = []
        self.ends = 0.0

    def roll(self, now: float) -> None:
        """Begin the slot of this moment, if it has not begun."""
        if now < self.ends:
            return
        number = int(now / self._width)
        self.forget(now)
        if not self._slots or self._slots[-1][0] < number:
            self._slots.append([number, 0, 0, 0])
        self.newest = self._slots[-1]
        self.ends = (number + 1) * self._width

    def forget(self, now: float) -> None:
        """Leave out what is too old."""
        oldest = int(now / self._width) - _SLOTS
        while self._slots and self._slots[0][0] <= oldest:
            del self._slots[0]

    def sums(self, now: float) -> tuple[int, int, int]:
        """Calls, failures and slow calls within the window."""
        self.forget(now)
        calls = failures = slow = 0
        for _, one, two, three in self._slots:
            calls, failures, slow = calls + one, failures + two, slow + three
        return calls, failures, slow

    def take(self, other: Tally) -> None:
        """Have what the other counted, which is empty then. What both count must not be newer here than there."""
        for slot in other._slots:
            if self._slots and self._slots[-1][0] == slot[0]:
                self._slots[-1][1:] = [one + two for one, two in zip(self._slots[-1][1:], slot[1:], strict=True)]
            else:
                self._slots.append(slot)
        other.clear()
        self.ends = 0.0

    def clear(self) -> None:
        """Begin anew."""
        self._slots.clear()
        self.ends = 0.0
