"""TOL004: the digests of a lock file against its own texts, against dumps of what servers list, and against answers."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator
from typing import Any

from mcpsec.audit.model import Finding
from mcpsec.audit.registry import across, examines
from mcpsec.audit.subjects import Context, Subject
from mcpsec.clientfiles.positions import Malformed

__all__ = ["against_lock"]

_SCHEMA = "mcpsec.pins/1"
_NAMES = {"tools": "name", "prompts": "name", "resourceTemplates": "uriTemplate"}


def _lock(subject: Subject) -> dict[str, Any]:
    """The upstreams of a lock file; empty for anything else."""
    if not subject.path.name.endswith((".toml", ".lock")) and "mcpsec.pins/" not in subject.text[:400]:
        return {}
    try:
        document = tomllib.loads(subject.text)
    except (ValueError, RecursionError):
        return {}
    upstreams = document.get("upstreams")
    return upstreams if document.get("schema") == _SCHEMA and isinstance(upstreams, dict) else {}


def _digest(definition: Any) -> str:
    from mcpsec.gateway.pins.definitions import digest

    try:
        return digest(definition)
    except (ValueError, TypeError):
        return ""


@examines("pins")
def whole(subject: Subject, context: Context) -> Iterator[Finding]:
    """TOL004 of a lock file alone: each digest is that of the text that stands below it."""
    for upstream, pins in _lock(subject).items():
        for kind in _NAMES:
            entries = pins.get(kind) if isinstance(pins, dict) else None
            for name, entry in entries.items() if isinstance(entries, dict) else ():
                label, path = f"{upstream}/{name}", ("upstreams", upstream, kind, name)
                if _own(entry):
                    yield subject.ok("TOL004", path, "text and digest agree", name=label)
                else:
                    text = "text and digest differ: the lock was changed by hand"
                    yield subject.fail("TOL004", path, text, name=label, key=f"lock {kind}")


def _own(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    try:
        definition = json.loads(str(entry.get("definition")))
    except (ValueError, RecursionError):
        return False
    return bool(entry.get("sha256")) and _digest(definition) == str(entry["sha256"]).lower()


@across
def dumps(context: Context) -> Iterator[Finding]:
    """TOL004 of what servers listed when somebody kept it: a dump of ``tools/list`` beside a lock file."""
    pins = context.of_kind("pins")
    locks = [each for each in pins if _lock(each)]
    for dump in pins:
        if dump in locks or not locks:
            continue
        try:
            data = dump.document.data
        except Malformed:
            continue
        data = data.get("result", data) if isinstance(data, dict) else {}
        tools = data.get("tools") if isinstance(data, dict) else None
        if isinstance(tools, list):
            for lock in locks:
                yield from against_lock(dump, lock, [row for row in tools if isinstance(row, dict)], "")


def against_lock(subject: Subject, lock: Subject, tools: Iterable[dict[str, Any]], name: str) -> Iterator[Finding]:
    """Listed tools against one lock file. ``name`` is the upstream; empty to tell it by the names of its tools."""
    upstreams = _lock(lock)
    rows = {str(tool.get("name")): tool for tool in tools}
    if not upstreams or not rows:
        return
    name = name if name in upstreams else _likely(upstreams, rows)
    pinned = upstreams.get(name, {}).get("tools") if name else None
    if not isinstance(pinned, dict):
        return
    wrong = False
    for tool, definition in sorted(rows.items()):
        entry = pinned.get(tool)
        if not isinstance(entry, dict):
            wrong = True
            yield subject.fail("TOL004", None, f"{tool} was never reviewed", name=f"{name}/{tool}", key=f"added {tool}")
        elif _digest(definition) != str(entry.get("sha256", "")).lower():
            wrong = True
            text = f"{tool} is not what was reviewed: {_difference(entry, definition)}"
            yield subject.fail("TOL004", None, text, name=f"{name}/{tool}", key=f"changed {tool}")
    if not wrong:
        yield subject.ok("TOL004", None, f"{len(rows)} definitions are those of {lock.label}", name=name)


def _likely(upstreams: dict[str, Any], rows: dict[str, Any]) -> str:
    """The upstream most of whose tools these are, one at least."""
    shared = {
        name: len(set(pins["tools"]) & set(rows))
        for name, pins in upstreams.items()
        if isinstance(pins, dict) and isinstance(pins.get("tools"), dict)
    }
    best = max(shared, key=lambda each: shared[each], default="")
    return best if best and shared[best] else ""


def _difference(entry: dict[str, Any], definition: dict[str, Any]) -> str:
    try:
        before = json.loads(str(entry.get("definition")))
    except (ValueError, RecursionError):
        return "its text changed"
    if not isinstance(before, dict):
        return "its text changed"
    parts = sorted(key for key in {*before, *definition} if before.get(key) != definition.get(key))
    return f"{', '.join(parts)} changed" if parts else "its text changed"
