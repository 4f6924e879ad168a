"""PRM003: what this client was not granted is refused. P2.

Two kinds of calls are made, and neither does anything: of a name that no server has, and of a tool that says it only
reads, without the arguments that it requires.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mcpsec.audit.model import Finding
from mcpsec.audit.probes import probe
from mcpsec.audit.probes.entry import Entry, ask, welcome
from mcpsec.audit.probes.lists import listed
from mcpsec.audit.probes.session import Session
from mcpsec.audit.probes.sessions import CANARY
from mcpsec.audit.probes.wire import Answer

__all__: list[str] = []

_DENIED = re.compile(
    r"(?i)not (?:allowed|permitted|granted|authori[sz]ed|found)|denied|forbidden|unknown tool|no such tool"
)
_LOOKED_AT = re.compile(r"(?i)required|missing|validation|invalid (?:arg|param|input)|schema|undefined")


@probe("P2", "PRM003", order=30)
def outside_the_grant(session: Session) -> Iterator[Finding]:
    """PRM003."""
    subject = session.subject
    if not session.credentials.any:
        yield subject.unknown("PRM003", "who is granted what shows with a client's credentials: --cert, -c FILE")
        return
    entry = welcome(session)
    if not entry:
        yield subject.unknown("PRM003", f"we are not answered: {entry.first.describe()}", required=True)
        return
    canary = ask(session, entry, "tools/call", {"name": CANARY, "arguments": {}})
    if canary.answers and canary.result.get("isError") is not True:
        yield subject.fail("PRM003", None, f"a name that nobody has is answered: {canary.describe()}", key="canary")
        return
    tool = _denied_tool(session, entry)
    if tool is None:
        if canary.status == 403:
            yield subject.ok("PRM003", None, f"a name that was never granted: {canary.describe()}")
        else:
            text = "no tool is known that this client must not use: --denied-tool NAME, or --other-client NAME"
            yield subject.unknown("PRM003", text)
        return
    answer = ask(session, entry, "tools/call", {"name": tool, "arguments": {}})
    denied = _denied(answer)
    if denied is None:
        yield subject.unknown("PRM003", f"{tool}: {answer.describe()}: denied, or only its arguments?", required=True)
    elif denied:
        yield subject.ok("PRM003", None, f"{tool}, which was not granted: {answer.describe()}")
    else:
        yield subject.fail("PRM003", None, f"{tool}, which was not granted: {answer.describe()}", key="denied tool")


def _denied_tool(session: Session, entry: Entry) -> str | None:
    """A tool outside our grant: named by a person, else one that another client is shown and we are not.

    One that is found must say that it only reads, and require arguments, which the call leaves out.
    """
    named: list[str] = list(session.audit.options.get("denied") or ())
    if named:
        return named[0]
    if session.other is None or not (theirs := welcome(session, session.other)):
        return None
    ours = {str(tool.get("name")) for tool in listed(session, entry) or []}
    for tool in listed(session, theirs) or []:
        if str(tool.get("name")) not in ours and _harmless(tool):
            return str(tool["name"])
    return None


def _harmless(tool: dict[str, Any]) -> bool:
    annotations, schema = tool.get("annotations"), tool.get("inputSchema")
    reads = isinstance(annotations, dict) and annotations.get("readOnlyHint") is True
    return reads and isinstance(schema, dict) and bool(schema.get("required"))


def _denied(answer: Answer) -> bool | None:
    """Whether a call was refused for who called; None when it can't be told from a refusal of its arguments."""
    if answer.status in (401, 403):
        return True
    text = answer.body.decode("utf-8", "replace")
    if answer.answers and answer.result.get("isError") is not True:
        return False
    if _DENIED.search(text):
        return True
    return False if _LOOKED_AT.search(text) else None
