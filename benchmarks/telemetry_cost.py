"""What telemetry costs a request: event, log, metrics, alerts and dashboard, each alone and all together.

    python benchmarks/telemetry_cost.py

The floor beside it is what any JSON log with a hash chain pays: one ``orjson.dumps`` and one SHA-256 of the same line.
"""

from __future__ import annotations

import hashlib
import secrets
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import orjson

from mcpsec.leaks import redact
from mcpsec.telemetry import AuditLog, Event
from mcpsec.telemetry.alerts import AlertEngine
from mcpsec.telemetry.clean import Cleaner
from mcpsec.telemetry.dashboard import Aggregate
from mcpsec.telemetry.metrics import Metrics
from mcpsec.telemetry.verify import verify

CALLS = 10_000
CLIENTS = [f"agent-{number}" for number in range(50)]
TOOLS = [f"tickets/tool_{number}" for number in range(20)]
IDENTIFIERS = [secrets.token_hex(16) for _ in range(1000)]


def event(number: int) -> Event:
    return Event(
        kind="request",
        decision="allowed",
        client=CLIENTS[number % 50],
        identified_by="mtls+signature",
        upstream="tickets",
        resource=TOOLS[number % 20],
        method="tools/call",
        method_class="read",
        rule="roles.reader",
        status=200,
        request_id=f"a1b2c3d4-{number:x}",
        address="192.0.2.7",
        era="modern",
        http_method="POST",
        duration_ms=1.2345,
        upstream_ms=0.8123,
        request_bytes=321,
        response_bytes=1234,
        arguments_digest=IDENTIFIERS[number % 999],
    )


Item = TypeVar("Item")


def cost(work: Callable[[], object]) -> float:
    """Microseconds of CPU time a call, the best of seven."""
    return min(timeit.repeat(work, number=CALLS, repeat=7, timer=time.process_time)) / CALLS * 1e6


def over(function: Callable[[Item], object], items: list[Item]) -> Callable[[], object]:
    position = 0

    def call() -> None:
        nonlocal position
        position = (position + 1) % len(items)
        function(items[position])

    return call


def main() -> None:
    events = [event(number) for number in range(1000)]
    cleaner = Cleaner(redact)
    records = [cleaner.record(each, number, "0" * 64) for number, each in enumerate(events)]
    empty = cost(over(lambda _: None, events))
    with tempfile.TemporaryDirectory() as directory:
        log = AuditLog.open(Path(directory) / "events.jsonl", redact=redact)
        metrics, alerts, aggregate = Metrics(redact=redact), AlertEngine(), Aggregate()

        def floor(record: object) -> None:
            hashlib.sha256(orjson.dumps(record)).hexdigest()

        rows = {
            "floor: dumps + SHA-256": cost(over(floor, records)) - empty,
            "Event(...) made": cost(over(lambda _: event(7), events)) - empty,
            "AuditLog.write": cost(over(log.write, events)) - empty,
            "Metrics.observe": cost(over(metrics.observe, events)) - empty,
            "AlertEngine.feed": cost(over(alerts.feed, records)) - empty,
            "Aggregate.feed": cost(over(aggregate.feed, records)) - empty,
        }
        log.subscribe(alerts.feed)
        log.subscribe(aggregate.feed)

        def everything(number: object) -> None:
            made = event(7)
            metrics.observe(made)
            log.write(made)

        rows["all of it, event included"] = cost(over(everything, events)) - empty
        log.close()
        started = time.perf_counter()
        result = verify(log.path)
        seconds = time.perf_counter() - started
        size = log.path.stat().st_size
    for name, microseconds in rows.items():
        print(f"{name:28} {microseconds:6.2f} µs")
    ratio = rows["AuditLog.write"] / rows["floor: dumps + SHA-256"]
    print(f"\nAuditLog.write is {ratio:.1f} times the floor; a line has {size / result.events:.0f} bytes")
    print(f"verify: {result.events / seconds:,.0f} lines/s, {size / seconds / 1e6:.0f} MB/s, intact: {result.intact}")


if __name__ == "__main__":
    main()
