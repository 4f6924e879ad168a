"""What is normal for a client: learned from its allowed requests, in a way that a person can check.

Of each client is kept: the resources it has used, the hours of the day (UTC) at which it was active, and the most
requests it ever sent in one minute. A client is learned when it has been seen for ``days`` days and ``requests``
requests; until then nothing is unusual. After that, a resource or an hour never seen is a deviation once (and then
known), and so is a minute with more than ``factor`` times the busiest learned one. Memory: at most ``clients``
clients with ``resources`` resources each; a client that uses more is not judged by resource.

Gateways that share a store learn together: ``untold`` is what this one has learned since it was last asked, ``absorb``
takes in what all of them know. The busiest minute is then that of the busiest gateway, as each counts for itself.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import orjson

__all__ = ["Baselines", "Deviation", "Learned"]

_SAVE_EVERY = 300.0
_RATE_FLOOR = 30


@dataclass(frozen=True, slots=True)
class Deviation:
    """One way in which a request is not like those before it, with the figures that say so."""

    rule: str
    subject: str
    summary: str


@dataclass(frozen=True, slots=True)
class Learned:
    """What is known of a client: by one gateway since it last told (``requests`` since then), or by all of them.

    ``first_day`` is in days (proleptic Gregorian ordinal), ``hours`` has a bit for each hour of the day (UTC).
    """

    first_day: float
    requests: int
    resources: tuple[str, ...]
    hours: int
    busiest: int


@dataclass(slots=True)
class _Pattern:
    first_day: float
    requests: int = 0
    resources: dict[str, None] = field(default_factory=dict)
    hours: int = 0
    busiest: int = 0
    minute: str = ""
    in_minute: int = 0
    flagged: bool = False
    learned: bool = False
    untold: int = 0
    untold_resources: list[str] = field(default_factory=list)


class Baselines:
    """The normal patterns of all clients. With a ``path`` they outlive the process (JSON, mode 0600)."""

    def __init__(
        self,
        path: Path | None = None,
        *,
        days: float = 7,
        requests: int = 500,
        factor: float = 3.0,
        clients: int = 2000,
        resources: int = 256,
    ) -> None:
        self._path = path
        self._days = days
        self._requests = requests
        self._factor = factor
        self._max_clients = clients
        self._max_resources = resources
        self._patterns: OrderedDict[str, _Pattern] = OrderedDict()
        self._saved = 0.0
        self._load()

    def observe(self, record: Mapping[str, Any], times: int = 1) -> Iterator[Deviation]:
        """Learn from one allowed request, or ``times`` like it in one minute, and say in what it deviates."""
        client, when = record["client"], record["time"]
        pattern = self._patterns.get(client)
        if pattern is None:
            pattern = self._add(client, when)
        else:
            self._patterns.move_to_end(client)
        pattern.requests += times
        pattern.untold += times
        if not pattern.learned and pattern.requests > self._requests:
            pattern.learned = _day(when) - pattern.first_day >= self._days
        learned = pattern.learned
        resource = record.get("resource")
        if resource is not None and resource not in pattern.resources:
            if learned and len(pattern.resources) < self._max_resources:
                known = len(pattern.resources)
                text = f"{client} used {resource} for the first time ({known} others in {pattern.requests} requests)"
                yield Deviation("new-resource", f"{client}/{resource}", text)
            if len(pattern.resources) < self._max_resources:
                pattern.resources[resource] = None
                pattern.untold_resources.append(resource)
        hour = 1 << int(when[11:13])
        if not pattern.hours & hour:
            if learned:
                text = f"{client} is active at {when[11:13]}:00 UTC, an hour at which it never was"
                yield Deviation("new-hour", f"{client}/{when[11:13]}", text)
            pattern.hours |= hour
        yield from self._rate(client, pattern, when[:16], times, learned=learned)

    def explain(self, client: str) -> dict[str, Any] | None:
        """What was learned about a client."""
        pattern = self._patterns.get(client)
        if pattern is None:
            return None
        return {
            "requests": pattern.requests,
            "resources": list(pattern.resources),
            "hours": [hour for hour in range(24) if pattern.hours >> hour & 1],
            "busiest_minute": pattern.busiest,
        }

    def untold(self) -> list[tuple[str, Learned]]:
        """What was learned of each client since this was last asked. ``retell`` puts back what could not be told."""
        news = []
        for client, each in self._patterns.items():
            if each.untold:
                told = Learned(each.first_day, each.untold, tuple(each.untold_resources), each.hours, each.busiest)
                news.append((client, told))
                each.untold, each.untold_resources = 0, []
        return news

    def retell(self, client: str, news: Learned) -> None:
        """Keep for the next time what could not be told."""
        pattern = self._patterns.get(client)
        if pattern is not None:
            pattern.untold += news.requests
            pattern.untold_resources[:0] = news.resources

    def absorb(self, client: str, known: Learned) -> None:
        """Take in what all gateways know of a client; what this one knows beyond that stays."""
        pattern = self._patterns.get(client)
        if pattern is None:
            return
        pattern.first_day = min(pattern.first_day, known.first_day)
        pattern.requests = max(pattern.requests, known.requests + pattern.untold)
        pattern.hours |= known.hours
        pattern.busiest = max(pattern.busiest, known.busiest)
        for resource in known.resources:
            if len(pattern.resources) >= self._max_resources:
                break
            pattern.resources.setdefault(resource)

    def save_if_due(self, now: float) -> None:
        """Save every five minutes."""
        if abs(now - self._saved) >= _SAVE_EVERY:
            self._saved = now
            self.save()

    def save(self) -> None:
        """Write the patterns to the file, if there is one; a full disk costs only what was learned since."""
        if self._path is None:
            return
        patterns = {
            client: [each.first_day, each.requests, list(each.resources), each.hours, each.busiest]
            for client, each in self._patterns.items()
        }
        partial = self._path.with_name(self._path.name + ".tmp")
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(orjson.dumps({"schema": "mcpsec.baselines/1", "clients": patterns}))
            partial.replace(self._path)
        except OSError:
            return

    def _rate(self, client: str, pattern: _Pattern, minute: str, times: int, *, learned: bool) -> Iterator[Deviation]:
        if minute != pattern.minute:
            pattern.busiest = max(pattern.busiest, pattern.in_minute)
            pattern.minute, pattern.in_minute, pattern.flagged = minute, 0, False
        pattern.in_minute += times
        if learned and not pattern.flagged and pattern.in_minute > max(_RATE_FLOOR, self._factor * pattern.busiest):
            pattern.flagged = True
            text = f"{client} sent {pattern.in_minute} requests in one minute; its busiest before had {pattern.busiest}"
            yield Deviation("rate-above-baseline", client, text)

    def _add(self, client: str, when: str) -> _Pattern:
        pattern = _Pattern(_day(when))
        self._patterns[client] = pattern
        if len(self._patterns) > self._max_clients:
            self._patterns.popitem(last=False)
        return pattern

    def _load(self) -> None:
        """Take over what was learned; an unreadable file means learning anew."""
        if self._path is None:
            return
        try:
            document = orjson.loads(self._path.read_bytes())
            for client, (day, requests, resources, hours, busiest) in document["clients"].items():
                pattern = _Pattern(
                    float(day), int(requests), dict.fromkeys(map(str, resources)), int(hours), int(busiest)
                )
                pattern.untold_resources = list(pattern.resources)
                self._patterns[str(client)] = pattern
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._patterns.clear()


def _day(when: str) -> float:
    """The moment in days, to the minute; ``when`` is the time of a record."""
    return date.fromisoformat(when[:10]).toordinal() + int(when[11:13]) / 24 + int(when[14:16]) / 1440
