from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mcpsec.errors import ConfigurationError, UsageError
from mcpsec.telemetry import AuditLog, Event
from mcpsec.telemetry.query import Query, follow, follow_all, last, logs_of, parse_time, read
from mcpsec.telemetry.stats import collect
from tests.telemetry.conftest import request

Open = Callable[..., AuditLog]
NOON = 1_795_435_200.0 - 86_400


@pytest.fixture
def log(open_log: Open) -> Path:
    """120 events, one a minute, over several compressed parts."""

    async def run() -> Path:
        log = open_log(rotate_bytes=6000)
        for number in range(120):
            fields: dict[str, object] = {"time": NOON + 60 * number, "client": f"agent-{number % 3}"}
            if number % 10 == 0:
                fields |= {"kind": "authorization", "decision": "refused", "status": 403, "rule": "default-deny"}
            log.write(request(number, **fields))
            await log.maintain()
        log.close()
        return log.path

    return asyncio.run(run())


def test_filters(log: Path) -> None:
    assert len(list(read(log, Query()))) == 120
    assert len(list(read(log, Query(clients=("agent-1",))))) == 40
    assert len(list(read(log, Query(clients=("agent-[12]",))))) == 80
    assert len(list(read(log, Query(decisions=("refused",))))) == 12
    assert len(list(read(log, Query(statuses=(403,), rules=("default-*",))))) == 12
    assert len(list(read(log, Query(resources=("files/tool_0",))))) == 18
    assert (
        len(list(read(log, Query(since=parse_time("2026-11-22T13:00:00Z"), until=parse_time("2026-11-22T13:30:00Z")))))
        == 30
    )
    assert [each["request_id"] for each in read(log, Query(request_id=f"{7:032x}"))] == [f"{7:032x}"]
    assert len(list(read(log, Query(text="DEFAULT-DENY")))) == 12
    assert len(list(read(log, Query(kinds=("log-part",))))) > 2
    assert len(list(read(log, Query(own=True)))) > 120


def test_the_newest_come_from_the_end(log: Path) -> None:
    for count in (1, 5, 100, 1000):
        found = last(log, Query(), count)
        assert [each["request_id"] for each in found] == [f"{number:032x}" for number in range(120)][-count:]


def test_a_missing_log_is_said(tmp_path: Path) -> None:
    for reader in (lambda path: list(read(path, Query())), lambda path: last(path, Query(), 3)):
        with pytest.raises(ConfigurationError, match="no such log"):
            reader(tmp_path / "none.jsonl")


def test_a_file_that_is_no_log_is_said(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello\n{}\n")
    with pytest.raises(ConfigurationError, match="no audit log"):
        list(read(path, Query()))
    with pytest.raises(ConfigurationError, match="no audit log"):
        last(path, Query(), 3)
    path.write_text("")
    assert list(read(path, Query())) == []  # nothing has happened yet


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("15m", NOON - 900),
        ("2h", NOON - 7200),
        ("7d", NOON - 7 * 86400),
        ("2026-11-22T12:00:00Z", NOON),
        ("999999999999d", 0),
        (f"{'9' * 400}w", 0),
        ("0999-01-01", 0),
        ("0001-01-01", 0),
        ("0001-01-01T00:00:00+14:00", 0),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text, NOON)[:19] == time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def test_moments_sort_as_texts_do() -> None:
    assert parse_time("0999-01-01", NOON) <= parse_time("99999999d", NOON) < parse_time("1d", NOON)


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(UsageError, match="no time"):
        parse_time("yesterday")


def test_following_begins_when_it_is_asked_for(open_log: Open) -> None:
    log = open_log()
    log.write(request(0))
    log.flush()
    from_now, whole = follow(log.path, Query(), poll=0), follow(log.path, Query(), poll=0, whole=True)
    log.write(request(1))
    log.flush()

    def until_none(events: Iterator[dict[str, Any] | None]) -> list[str]:
        return [event["request_id"][-1] for event in iter(lambda: next(events), None) if event is not None]

    assert [until_none(from_now), until_none(whole)] == [["1"], ["0", "1"]]
    with pytest.raises(ConfigurationError, match="there is no such log"):
        follow(log.path.with_name("none.jsonl"), Query())


def test_following_goes_on_over_a_rotation(open_log: Open) -> None:
    log = open_log()
    log.write(request(0))
    log.flush()
    seen: list[str] = []
    ready = threading.Event()

    def watch() -> None:
        for event in follow(log.path, Query(), poll=0.01):
            ready.set()
            if event is not None:
                seen.append(event["request_id"])
            if len(seen) == 20:
                return

    thread = threading.Thread(target=watch)
    thread.start()
    assert ready.wait(10)

    async def write() -> None:
        for number in range(1, 21):
            log.write(request(number))
            log.flush()
            if number % 7 == 0:
                await asyncio.sleep(0.1)
                await log.rotate()

    asyncio.run(write())
    thread.join(20)
    assert not thread.is_alive()
    assert seen == [f"{number:032x}" for number in range(1, 21)]


