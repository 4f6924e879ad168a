"""Recurring time windows: ``Sun 02:00-04:00 Europe/Berlin``, ``daily 22:00-06:00 UTC``.

A moment is inside when the wall clock of the zone shows a time from start (included) to end (excluded). So a window
that the change to summer time skips is not open that day, and one that the change back repeats is open in both hours.
A window whose end is before its start reaches into the next day and belongs to the day on which it starts.
"""

from __future__ import annotations

import re
from datetime import datetime, time
from typing import TYPE_CHECKING

from mcpsec.errors import ConfigurationError
from mcpsec.frozen import dataclass

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

__all__ = ["Window"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_FORM = re.compile(r"(daily|[A-Z][a-z]{2}) ([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2}) (\S+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Window:
    """``day`` counts from Monday 0, None for every day."""

    day: int | None
    start: time
    end: time
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read a window. Raises ``ConfigurationError`` for anything that isn't one."""
        from zoneinfo import ZoneInfo

        match = _FORM.fullmatch(text)
        try:
            if match is None:
                raise ValueError
            day, hour, minute, end_hour, end_minute, zone = match.groups()
            window = cls(
                None if day == "daily" else _DAYS.index(day),
                time(int(hour), int(minute)),
                time(int(end_hour), int(end_minute)),
                ZoneInfo(zone),
            )
            if window.start == window.end:
                raise ValueError
        except (ValueError, OSError, LookupError):
            raise ConfigurationError(
                f"{text!r} is not a time window",
                hint='write day, times and zone, as "Sun 02:00-04:00 Europe/Berlin" or "daily 22:00-06:00 UTC"',
            ) from None
        return window

    def contains(self, now: datetime) -> bool:
        """Whether the window is open; ``now`` is an aware moment."""
        local = now.astimezone(self.zone)
        clock, day = local.time(), local.weekday()
        if self.start < self.end:
            return self.start <= clock < self.end and self.day in (None, day)
        if clock >= self.start:
            return self.day in (None, day)
        return clock < self.end and self.day in (None, (day - 1) % 7)
