"""Messages that are none, and what the server says to them: INP003 and ERR001 (P2), INP001 and INP002 (P3)."""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Any

from mcpsec.audit.model import Finding
from mcpsec.audit.probes import probe
from mcpsec.audit.probes.entry import Entry, discover, initialize, let_in
from mcpsec.audit.probes.session import Session
from mcpsec.audit.probes.wire import Answer, connected, read_answer, reason

__all__ = ["alive"]

_INSIDE = (
    (
        "a stack trace",
        re.compile(
            r"""Traceback\ \(most\ recent\ call\ last\) | File\ "[^"]+",\ line\ \d+
              | \bat\ [\w.<>$ ]+\ \([^)]*:\d+:\d+\)
              | goroutine\ \d+\ \[ | \bat\ [\w.$]+\([\w.]+\.java:\d+\)""",
            re.X,
        ),
    ),
    (
        "a path",
        re.compile(
            r"""/(?:usr|home|root|opt|srv|var|app|Users)/[\w./-]+\.(?:py|js|ts|mjs|rb|go|java|php)\b
              | site-packages/ | node_modules/ | [A-Z]:\\\\?(?:Users|inetpub|Program)""",
            re.X,
        ),
    ),
    (
        "a database's message",
        re.compile(r"(?i)SQLSTATE\b|syntax error at or near|ORA-\d{5}|sqlite3?\.\w*Error|psycopg|: syntax error"),
    ),
    (
        "a module and its version",
        re.compile(r"errors\.pydantic\.dev/\d|\b(?:Express|Django|Flask|Werkzeug|uvicorn|Python|node)/\d+\.\d+"),
    ),
)
_LARGE = 16 << 20
_PIECE = 1 << 18
_DEPTHS = (2_000, 20_000)


def _greeting(entry: Entry) -> tuple[dict[str, Any], dict[str, str]]:
    return discover() if entry.modern is not None else initialize()


def _bodies(body: dict[str, Any]) -> list[tuple[str, bytes]]:
    text = json.dumps(body)
    inner = text[:-1]
    return [
        ("a batch", f"[{text}]".encode()),
        ("a member twice", f'{inner}, "method": "ping"}}'.encode()),
        ("NaN", text.replace('"params": {', '"params": {"audit": NaN, ', 1).encode()),
        ("broken UTF-8", text.encode().replace(b"mcpsec-audit", b"mcpsec-\xffaudit", 1)),
        ("a null id", json.dumps({**body, "id": None}).encode()),
        ("no JSON", b"{mcpsec-audit"),
    ]  # fmt: skip


@probe("P2", "INP003", "ERR001", order=70)
def malformed(session: Session) -> Iterator[Finding]:
    """INP003, and ERR001 of every answer to it."""
    subject, entry = session.subject, let_in(session)
    if not entry:
        for check in ("INP003", "ERR001"):
            yield subject.unknown(check, "nothing is answered to us: give a client's credentials")
        return
    body, headers = _greeting(entry)
    who = entry.identity
    answers = []
    for what, raw in _bodies(body):
        answer = session.request(raw=raw, headers=headers, certificate=who.any, identity=who, patience=5.0)
        if ident := answer.headers.get("mcp-session-id"):
            session.opened.append((ident, who))
        answers.append((what, answer))
    accepted = [what for what, answer in answers if _taken(answer)]
    broken = [f"{what}: {answer.describe()}" for what, answer in answers if answer.status >= 500 or answer.failure]
    if accepted:
        yield subject.fail("INP003", None, f"answered: {', '.join(accepted)}", key="answered")
    if broken:
        text = f"not refused, but broken by {'; '.join(broken)}"
        yield subject.fail("INP003", None, text[:300], severity="medium", key="broken")
    if not accepted and not broken:
        told = "; ".join(f"{what}: HTTP {answer.status}" for what, answer in answers)
        yield subject.ok("INP003", None, told)
    yield _inside(session, entry, answers)


def _taken(answer: Answer) -> bool:
    """Whether a malformed message was done all the same; a batch is answered by a list."""
    document = answer.json
    rows = document if isinstance(document, list) else [document]
    return answer.status == 200 and any(isinstance(row, dict) and "result" in row for row in rows)


def _inside(session: Session, entry: Entry, answers: list[tuple[str, Answer]]) -> Finding:
    """ERR001: of the malformed messages, of a method that nobody has, and of parameters of the wrong kind."""
    body, headers = _greeting(entry)
    who = entry.identity
    wrong = {**body, "params": {**body["params"], "protocolVersion": {"audit": [1]}, "capabilities": 7}}
    more: dict[str, Any] = {"certificate": who.any, "identity": who}
    answers = [*answers, ("parameters of the wrong kind", session.request(body=wrong, headers=headers, **more))]
    for what, answer in answers:
        text = answer.body.decode("utf-8", "replace")
        for kind, pattern in _INSIDE:
            if found := pattern.search(text):
                excerpt = found[0][:60].replace("\n", " ")
                return session.subject.fail("ERR001", None, f"{kind} in the answer to {what}: {excerpt}", key=kind)
    return session.subject.ok("ERR001", None, f"{len(answers)} errors say nothing of the inside")


