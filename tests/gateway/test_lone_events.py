"""Calls that repeat one and are answered by a stream of events, as the SDKs' servers answer: one event and the end."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from mcpsec.gateway.calls import Call
from mcpsec.gateway.message import Answer, StreamAnswer
from mcpsec.gateway.upstreams.body_stream import BodyStream
from mcpsec.gateway.upstreams.http_client import UpstreamResponse
from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, Response, call, request_bytes
from tests.gateway.upstreams.test_http import EVENT, STREAM, FaultyServer, calls, chunk

END = b"0\r\n\r\n"
SLOW = 0.2
"""Seconds: more than the gateway waits for the end of a stream."""


def event(
    id: Any = 1, text: str = "fine", *, before: bytes = b"event: message\r\n", line_end: bytes = b"\r\n"
) -> bytes:
    result = {"content": [{"type": "text", "text": text}], "isError": False}
    payload = json.dumps({"jsonrpc": "2.0", "id": id, "result": result}).encode()
    return before.replace(b"\r\n", line_end) + b"data: " + payload + 2 * line_end


class EventServer(FaultyServer):
    """Answers every tools/call with ``pieces`` of a stream (numbers are pauses), on a connection that stays."""

    def __init__(self) -> None:
        self.pieces: Callable[[Any], list[bytes | float]] | None = None
        self.connections: set[socket.socket] = set()
        self.ending = threading.Event()
        super().__init__()
        self.plain, self._answer = self._answer, self.stream  # type: ignore[method-assign]

    def stream(self, connection: socket.socket, message: dict[str, Any]) -> None:
        if message.get("method") != "tools/call" or self.pieces is None:
            self.plain(connection, message)
            return
        self.connections.add(connection)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as servers in use have it
        for piece in self.pieces(message["id"]):
            if piece == END:
                self.ending.set()
            if isinstance(piece, float):
                time.sleep(piece)
            else:
                connection.sendall(piece)


@pytest.fixture
def server() -> Iterator[EventServer]:
    made = EventServer()
    yield made
    made.close()


@pytest.fixture
def running(server: EventServer, deployment: Any, gateway: Any) -> Gateway:
    """One call at a time: a place that is not given back would refuse all that come."""
    web = {"url": server.url, "timeout": "2s", "in_flight": 1, "breaker": {"enabled": False}}
    made = deployment({"web": web})
    made.document["server"]["limits"] = {"in_flight_per_client": 1, "response_bytes": 50_000}
    made.write()
    started: Gateway = gateway(made)
    return started


def repeated(client: RawClient, server: EventServer, pieces: Callable[[Any], list[bytes | float]]) -> list[Response]:
    """The answers to three calls that go the short way; all of them meet the same stream."""
    server.pieces = None
    for number in range(3):
        assert client.post(call("echo", {"text": "hello"}, id=number)).json["id"] == number
    server.pieces = pieces
    return [client.post(call("echo", {"text": "hello"}, id=f"own {number}")) for number in range(3)]


def is_whole(response: Response) -> bool:
    return "content-length" in response.headers and "transfer-encoding" not in response.headers


LONE: dict[str, tuple[Callable[[Any], bytes], Callable[[bytes], list[bytes | float]]]] = {
    "at once": (event, lambda said: [STREAM + chunk(said) + END]),
    "in three pieces": (event, lambda said: [STREAM, chunk(said), END]),
    "cut in the middle": (event, lambda said: [STREAM + chunk(said[:30]), chunk(said[30:]) + END]),
    "without a name": (lambda id: event(id, before=b""), lambda said: [STREAM + chunk(said) + END]),
    "with line feeds": (lambda id: event(id, line_end=b"\n"), lambda said: [STREAM + chunk(said) + END]),
}


def at_once(id: Any) -> list[bytes | float]:
    return [STREAM + chunk(event(id)) + END]


@pytest.mark.parametrize("name", LONE)
def test_an_answer_that_comes_alone_is_answered_whole(running: Gateway, server: EventServer, name: str) -> None:
    said, pieces = LONE[name]
    with RawClient(running) as client:
        answers = repeated(client, server, lambda id: pieces(said(id)))
        for number, response in enumerate(answers):
            assert response.status == 200
            assert response.headers["content-type"] == "text/event-stream"
            assert response.body == said(f"own {number}")
        wait_until(
            lambda: is_whole(client.post(call("echo", {"text": "hello"}))), "a machine quick enough for a short one"
        )
        assert len(server.connections) == 1, "the connection was cut"
    wait_until(lambda: len(calls(running)) >= 7, "its events")
    assert {(each["status"], each["decision"]) for each in calls(running)} == {(200, "allowed")}
    assert [each["response_bytes"] for each in calls(running)][3:6] == [len(each.body) for each in answers]


LONG: dict[str, tuple[Callable[[Any], list[bytes | float]], int]] = {
    "a notification before it": (lambda id: [STREAM + chunk(EVENT) + chunk(event(id)) + END], 2),
    "a comment before it": (lambda id: [STREAM + chunk(b": ping\r\n\r\n") + chunk(event(id)) + END], 1),
    "a remark in it": (lambda id: [STREAM + chunk(event(id, before=b": remark\r\n")) + END], 1),
    "a byte order mark": (lambda id: [STREAM + chunk(b"\xef\xbb\xbf" + event(id)) + END], 1),
    "two lines of data": (lambda id: [STREAM + chunk(event(id).replace(b'"result"', b'\r\ndata: "result"')) + END], 2),
    "an end that comes late": (lambda id: [STREAM + chunk(event(id)), SLOW, END], 1),
    "an answer that comes late": (lambda id: [STREAM, SLOW, chunk(event(id)) + END], 1),
}


@pytest.mark.parametrize("name", LONG)
def test_whatever_else_a_stream_brings_is_passed_on_as_it_comes(
    running: Gateway, server: EventServer, name: str
) -> None:
    pieces, lines = LONG[name]
    with RawClient(running) as client:
        for number, response in enumerate(repeated(client, server, pieces)):
            assert response.status == 200
            assert not is_whole(response)
            assert response.body.count(b"data: ") == lines
            assert b"remark" not in response.body
            if lines == 1:
                assert response.json["id"] == f"own {number}"
        repeated(client, server, at_once)


def test_an_event_before_a_slow_end_is_not_held_back(running: Gateway, server: EventServer) -> None:
    with RawClient(running) as client:
        repeated(client, server, at_once)
        server.pieces = lambda id: [STREAM + chunk(event(id)), 1.5, END]
        server.ending.clear()
        client.send(request_bytes(client.host, call("echo", {"text": "hello"})))
        while b"fine" not in client._buffer:
            assert client._more()
        assert server.ending.is_set() is False, "it was held back until its stream ended"
        assert client.read().status == 200


REFUSED: dict[str, Callable[[Any], list[bytes | float]]] = {
    "an answer to another call": lambda _id: [STREAM + chunk(event("poison", "poison")) + END],
    "an answer that is no result": lambda id: [STREAM + chunk(b'data: {"jsonrpc":"2.0","id":"%b"}\r\n\r\n' % id.encode()) + END],
    "no JSON": lambda _id: [STREAM + chunk(b"data: poison\r\n\r\n") + END],
    "nothing": lambda _id: [STREAM + END],
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_answer_reaches_nobody(running: Gateway, server: EventServer, name: str) -> None:
    with RawClient(running) as client:
        for response in repeated(client, server, REFUSED[name]):
            assert b"poison" not in response.body
            assert b"fine" not in response.body
        assert all(each.json["id"].startswith("own") for each in repeated(client, server, at_once))


def test_a_stream_that_breaks_off_is_an_error(running: Gateway, server: EventServer) -> None:
    def breaks(connection: socket.socket, body: bytes) -> None:
        connection.sendall(STREAM + chunk(event(json.loads(body)["id"])[:40]))

    with RawClient(running) as client:
        repeated(client, server, at_once)
        server.fault = breaks
        response = client.post(call("echo", {"text": "hello"}))
        server.recover()
        assert response.code == 50301
        repeated(client, server, at_once)


def test_an_event_is_no_larger_than_an_answer_may_be(running: Gateway, server: EventServer) -> None:
    with RawClient(running) as client:
        for size, fine in ((40_000, True), (60_000, False)):
            for response in repeated(
                client, server, lambda id, size=size: [STREAM + chunk(event(id, "x" * size)) + END]
            ):  # type: ignore[misc]
                assert (b"xxxx" in response.body) is fine
                assert ("error" in response.json) is not fine
        repeated(client, server, at_once)


# --- one ending, whatever comes first --------------------------------------------------------------------------------


class Fakes:
    """All that is around a call, and what it says."""

    stream_bytes = 100

    def __init__(self) -> None:
        self.said: list[Answer | None] = []
        self.given_back = 0
        self.call = Call(self, SimpleNamespace(unshared=""), self.said.append)  # type: ignore[arg-type]
        self.call.sender, self.call.connection, self.call.started = self, self, 0.0  # type: ignore[assignment]
        self.call.term = None  # type: ignore[assignment]
        self.response = UpstreamResponse()
        self.response.status, self.response.stream = 200, BodyStream(self)

    def alone(self, _exchange: object, response: UpstreamResponse) -> Answer | None:
        body = None if response.stream is None else response.stream.whole
        return None if body is None else Answer(200, [], body)

    def ended_well(self, _term: object) -> None:
        self.given_back += 1

    def outcome(self, _exchange: object, _got: object) -> StreamAnswer:
        return StreamAnswer(200, [], None)  # type: ignore[arg-type]

    async def later(self, _exchange: object, outcome: StreamAnswer, *_: object) -> StreamAnswer:
        self.given_back += 1
        return outcome

    def finished(self, _exchange: object, answer: Answer) -> Answer:
        return answer

    async def complete(self, _exchange: object, outcome: Any) -> Any:
        return await outcome

    def abort(self) -> None:
        raise AssertionError("the connection is others' by now")

    pause = resume = abort


@pytest.mark.anyio
@pytest.mark.parametrize("first", ["the end", "the end of patience", "both in one turn"])
async def test_a_call_is_answered_once_whatever_comes_first(first: str) -> None:
    made = Fakes()
    made.call.set_result(made.response)
    stream = made.response.stream
    assert stream is not None
    stream.feed(b"data: {}\n\n")
    if first == "the end of patience":
        made.call._goes_on(made.response)
        stream.finish()
    else:
        stream.finish()
        if first == "both in one turn":
            made.call._goes_on(made.response)  # as the loop calls it whose timers come before what is due soon
    await asyncio.sleep(0.05)
    if first == "the end of patience":
        assert made.said == [None]
        await made.call.wait()
    else:
        assert made.said == [Answer(200, [], b"data: {}\n\n")]
        made.call.cancel()
    assert made.given_back == 1


@pytest.mark.anyio
async def test_a_stream_that_is_too_large_is_no_short_one() -> None:
    made = Fakes()
    made.call.set_result(made.response)
    stream = made.response.stream
    assert stream is not None
    stream.feed(b"data: " + b"x" * 200 + b"\n\n")
    stream.finish()
    await asyncio.sleep(0.05)
    assert made.said == [None]
    await made.call.wait()
    assert made.given_back == 1


def test_a_secret_in_the_event_is_taken_out(running: Gateway, server: EventServer) -> None:
    token = "ghp_" + "wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO2bVxWr"
    with RawClient(running) as client:
        for response in repeated(client, server, lambda id: [STREAM + chunk(event(id, f"token={token}")) + END]):
            assert token.encode() not in response.body
            assert b"REDACTED" in response.body


def test_a_client_that_leaves_while_the_end_is_due_frees_its_place(running: Gateway, server: EventServer) -> None:
    with RawClient(running) as client:
        repeated(client, server, at_once)
        for pause in (0.0, 0.005, 0.01, 0.05):
            server.pieces = lambda id: [STREAM + chunk(event(id)), SLOW, END]
            with RawClient(running) as other:
                other.send(request_bytes(other.host, call("echo", {"text": "hello"})))
                time.sleep(pause)
            server.pieces = None
            wait_until(lambda: client.post(call("echo", {"text": "hello"})).status == 200, "its place")
    assert "internal error" not in running.stderr()
