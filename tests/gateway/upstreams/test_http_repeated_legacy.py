"""Calls of the 2025 era that repeat one, to servers over HTTP: in their sessions and outside of any."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.deployments import EVERYTHING, OTHER
from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import spawn, wait_for_file, wait_until
from tests.fixtures.raw import RawClient, Response, request_bytes
from tests.fixtures.upstreams import HttpServer
from tests.gateway.test_calls import Slow
from tests.gateway.upstreams.test_http import EVENT, STREAM, calls, chunk, faults, send
from tests.gateway.upstreams.test_sessions_http import LegacyServer, open_session, rpc

SERVER = Path(__file__).with_name("sdk_sessions.py")
SESSIONS = pytest.mark.parametrize("session", [b"", b"upstream-1"], ids=["outside", "in a session"])


def echo(id: Any = 1, text: str = "hello") -> bytes:
    return rpc("tools/call", {"name": "echo", "arguments": {"text": text}}, id)


class JsonServer(LegacyServer):
    """Answers calls at once, by nothing but their answer."""

    def _answer(self, connection: socket.socket, message: dict[str, Any]) -> None:  # type: ignore[override]
        if message.get("method") != "tools/call":
            super()._answer(connection, message)
            return
        result = {"content": [{"type": "text", "text": "fine"}], "isError": False}
        send(connection, json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode())


@pytest.fixture
def server() -> Iterator[JsonServer]:
    made = JsonServer()
    yield made
    made.close()


@pytest.fixture
def start(server: JsonServer, deployment: Any, gateway: Any) -> Callable[..., Gateway]:
    def started(session: bytes, limits: dict[str, Any] | None = None, **upstream: Any) -> Gateway:
        server.session = session
        web = {"url": server.url, "timeout": "2s", "breaker": {"enabled": False}, **upstream}
        made = deployment({"web": web})
        made.document["clients"].append({"id": "other", "certificate": {"san": OTHER}, **EVERYTHING})
        made.document["server"]["limits"] = limits or {}
        made.write()
        running: Gateway = gateway(made)
        return running

    return started


class Speaker(RawClient):
    """A connection of one session, if the server has any: a new one, unless ``head`` names it."""

    said = 0

    def __init__(self, gateway: Gateway, head: dict[str, str | None] | None = None) -> None:
        super().__init__(gateway)
        self.head = open_session(self) if head is None else head

    def say(self, body: bytes) -> Response:
        self.said += 1
        return self.post(body, self.head)

    def begin(self, body: bytes) -> None:
        self.send(request_bytes(self.host, body, self.head))

    def repeat(self, times: int = 3) -> None:
        """Calls after which the next one goes the short way."""
        wait_until(lambda: self.say(echo()).status == 200, "an upstream that is well")
        for number in range(times):
            response = self.say(echo(number))
            assert (response.status, response.json["id"]) == (200, number)


@SESSIONS
def test_every_fault_meets_a_repeated_call_as_any_other(
    start: Callable[..., Gateway], server: JsonServer, session: bytes
) -> None:
    """One call at a time for each client: a place that is not given back would refuse all that come."""
    running = start(session, {"in_flight_per_client": 1, "response_bytes": 200_000}, in_flight=1)
    told: list[tuple[int, str]] = []
    for name, (fault, status, code) in faults().items():
        server.fault = None
        with Speaker(running) as speaker:
            speaker.repeat()
            server.fault = fault
            response = speaker.say(echo())
            assert (response.status, response.code) == (status, code), name
            server.fault = None
            # An upstream that answers and closes may do so under the next call, which is not repeated then.
            wait_until(lambda speaker=speaker: speaker.say(echo()).status == 200, f"an answer after {name}")
        due = len(told) + speaker.said
        wait_until(lambda due=due: len(calls(running)) >= due, f"the events after {name}")
        seen, told = len(told), [(event["status"], event["decision"]) for event in calls(running)]
        well = told.index((200, "allowed"), seen)
        assert told[well : well + 5] == [(200, "allowed")] * 4 + [(status, "failed")], name


@SESSIONS
def test_a_repeated_call_may_be_answered_by_a_stream(
    start: Callable[..., Gateway], server: JsonServer, session: bytes
) -> None:
    running = start(session, {"in_flight_per_client": 1}, in_flight=1)
    last = b'data: {"jsonrpc":"2.0","id":1,"result":{"content":[]}}\n\n'
    others = b'data: {"jsonrpc":"2.0","id":2,"result":{"content":[{"type":"text","text":"poison"}]}}\n\n'

    def stream(*events: bytes) -> Callable[[socket.socket, bytes], None]:
        return lambda connection, _: connection.sendall(STREAM + b"".join(map(chunk, events)) + b"0\r\n\r\n")

    with Speaker(running) as speaker:
        speaker.repeat()
        server.fault = stream(EVENT, last)
        response = speaker.say(echo())
        assert response.body.count(b"data: ") == 2
        assert response.json["result"]["content"] == []
        for broken in (stream(EVENT, others, last), lambda c, _: c.sendall(STREAM + chunk(EVENT))):
            server.fault = None
            speaker.repeat()
            server.fault = broken
            response = speaker.say(echo())
            assert (b"poison" in response.body, response.code in (50301, 50304)) == (False, True)
        server.fault = None
        speaker.repeat()


GONE = {
    "an error": b'{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Session not found"}}',
    "an answer": b'{"jsonrpc":"2.0","id":1,"result":{"content":[]}}',
    "nothing": b"",
}


@pytest.mark.parametrize("body", GONE)
def test_a_session_that_its_server_has_forgotten_is_over(
    start: Callable[..., Gateway], server: JsonServer, body: str
) -> None:
    """Whatever it says beside its 404, and for those alone who are in that session."""
    running = start(b"upstream-1")
    answer = GONE[body]

    def forgotten(connection: socket.socket, _: bytes) -> None:
        head = b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % len(answer) + answer)

    with Speaker(running) as speaker, Speaker(running, speaker.head) as beside, Speaker(running) as other:
        for each in (speaker, beside, other):
            each.repeat()
        server.fault = forgotten
        assert speaker.say(echo()).status == 404
        server.fault = None
        seen = len(server.bodies)
        for each in (speaker, beside):
            for _ in range(3):
                response = each.say(echo())
                assert (response.status, response.code) == (404, -32600)
        assert len(server.bodies) == seen, "the server was asked in a session that is over"
        other.repeat()
        with Speaker(running) as again:
            again.repeat()


@SESSIONS
def test_a_client_that_leaves_a_repeated_call_frees_its_place_and_its_upstream(
    start: Callable[..., Gateway], server: JsonServer, session: bytes
) -> None:
    running, slow = start(session, {"in_flight_per_client": 1}, in_flight=1, timeout="30s"), Slow()
    with Speaker(running) as speaker:
        speaker.repeat()
        server.fault, before = slow, len(calls(running))
        speaker.begin(echo())
        assert slow.came.wait(20)
    assert slow.left.wait(20), "the upstream still works for somebody who has gone"
    server.fault = None
    with Speaker(running, speaker.head) as again:
        again.repeat()
    wait_until(lambda: len(calls(running)) >= before + 4, "the events")
    gone = [event for event in calls(running)[before:] if event["status"] == 499]
    assert [(event["decision"], event["rule"]) for event in gone] == [("failed", "client-gone")]


def test_each_session_is_named_to_the_server_by_the_id_that_it_has_there(
    start: Callable[..., Gateway], server: JsonServer
) -> None:
    """Never by the gateway's, whose sessions are its clients' own; and each tool's call is the one that was asked."""
    running = start(b"upstream-1")
    with Speaker(running) as one:
        server.session = b"upstream-2"
        with Speaker(running) as two, RawClient(running, running.deployment.other) as stranger:
            one.repeat()  # the tools have been listed by then
            for number in range(8):
                for speaker, named in ((one, b"upstream-1"), (two, b"upstream-2")):
                    for tool in ("echo", "other"):
                        seen = len(server.bodies)
                        body = rpc("tools/call", {"arguments": {"name": "echo"}, "name": tool}, number)
                        assert speaker.say(body).json["id"] == number
                        (head,), (message,) = server.heads[seen:], server.bodies[seen:]
                        lines = [line for line in head.split(b"\r\n") if line.lower().startswith(b"mcp-session-id:")]
                        assert [line.split(b": ")[1] for line in lines] == [named]
                        assert (message["id"], message["params"]["name"]) == (number, tool)
                    assert stranger.post(echo(), speaker.head).status == 404


