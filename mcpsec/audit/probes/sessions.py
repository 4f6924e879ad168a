"""Sessions of the older era, their absence in the current one, and headers against bodies: P1, and P2 for the rude."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from mcpsec.audit.model import Finding
from mcpsec.audit.probes import probe
from mcpsec.audit.probes.entry import MODERN, Entry, initialize, let_in, modern
from mcpsec.audit.probes.session import Session
from mcpsec.audit.probes.wire import Answer

__all__ = ["CANARY", "bits"]

CANARY = "mcpsec_audit_no_such_name"
"""A name that no server has, so that nothing happens when one is asked for it."""
_SAMPLES = 6
_GLANCE = 3
"""Ids that are looked at first: where three vary enough no more are asked for, and six are before any is blamed."""
_ENOUGH = 112
"""Bits that vary: what is left of 128 in a version 4 UUID, estimated from few samples."""


@probe("P1", "SES001", order=60)
def session_ids(session: Session) -> Iterator[Finding]:
    """SES001: three to six ids, an unknown one, and our own in somebody else's hand."""
    subject, entry = session.subject, let_in(session)
    if not entry:
        yield subject.unknown("SES001", "no session is opened for us: give a client's credentials")
        return
    if entry.legacy is None:
        yield subject.skip("SES001", "the server speaks the current protocol only, which has no sessions")
        return
    if not entry.session_id:
        yield subject.skip("SES001", "the server keeps no sessions")
        return
    shared, theirs = _foreign(session, entry)
    ids = [entry.session_id, *theirs, *(session.facts.get("session ids") or [])][:_SAMPLES]
    _sample(session, entry, ids, _GLANCE)
    if bits(ids) < _ENOUGH:
        _sample(session, entry, ids, _SAMPLES)
    wrong = False
    if len(ids) == _SAMPLES and (weak := bits(ids)) < _ENOUGH:
        wrong = True
        yield subject.fail("SES001", None, f"about {weak} bits vary in {_SAMPLES} ids", key="guessed")
    unknown = _with_id(session, entry, _like(entry.session_id))
    if unknown.answers:
        wrong = True
        yield subject.fail("SES001", None, f"an unknown id is answered: {unknown.describe()}", key="unknown")
    if shared is not None and shared.answers:
        wrong = True
        yield subject.fail("SES001", None, "another client's session is answered", key="shared")
    if not wrong:
        more = "not tried by another client" if shared is None else f"for another client: {shared.describe()}"
        yield subject.ok("SES001", None, f"{len(ids)} ids without a pattern; unknown: HTTP {unknown.status}; {more}")


def _with_id(session: Session, entry: Entry, ident: str) -> Answer:
    body = {"jsonrpc": "2.0", "id": 3, "method": "tools/list", "params": {}}
    headers = {**entry.headers, "Mcp-Session-Id": ident}
    return session.request(body=body, headers=headers, certificate=entry.identity.any, identity=entry.identity)


def _sample(session: Session, entry: Entry, ids: list[str], wanted: int) -> None:
    """Open sessions until there are enough ids, or no more are given."""
    body, headers = initialize()
    who = entry.identity
    while len(ids) < wanted:
        answer = session.request(body=body, headers=headers, certificate=who.any, identity=who)
        if "mcp-session-id" not in answer.headers:
            return
        ids.append(answer.headers["mcp-session-id"])
        session.opened.append((ids[-1], who))


def _foreign(session: Session, entry: Entry) -> tuple[Answer | None, list[str]]:
    """Our session in the hand of another client, or of nobody, and what sessions the other one got.

    None when there is no other that gets in.
    """
    if not entry.identity.any:
        return None, []
    other = session.other
    body = {"jsonrpc": "2.0", "id": 4, "method": "tools/list", "params": {}}
    if other is None:
        return session.request(body=body, headers=entry.headers, certificate=False), []
    greeting, headers = initialize()
    control = session.request(body=greeting, headers=headers, identity=other)
    if not control.answers:
        return None, []
    theirs = [control.headers["mcp-session-id"]] if "mcp-session-id" in control.headers else []
    session.opened += [(ident, other) for ident in theirs]
    return session.request(body=body, headers=entry.headers, identity=other), theirs


