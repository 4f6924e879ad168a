"""HTTP upstreams and clients at odds with each other: nothing done twice, kept for ever, or mixed up."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mcpsec.gateway.upstreams.http_client import HttpPool
from tests.fixtures.gateway import Gateway
from tests.fixtures.raw import RawClient, Response, call, request_bytes
from tests.gateway.upstreams.test_http import EVENT, STREAM, FaultyServer, chunk, send

GET = "GET /mcp HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\nMcp-Session-Id: {}\r\n\r\n"


def initialize() -> bytes:
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).encode()


class SessionServer(FaultyServer):
    """Speaks the 2025 era only, slowly opens numbered sessions, keeps GET streams open."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[bytes] = []

    def _answer(self, connection: socket.socket, message: dict[str, Any]) -> None:  # type: ignore[override]
        method = message.get("method")
        if not message:
            opens = self.heads[-1].startswith(b"GET")
            connection.sendall(STREAM + chunk(EVENT) if opens else b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        elif method == "initialize":
            time.sleep(0.5)
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "s"}}
            extra = b"Mcp-Session-Id: number-%d\r\n" % len(self.bodies)
            answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
            send(connection, json.dumps(answer).encode(), extra=extra)
        elif method == "server/discover":
            error = {"code": -32601, "message": "Method not found"}
            send(connection, json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode())
        elif "id" not in message or "method" not in message:
            connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        elif method == "ping":
            last = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {}}).encode()
            for data in (*self.events, last):
                connection.sendall(
                    (STREAM if data is (*self.events, last)[0] else b"") + chunk(b"data: " + data + b"\n\n")
                )
            connection.sendall(b"0\r\n\r\n")
        else:
            super()._answer(connection, message)

    def ended(self) -> int:
        return sum(head.startswith(b"DELETE") for head in self.heads)


@pytest.fixture
def faulty() -> Iterator[FaultyServer]:
    server = FaultyServer()
    yield server
    server.close()


@pytest.fixture
def sessions() -> Iterator[SessionServer]:
    server = SessionServer()
    yield server
    server.close()


def started(deployment: Any, gateway: Any, server: FaultyServer, *, limits: dict[str, Any], **options: Any) -> Gateway:
    made = deployment({"web": {"url": server.url, "timeout": "3s"}, **options.pop("upstreams", {})}, **options)
    made.document["server"]["limits"] = limits
    made.write()
    running: Gateway = gateway(made)
    return running


def ask(running: Gateway, body: bytes, headers: dict[str, str | None] | None = None) -> Response:
    with RawClient(running) as client:
        return client.post(body, headers)


def test_a_call_through_the_aggregate_is_never_sent_twice(deployment: Any, gateway: Any, faulty: FaultyServer) -> None:
    running = started(deployment, gateway, faulty, limits={}, upstreams={"demo": {"builtin": "demo"}})
    assert ask(running, call("web_echo")).status == 200  # leaves a kept connection, on which a repetition would be due
    faulty.fault = lambda connection, body: None  # takes the call, closes without a word
    assert ask(running, call("web_echo")).status == 503
    assert sum(body.get("method") == "tools/call" for body in faulty.bodies) == 2
    for odd in (b'"_meta":null', b'"_meta":[1]'):
        faulty.fault = lambda c, body, odd=odd: send(  # type: ignore[misc]
            c, b'{"jsonrpc":"2.0","id":"%b","result":{"content":[],%b}}' % (json.loads(body)["id"].encode(), odd)
        )
        assert ask(running, call("web_echo")).json["result"]["content"] == []