def test_statistics(log: Path) -> None:
    statistics = collect(read(log, Query()))
    document = statistics.document()
    assert (document["requests"], document["decisions"]) == (120, {"allowed": 108, "refused": 12})
    assert document["clients"] == {f"agent-{number}": 40 for number in range(3)}
    assert document["duration_ms"]["p95"] == 1.25
    assert sum(point[1] for point in statistics.series(10)) == 120
    assert len(statistics.series(10)) == 10
    json.dumps(document)


def test_statistics_are_bounded() -> None:
    events = (
        {"time": "2026-11-23T12:00:00Z", "kind": "request", "status": 200, "client": f"c{n}"} for n in range(20_000)
    )
    statistics = collect(events)
    assert len(statistics.clients) <= 10_001
    assert statistics.clients["(others)"] == 10_000


def test_empty_statistics(open_log: Open) -> None:
    log = open_log()
    log.write(Event("server-start"))
    log.close()
    statistics = collect(read(log.path, Query()))
    assert statistics.percentile(0.5) is None
    assert statistics.series() == []


def test_the_logs_of_are_followed_as_one(tmp_path: Path) -> None:
    base = tmp_path / "events.jsonl"
    assert logs_of(base) == [base], "nothing is there yet: the one that will be"
    logs = []
    for number in (1, 2, 10):
        place = tmp_path / f"worker-{number}"
        place.mkdir()
        logs.append(AuditLog.open(place / "events.jsonl", redact=lambda text: text))
    paths = logs_of(base)
    assert sorted(paths) == sorted(log.path for log in logs)
    coming = follow_all(paths, Query(kinds=("request",)), poll=0.001)
    assert next(coming) is None
    for log in logs:
        log.write(Event("request", client=log.path.parent.name, status=200))
        log.flush()
    came = [each for each in (next(coming), next(coming), next(coming)) if each is not None]
    assert {event["client"] for _, event in came} == {"worker-1", "worker-2", "worker-10"}
    assert all(path.parent.name == event["client"] for path, event in came)
    assert next(coming) is None
    logs[1].write(Event("request", client="again", status=200))
    logs[1].flush()
    new = next(coming)
    assert new is not None and new[1]["client"] == "again"
    for log in logs:
        log.close()


def test_one_part_alone_and_a_part_that_can_not_be_read(log: Path) -> None:
    parts = sorted(log.parent.glob("events.*.jsonl*"))
    assert 0 < len(list(read(parts[0], Query()))) < 120
    whole = parts[0].read_bytes()
    parts[0].write_bytes(whole[: len(whole) // 2] if parts[0].suffix == ".gz" else gzip.compress(whole)[:-20])
    archive = parts[0] if parts[0].suffix == ".gz" else parts[0].rename(parts[0].with_name(parts[0].name + ".gz"))
    for look in (lambda: list(read(log, Query())), lambda: last(log, Query(), 1000)):
        with pytest.raises(ConfigurationError, match="the log cannot be read") as caught:
            look()
        assert caught.value.path == str(archive) and "log verify" in (caught.value.hint or "")
    assert last(log, Query(), 1)  # the newest part is whole


def test_following_waits_while_the_log_is_away(open_log: Open) -> None:
    log = open_log()
    events = follow(log.path, Query(), poll=0.001)
    assert next(events) is None
    log.path.rename(log.path.with_name("away"))
    assert next(events) is None
    log.path.with_name("away").rename(log.path)
    log.write(request(1))
    log.flush()
    found = next(event for event in events if event is not None)
    assert found["request_id"] == f"{1:032x}"


def test_the_first_line_of_a_file_read_backwards_may_be_no_event(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'no event\n{"time":"2026-11-23T08:00:00.000000Z","kind":"request"}\n')
    assert [event["kind"] for event in last(path, Query(), 5)] == ["request"]


def test_durations_are_sampled_beyond_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcpsec.telemetry.stats._SAMPLES", 50)
    monkeypatch.setattr("mcpsec.telemetry.stats._PERIODS", 3)
    events = [
        {"time": f"2026-11-23T08:{minute:02}:00.000000Z", "kind": "request", "decision": "allowed", "status": 200}
        | {"duration_ms": float(minute)}
        for minute in range(60)
        for _ in range(10)
    ]
    found = collect(events)
    assert len(found.durations) == 50 and found.timed == 600
    assert max(found.durations) > 10  # not only the first ones
    assert len(found.minutes) == 3
