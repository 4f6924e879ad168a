"""Logs: what must not be in them, who may read them, whether they are whole."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator

from mcpsec.audit.literals import refers
from mcpsec.audit.model import Edit, Finding
from mcpsec.audit.registry import examines
from mcpsec.audit.subjects import At, Context, Subject
from mcpsec.leaks.detection import find

__all__: list[str] = []

_CHUNK = 1 << 20
_MOST = 50
"""Findings of one log that are told; one is enough to act."""


@examines("log")
def credentials(subject: Subject, context: Context) -> Iterator[Finding]:
    """LOG001."""
    count = 0
    for line, column, title, rule in _secrets(subject.raw):
        count += 1
        if count <= _MOST:
            yield subject.fail("LOG001", At(line, column), f"{title} in the log", key=f"{rule} {count}")
    if count > _MOST:
        yield subject.fail("LOG001", None, f"{count - _MOST} more credentials in the log", key="more")
    if not count:
        yield subject.ok("LOG001", None, f"no credential in {len(subject.raw):,} bytes")


def _secrets(raw: bytes) -> Iterator[tuple[int, int, str, str]]:
    """Line, column, title and rule of each secret; the log is read in pieces of whole lines."""
    begin, line = 0, 1
    while begin < len(raw):
        end = len(raw) if len(raw) - begin <= _CHUNK else raw.rfind(b"\n", begin, begin + _CHUNK) + 1
        end = end if end > begin else min(begin + _CHUNK, len(raw))
        piece = raw[begin:end]
        for match in find(piece, path="x.log", floor=1):
            if not refers(match.value):
                number = line + piece.count(b"\n", 0, match.start)
                yield number, match.start - piece.rfind(b"\n", 0, match.start), match.rule.title, match.rule.id
        line += piece.count(b"\n")
        begin = end


@examines("log")
def permissions(subject: Subject, context: Context) -> Iterator[Finding]:
    """LOG005."""
    if os.name == "nt":
        return
    mode = stat.S_IMODE(subject.path.stat().st_mode)
    if mode & 0o007 or mode & 0o020:
        edit = Edit(str(subject.path), mode=mode & 0o640)
        yield subject.fail("LOG005", None, f"mode {mode:04o}", key="mode", edit=edit)
    else:
        yield subject.ok("LOG005", None, f"mode {mode:04o}")


_SAMPLE = 2_000
_WHO = re.compile(
    r"(?i)^(?:client|user|principal|identity|subject|sub|actor|account|caller|peer|agent)(?:[_.-]?(?:id|name|dn))?$"
)
_OUTCOME = re.compile(
    r"(?i)^(?:decision|outcome|result|status(?:[_.-]?code)?|allowed|denied|verdict|code|error|success)$"
)
_WHEN = re.compile(r"(?i)^(?:@?time(?:stamp)?|ts|date|asctime|at|created)$")


def _decisions(subject: Subject) -> Iterator[Finding]:
    """LOG004 of another program's JSON log, when it tells of calls of tools at all."""
    keys: set[str] = set()
    calls = 0
    for line in subject.raw[:_CHUNK].splitlines()[:_SAMPLE]:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict) and "tools/call" in line.decode("utf-8", "replace"):
            calls += 1
            keys |= {str(key) for key in event}
            keys |= {str(key) for value in event.values() if isinstance(value, dict) for key in value}
    if not calls:
        return
    parts = (("who called", _WHO), ("what was decided", _OUTCOME), ("when", _WHEN))
    missing = [what for what, pattern in parts if not any(pattern.match(key) for key in keys)]
    if missing:
        text = f"{calls} calls of tools, without {' and '.join(missing)}"
        yield subject.fail("LOG004", 1, text, key="missing", confidence="medium")
    else:
        yield subject.ok("LOG004", None, f"{calls} calls of tools with who, what and when")


@examines("log")
def record(subject: Subject, context: Context) -> Iterator[Finding]:
    """LOG004 and LOG006 of mcpsec's own log."""
    head = subject.raw[:65536].split(b"\n", 1)[0]
    try:
        first = json.loads(head)
    except (ValueError, RecursionError):
        return
    if not isinstance(first, dict):
        return
    if not str(first.get("schema", "")).startswith("mcpsec.event/"):
        yield from _decisions(subject)
        return
    yield subject.ok("LOG004", None, "events with client, decision, id and time")
    from mcpsec.errors import Error
    from mcpsec.telemetry.verify import verify

    try:
        verified = verify(subject.path)
    except Error as error:
        yield subject.unknown("LOG006", error.message)
        return
    for fault in verified.findings[:5]:
        yield subject.fail("LOG006", fault.line, fault.what, key=f"line {fault.line}")
    if verified.intact:
        yield subject.ok("LOG006", None, f"{verified.events} events, {verified.checkpoints} signed checkpoints")
