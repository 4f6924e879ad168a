"""Time windows: edges, midnight, and the two nights on which the clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mcpsec.errors import ConfigurationError
from mcpsec.gateway.policy.windows import Window


def is_open(window: str, moment: str) -> bool:
    return Window.parse(window).contains(datetime.fromisoformat(moment))


@pytest.mark.parametrize(
    ("window", "moment", "expected"),
    [
        ("Sun 02:00-04:00 Europe/Berlin", "2026-11-22T01:00:00+00:00", True),
        ("Sun 02:00-04:00 Europe/Berlin", "2026-11-22T00:59:59.999+00:00", False),
        ("Sun 02:00-04:00 Europe/Berlin", "2026-11-22T02:59:59.999+00:00", True),
        ("Sun 02:00-04:00 Europe/Berlin", "2026-11-22T03:00:00+00:00", False),
        ("Sun 02:00-04:00 Europe/Berlin", "2026-11-23T01:00:00+00:00", False),
        ("Sun 02:00-04:00 Europe/Berlin", "2026-07-19T00:00:00+00:00", True),  # summer time
        ("Sun 02:00-04:00 Europe/Berlin", "2026-07-19T02:30:00+00:00", False),
        # over midnight: the day on which it starts
        ("Sat 22:00-06:00 UTC", "2026-11-21T22:00:00+00:00", True),
        ("Sat 22:00-06:00 UTC", "2026-11-22T05:59:00+00:00", True),
        ("Sat 22:00-06:00 UTC", "2026-11-22T06:00:00+00:00", False),
        ("Sat 22:00-06:00 UTC", "2026-11-21T05:00:00+00:00", False),
        ("Sat 22:00-06:00 UTC", "2026-11-22T22:00:00+00:00", False),
        ("Mon 22:00-06:00 UTC", "2026-11-24T03:00:00+00:00", True),
        ("Sun 22:00-06:00 UTC", "2026-11-23T03:00:00+00:00", True),  # the week's end
        ("daily 22:00-06:00 UTC", "2026-11-25T23:00:00+00:00", True),
        ("daily 22:00-06:00 UTC", "2026-11-25T03:00:00+00:00", True),
        ("daily 22:00-06:00 UTC", "2026-11-25T12:00:00+00:00", False),
        ("daily 00:00-23:59 UTC", "2026-11-25T23:59:00+00:00", False),
        # the zone's day, not UTC's
        ("Mon 00:00-01:00 Pacific/Auckland", "2026-11-22T11:30:00+00:00", True),
        ("Sun 23:00-23:59 America/Los_Angeles", "2026-11-23T07:30:00+00:00", True),
        ("Mon 05:45-06:00 Asia/Kathmandu", "2026-11-23T00:00:00+00:00", True),
        # 29 March 2026, Berlin: 02:00 is followed by 03:00
        ("Sun 02:00-03:00 Europe/Berlin", "2026-03-29T00:59:59+00:00", False),
        ("Sun 02:00-03:00 Europe/Berlin", "2026-03-29T01:00:00+00:00", False),
        ("Sun 02:00-04:00 Europe/Berlin", "2026-03-29T01:30:00+00:00", True),
        ("Sun 02:00-04:00 Europe/Berlin", "2026-03-29T02:00:00+00:00", False),
        # 25 October 2026, Berlin: 02:00 to 03:00 comes twice
        ("Sun 02:00-03:00 Europe/Berlin", "2026-10-25T00:30:00+00:00", True),
        ("Sun 02:00-03:00 Europe/Berlin", "2026-10-25T01:30:00+00:00", True),
        ("Sun 02:00-03:00 Europe/Berlin", "2026-10-25T02:00:00+00:00", False),
        ("Sat 23:00-02:30 Europe/Berlin", "2026-10-25T00:45:00+00:00", False),
        ("Sat 23:00-02:30 Europe/Berlin", "2026-10-25T01:15:00+00:00", True),
    ],
)
def test_windows(window: str, moment: str, expected: bool) -> None:
    assert is_open(window, moment) is expected


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 1), ("2026-10-25", 3), ("2026-11-22", 2)])
def test_hours_open_on_the_nights_of_the_change(day: str, hours: int) -> None:
    window = Window.parse("Sun 02:00-04:00 Europe/Berlin")
    start = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(hours=3)
    assert sum(window.contains(start + timedelta(minutes=minute)) for minute in range(30 * 60)) == hours * 60


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sun 02:00-04:00",
        "Sun 2:00-4:00 UTC",
        "Sun 02:00-24:00 UTC",
        "Sun 02:60-04:00 UTC",
        "sun 02:00-04:00 UTC",
        "Day 02:00-04:00 UTC",
        "Sun 02:00-02:00 UTC",
        "Sun 02:00-04:00 Mars/Olympus",
        "Sun 02:00-04:00 ../../etc/passwd",
        "Sun 02:00-04:00 /etc/localtime",
        "Sun 02:00-04:00 UTC ",
        "Sun 02:00-04:00 UTC\n",
        "Sun  02:00-04:00 UTC",
        "Sun \u0660\u0662:00-04:00 UTC",
        "Sun,Mon 02:00-04:00 UTC",
    ],
)
def test_what_is_not_a_window(text: str) -> None:
    with pytest.raises(ConfigurationError):
        Window.parse(text)