FIGURES = {"seq", "prev", "crc", "time", "request_id", "duration_ms", "upstream_ms"}


@SESSIONS
def test_the_log_says_the_same_of_a_repeated_call_as_of_the_first(
    start: Callable[..., Gateway], server: JsonServer, session: bytes
) -> None:
    running = start(session)
    with Speaker(running) as one, Speaker(running) as two:
        for speaker in (one, two):
            for name in ("echo", "other", "echo", "other", "echo", "other"):
                assert speaker.say(rpc("tools/call", {"name": name, "arguments": {"a": 1}})).status == 200
    wait_until(lambda: len(calls(running)) == 12, "the events")
    told = [{name: each for name, each in event.items() if name not in FIGURES} for event in calls(running)]
    for begin in (0, 6):
        for number in range(6):
            assert told[begin + number] == told[begin + number % 2]
    assert told[0] != told[1]
    assert (told[0] != told[6]) == bool(session), "of two sessions"


# --- the official SDK ------------------------------------------------------------------------------------------------


def start_sdk(directory: Path, kind: str, port: int = 0) -> HttpServer:
    ready, log = directory / "sdk.ready.json", directory / "sdk.log"
    ready.unlink(missing_ok=True)
    with log.open("w") as output:
        command = [sys.executable, str(SERVER), kind, str(port), str(ready)]
        process = spawn(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    return HttpServer(process, wait_for_file(ready, process, log)["url"])


@pytest.mark.parametrize("kind", ["json", "events"])
def test_a_server_of_the_sdk_in_sessions(kind: str, deployment: Any, gateway: Any, tmp_path: Path) -> None:
    """Until it is started anew and knows none of them: then they are over at the gateway too, and new ones begin."""
    server = start_sdk(tmp_path, kind)
    try:
        running = gateway(deployment({"web": {"url": server.url, "breaker": {"enabled": False}}}))
        with Speaker(running) as one, Speaker(running) as two:
            for speaker in (one, two):
                note = json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode()
                assert speaker.post(note, speaker.head).status == 202
            for number in range(12):
                for speaker, name in ((one, "echo"), (two, "shout"), (one, "shout"), (two, "echo")):
                    text = f"Text {number}"
                    body = rpc("tools/call", {"name": name, "arguments": {"text": text}}, f"{name} {number}")
                    answer = speaker.say(body)
                    assert (answer.status, answer.json["id"]) == (200, f"{name} {number}")
                    wanted = text if name == "echo" else text.upper()
                    assert answer.json["result"]["content"][0]["text"] == wanted
            server.stop()
            server = start_sdk(tmp_path, kind, int(server.url.rpartition(":")[2].partition("/")[0]))
            for speaker in (one, two):
                wait_until(lambda speaker=speaker: speaker.say(echo()).status == 404, "the end of its session")
                assert speaker.say(echo()).status == 404
            with Speaker(running) as again:
                again.repeat()
    finally:
        server.stop()
