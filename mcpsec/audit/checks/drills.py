"""RES002 and TMO004: what the last drill of the deployment saw, fault by fault."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mcpsec.audit.checks.evidence import drills_of, last_report
from mcpsec.audit.evidence import deployed
from mcpsec.audit.model import Finding, State
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
            yield subject.finding(check, _state(row), None, _seen(row), name=f"drill {name}", key=name)
    if not any(_SLOW.search(f"{row.get('name')} {row.get('fault', '')}") for row in rows):
        yield subject.manual("TMO004", None, "the last drill injected no slowness")


def _state(row: dict[str, Any]) -> State:
    """What became of one drill; a word that is none of ours is no good one."""
    word = str(row.get("state", row.get("outcome"))).replace("passed", "pass")
    return State(word) if word in (State.PASS, State.NOT_ASSESSED, State.NOT_APPLICABLE) else State.FAIL


def _seen(row: dict[str, Any]) -> str:
    """What was seen, unmet expectations first."""
    rows = row.get("expectations")
    unmet = [
        f"{each.get('expected')}: {each.get('seen')}"
        for each in (rows if isinstance(rows, list) else [])
        if isinstance(each, dict) and each.get("met") is not True
    ]
    texts = [*unmet, *(row[key] for key in ("seen", "observed", "reason") if isinstance(row.get(key), str))]
    return next((text[:200] for text in texts if text), str(_state(row)))
