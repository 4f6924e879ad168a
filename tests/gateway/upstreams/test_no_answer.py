"""An upstream that ends a call without answering it: the client hears so at once, and does not wait for what never comes."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fixtures.gateway import Gateway
from tests.fixtures.raw import RawClient, call

from .test_http import FaultyServer

RESULT = b'{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[]}}'
NEWS = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}'
QUESTION = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
LEGACY: dict[str, str | None] = {"MCP-Protocol-Version": "2025-11-25", "Mcp-Method": None, "Mcp-Name": None}


@pytest.fixture
def faulty() -> Iterator[FaultyServer]:
    server = FaultyServer()
    yield server
    server.close()


@pytest.fixture
def running(faulty: FaultyServer, deployment: Any, gateway: Any) -> Gateway:
    started: Gateway = gateway(deployment({"web": {"url": faulty.url, "breaker": {"enabled": False}}}))
    return started


# Each closes its connection: the next call is not sent into the server's end.
def body(status: str, text: bytes = b"", more: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %b\r\nconnection: close\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n"
    return head % (status.encode(), more, len(text)) + text


def stream(*events: bytes) -> bytes:
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in (*events, b""))
    head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked"
    return head + b"\r\n\r\n" + pieces


def asked(running: Gateway, faulty: FaultyServer, answer: bytes, *, legacy: bool = False) -> Any:
    def serve(connection: socket.socket, _body: bytes) -> None:
        connection.sendall(answer)

    faulty.fault = serve
    message = json.loads(call("echo"))
    if legacy:
        del message["params"]["_meta"]
    with RawClient(running) as client:
        got = client.post(json.dumps(message).encode(), LEGACY if legacy else None)
        faulty.recover()
        assert client.post(call("echo")).status == 200
    return got


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        body("200 OK"),
        body("202 Accepted"),
        b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nconnection: close\r\n\r\n",
        body("301 Moved Permanently", RESULT, b"location: http://other.example/\r\n"),
        body("200 OK", QUESTION),
        body("200 OK", NEWS),
        body("200 OK", b'{"jsonrpc":"2.0","id":1}'),
    ],
)
def test_what_is_no_answer_is_a_fault_of_the_upstream(
    running: Gateway, faulty: FaultyServer, answer: bytes, legacy: bool
) -> None:
    got = asked(running, faulty, answer, legacy=legacy)
    assert (got.status, got.code) == (503, 50301)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (body("429 Too Many Requests", b"", b"retry-after: 7\r\n"), 429),
        (body("404 Not Found", b'{"detail":"no"}'), 404),
    ],
)
def test_a_refusal_without_words_that_mcp_knows_keeps_its_status(
    running: Gateway, faulty: FaultyServer, answer: bytes, status: int
) -> None:
    got = asked(running, faulty, answer)
    assert (got.status, got.code, got.json["id"]) == (status, -32600, 1)
    assert got.headers.get("retry-after") == ("7" if status == 429 else None)


def test_a_stream_that_ends_unanswered_says_so(running: Gateway, faulty: FaultyServer) -> None:
    for answer in (stream(b"data: " + NEWS + b"\n\n"), stream(b"data: " + RESULT), stream(b": ping\n\n")):
        for legacy in (False, True):
            got = asked(running, faulty, answer, legacy=legacy)
            assert got.status == 200
            assert b'"code":50301' in got.body, answer


def test_answers_pass_and_so_does_a_stream_that_its_client_may_come_back_to(
    running: Gateway, faulty: FaultyServer
) -> None:
    assert asked(running, faulty, body("200 OK", RESULT)).json["result"]
    assert b"50301" not in asked(running, faulty, stream(b"data: " + RESULT + b"\n\n")).body
    left = stream(b"id: 7\ndata:\n\n")
    assert b"50301" not in asked(running, faulty, left, legacy=True).body
    assert b'"code":50301' in asked(running, faulty, left).body  # the 2026 era has no way back
