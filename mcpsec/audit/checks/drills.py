"""RES002 and TMO004: what the last drill of the deployment saw, fault by fault."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mcpsec.audit.checks.evidence import drills_of, last_report
from mcpsec.audit.evidence import deployed
from mcpsec.audit.model import Finding
from mcpsec.audit.registry import across
from mcpsec.audit.subjects import Context

__all__: list[str] = []

_SLOW = re.compile(r"(?i)time-?out|slow|hang|stall|silent")


@across
def drilled(context: Context) -> Iterator[Finding]:
    """RES002 of every fault, TMO004 of those that are slowness."""
    report = last_report(context)
    if report is None:
        for each in deployed(context.subjects):
            for check in ("RES002", "TMO004"):
                yield each.manual(check, None, "no report of a failure drill is here: mcpsec drill makes one")
        return
    subject, data, _ = report
    rows = drills_of(data)
    for row in rows:
        if row.get("state") == "not-applicable":
            continue
        name = str(row.get("name", "?"))
        checks = ["RES002", *(["TMO004"] if _SLOW.search(f"{name} {row.get('fault', '')}") else [])]
        for check in checks:
            if row.get("state") == "not-assessed":
                yield subject.unknown(check, _seen(row), name=f"drill {name}", key=name)
                continue
            state = subject.ok if passed(row) else subject.fail
            yield state(check, None, _seen(row), name=f"drill {name}", key=name)
    if not any(_SLOW.search(f"{row.get('name')} {row.get('fault', '')}") for row in rows):
        yield subject.manual("TMO004", None, "the last drill injected no slowness")


def passed(row: dict[str, Any]) -> bool:
    """Whether one drill went well."""
    return row.get("state", row.get("outcome")) in ("pass", "passed")


def _seen(row: dict[str, Any]) -> str:
    for key in ("observed", "seen", "reason", "message", "detail"):
        if isinstance(row.get(key), str) and row[key]:
            return str(row[key])[:200]
    return "passed" if passed(row) else "not passed"
