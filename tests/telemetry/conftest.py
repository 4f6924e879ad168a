from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mcpsec.telemetry import AuditLog, Event
from mcpsec.telemetry.options import LogOptions


def plain(text: str) -> str:
    return text


def request(number: int = 0, **fields: object) -> Event:
    """An ordinary event of a finished request."""
    known: dict[str, object] = {
        "kind": "request",
        "decision": "allowed",
        "client": "reporting-agent",
        "identified_by": "mtls+signature",
        "upstream": "files",
        "resource": f"files/tool_{number % 7}",
        "method": "tools/call",
        "method_class": "read",
        "rule": "roles.reader",
        "status": 200,
        "request_id": f"{number:032x}",
        "address": "192.0.2.7",
        "duration_ms": 1.25,
        "request_bytes": 300 + number,
    }
    return Event(**(known | fields))  # type: ignore[arg-type]


@pytest.fixture
def open_log(tmp_path: Path) -> Iterator[Callable[..., AuditLog]]:
    """Opens the log of this test (again); whatever a test leaves open is closed."""
    opened: list[AuditLog] = []

    def opener(**options: object) -> AuditLog:
        redact = options.pop("redact", plain)
        log = AuditLog.open(tmp_path / "events.jsonl", redact=redact, options=LogOptions(**options))  # type: ignore[arg-type]
        opened.append(log)
        return log

    yield opener
    for log in opened:
        log.close()
