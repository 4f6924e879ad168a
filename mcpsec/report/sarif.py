"""SARIF 2.1.0 (OASIS), as GitHub code scanning reads it: rules with help, partial fingerprints, severity scores."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from mcpsec.report.entry import Entry, Topic

__all__ = ["render"]

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {"critical": "error", "high": "error", "medium": "warning", "low": "note", "info": "note"}
_SCORES = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "3.0", "info": "1.0"}


def render(entries: Sequence[Entry], *, tool: str, version: str, problems: Sequence[tuple[str, str]] = ()) -> str:
    """The whole SARIF document; ``problems`` (path, reason) become notifications and mark the run as incomplete."""
    topics: dict[str, Topic] = {}
    worst: dict[str, str] = {}
    order = list(_LEVELS)
    for entry in entries:
        topics.setdefault(entry.topic.id, entry.topic)
        known = worst.get(entry.topic.id, "info")
        worst[entry.topic.id] = min(known, entry.severity, key=order.index)
    places = {name: number for number, name in enumerate(topics)}
    run = {
        "tool": {
            "driver": {
                "name": tool,
                "semanticVersion": version,
                "rules": [_rule(topic, worst[name]) for name, topic in topics.items()],
            }
        },
        "columnKind": "utf16CodeUnits",
        "results": [_result(entry, places[entry.topic.id]) for entry in entries],
        "invocations": [
            {
                "executionSuccessful": not problems,
                "toolExecutionNotifications": [
                    {
                        "level": "error",
                        "message": {"text": f"{path}: {reason}"},
                        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(path)}}}],
                    }
                    for path, reason in problems
                ],
            }
        ],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _rule(topic: Topic, severity: str) -> dict[str, object]:
    rule: dict[str, object] = {
        "id": topic.id,
        "name": "".join(part.capitalize() for part in topic.id.replace("/", "-").split("-")),
        "shortDescription": {"text": topic.title},
        "fullDescription": {"text": topic.title},
        "help": {"text": topic.help, "markdown": topic.help},
        "defaultConfiguration": {"level": _LEVELS[severity]},
        "properties": {
            "security-severity": _SCORES[severity],
            "precision": "high",
            "tags": ["security", *topic.tags],
        },
    }
    if topic.help_uri:
        rule["helpUri"] = topic.help_uri
    return rule


def _result(entry: Entry, index: int) -> dict[str, object]:
    result: dict[str, Any] = {
        "ruleId": entry.topic.id,
        "ruleIndex": index,
        "level": _LEVELS[entry.severity],
        "message": {"text": entry.message},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(entry.path)},
                    "region": {"startLine": max(1, entry.line), "startColumn": max(1, entry.column)},
                }
            }
        ],
    }
    if entry.logical:
        result["locations"][0]["logicalLocations"] = [{"name": entry.logical, "kind": "member"}]
    if entry.suppression:
        note = {"kind": "external", "status": "accepted", "justification": entry.suppression}
        result["suppressions"] = [note]
    if entry.fingerprint:
        result["partialFingerprints"] = {"mcpsec/v1": entry.fingerprint}
    properties = {
        key: value
        for key, value in (
            ("commit", entry.commit),
            ("author", entry.author),
            ("date", entry.date),
            ("confidence", entry.confidence),
        )
        if value
    }
    if properties:
        result["properties"] = properties
    return result


def _uri(path: str) -> str:
    """A relative or file URI (RFC 3986), as SARIF's artifactLocation wants it."""
    from urllib.parse import quote

    clean = path.replace("\\", "/")
    clean = clean.removeprefix("./")
    text = quote(clean, safe="/:@!$&'()*+,;=~-._", errors="surrogateescape")
    return f"file://{text}" if clean.startswith("/") else text
