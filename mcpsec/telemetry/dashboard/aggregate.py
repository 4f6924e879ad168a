"""What the dashboard shows, kept in memory of a stated size: seconds of the last minutes, minutes of the last day.

``feed`` takes records as the log writes them (redacted) and costs a microsecond or two. Names are counted in slots of
ten minutes over the last hour; a slot that has ``_NAMES`` names counts further ones as ``(others)``.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mcpsec.telemetry.counts import tally
from mcpsec.telemetry.likeness import Row

__all__ = ["Aggregate"]

_SECONDS = 300
_MINUTES = 1440
_SLOT = 600
_SLOTS = 6
_LONGEST_DUE = 30 * 86_400.0
_NAMES = 2000
_RECENT = 2000
_DENIALS = 200
_ALERTS = 100
_BINS = 96
_BOUNDS = tuple(2 ** (place / 4) / 64 for place in range(1, _BINS))
"""Milliseconds up to which each bin of a latency histogram but the last goes: four to the doubling, from 1/64 ms."""
_TOP = 12
_LIST_SECONDS = 0.9
_OUTCOMES = {"allowed": 0, "refused": 1, "failed": 2}
_FAILED_AUTHENTICATION, _LIMIT_HIT, _COUNTS = 3, 4, 5
"""Of each second and minute: requests by outcome, then failed authentications and limit hits."""
_SHOWN = (
    "seq",
    "time",
    "kind",
    "decision",
    "client",
    "claimed",
    "identified_by",
    "address",
    "upstream",
    "resource",
    "method",
    "method_class",
    "rule",
    "reason",
    "status",
    "duration_ms",
    "request_id",
    "name",
    "severity",
    "state",
    "detail",
)


class _Slot:
    """Ten minutes of names."""

    __slots__ = ("clients", "limits", "reasons", "resources")

    def __init__(self) -> None:
        self.clients: dict[str, list[int]] = {}
        self.resources: dict[str, list[int]] = {}
        self.reasons: Counter[str] = Counter()
        self.limits: Counter[str] = Counter()


class _Upstream:
    """One upstream's state and its last minutes."""

    __slots__ = ("bins", "breakers", "failed", "requests", "state")

    def __init__(self) -> None:
        self.requests = self.failed = 0
        self.state = "up"
        self.breakers: dict[str, dict[str | None, str]] = {}
        """Those that are not closed, of each log's gateway: its clients' own, and, under None, the one for all."""
        self.bins = [0] * _BINS

    def breaker(self) -> str:
        """Of the breakers for all clients, the one that lets least through."""
        states = [each[None] for each in self.breakers.values() if None in each]
        return "open" if "open" in states else next(iter(states), "closed")

    def stopped(self) -> int:
        """How many clients are stopped by a breaker of their own, at whichever gateway."""
        return len({client for each in self.breakers.values() for client in each if client is not None})


