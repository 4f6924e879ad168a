"""What the server lists to us, judged as a dump of the same lists would be; and whose lists they are: P1."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from mcpsec.audit.model import Finding, Location
from mcpsec.audit.probes import probe
from mcpsec.audit.probes.entry import Entry, ask, let_in
from mcpsec.audit.probes.session import Session
from mcpsec.audit.subjects import Subject

__all__ = ["listed", "upstream_of"]

_JUDGED = ("TOL001", "TOL002", "TOL004", "TOL005", "TOL006", "TOL007", "PRM006", "INP004")
_MOST_PAGES = 5
_LISTS = {"tools": "tools/list", "prompts": "prompts/list"}


def listed(session: Session, entry: Entry, kind: str = "tools") -> list[dict[str, Any]] | None:
    """The tools (or prompts) that one identity is shown, asked for once; None when the list is refused."""
    key = f"{kind} of {entry.identity.client or id(entry.identity)}"
    if key not in session.facts:
        session.facts[key] = _asked(session, entry, kind)
    found: list[dict[str, Any]] | None = session.facts[key]
    return found


def _asked(session: Session, entry: Entry, kind: str) -> list[dict[str, Any]] | None:
    rows: list[dict[str, Any]] = []
    params: dict[str, Any] = {}
    for _ in range(_MOST_PAGES):
        result = ask(session, entry, _LISTS[kind], params).result
        page = result.get(kind)
        if not isinstance(page, list):
            return rows or None
        rows += [row for row in page if isinstance(row, dict)]
        cursor = result.get("nextCursor")
        if not isinstance(cursor, str) or not cursor:
            break
        params = {"cursor": cursor}
    return rows


def _offers(entry: Entry, kind: str) -> bool:
    answer = entry.modern or entry.legacy
    capabilities = answer.result.get("capabilities") if answer is not None else None
    return isinstance(capabilities, dict) and kind in capabilities


@probe("P1", *_JUDGED, order=50)
def definitions(session: Session) -> Iterator[Finding]:
    """The tools and prompts that we are shown, by the rules for a dump of them; TOL004 against the pins at hand."""
    from mcpsec.audit.checks.pinned import against_lock
    from mcpsec.audit.checks.tools import definitions as judge

    subject, entry = session.subject, let_in(session)
    if not entry:
        for check in _JUDGED:
            yield subject.unknown(check, "nothing is listed to us: give a client's credentials")
        return
    document: dict[str, Any] = {"tools": listed(session, entry) or []}
    if _offers(entry, "prompts"):
        document["prompts"] = listed(session, entry, "prompts") or []
    greeting = (entry.modern or entry.legacy or entry.first).result
    if isinstance(greeting.get("instructions"), str):
        document["resources"] = [{"name": "instructions", "description": greeting["instructions"]}]
    dump = Subject("pins", Path("lists.json"), subject.label, json.dumps(document).encode())
    told = set()
    for finding in judge(dump, session.audit):
        told.add(finding.check)
        pointer = finding.location.pointer if finding.location is not None else ""
        key = finding.key and f"{finding.key} {pointer}"
        yield replace(finding, location=Location(subject.label), key=key or f"{finding.subject}", how=pointer)
    count = sum(len(rows) for rows in document.values())
    for check in set(_JUDGED) - told - {"TOL004"}:
        yield subject.ok(check, None, f"nothing of the kind in {count} definitions")
    locks = session.audit.of_kind("pins")
    name = upstream_of(session)
    compared = [each for lock in locks for each in against_lock(subject, lock, document["tools"], name)]
    yield from compared
    if not compared:
        yield subject.skip("TOL004", "no lock file of this server's definitions is at hand")


def upstream_of(session: Session) -> str:
    """The upstream whose own endpoint this is (``/mcp/NAME``), else the only one of the deployment; empty for many."""
    _, _, name = session.target.path.partition("/mcp/")
    deployment = session.deployment
    if name or deployment is None:
        return name
    return next(iter(deployment.upstreams)) if len(deployment.upstreams) == 1 else ""


def named(session: Session, tool: str) -> tuple[str, str]:
    """Upstream and own name of a tool as listed: the aggregate of several upstreams puts the upstream in front."""
    upstream = upstream_of(session)
    if upstream or session.deployment is None:
        return upstream, tool
    for name in sorted(session.deployment.upstreams, key=len, reverse=True):
        if tool.startswith(f"{name}_"):
            return name, tool[len(name) + 1 :]
    return "", tool


@probe("P1", "PRM004", order=51)
def filtered(session: Session) -> Iterator[Finding]:
    """PRM004: nothing is listed that the policy does not grant this client."""
    subject, entry, deployment = session.subject, let_in(session), session.deployment
    client = session.credentials.client
    if not entry or not entry.identity.any:
        yield subject.skip("PRM004", "nothing is listed to a client that has a name")
        return
    tools = listed(session, entry)
    if deployment is None or not client:
        yield subject.unknown("PRM004", "what this client may use is not known: -c FILE --client NAME say it")
        return
    if tools is None:
        yield subject.unknown("PRM004", "tools/list is refused")
        return
    from mcpsec.gateway.policy.engine import Policy

    policy = Policy(deployment)
    names = [str(tool.get("name", "")) for tool in tools]
    foreign = [name for name in names if not policy.visible(client, *_split(session, name))]
    if foreign:
        yield subject.fail("PRM004", None, f"not granted, and listed: {', '.join(foreign[:5])}", key="foreign")
    else:
        yield subject.ok("PRM004", None, f"{len(names)} tools, all granted to {client}")


def _split(session: Session, name: str) -> tuple[str, str, str]:
    upstream, own = named(session, name)
    return upstream, "tool", own
