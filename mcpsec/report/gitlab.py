"""GitLab's secret detection report (https://docs.gitlab.com/development/integrations/secure/)."""

from __future__ import annotations

import json
import uuid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpsec.report.entry import Entry

__all__ = ["render"]

SCHEMA_VERSION = "15.2.1"
_NAMESPACE = uuid.UUID("6f1d5c0e-4b0a-5c8e-9d39-6a1f2f0f7a11")


def render(
    entries: Sequence[Entry], *, tool: str, version: str, started: str, ended: str, complete: bool = True
) -> str:
    """The whole report; ``started`` and ``ended`` are times as ``2026-11-23T07:00:00``."""
    scanner = {"id": "mcpsec", "name": tool, "version": version, "vendor": {"name": "mcpsec"}}
    document = {
        "version": SCHEMA_VERSION,
        "scan": {
            "analyzer": scanner,
            "scanner": scanner,
            "type": "secret_detection",
            "start_time": started,
            "end_time": ended,
            "status": "success" if complete else "failure",
        },
        "vulnerabilities": [_vulnerability(entry) for entry in entries],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _vulnerability(entry: Entry) -> dict[str, object]:
    name = f"{entry.topic.id}:{entry.fingerprint}:{entry.path}:{entry.line}:{entry.column}"
    location: dict[str, object] = {
        "file": entry.path.removeprefix("./"),
        "start_line": entry.line,
        "end_line": entry.line,
    }
    location["commit"] = {"sha": entry.commit or "0" * 40}
    if entry.author:
        location["commit"] = {"sha": entry.commit, "author": entry.author, "date": entry.date}
    return {
        "id": str(uuid.uuid5(_NAMESPACE, name.encode("utf-8", "replace").decode())),
        "category": "secret_detection",
        "name": entry.topic.title,
        "description": entry.message,
        "severity": entry.severity.capitalize(),
        "solution": entry.topic.help,
        "identifiers": [{"type": "mcpsec_rule_id", "name": f"mcpsec rule {entry.topic.id}", "value": entry.topic.id}],
        "location": location,
    }