def alive(session: Session, entry: Entry) -> bool:
    """Whether the server still does what it did when we came: the check after each load probe."""
    body, headers = _greeting(entry)
    who = entry.identity
    answer = session.request(body=body, headers=headers, certificate=who.any, identity=who)
    if answer.answers and (ident := answer.headers.get("mcp-session-id")):
        session.opened.append((ident, who))
    return answer.answers


@probe("P3", "INP002", order=10)
def deep(session: Session) -> Iterator[Finding]:
    """INP002: 2,000 and 20,000 levels do no harm."""
    subject, entry = session.subject, let_in(session)
    if not entry:
        yield subject.unknown("INP002", "nothing is answered to us: give a client's credentials")
        return
    body, headers = _greeting(entry)
    who, told = entry.identity, []
    for depth in _DEPTHS:
        nested = b"[" * depth + b"]" * depth
        raw = json.dumps(body).encode().replace(b'"params": {', b'"params": {"audit": ' + nested + b", ", 1)
        answer = session.request(raw=raw, headers=headers, certificate=who.any, identity=who)
        if ident := answer.headers.get("mcp-session-id"):
            session.opened.append((ident, who))
        if answer.status >= 500 or answer.failure:
            yield subject.fail("INP002", None, f"{depth:,} levels: {answer.describe()}", key="depth")
            break
        told.append(f"{depth:,} levels: HTTP {answer.status}")
    else:
        if alive(session, entry):
            yield subject.ok("INP002", None, "; ".join(told))
        else:
            yield subject.fail("INP002", None, "the server does not answer afterwards", severity="high", key="dead")


@probe("P3", "INP001", order=11)
def large(session: Session) -> Iterator[Finding]:
    """INP001: a body that is announced as large, sent until the server says no, 16 MiB at most."""
    subject, entry = session.subject, let_in(session)
    if not entry:
        yield subject.unknown("INP001", "nothing is answered to us: give a client's credentials")
        return
    limit = session.deployment.server.limits.body_bytes if session.deployment is not None else 0
    size = min(max(_LARGE, 2 * limit), 4 * _LARGE)
    sent, answer = _pushed(session, entry, size)
    if answer.status in (400, 408, 411, 413, 417, 431) or (answer.failure and answer.connected and sent < size):
        if answer.failure == "no answer in time":
            yield subject.unknown("INP001", f"after {sent:,} bytes: {answer.failure}", required=True)
        elif sent < size:
            yield subject.ok("INP001", None, f"{size:,} bytes: {answer.describe()} after {sent:,} bytes")
        else:
            text = f"{size:,} bytes were read before: {answer.describe()}"
            yield subject.fail("INP001", None, text, severity="low", key="late")
    elif answer.status == 401 or not answer.connected:
        yield subject.unknown("INP001", answer.describe(), required=True)
    else:
        yield subject.fail("INP001", None, f"{size:,} bytes were read: {answer.describe()}", key="size")
    if not alive(session, entry):
        yield subject.fail("INP001", None, "the server does not answer afterwards", severity="high", key="dead")


def _pushed(session: Session, entry: Entry, size: int) -> tuple[int, Answer]:
    """Send a body of ``size`` until something comes back. Returns how much went out, and the answer."""
    body, headers = _greeting(entry)
    who = entry.identity
    start = json.dumps(body).encode()[:-1] + b', "audit": "'
    content = start + b"a" * (size - len(start) - 2) + b'"}'
    whole = session.compose(raw=content, headers=headers, identity=who if who.any else None)
    head = len(whole) - size
    tls = session.tls(certificate=who.any, identity=who) if session.target.tls else None
    session.pace()
    at, early = 0, b""
    try:
        with connected(session.target, context=tls, server_name=session.name) as stream:
            try:
                while at < len(whole) and not early:
                    stream.settimeout(10.0)
                    at += stream.send(whole[at : at + _PIECE])
                    early = _early(stream)
            except TimeoutError:  # it stopped reading: what it has to say comes now
                pass
            except OSError as error:
                return max(0, at - head), _last_words(stream) or Answer(failure=reason(error))
            stream.settimeout(10.0)
            return max(0, at - head), read_answer(stream, "", 10.0, early)
    except OSError as error:
        return max(0, at - head), Answer(failure=reason(error), connected=at > 0)


def _early(stream: socket.socket) -> bytes:
    """What the peer says while we send; nothing when there is nothing yet, or only what is TLS's own (tickets)."""
    stream.settimeout(0)
    try:
        piece = stream.recv(65536)
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
        return b""
    if not piece:
        raise ConnectionResetError("the connection was closed")
    return piece


def _last_words(stream: socket.socket) -> Answer | None:
    """What came before the connection broke, when it can still be read."""
    try:
        answer = read_answer(stream, "", 2.0)
    except OSError:
        return None
    return answer if answer.status else None
