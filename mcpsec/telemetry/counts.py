"""Counts of finished requests as plain numbers: the event loop adds to them, a scrape reads them.

What a request adds to is looked up once for each combination of label values. A counter of ``prometheus_client`` takes
a lock and several calls for each addition, which for six of them is more than the rest of a request's record costs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["BUCKETS", "RequestCounts", "Series", "tally"]

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds in seconds: from a cached answer to a stuck tool."""
_MILLISECONDS = tuple(bound * 1000 for bound in BUCKETS)
_COMBINATIONS = 4096
Key = tuple[str | None, str | None, str | None, int | None, str | None]
"""Upstream, method class, decision, status and client, as an event has them."""


def tally(values: Iterable[float], bounds: Sequence[float], counts: list[int]) -> None:
    """Add to ``counts`` how many values lie up to each bound, and above the last: by the bin, not by the value."""
    ordered = sorted(values)
    done = 0
    while done < len(ordered):
        place = bisect_left(bounds, ordered[done])
        end = bisect_right(ordered, bounds[place], done + 1) if place < len(bounds) else len(ordered)
        counts[place] += end - done
        done = end


class _Timing:
    """A histogram: how often in each bucket, and the sum of all."""

    __slots__ = ("buckets", "sum")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def add(self, milliseconds: Sequence[float]) -> None:
        tally(milliseconds, _MILLISECONDS, self.buckets)
        self.sum += sum(milliseconds)

    def cumulative(self) -> list[tuple[str, float]]:
        """The buckets as Prometheus has them: each with all that is below it."""
        total, result = 0, []
        for bound, count in zip((*BUCKETS, "+Inf"), self.buckets, strict=True):
            total += count
            result.append((str(bound), float(total)))
        return result


class Series:
    """What one combination of label values adds to."""

    __slots__ = ("_client", "_requests", "_seconds", "_upstream_seconds")

    def __init__(self, requests: list[int], client: list[int], seconds: _Timing, upstream_seconds: _Timing) -> None:
        self._requests = requests
        self._client = client
        self._seconds = seconds
        self._upstream_seconds = upstream_seconds

    def add(self, durations: Sequence[float | None], upstream_durations: Sequence[float | None]) -> None:
        """Count finished requests: of each, how long it took, and how long its upstream did of that (ms)."""
        self._requests[0] += len(durations)
        self._client[0] += len(durations)
        self._seconds.add(_known(durations))
        self._upstream_seconds.add(_known(upstream_durations))


def _known(durations: Sequence[float | None]) -> Sequence[float]:
    """Those that there are; mostly all."""
    return [each for each in durations if each is not None] if None in durations else durations  # type: ignore[return-value] # no None is in them


class RequestCounts:
    """The counters and histograms of finished requests. ``bounded`` makes a label value of an event's field."""

    def __init__(self, bounded: Callable[[str, object], str]) -> None:
        self._bounded = bounded
        self._known: dict[Key, Series] = {}
        self._requests: dict[tuple[str, ...], list[int]] = {}
        self._clients: dict[tuple[str, ...], list[int]] = {}
        self._seconds: dict[str, _Timing] = {}
        self._upstream_seconds: dict[str, _Timing] = {}

    def series(self, key: Key) -> Series:
        """What requests of one combination add to."""
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _COMBINATIONS:
                self._known.clear()
            known = self._known[key] = self._resolve(key)
        return known

    def _resolve(self, key: Key) -> Series:
        upstream, method_class, decision, status, client = key
        bounded = self._bounded
        name, outcome = bounded("upstream", upstream), bounded("decision", decision)
        labels = (name, bounded("method_class", method_class), outcome, bounded("status", status))
        return Series(
            self._requests.setdefault(labels, [0]),
            self._clients.setdefault((bounded("client", client), outcome), [0]),
            self._seconds.setdefault(name, _Timing()),
            self._upstream_seconds.setdefault(name, _Timing()),
        )

    def requests(self) -> list[tuple[tuple[str, ...], int]]:
        """How many finished by upstream, method class, decision and HTTP status. May be asked in another thread."""
        return [(labels, count[0]) for labels, count in tuple(self._requests.items())]

    def clients(self) -> list[tuple[tuple[str, ...], int]]:
        """How many finished by client and decision."""
        return [(labels, count[0]) for labels, count in tuple(self._clients.items())]

    def timings(self, *, of_upstreams: bool) -> list[tuple[str, list[tuple[str, float]], float]]:
        """By upstream: how many requests took up to each bound, and the sum in seconds."""
        timings = self._upstream_seconds if of_upstreams else self._seconds
        return [(upstream, timing.cumulative(), timing.sum / 1000) for upstream, timing in tuple(timings.items())]
