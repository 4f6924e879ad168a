"""Requests written by likeness: the same line as the whole event's, the same chain, the same view for observers."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from bisect import bisect_left
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from mcpsec.leaks import redact
from mcpsec.telemetry import AuditLog, Event, LogUnavailable
from mcpsec.telemetry.alerts import AlertEngine
from mcpsec.telemetry.counts import BUCKETS, tally
from mcpsec.telemetry.dashboard import Aggregate
from mcpsec.telemetry.events import event_schema
from mcpsec.telemetry.likeness import Figures, Likeness, Row
from mcpsec.telemetry.verify import verify
from tests.telemetry.conftest import request
from tests.telemetry.test_clean import canaries, secret_part
from tests.telemetry.test_log import FullDisk

Open = Callable[..., AuditLog]
OWN = ("request_id", "duration_ms", "request_bytes", "response_bytes", "upstream_ms", "arguments_digest", "trace_id")


def figures(number: int, **more: Any) -> Figures:
    return Figures(f"{number:032x}", 1.25 + number / 7, 300 + number, 80, **more)


def like(log: AuditLog, **fields: Any) -> Likeness:
    found = log.likeness(request(**dict.fromkeys(OWN), **fields))
    assert found is not None
    return found


def lines(log: AuditLog) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.path.read_bytes().splitlines()]


@pytest.mark.parametrize(
    "own",
    [{}, {"upstream_ms": 0.8123}, {"arguments_digest": "ab" * 16, "trace_id": "cd" * 16, "span_id": "ef" * 8}],
    ids=["plain", "timed", "traced"],
)
def test_a_line_is_that_of_the_whole_event(open_log: Open, own: dict[str, Any]) -> None:
    log = open_log()
    mine = figures(3, **own)
    log.write_request(like(log, client='quo"te \\ ünï', resource="files/\u2028"), mine)
    log.write(request(client='quo"te \\ ünï', resource="files/\u2028", **mine._asdict()))
    log.close()
    fast, whole = (each for each in lines(log) if each["kind"] == "request")
    frame = {"seq", "prev", "time", "crc"}
    assert {k: v for k, v in fast.items() if k not in frame} == {k: v for k, v in whole.items() if k not in frame}
    assert list(fast)[:3] == ["schema", "seq", "prev"]
    jsonschema.validate(fast, event_schema())
    assert verify(log.path).intact


def test_the_chain_goes_on_through_both_ways_of_writing_and_every_edit_is_found(open_log: Open) -> None:
    log = open_log(checkpoint_every=50)
    likeness = like(log)
    for number in range(200):
        if number % 3:
            log.write_request(likeness, figures(number))
        else:
            log.write(request(number))
    log.close()
    assert verify(log.path).intact
    raw = log.path.read_bytes()
    edited = raw.replace(figures(100).request_id.encode(), figures(999).request_id.encode())
    assert edited != raw
    log.path.write_bytes(edited)
    assert not verify(log.path).intact


@pytest.mark.parametrize("kind", canaries())
def test_what_is_unclean_has_no_likeness_and_is_not_remembered(open_log: Open, kind: str) -> None:
    canary = canaries()[kind]
    log = open_log(redact=redact)
    for name in (field.name for field in dataclasses.fields(Event) if field.name not in {"time", "status", *OWN}):
        if name.endswith(("_ms", "_bytes", "span_id")) or name in {"code", "count", "retry_after"}:
            continue  # figures: not part of a likeness at all
        for _ in range(2):
            assert log.likeness(request(**{name: f"before {canary} after"})) is None, name
    assert log.likeness(request(resource="x" * 5000)) is None  # would have to be cut
    assert secret_part(canary) not in str(vars(log._cleaner))


def test_observers_hear_of_like_requests_together_and_before_what_came_after(open_log: Open) -> None:
    log = open_log()
    heard: list[Any] = []
    log.subscribe(lambda record: heard.append(record["seq"]), batch=lambda rows: heard.append([r.seq for r in rows]))
    log.subscribe(lambda record: heard.append(record["request_id"]) if record["kind"] == "request" else None)
    likeness = like(log)
    first, second = (log.write_request(likeness, figures(number)) for number in (1, 2))
    assert isinstance(first, Row)
    assert isinstance(second, Row)
    assert heard == []
    log.write(Event("breaker", upstream="files", state="open"))
    ids = [figures(number).request_id for number in (1, 2)]
    assert heard == [[first.seq, second.seq], *ids, second.seq + 1]
    for number in range(2000):
        log.write_request(likeness, figures(number))
    assert sum(len(each) for each in heard if isinstance(each, list)) > 1000  # what waits is bounded


def test_a_broken_observer_costs_neither_the_request_nor_the_others(open_log: Open) -> None:
    log, heard = open_log(), []

    def broken(_rows: object) -> None:
        raise ZeroDivisionError

    log.subscribe(broken, batch=broken)
    log.subscribe(heard.append)
    assert log.write_request(like(log), figures(1)) is not None
    log.close()
    assert [each["request_id"] for each in heard if each["kind"] == "request"] == [figures(1).request_id]


def test_dashboard_and_alerts_make_the_same_of_rows_as_of_records(open_log: Open) -> None:
    log = open_log()
    batched, single = (Aggregate(clock=lambda: 1e9), AlertEngine()), (Aggregate(clock=lambda: 1e9), AlertEngine())
    for each in batched:
        log.subscribe(each.feed, batch=each.feed_rows)
    for each in single:
        log.subscribe(each.feed)
    kinds = [
        like(log, client=client, resource=resource, decision=decision, status=status)
        for client in ("a", "b")
        for resource, decision, status in (("files/x", "allowed", 200), ("files/y", "failed", 503))
    ]
    for number in range(300):
        log.write_request(kinds[number % 4], figures(number))
    log.close()
    assert batched[0].snapshot() == single[0].snapshot()
    assert batched[0].totals["requests"] == 300
    by_seq = [sorted(found.search("files", 1000), key=lambda each: each["seq"]) for found in (batched[0], single[0])]
    assert by_seq[0] == by_seq[1]
    for client in ("a", "b"):
        assert batched[1].baselines.explain(client) == single[1].baselines.explain(client)


def test_a_full_disk_refuses_here_too(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(buffer_bytes=2000)
    likeness = like(log)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mcpsec.telemetry.spool.os.write", full)
    with pytest.raises(LogUnavailable):
        for number in range(100):
            log.write_request(likeness, figures(number))
    assert log.dropped == 1
    monkeypatch.undo()


@pytest.mark.parametrize("count", [0, 1, 2, 7, 500])
def test_values_are_counted_as_one_by_one(count: int) -> None:
    chance = random.Random(count)
    odd = (0.0, 0.5, 1.0, 4.999, 5.0, 5.001, 1e9, math.inf)
    values = [chance.choice((*odd, chance.expovariate(0.1))) for _ in range(count)]
    counts, expected = [0] * (len(BUCKETS) + 1), [0] * (len(BUCKETS) + 1)
    tally(values, BUCKETS, counts)
    for value in values:
        expected[bisect_left(BUCKETS, value)] += 1
    assert counts == expected
    tally([math.nan, math.nan], BUCKETS, counts)  # nobody's duration, and no endless loop either
    assert sum(counts) == count + 2


@pytest.mark.parametrize("upstream", [None, 0.8123])
@pytest.mark.parametrize("digest", [None, "ab" * 16])
@pytest.mark.parametrize("trace", [{}, {"trace_id": "cd" * 16, "span_id": "ef" * 8}])
def test_every_shape_of_a_line_holds_its_own_figures(
    open_log: Open, upstream: float | None, digest: str | None, trace: dict[str, str]
) -> None:
    log = open_log()
    own = {"upstream_ms": upstream, "arguments_digest": digest, **trace}
    set_ = {name: value for name, value in own.items() if value is not None}
    alike = like(log)
    for number in range(2):
        assert log.write_request(alike, figures(number, **set_)) is not None
    log.close()
    assert verify(log.path).intact
    written = [line for line in lines(log) if line["kind"] == "request"]
    assert [line["request_id"] for line in written] == [f"{number:032x}" for number in range(2)]
    for line in written:
        assert {name: line.get(name) for name in OWN[4:6]} == {
            "upstream_ms": None if upstream is None else round(upstream, 3),
            "arguments_digest": digest,
        }
        assert {name: line[name] for name in ("trace_id", "span_id") if name in line} == trace


def test_several_at_once_are_what_they_are_one_by_one(open_log: Open) -> None:
    log = open_log()
    alike = like(log)
    assert log.patient
    for count in (3, 70):  # together, and more than are appended at once
        log.write_requests([alike.finished(1_795_400_000.25 + number, figures(number)) for number in range(count)])
    log.close()
    assert verify(log.path).intact
    written = [line for line in lines(log) if line["kind"] == "request"]
    assert [line["request_id"] for line in written] == [f"{n:032x}" for count in (3, 70) for n in range(count)]
    assert [line["time"] for line in written][:2] == ["2026-11-23T02:13:20.250000Z", "2026-11-23T02:13:21.250000Z"]


def test_rows_are_the_lines_and_like_ones_come_together(open_log: Open) -> None:
    log, batches = open_log(), []
    log.subscribe(lambda _record: None, batch=batches.append)
    kinds = [like(log, resource=f"files/{name}%") for name in "abc"]
    log.write_requests([kinds[number % 3].finished(1e9 + number / 7, figures(number)) for number in range(30)])
    log.close()
    assert [[row.request.likeness for row in rows] for rows in batches] == [[kind] * 10 for kind in kinds]
    written = {line["seq"]: line for line in lines(log) if line["kind"] == "request"}
    for row in (row for rows in batches for row in rows):
        line = written.pop(row.seq)
        assert row.record() == {name: value for name, value in line.items() if name not in {"prev", "crc"}}
    assert not written


def test_a_brief_likeness_makes_no_line_above_a_kilobyte(open_log: Open) -> None:
    log = open_log()
    whole = figures(3, upstream_ms=1e6, arguments_digest="ab" * 16, trace_id="cd" * 16, span_id="ef" * 8)
    longest = [like(log, resource="r" * size) for size in range(1, 240, 3)]
    assert {each.brief for each in (*longest, like(log, resource="r" * 250, rule="x" * 250))} == {True, False}
    for each in longest:
        log.write_request(each, whole)
    log.close()
    brief = {each.common["resource"] for each in longest if each.brief}
    assert (
        max(len(line) for line in log.path.read_bytes().splitlines() if json.loads(line).get("resource") in brief)
        < 1024
    )


def test_a_full_disk_may_cost_like_requests_too_and_they_are_counted(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(buffer_bytes=3000, on_full="drop")
    disk = FullDisk(room=0)
    monkeypatch.setattr("mcpsec.telemetry.spool.os.write", disk)
    alike = like(log)
    rows = [log.write_request(alike, figures(number)) for number in range(50)]
    assert 0 < rows.count(None) == log.dropped and not log.patient
    disk.room = 1 << 30
    assert log.write_request(alike, figures(50)) is not None  # the buffer is written first
    log.close()
    assert verify(log.path).intact
