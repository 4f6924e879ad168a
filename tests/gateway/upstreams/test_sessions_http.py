"""Servers of 2025 over HTTP: whose answer, whose question and whose cancellation it is, with and without sessions."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fixtures.deployments import EVERYTHING, OTHER
from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, request_bytes
from tests.gateway.upstreams.test_http import STREAM, TOOLS, FaultyServer, chunk, send

READ = r".*the deployment was read again: in use now"
VERSION: dict[str, str | None] = {"MCP-Protocol-Version": "2025-11-25"}


def event(message: dict[str, Any], id: str = "") -> bytes:
    line = f"id: {id}\n".encode() if id else b""
    return chunk(line + b"data: %b\n\n" % json.dumps({"jsonrpc": "2.0", **message}).encode())


def found(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}]}


class LegacyServer(FaultyServer):
    """Speaks 2025-11-25, in sessions if ``session`` has an id; ``said`` is what a stream brings before its answer,
    and ``breaks`` ends it there."""

    def __init__(self) -> None:
        self.session = b""
        self.said = b""
        self.ends = True
        self.breaks = False
        self.later: threading.Event | None = None
        super().__init__()

    def _answer(self, connection: socket.socket, message: dict[str, Any]) -> None:  # type: ignore[override]
        method, id = message.get("method"), message.get("id")
        if not message:
            connection.sendall(STREAM + self.said)
            if self.later is not None:
                self.later.wait(60)
                connection.sendall(self.said)
            connection.sendall(b"0\r\n\r\n")
        elif method == "server/discover":
            error = {"code": -32601, "message": "no"}
            send(connection, json.dumps({"jsonrpc": "2.0", "id": id, "error": error}).encode())
        elif method == "initialize":
            info = {"name": "s", "version": "1"}
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}
            extra = b"Mcp-Session-Id: %b\r\n" % self.session if self.session else b""
            send(connection, json.dumps({"jsonrpc": "2.0", "id": id, "result": result}).encode(), extra=extra)
        elif method == "tools/list":
            send(connection, json.dumps({"jsonrpc": "2.0", "id": id, "result": {"tools": TOOLS}}).encode())
        elif method == "tools/call":
            end = event({"id": id, "result": found("own")}) + b"0\r\n\r\n" if self.ends else b""
            connection.sendall(STREAM + self.said + (b"0\r\n\r\n" if self.breaks else end))
        else:
            connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")


@pytest.fixture
def server() -> Iterator[LegacyServer]:
    made = LegacyServer()
    yield made
    made.close()


@pytest.fixture
def running(server: LegacyServer, deployment: Any, gateway: Any) -> Gateway:
    made = deployment({"web": {"url": server.url}})
    made.document["clients"].append({"id": "other", "certificate": {"san": OTHER}, **EVERYTHING})
    made.write()
    started: Gateway = gateway(made)
    return started


def rpc(method: str, params: dict[str, Any], id: Any = 1) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode()


CALL = rpc("tools/call", {"name": "echo", "arguments": {}})
QUESTION = {"id": 0, "method": "elicitation/create", "params": {"message": "sure?", "requestedSchema": {}}}
CONSENT = json.dumps({"jsonrpc": "2.0", "id": 0, "result": {"action": "accept", "content": {}}}).encode()


def open_session(client: RawClient) -> dict[str, str | None]:
    info = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    opened = client.post(rpc("initialize", info))
    assert opened.status == 200
    id = opened.headers.get("mcp-session-id")
    return VERSION | ({"Mcp-Session-Id": id} if id else {})


def get(client: RawClient, headers: dict[str, str | None]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    client.send(f"GET /mcp HTTP/1.1\r\nHost: {client.host}\r\nAccept: text/event-stream\r\n{lines}\r\n".encode())
    return client.read().body


@pytest.mark.parametrize("session", [b"", b"upstream-1"])
def test_a_clients_question_is_answered_by_that_client_only(
    running: Gateway, server: LegacyServer, session: bytes
) -> None:
    """A server that asks several clients under the same number takes the first answer for all that it asked."""
    server.session, server.said, server.ends = session, event(QUESTION), False
    with (
        RawClient(running) as asked,
        RawClient(running) as again,
        RawClient(running, running.deployment.other) as other,
    ):
        mine, theirs = open_session(asked), open_session(other)
        asked.send(request_bytes(asked.host, CALL, mine))
        wait_until(lambda: any(each.get("method") == "tools/call" for each in server.bodies), "the call")
        while b"elicitation" not in asked._buffer:
            assert asked._more()
        refused = other.post(CONSENT, theirs)
        assert (refused.status, refused.code) == (400, -32600)
        assert not any("result" in each for each in server.bodies)
        assert again.post(CONSENT, mine).status == 202
        assert again.post(CONSENT, mine).status == 400, "once"
        assert sum("result" in each for each in server.bodies) == 1


def test_a_number_cancels_nothing_outside_of_a_session(running: Gateway, server: LegacyServer) -> None:
    note = json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}).encode()
    for session, passed in ((b"", 0), (b"upstream-1", 1)):
        server.session = session
        with RawClient(running) as client:
            assert client.post(note, open_session(client)).status == 202
        assert sum(each.get("method") == "notifications/cancelled" for each in server.bodies) == passed


@pytest.mark.parametrize("session", [b"", b"upstream-1"])
def test_a_calls_stream_answers_that_call(running: Gateway, server: LegacyServer, session: bytes) -> None:
    server.session = session
    with RawClient(running) as client:
        headers = open_session(client)
        server.said = event({"method": "notifications/message", "params": {"level": "info", "data": "x"}})
        fine = client.post(CALL, headers)
        assert (b"notifications/message" in fine.body, fine.json["result"]) == (True, found("own"))
        server.said = event({"id": 7, "result": found("another's")})
        refused = client.post(CALL, headers)
        assert (b"another" in refused.body, refused.code, refused.json["id"]) == (False, 50304, 1)
    wait_until(lambda: "answer-to-another" in [each.get("rule") for each in running.deployment.events()], "the event")


def event_id(heard: bytes) -> str:
    return [line[4:].decode() for line in heard.splitlines() if line.startswith(b"id: ")][-1]


def test_a_stream_of_news_brings_no_answer(running: Gateway, server: LegacyServer) -> None:
    server.session = b"upstream-1"
    news = event({"method": "notifications/tools/list_changed"}, "e1")
    with RawClient(running) as client:
        headers = open_session(client)
        server.said = news + event({"id": 1, "result": found("another's")})
        heard = get(client, headers)
    with RawClient(running) as client:
        server.said = news + event({"id": 1, "result": found("another's")})
        again = get(client, headers | {"Last-Event-ID": event_id(heard)})
    for each in (heard, again):
        assert b"list_changed" in each
        assert b"another" not in each


@pytest.mark.parametrize("id", [1, "one", 2**63, "e\u00e9 \N{SNOWMAN}"])
@pytest.mark.parametrize("answer", ["result", "error"])
def test_a_stream_that_goes_on_answers_the_call_that_it_broke_off_from(
    running: Gateway, server: LegacyServer, id: Any, answer: str
) -> None:
    """Its server says by the event's id which stream that is; one that is out of step brings another's answer."""
    server.session, server.breaks = b"upstream-1", True
    server.said = event({"method": "notifications/message", "params": {"level": "info", "data": "x"}}, "e1")
    with RawClient(running) as client:
        headers = open_session(client)
        heard = client.post(rpc("tools/call", {"name": "echo", "arguments": {}}, id), headers).body
    said: dict[str, Any] = (
        {"result": found("words")} if answer == "result" else {"error": {"code": 1, "message": "words"}}
    )
    resumed = event_id(heard)
    for again in range(2):
        with RawClient(running) as client:
            server.said = event({"method": "notifications/message", "params": {"level": "info", "data": "x"}}, "e2")
            server.said += event({"id": id, **said})
            heard = get(client, headers | {"Last-Event-ID": resumed})
            assert b"words" in heard, "gone on with a second time, too" if again else "gone on with"
        resumed = event_id(heard)
        for other in (2, "two", 0):
            with RawClient(running) as client:
                server.said = event({"id": other, **said})
                assert b"words" not in get(client, headers | {"Last-Event-ID": resumed}), other


def test_news_of_resources_are_for_those_who_may_see_them_now(running: Gateway, server: LegacyServer) -> None:
    """A server tells everybody; a client hears what the policy lets it see when it is told, not when it connected."""
    made = running.deployment
    running.expected.append(READ)
    mine = made.document["clients"][0]
    mine["allow_resources"] = ["web/echo", "web/resource:file:///open/*"]
    rewrite(running)
    server.session, server.later = b"upstream-1", threading.Event()
    names = ("open/a", "secret/b")
    server.said = b"".join(
        event({"method": "notifications/resources/updated", "params": {"uri": f"file:///{name}"}}) for name in names
    ) + event({"method": "notifications/tools/list_changed"})
    with RawClient(running) as client:
        headers = open_session(client)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        client.send(f"GET /mcp HTTP/1.1\r\nHost: {client.host}\r\nAccept: text/event-stream\r\n{lines}\r\n".encode())
        while b"list_changed" not in client._buffer:
            assert client._more()
        mine["allow_resources"] = ["web/echo"]
        rewrite(running)
        server.later.set()
        heard = client.read().body
        assert (heard.count(b"list_changed"), heard.count(b"open/a"), heard.count(b"secret/b")) == (2, 1, 0)


def rewrite(running: Gateway) -> None:
    def reloads() -> int:
        return running.stderr().count("the deployment was read again")

    before = reloads()
    running.deployment.write()
    wait_until(lambda: reloads() > before, "the deployment to be read again")


@pytest.mark.parametrize("session", [b"", b"upstream-1"])
def test_what_no_client_reads_of_a_stream_is_left_out(running: Gateway, server: LegacyServer, session: bytes) -> None:
    server.session = session
    token = b"ghp_" + b"wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO2bVxWr"
    news = b'data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n'
    for words in (b": %b\n\n", b": %b\n" + news, b"note: %b\n" + news, b"id: %b\0\n" + news, b"event: %b\n" + news):
        server.said = chunk(words % token + news)
        with RawClient(running) as client:
            answer = client.post(CALL, open_session(client))
        assert token not in answer.body, words
        assert b"list_changed" in answer.body
        assert answer.json["result"] == found("own")


MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize("way", ["the call's own stream", "a stream of news"])
def test_a_byte_order_mark_amid_a_stream_hides_nothing(running: Gateway, server: LegacyServer, way: str) -> None:
    """There it makes its line one that nobody reads, and nobody has looked at; it must not become data on its way."""
    server.session = b"upstream-1"
    with RawClient(running) as client:
        headers = open_session(client)

    def heard(said: bytes) -> bytes:
        server.said = chunk(said)
        with RawClient(running) as client:
            return get(client, headers) if way == "a stream of news" else client.post(CALL, headers).body

    news = b'data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n'
    hidden = b'data: {"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"another\'s"}]}}\n'
    for poison in (
        MARK + hidden + b"id: 3\n",
        MARK + hidden,
        b"id: 3\n" + MARK + hidden,
        MARK + hidden + b"id: 3\n" + news,
    ):
        for before in (news + b"\n", b": begun\n\n", MARK + b": begun\n\n", MARK):
            body = heard(before + poison + b"\n" + news + b"\n")
            assert b"another" not in body, (before, poison)
            assert b"list_changed" in body
    for honest in (MARK + news + b"id: 3\n\n", MARK + news + b"\n", news + b"id: 3\n\n"):
        assert heard(honest).count(b"list_changed") == 1, honest