class Aggregate:
    """Counts of the last five minutes by second and of the last day by minute, with who, what and why."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.started = clock()
        self.totals = {"requests": 0, "allowed": 0, "refused": 0, "failed": 0}
        self.totals |= {"authentication_failures": 0, "limit_hits": 0, "handshakes_refused": 0, "alerts": 0}
        self._second = int(clock())
        self._seconds: deque[list[int]] = deque(([0] * _COUNTS for _ in range(_SECONDS)), maxlen=_SECONDS)
        self._minutes: deque[list[int]] = deque(([0] * _COUNTS for _ in range(_MINUTES)), maxlen=_MINUTES)
        self._latency: deque[list[int]] = deque(([0] * _BINS for _ in range(5)), maxlen=5)
        self._slots: deque[_Slot] = deque([_Slot()], maxlen=_SLOTS)
        self._upstreams: dict[str, _Upstream] = {}
        self._certificates: dict[str, tuple[float, float]] = {}
        self._lists: dict[str, Any] = {}
        self._listed_at = 0.0
        self.recent: deque[Mapping[str, Any] | Row] = deque(maxlen=_RECENT)
        self.denials: deque[dict[str, Any]] = deque(maxlen=_DENIALS)
        self.alerts: deque[dict[str, Any]] = deque(maxlen=_ALERTS)

    # -- in --------------------------------------------------------------------------------------------------------

    def feed(self, record: Mapping[str, Any], *, log: str = "") -> None:
        """Count one record of the log (``AuditLog.subscribe``); of several logs ``log`` tells each from the others."""
        kind = record["kind"]
        if kind == "log-checkpoint":
            return
        now = int(self._clock())
        if now != self._second:
            self._advance(now)
        self.recent.append(record)
        if record.get("status") is not None:
            duration = record.get("duration_ms")
            self._requests(record, [duration] if isinstance(duration, int | float) else [], 1)
        if kind == "request" and record.get("decision") == "allowed":
            return
        self._notable(kind, record, log)

    def feed_rows(self, rows: Sequence[Row]) -> None:
        """Count like requests together (``AuditLog.subscribe``)."""
        common = rows[0].request.likeness.common
        if common["kind"] != "request" or common.get("decision") != "allowed":
            for row in rows:
                self.feed(row.record())
            return
        now = int(self._clock())
        if now != self._second:
            self._advance(now)
        self.recent.extend(rows)
        self._requests(common, [each[2] for _, each in rows], len(rows))  # durations

    def set_certificate(self, name: str, not_before: float, not_after: float) -> None:
        """Note the life of a certificate or revocation list in use (Unix seconds).

        It is due when a third of its life is left, when it should have been renewed, and never earlier than 30 days.
        """
        if name in self._certificates or len(self._certificates) < _NAMES:
            self._certificates[name] = (not_after, min((not_after - not_before) / 3, _LONGEST_DUE))

    def set_upstreams(self, names: Iterable[str]) -> None:
        """Show these upstreams from the start, before the first request to them."""
        for name in names:
            self._upstream(name)

    # -- out -------------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Everything, ``mcpsec.dashboard/1``."""
        document = self.tick(after=-1)
        document["seconds"] = list(self._seconds)
        document["minutes"] = list(self._minutes)
        return document

    def tick(self, after: int) -> dict[str, Any]:
        """What changes from second to second; of denials and alerts only those with a number above ``after``."""
        now = self._clock()
        if int(now) != self._second:
            self._advance(int(now))
        if abs(now - self._listed_at) >= _LIST_SECONDS or after < 0:
            self._listed_at, self._lists = now, self._make_lists()
        return {
            "schema": "mcpsec.dashboard/1",
            "now": now,
            "started": self.started,
            "totals": dict(self.totals),
            "second": self._second,
            "last_seconds": list(self._seconds)[-5:],
            "last_minutes": list(self._minutes)[-2:],
            "latency_ms": _quantiles(_sum_bins(self._latency)),
            **self._lists,
            "upstreams": [
                self._upstream_row(name, each) for name, each in sorted(self._upstreams.items(), key=_by_name)
            ],
            "certificates": [
                {"name": name, "not_after": when, "due_seconds": due}
                for name, (when, due) in sorted(self._certificates.items(), key=lambda x: x[1])
            ],
            "denials": [each for each in self.denials if each.get("seq", 0) > after],
            "alerts": [each for each in self.alerts if each.get("seq", 0) > after],
            "seq": _record(self.recent[-1]).get("seq", 0) if self.recent else 0,
        }

    def _make_lists(self) -> dict[str, Any]:
        """Who, what and why of the last hour: made once for all viewers, names of an hour are many."""
        return {
            "clients": self._top("clients"),
            "resources": self._top("resources"),
            "active_clients": len({name for slot in self._slots for name in slot.clients}),
            "reasons": self._merged("reasons"),
            "limits": self._merged("limits"),
        }

    def search(self, text: str, limit: int = 100) -> list[dict[str, Any]]:
        """The newest of the events kept in memory in which every word of ``text`` stands, newest first."""
        words = text.casefold().split()
        found: list[dict[str, Any]] = []
        for record in reversed(self.recent):
            shown = _shown(_record(record))
            content = " ".join(str(value) for value in shown.values()).casefold()
            if all(word in content for word in words):
                found.append(shown)
                if len(found) >= limit:
                    break
        return found

    # -- counting --------------------------------------------------------------------------------------------------

    def _requests(self, record: Mapping[str, Any], durations: list[float], count: int) -> None:
        """Count finished requests that differ in their duration alone."""
        decision = record.get("decision")
        outcome = _OUTCOMES.get(decision or "allowed", 2)
        self._seconds[-1][outcome] += count
        self._minutes[-1][outcome] += count
        totals = self.totals
        totals["requests"] += count
        totals[decision if decision in _OUTCOMES else "allowed"] += count
        slot = self._slots[-1]
        _count(slot.clients, record.get("client") or "(not identified)", outcome, count)
        resource = record.get("resource")
        if resource is not None and outcome != 1:
            _count(slot.resources, resource, outcome, count)
        upstream = record.get("upstream")
        row = None if upstream is None or outcome == 1 else self._upstream(upstream)
        if row is not None:
            row.requests += count
            row.failed += count if outcome == 2 else 0
        if row is not None:
            tally(durations, _BOUNDS, row.bins)
        tally(durations, _BOUNDS, self._latency[-1])

    def _notable(self, kind: str, record: Mapping[str, Any], log: str) -> None:
        totals, slot = self.totals, self._slots[-1]
        if record.get("decision") == "refused" or kind == "handshake-refused":
            self.denials.append(_shown(record))
        if kind in {"authentication-failed", "handshake-refused"}:
            totals["authentication_failures"] += 1
            self._seconds[-1][_FAILED_AUTHENTICATION] += 1
            self._minutes[-1][_FAILED_AUTHENTICATION] += 1
            totals["handshakes_refused"] += kind == "handshake-refused"
            _tally(slot.reasons, str(record.get("reason") or record.get("rule") or kind))
        elif kind == "rate-limited":
            totals["limit_hits"] += 1
            self._seconds[-1][_LIMIT_HIT] += 1
            self._minutes[-1][_LIMIT_HIT] += 1
            _tally(slot.limits, str(record.get("client") or record.get("address") or "?"))
        elif kind == "alert":
            totals["alerts"] += 1
            self.alerts.append(_shown(record))
        elif kind in {"breaker", "upstream"} and record.get("upstream") is not None:
            row = self._upstream(record["upstream"])
            if row is not None and record.get("state") is not None:
                _changed(row, kind, str(record["state"]), log, record.get("client"))
        elif kind == "server-start":  # whoever reads a log meets those that went before
            for row in self._upstreams.values():
                row.breakers.pop(log, None)

    def _advance(self, now: int) -> None:
        """Begin the seconds, minutes and slots that have passed; a clock that was set back begins none."""
        if now < self._second:
            self._second = now
            return
        for _ in range(min(now - self._second, _SECONDS)):
            self._seconds.append([0] * _COUNTS)
        minutes = now // 60 - self._second // 60
        for _ in range(min(minutes, _MINUTES)):
            self._minutes.append([0] * _COUNTS)
        for _ in range(min(minutes, 5)):
            self._latency.append([0] * _BINS)
        for _ in range(min(now // _SLOT - self._second // _SLOT, _SLOTS)):
            self._slots.append(_Slot())
            for row in self._upstreams.values():
                row.bins, row.requests, row.failed = [0] * _BINS, 0, 0
        self._second = now

    def _upstream(self, name: str) -> _Upstream | None:
        row = self._upstreams.get(name)
        if row is None and len(self._upstreams) < _NAMES:
            row = self._upstreams[name] = _Upstream()
        return row

    def _upstream_row(self, name: str, row: _Upstream) -> dict[str, Any]:
        return {
            "name": name,
            "state": row.state,
            "breaker": row.breaker(),
            "breaker_clients": row.stopped(),
            "requests": row.requests,
            "failed": row.failed,
            "latency_ms": _quantiles(row.bins),
        }

    def _top(self, what: str) -> list[dict[str, Any]]:
        merged: dict[str, list[int]] = {}
        for slot in self._slots:
            for name, counts in getattr(slot, what).items():
                total = merged.setdefault(name, [0, 0, 0])
                for index in range(3):
                    total[index] += counts[index]
        best = sorted(merged.items(), key=lambda item: -sum(item[1]))[:_TOP]
        return [{"name": name, "allowed": each[0], "refused": each[1], "failed": each[2]} for name, each in best]

    def _merged(self, what: str) -> list[dict[str, Any]]:
        total: Counter[str] = Counter()
        for slot in self._slots:
            total.update(getattr(slot, what))
        return [{"name": name, "count": count} for name, count in total.most_common(_TOP)]


def _by_name(item: tuple[object, object]) -> str:
    """A log that somebody else has written to may have numbers among the names."""
    return str(item[0])


def _changed(row: _Upstream, kind: str, state: str, log: str, client: str | None) -> None:
    if kind == "upstream":
        row.state = state
    elif state == "closed":
        row.breakers.get(log, {}).pop(client, None)
    else:
        row.breakers.setdefault(log, {})[client] = state


def _shown(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in _SHOWN if record.get(name) is not None}


def _record(kept: Mapping[str, Any] | Row) -> Mapping[str, Any]:
    return kept.record() if isinstance(kept, Row) else kept


def _count(names: dict[str, list[int]], name: str, outcome: int, count: int) -> None:
    counts = names.get(name)
    if counts is None:
        if len(names) >= _NAMES:
            name = "(others)"
        counts = names.setdefault(name, [0, 0, 0])
    counts[outcome] += count


def _tally(counter: Counter[str], name: str) -> None:
    counter[name if name in counter or len(counter) < _NAMES else "(others)"] += 1


def _sum_bins(minutes: Iterable[list[int]]) -> list[int]:
    return [sum(column) for column in zip(*minutes, strict=True)]


def _quantiles(bins: list[int]) -> dict[str, float | None]:
    """Latency quantiles in milliseconds, exact to a fifth."""
    total = sum(bins)
    result: dict[str, float | None] = {}
    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        seen, answer = 0, None
        for place, count in enumerate(bins):
            seen += count
            if total and seen >= share * total:
                answer = round(2 ** ((place + 0.5) / 4) / 64, 3)
                break
        result[name] = answer
    return result
