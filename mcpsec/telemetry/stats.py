"""What a log says in numbers. Memory is bounded: counted names beyond a limit are summed up as ``(others)``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

__all__ = ["Statistics", "collect"]

_NAMES = 10_000
_SAMPLES = 100_000
_PERIODS = 24 * 366


@dataclass(slots=True)
class Statistics:
    """Counts over the events of a query."""

    events: int = 0
    requests: int = 0
    first: str | None = None
    last: str | None = None
    decisions: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    clients: Counter[str] = field(default_factory=Counter)
    resources: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    refused_clients: Counter[str] = field(default_factory=Counter)
    minutes: dict[str, list[int]] = field(default_factory=dict)
    durations: list[float] = field(default_factory=list)
    timed: int = 0
    _random: Random = field(default_factory=lambda: Random(0))  # noqa: S311 # a sample, and the same one each time

    def add(self, event: dict[str, Any]) -> None:
        """Count one event."""
        self.events += 1
        self.first = self.first or event["time"]
        self.last = event["time"]
        self.kinds[event.get("kind", "")] += 1
        decision = event.get("decision")
        if decision is not None:
            self.decisions[decision] += 1
        if event.get("status") is not None:
            self._add_request(event, decision)
        if decision == "refused" or event.get("kind") in {"handshake-refused", "authentication-failed"}:
            _count(self.refused_clients, event.get("client") or event.get("claimed") or event.get("address") or "?")
            _count(self.rules, event.get("rule") or "?")
            _count(self.reasons, event.get("reason") or event.get("kind") or "?")

    def percentile(self, share: float) -> float | None:
        """Milliseconds within which ``share`` (0 to 1) of the requests were answered."""
        if not self.durations:
            return None
        ordered = sorted(self.durations)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def series(self, points: int = 60) -> list[tuple[str, int, int]]:
        """Start, requests and refusals of equal stretches of time between the first and the last request."""
        minutes = sorted(self.minutes)
        if not minutes:
            return []
        size = max(1, -(-len(minutes) // points))
        groups = [minutes[at : at + size] for at in range(0, len(minutes), size)]
        return [
            (group[0], sum(self.minutes[each][0] for each in group), sum(self.minutes[each][1] for each in group))
            for group in groups
        ]

    def document(self, top: int = 20) -> dict[str, Any]:
        """The statistics as a JSON document, ``mcpsec.log-stats/1``."""
        counters = ("clients", "resources", "refused_clients", "rules", "reasons")
        return {
            "schema": "mcpsec.log-stats/1",
            "events": self.events,
            "requests": self.requests,
            "first": self.first,
            "last": self.last,
            "decisions": dict(self.decisions),
            "kinds": dict(self.kinds.most_common()),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "duration_ms": {
                name: self.percentile(share) for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
            },
            **{name: dict(getattr(self, name).most_common(top)) for name in counters},
        }

    def _add_request(self, event: dict[str, Any], decision: str | None) -> None:
        self.requests += 1
        self.statuses[event["status"]] += 1
        _count(self.clients, event.get("client") or "(not identified)")
        if event.get("resource"):
            _count(self.resources, event["resource"])
        minute = event["time"][:16]
        if minute in self.minutes or len(self.minutes) < _PERIODS:
            bucket = self.minutes.setdefault(minute, [0, 0])
            bucket[0] += 1
            bucket[1] += decision == "refused"
        duration = event.get("duration_ms")
        if isinstance(duration, int | float):
            self._sample(duration)

    def _sample(self, duration: float) -> None:
        """Keep an even sample of all durations (reservoir sampling, Vitter's algorithm R)."""
        self.timed += 1
        if len(self.durations) < _SAMPLES:
            self.durations.append(duration)
        elif (place := self._random.randrange(self.timed)) < _SAMPLES:
            self.durations[place] = duration


def collect(events: Iterable[dict[str, Any]]) -> Statistics:
    """Count all of ``events``."""
    statistics = Statistics()
    for event in events:
        statistics.add(event)
    return statistics


def _count(counter: Counter[str], name: str) -> None:
    counter[name if name in counter or len(counter) < _NAMES else "(others)"] += 1
