"""An endpoint that is a function: each request of a probe is handed to it, and what it returns is the answer.

For answers that no real server gives on demand. Who asks is told by the token, so that nothing needs TLS.
"""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from mcpsec.audit.probes import load, malformed, oauth, session, traces
from mcpsec.audit.probes.session import Answer, Credentials, Session
from mcpsec.audit.subjects import Context, Subject

__all__ = [
    "ABSENT",
    "ALICE",
    "BOB",
    "GONE",
    "LATE",
    "TLS_URL",
    "Asked",
    "Clock",
    "Stream",
    "connected_to",
    "error",
    "greets",
    "opened",
    "page",
    "result",
    "said",
    "told",
]

ALICE, BOB = Credentials(token="alice", client="alice"), Credentials(token="bob", client="bob")
GONE = Answer(failure="the connection was closed")
LATE = Answer(failure="no answer in time")
ABSENT = Answer(failure="connection refused", connected=False)
TLS_URL = "https://127.0.0.1:1/mcp"


class Asked(NamedTuple):
    """One request as it came."""

    method: str
    path: str
    headers: dict
    body: bytes

    @property
    def who(self):
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    @property
    def rpc(self):
        """The method of a JSON-RPC message; empty for what is none."""
        try:
            message = json.loads(self.body)
        except ValueError:
            return ""
        return message.get("method", "") if isinstance(message, dict) else ""


class Clock:
    """Stands in for the module ``time``: sleeping takes no time, and each look at it takes ``tick`` seconds."""

    def __init__(self, tick=0.0):
        self.now, self.tick = 1000.0, tick

    def monotonic(self):
        self.now += self.tick
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def page(text, **headers):
    return Answer(200, {name.replace("_", "-"): value for name, value in headers.items()}, text.encode())


def result(value, **headers):
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": value}).encode()
    return Answer(200, {"content-type": "application/json", **named}, body)


def error(status, code=-32600, message="no", **headers):
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message}}).encode()
    return Answer(status, named, body)


def greets(asked, **methods):
    """A server of the current era; ``methods`` are results by the name of the method, with _ for the slash."""
    known = {"server_discover": {"supportedVersions": ["2026-07-28"]}, **methods}
    name = asked.rpc.replace("/", "_")
    return result(known[name]) if name in known else error(404, -32601, "method not found")


def opened(monkeypatch, server, url="http://127.0.0.1:1/mcp", *, clock=None, profile="load", subjects=(), **options):
    """A session with an endpoint that ``server`` answers for; its requests are noted in ``facts["asked"]``."""
    subject = Subject("endpoint", Path(url), url)
    context = Context([subject, *subjects], Path("/"), datetime.now(UTC), profile, options)
    made = Session(subject, context)
    asked = made.facts.setdefault("asked", [])

    def exchange(target, request, **_):
        head, _, body = request.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        asked.append(Asked(method, path, fields, body))
        return server(asked[-1])

    for module in (session, load, oauth, traces):
        monkeypatch.setattr(module, "exchange", exchange)
    monkeypatch.setattr(session, "PACE", 0.0)
    clock = clock or Clock()
    ours = SimpleNamespace(monotonic=clock.monotonic, sleep=clock.sleep, time=lambda: 1.8e9)
    for module in (session, load, traces, oauth):
        monkeypatch.setattr(module, "time", ours)
    return made


class Stream:
    """A connection: takes ``takes`` bytes, and says what it is scripted to say (an exception is raised)."""

    def __init__(self, *says, takes=1 << 40, broken=None):
        self.says, self.left, self.broken = list(says), takes, broken

    def settimeout(self, seconds):
        self.patient = seconds != 0

    def sendall(self, data):
        pass

    def send(self, data):
        if self.left <= 0 and self.broken is not None:
            raise self.broken
        self.left -= len(data)
        return len(data)

    def recv(self, size):
        if not self.patient and self.left > 0:
            raise BlockingIOError
        said = self.says.pop(0) if self.says else b""
        if isinstance(said, Exception):
            raise said
        return said


def connected_to(monkeypatch, make):
    """Connections of the load probes are what ``make`` makes, an exception instead when it returns one."""

    @contextlib.contextmanager
    def connected(target, **_):
        made = make()
        if isinstance(made, Exception):
            raise made
        yield made

    for module in (load, malformed):
        monkeypatch.setattr(module, "connected", connected)


def told(findings):
    """What findings say: check, state and key (the first words where it has none)."""
    return [(each.check, str(each.state), each.key or each.observed) for each in findings]


def said(found, check, state, text):
    """Assert that a check came to a state with some words."""
    found = list(found)
    rows = [each for each in found if each.check == check]
    assert any(str(each.state) == state and text in each.observed for each in rows), [
        (each.check, str(each.state), each.observed) for each in found
    ]