def _like(ident: str) -> str:
    """An id of the same look that was never given."""
    if re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", ident):
        import uuid

        return str(uuid.uuid4())
    return secrets.token_hex(max(8, len(ident) // 2))[: max(16, len(ident))]


def bits(ids: Sequence[str]) -> int:
    """How many bits vary in some ids, by the places that change and the alphabet that stands there.

    A counter, a time or a fixed prefix changes few places. Ids of several lengths are compared from their ends.
    """
    if len(set(ids)) < len(ids):
        return 0
    length = min(len(each) for each in ids)
    columns = [{each[len(each) - length + at] for each in ids} for at in range(length)]
    used = set("".join(ids))
    alphabet = 10 if used <= set("0123456789") else 16 if used <= set("0123456789abcdefABCDEF-") else 64
    # A place of a random id stays the same in six samples once in a million; one that takes two values is a flag.
    varying = sum(len(column) > 2 or (len(column) > 1 and len(ids) < 4) for column in columns)
    return int(varying * math.log2(alphabet))


@probe("P1", "SES002", order=61)
def no_sessions(session: Session) -> Iterator[Finding]:
    """SES002: the current era makes no session, echoes none, and knows POST only."""
    subject, entry = session.subject, let_in(session)
    if entry.modern is None:
        yield _not_modern(session, entry, "SES002")
        return
    wrong = []
    if "mcp-session-id" in entry.modern.headers:
        wrong.append("server/discover makes a session")
    body, headers = modern("server/discover")
    who = entry.identity
    echoed = session.request(
        body=body, headers={**headers, "Mcp-Session-Id": CANARY}, certificate=who.any, identity=who
    )
    if "mcp-session-id" in echoed.headers:
        wrong.append("a session id is echoed")
    for method in ("GET", "DELETE"):
        answer = session.request(
            method, headers={"MCP-Protocol-Version": MODERN}, certificate=who.any, identity=who, patience=3.0
        )
        if answer.status != 405:
            wrong.append(f"{method}: HTTP {answer.status or answer.failure}")
    if wrong:
        yield subject.fail("SES002", None, "; ".join(wrong), key="session")
    else:
        yield subject.ok("SES002", None, "no session id; GET and DELETE get 405")


def _not_modern(session: Session, entry: Entry, check: str) -> Finding:
    if entry:
        return session.subject.skip(check, f"the server does not speak {MODERN}")
    return session.subject.unknown(check, "nothing is answered to us: give a client's credentials")


@probe("P1", "HDR001", order=62)
def contradictions(session: Session) -> Iterator[Finding]:
    """HDR001: headers that are missing, or say something else than the body."""
    entry = let_in(session)
    if entry.modern is None:
        yield _not_modern(session, entry, "HDR001")
        return
    discover, mirrored, named, naming = _messages()
    cases: list[tuple[str, dict[str, Any], dict[str, str]]] = [
        ("another Mcp-Method", discover, {**mirrored, "Mcp-Method": "ping"}),
        ("no Mcp-Method", discover, {key: value for key, value in mirrored.items() if key != "Mcp-Method"}),
        ("another MCP-Protocol-Version", discover, {**mirrored, "MCP-Protocol-Version": "2025-11-25"}),
        ("another Mcp-Name", named, {**naming, "Mcp-Name": "other"}),
    ]
    wrong, told = [], []
    for what, body, headers in cases:
        answer = _sent(session, entry, body, headers)
        told.append(f"{what}: HTTP {answer.status}")
        if answer.answers or (answer.status == 200 and what != "another Mcp-Name"):
            wrong.append(what)
        elif what == "another Mcp-Name" and answer.error.get("code") == -32602 and answer.status != 400:
            wrong.append(what)  # it looked the body's name up
    yield _processed(session, "HDR001", wrong, told, "mismatch")


def _messages() -> tuple[dict[str, Any], dict[str, str], dict[str, Any], dict[str, str]]:
    """Bodies and headers of a request without a name, and of one for a name that no server has."""
    named, naming = modern("prompts/get", {"name": CANARY})
    return (*modern("server/discover"), named, naming)


def _processed(session: Session, check: str, wrong: list[str], told: list[str], key: str) -> Finding:
    if wrong:
        return session.subject.fail(check, None, f"processed with {', '.join(wrong)}", key=key)
    return session.subject.ok(check, None, "; ".join(told))


def _sent(session: Session, entry: Entry, body: dict[str, Any], headers: dict[str, str], **more: Any) -> Answer:
    return session.request(body=body, headers=headers, certificate=entry.identity.any, identity=entry.identity, **more)


@probe("P2", "HDR002", order=62)
def ambiguities(session: Session) -> Iterator[Finding]:
    """HDR002: one header twice with two values, and an encoded value that is none."""
    entry = let_in(session)
    if entry.modern is None:
        yield _not_modern(session, entry, "HDR002")
        return
    discover, mirrored, named, naming = _messages()
    wrong, told = [], []
    for what, answer in (
        ("Mcp-Method twice", _sent(session, entry, discover, mirrored, repeated=[("Mcp-Method", "ping")])),
        ("a bad Base64 value", _sent(session, entry, named, {**naming, "Mcp-Name": "=?base64?%%%?="})),
    ):
        told.append(f"{what}: HTTP {answer.status or answer.failure}")
        looked_up = answer.error.get("code") == -32602 and answer.status != 400
        if answer.answers or looked_up:
            wrong.append(what)
    yield _processed(session, "HDR002", wrong, told, "ambiguous")