def test_answers_of_every_kind_are_passed_on_or_let_go(deployment: Any, gateway: Any, faulty: FaultyServer) -> None:
    grants = {"allow_resources": ["web/echo"], "allow_methods": ["execute"]}
    running = started(deployment, gateway, faulty, limits={}, grants=grants)

    body = b'{"jsonrpc":"2.0","id":1,"result":{"content":[]}}'
    for status in (299, 420, 499):
        head = b"HTTP/1.1 %d Odd\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        faulty.fault = lambda c, _, head=head: c.sendall(head + body)  # type: ignore[misc]
        assert (ask(running, call("echo")).status, status) == (status, status)

    closed = threading.Event()

    def compressed(connection: socket.socket, _: bytes) -> None:
        connection.sendall(STREAM.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n"))
        connection.settimeout(10)
        if connection.recv(1) == b"":
            closed.set()

    faulty.fault = compressed
    assert ask(running, call("echo")).status == 503
    assert closed.wait(10), "the stream that nobody reads stays open"

    # One id for two requests: the answer to the list comes on the call's stream. It is cut like any list.
    tools = b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"echo"},{"name":"other"}]%b}}'
    faulty.fault = lambda c, _: send(c, b"data: " + tools % b"" + b"\n\n", b"text/event-stream")
    answer = ask(running, call("echo")).body
    assert b'"echo"' in answer and b'"other"' not in answer
    faulty.fault = lambda c, _: send(c, b"\xef\xbb\xbfdata: " + tools % b"" + b"\n\n", b"text/event-stream")
    assert b'"other"' not in ask(running, call("echo")).body
    faulty.fault = lambda c, _: send(c, tools % b',"content":[]')
    assert [tool["name"] for tool in ask(running, call("echo")).json["result"]["tools"]] == ["echo", "other"]


def test_sessions_opened_at_once_keep_to_the_bound(deployment: Any, gateway: Any, sessions: SessionServer) -> None:
    running = started(deployment, gateway, sessions, limits={"sessions_per_client": 1})
    ended = sessions.ended()
    clients = [RawClient(running) for _ in range(3)]
    for client in clients:
        client.send(request_bytes(client.host, initialize()))
    answers = [client.read() for client in clients]
    for client in clients:
        client.close()
    assert sorted(answer.status for answer in answers) == [200, 429, 429]
    deadline = time.monotonic() + 10
    while sessions.ended() < ended + 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sessions.ended() == ended + 2  # the upstream keeps none that nobody knows
    session = next(answer.headers["mcp-session-id"] for answer in answers if answer.status == 200)

    # Ids that are no ids harm neither the stream nor the gateway.
    sessions.events = [b'{"jsonrpc":"2.0","id":%b,"method":"ping"}' % odd for odd in (b"[]", b"{}", b"1.5", b'"p"')]
    sessions.events.append(b'{"jsonrpc":"2.0","method":{},"id":1}')
    ping = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "ping"}).encode()
    answer = ask(running, ping, {"Mcp-Session-Id": session})
    assert answer.status == 200 and b'"id": 7' in answer.body and b'"p"' in answer.body and b"[]" not in answer.body


def test_an_idle_session_ends_upstream_too_and_one_with_a_stream_is_not_idle(
    deployment: Any, gateway: Any, sessions: SessionServer
) -> None:
    running = started(deployment, gateway, sessions, limits={"session_idle_timeout": "1s"})
    kept, idle = (ask(running, initialize()).headers["mcp-session-id"] for _ in range(2))
    with RawClient(running) as listener:
        listener.send(GET.format(listener.host, kept).encode())
        deadline = time.monotonic() + 15
        while not sessions.ended() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert sessions.ended() == 1
        ping = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "ping"}).encode()
        assert ask(running, ping, {"Mcp-Session-Id": idle}).status == 404
        assert ask(running, ping, {"Mcp-Session-Id": kept}).status == 200


def test_a_stream_that_is_read_slowly_does_not_hold_up_the_next_request() -> None:
    """The answer ends while reading is paused for its reader; the kept connection must be read again all the same."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(STREAM + chunk(b"x" * 200_000))
        await writer.drain()
        await asyncio.sleep(0.3)
        writer.write(chunk(b"x" * 50_000))
        await writer.drain()
        await asyncio.sleep(0.3)
        writer.write(chunk(b"x" * 20_000) + b"0\r\n\r\n")  # what is too much, and the end, in one read
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def scenario() -> bytes:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        pool = HttpPool("127.0.0.1", port, tls=None, connect_timeout=5, response_bytes=10**6)
        request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        first = await pool.send(request, timeout=5, repeatable=False)
        await asyncio.sleep(1)
        second = await pool.send(request, timeout=5, repeatable=False)
        stream = first.stream
        assert stream is not None
        assert sum([len(piece) async for piece in stream.pieces()]) == 270_000
        pool.close()
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.1)
        return second.body

    assert asyncio.run(scenario()) == b"{}"
