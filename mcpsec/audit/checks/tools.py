"""What tools say of themselves: a dump of tools/list, or the lock file of pinned definitions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from mcpsec.audit.hidden import hidden_characters, instructs
from mcpsec.audit.literals import refers
from mcpsec.audit.model import Finding
from mcpsec.audit.registry import across, examines
from mcpsec.audit.subjects import Context, Subject
from mcpsec.clientfiles.positions import Document, Malformed
from mcpsec.clientfiles.toml import KeyPath
from mcpsec.leaks.detection import find

__all__: list[str] = []

_CHANGES = re.compile(
    r"(?i)(?:^|[_.-])(?:delete|remove|drop|write|create|update|exec|execute|run|kill|send|set|put|insert|move|rename|reset)(?:$|[_.-])"
)
_DANGEROUS = re.compile(
    r"(?i)^(?:command|cmd|script|code|shell|sql|query|url|uri|path|file_?path|filename|expression)$"
)
_RUNS = re.compile(
    r"(?i)(?:^|[_.-])(?:run|exec(?:ute)?|eval|spawn)[_.-]?(?:command|shell|bash|code|script|python|sql|cmd)?$|^(?:shell|bash|terminal|eval)$"
)
_BOUNDS = {"enum", "pattern", "maxLength", "const", "format"}
_URL = re.compile(r"\bhttps?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)")


def _definitions(document: Document) -> Iterator[tuple[str, str, dict[str, Any], KeyPath]]:
    """Server, name, definition and place of every tool, prompt and resource."""
    data = document.data
    if not isinstance(data, dict):
        return
    base: KeyPath = ()
    if isinstance(data.get("result"), dict):
        data, base = data["result"], ("result",)
    for kind in ("tools", "prompts", "resources", "resourceTemplates"):
        rows = data.get(kind)
        for index, row in enumerate(rows if isinstance(rows, list) else ()):
            if isinstance(row, dict):
                yield "", str(row.get("name") or row.get("uri") or index), row, (*base, kind, index)
    upstreams = data.get("upstreams")
    for server, pins in upstreams.items() if isinstance(upstreams, dict) else ():
        for kind, entries in pins.items() if isinstance(pins, dict) else ():
            for name, entry in entries.items() if isinstance(entries, dict) else ():
                if isinstance(entry, dict):
                    yield str(server), str(name), _pinned(entry), ("upstreams", server, kind, name)


def _pinned(entry: dict[str, Any]) -> dict[str, Any]:
    """The definition in a pin, which is kept as readable JSON text."""
    import json

    text = entry.get("definition")
    if isinstance(text, str):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return {"description": text}
        return value if isinstance(value, dict) else {"description": text}
    return entry


def _texts(value: Any, path: KeyPath, depth: int = 0) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif depth < 30 and isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key), str(key)
            yield from _texts(inner, (*path, key), depth + 1)
    elif depth < 30 and isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _texts(inner, (*path, index), depth + 1)


@examines("pins")
def definitions(subject: Subject, context: Context) -> Iterator[Finding]:
    """TOL001, TOL002, TOL005, TOL006, TOL007, PRM006, INP004."""
    for server, name, definition, path in _definitions(subject.document):
        label = f"{server}/{name}" if server else name
        found = list(_definition(subject, name, definition, path, label))
        yield from found
        failing = {each.check for each in found}
        for check in ("TOL001", "TOL002", "TOL006"):
            if check not in failing:
                yield subject.ok(check, path, "nothing of the kind", name=label)


def _definition(
    subject: Subject, name: str, definition: dict[str, Any], path: KeyPath, label: str
) -> Iterator[Finding]:
    for place, text in _texts(definition, path):
        what = hidden_characters(text)
        more = {"name": label, "key": str(place[-1])}
        if what:
            yield subject.fail("TOL001", place, f"hidden: {what}", **more)
        if score := instructs(text):
            severity = "high" if score >= 3 else "medium"
            yield subject.fail("TOL002", place, "a text that gives the model orders", severity=severity, **more)
        if leak := _leak(text):
            yield subject.fail("TOL006", place, leak, **more)
        if (
            place[-1] in ("$ref", "$dynamicRef")
            and text.startswith(("http://", "https://", "file:", "//"))
            and text != place[-1]
        ):
            yield subject.fail("INP004", place, "a reference to the network", **more)
    schema = definition.get("inputSchema")
    annotations = definition.get("annotations")
    reads = isinstance(annotations, dict) and annotations.get("readOnlyHint") is True
    if reads and _CHANGES.search(name):
        yield subject.fail("TOL005", path, f"{name} says that it only reads", name=label, key="annotation")
    if _RUNS.search(name):
        yield subject.fail("PRM006", path, f"{name} runs what it is given", name=label, severity="medium", key="runs")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    for parameter, rule in properties.items() if isinstance(properties, dict) else ():
        takes_any = isinstance(rule, dict) and rule.get("type") == "string" and not _BOUNDS & set(rule)
        if takes_any and _DANGEROUS.match(str(parameter)):
            place = (*path, "inputSchema", "properties", parameter)
            yield subject.fail("TOL007", place, f"{parameter} takes any text", name=label, key=str(parameter))


def _leak(text: str) -> str:
    if len(text) < 12:
        return ""
    for match in find(text.encode("utf-8", "replace"), floor=1):
        if not refers(match.value):
            return f"{match.rule.title} in it"
    for url in _URL.finditer(text):
        try:
            address = ip_address(url[1].strip("[]"))
        except ValueError:
            continue
        if address.is_private and not address.is_loopback and not address.is_unspecified:
            return "the address of an internal service"
    return ""


@across
def shared_names(context: Context) -> Iterator[Finding]:
    """TOL003: one tool's name at two servers, or one server's name twice in a client."""
    seen: dict[str, tuple[str, Subject]] = {}
    for subject in context.of_kind("pins"):
        try:
            found = list(_definitions(subject.document))
        except Malformed:
            continue
        for server, name, _, path in found:
            owner = server or subject.label
            first = seen.setdefault(f"{path[-2]} {name}", (owner, subject))
            if first[0] != owner and path[-2] == "tools":
                yield subject.fail(
                    "TOL003", path, f"{name} is also a tool of {first[0]}", name=f"{owner}/{name}", key="shadowed"
                )
