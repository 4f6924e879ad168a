"""What a server says to messages that are none, and to bodies without end."""

from __future__ import annotations

import ssl
from types import SimpleNamespace

import pytest

from mcpsec.audit.probes import malformed
from mcpsec.audit.probes.session import Answer
from tests.audit.probes.scripted import ALICE, Stream, connected_to, error, greets, opened, result, said, told

GONE = Answer(failure="the connection was closed")
NONE = "nothing is answered to us"
WRONG_KIND = b'"capabilities": 7'


NO = error(400)


def strict(asked, *, to=NO):
    """A good greeting is answered, everything else by ``to``."""
    good = asked.rpc and asked.body.count(b'"method"') == 1 and b'audit": ' not in asked.body
    bad = not good or b"NaN" in asked.body or b'"id": null' in asked.body or WRONG_KIND in asked.body
    return to if bad else greets(asked)


INSIDE = {
    "a stack trace": "Traceback (most recent call last)",
    "a path": "open /srv/app/server.py",
    "a database's message": "SQLSTATE[42000]",
    "a module and its version": "served by Werkzeug/3.1",
}


def test_a_server_that_refuses_in_few_words_passes(monkeypatch):
    found = list(malformed.malformed(opened(monkeypatch, strict)))
    assert [(each.check, str(each.state)) for each in found] == [("INP003", "pass"), ("ERR001", "pass")]


@pytest.mark.parametrize("kind", INSIDE)
def test_what_an_error_says_of_the_inside(kind, monkeypatch):
    session = opened(monkeypatch, lambda asked: strict(asked, to=error(400, message=INSIDE[kind])))
    assert ("ERR001", "fail", kind) in told(malformed.malformed(session))


@pytest.mark.parametrize(("broken", "text"), [(error(500), "HTTP 500"), (GONE, "the connection was closed")])
def test_what_breaks_over_no_message_did_not_refuse_it(broken, text, monkeypatch):
    found = list(malformed.malformed(opened(monkeypatch, lambda asked: strict(asked, to=broken))))
    said(found, "INP003", "fail", f"not refused, but broken by a batch: {text}")


def test_what_is_done_all_the_same_is_told_and_its_sessions_are_ended(monkeypatch):
    listed = Answer(200, {"mcp-session-id": "s1"}, b'[{"jsonrpc": "2.0", "id": 1, "result": {}}]')
    session = opened(monkeypatch, lambda asked: listed if asked.body.startswith(b"[") else strict(asked))
    said(list(malformed.malformed(session)), "INP003", "fail", "answered: a batch")
    session.close()
    (ended,) = [each for each in session.facts["asked"] if each.method == "DELETE"]
    assert ended.headers["mcp-session-id"] == "s1"


@pytest.mark.parametrize("probe", [malformed.malformed, malformed.deep, malformed.large])
def test_nothing_is_sent_to_who_does_not_answer(probe, monkeypatch):
    session = opened(monkeypatch, lambda asked: error(401))
    for each in probe(session):
        said([each], each.check, "not-assessed", NONE)
    assert all(len(each.body) < 1000 for each in session.facts["asked"])


@pytest.mark.parametrize(
    ("answer", "then", "state", "text"),
    [
        (error(400), greets, "pass", "20,000 levels: HTTP 400"),
        (result({}, mcp_session_id="s2"), greets, "pass", "20,000 levels: HTTP 200"),
        (error(500), greets, "fail", "2,000 levels: HTTP 500"),
        (GONE, greets, "fail", "2,000 levels: the connection was closed"),
        (error(400), lambda asked: GONE, "fail", "does not answer afterwards"),
    ],
)
def test_depth(answer, then, state, text, monkeypatch):
    nested = []

    def server(asked):
        if b"[[[[" in asked.body:
            nested.append(asked)
            return answer
        return then(asked) if nested else greets(asked)

    session = opened(monkeypatch, server)
    said(list(malformed.deep(session)), "INP002", state, text)
    assert [ident for ident, _ in session.opened] == (["s2", "s2"] if "mcp-session-id" in answer.headers else [])


def http(status, text="no"):
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


@pytest.fixture(autouse=True)
def smaller(monkeypatch):
    """A mebibyte in place of sixteen."""
    monkeypatch.setattr(malformed, "_LARGE", 1 << 20)


LARGE = {
    "refuses early": (lambda: Stream(http(413), takes=1 << 18), "pass", "HTTP 413 no after 261,"),
    "refuses at the end": (lambda: Stream(http(413)), "fail", "were read before: HTTP 413"),
    "takes it": (lambda: Stream(http(200)), "fail", "bytes were read: HTTP 200"),
    "hangs up": (lambda: Stream(b"", takes=1 << 18), "pass", "the connection was closed after 261,"),
    "breaks with a word": (
        lambda: Stream(ssl.SSLWantReadError(), http(413), takes=1 << 18, broken=BrokenPipeError(32, "Broken pipe")),
        "pass",
        "HTTP 413",
    ),
    "breaks without": (
        lambda: Stream(
            ssl.SSLWantReadError(), ConnectionResetError(), takes=1 << 18, broken=BrokenPipeError(32, "Broken pipe")
        ),
        "pass",
        "broken pipe after",
    ),
    "stops reading, then answers": (
        lambda: Stream(ssl.SSLWantReadError(), http(413), takes=1 << 18, broken=TimeoutError()), "pass", "HTTP 413"
    ),
    "stops reading for good": (
        lambda: Stream(ssl.SSLWantReadError(), TimeoutError(), takes=1 << 18, broken=TimeoutError()),
        "not-assessed",
        "no answer in time",
    ),
    "asks who we are": (lambda: Stream(http(401)), "not-assessed", "HTTP 401"),
    "takes no connection": (lambda: ConnectionRefusedError(111, "Connection refused"), "not-assessed", "refused"),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_a_body_without_end(name, monkeypatch):
    make, state, text = LARGE[name]
    connected_to(monkeypatch, make)
    found = list(malformed.large(opened(monkeypatch, greets, credentials=ALICE)))
    said(found, "INP001", state, text)
    assert len(found) == 1


def test_a_body_of_twice_what_the_deployment_takes_and_a_server_that_dies_of_it(monkeypatch):
    limits = SimpleNamespace(body_bytes=600_000)
    deployment = SimpleNamespace(server=SimpleNamespace(limits=limits))
    connected_to(monkeypatch, lambda: Stream(http(200)))
    session = opened(
        monkeypatch, lambda asked: greets(asked) if len(session.facts["asked"]) <= 2 else GONE, deployment=deployment
    )
    found = list(malformed.large(session))
    said(found, "INP001", "fail", "1,200,000 bytes were read")
    assert ("INP001", "fail", "dead") in told(found)


def test_a_session_that_the_look_afterwards_opened_is_noted(monkeypatch):
    connected_to(monkeypatch, lambda: Stream(http(413)))
    session = opened(monkeypatch, lambda asked: result({"protocolVersion": "2025-11-25"}, mcp_session_id="after"))
    list(malformed.large(session))
    assert ("after", session.credentials) in session.opened
