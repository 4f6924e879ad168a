"""An HTTP upstream that misbehaves in every way: the caller gets one clear answer in time, and the next call works."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import MODERN_META, RawClient, call

TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("echo", "other")]


class FaultyServer:
    """A bare socket server: answers MCP properly until ``fault`` takes over a ``tools/call``. Keeps what it received."""

    def __init__(self) -> None:
        self.fault: Callable[[socket.socket, bytes], None] | None = None
        self.heads: list[bytes] = []
        self.bodies: list[dict[str, Any]] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._faulty: threading.Thread | None = None
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def recover(self) -> None:
        """Answer properly again. The connection of the last fault is closed by then: no call is sent into its end."""
        self.fault = None
        if self._faulty is not None:
            self._faulty.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/mcp"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection: socket.socket) -> None:
        data = b""
        try:
            while True:
                while b"\r\n\r\n" not in data:
                    more = connection.recv(65536)
                    if not more:
                        return
                    data += more
                head, _, data = data.partition(b"\r\n\r\n")
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in head.split(b"\r\n")
                        if line.lower().startswith(b"content-length")
                    ),
                    0,
                )
                while len(data) < length:
                    data += connection.recv(65536)
                body, data = data[:length], data[length:]
                self.heads.append(head)
                message = json.loads(body) if body else {}
                self.bodies.append(message)
                if message.get("method") == "tools/call" and self.fault is not None:
                    self._faulty = threading.current_thread()
                    self.fault(connection, body)
                    return
                self._answer(connection, message)
        except OSError:
            return
        finally:
            connection.close()

    @staticmethod
    def _answer(connection: socket.socket, message: dict[str, Any]) -> None:
        method = message.get("method")
        result: dict[str, Any] = {"resultType": "complete"}
        if method == "server/discover":
            result |= {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
        elif method == "tools/list":
            result |= {"tools": TOOLS, "ttlMs": 60_000, "cacheScope": "public"}
        else:
            result |= {"content": [{"type": "text", "text": "fine"}], "isError": False}
        send(connection, json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "result": result}).encode())

    def close(self) -> None:
        # shutdown wakes a thread that waits in accept or recv; close alone would not
        for one in (self._socket, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in (self._thread, *self._threads):
            thread.join(10)


def send(connection: socket.socket, body: bytes, kind: bytes = b"application/json", extra: bytes = b"") -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n" % (kind, len(body), extra)
    connection.sendall(head + body)


@pytest.fixture
def faulty() -> Iterator[FaultyServer]:
    server = FaultyServer()
    yield server
    server.close()


@pytest.fixture
def running(faulty: FaultyServer, deployment: Any, gateway: Any) -> Gateway:
    web: dict[str, Any] = {"url": faulty.url, "timeout": "2s", "headers": {"x-own": "ours"}}
    web["breaker"] = {"enabled": False}  # every fault is to be met, one after the other
    made = deployment({"web": web})
    made.document["server"]["limits"] = {"response_bytes": 200_000, "stream_bytes": 400_000}
    made.write()
    started: Gateway = gateway(made)
    return started


def ask(running: Gateway, headers: dict[str, str | None] | None = None) -> tuple[int, int | None, float]:
    began = time.monotonic()
    with RawClient(running) as client:
        response = client.post(call("echo"), headers)
    return response.status, response.code, time.monotonic() - began


def streamed(*events: bytes) -> Callable[[socket.socket, bytes], None]:
    """Answers a call with these events."""

    def fault(connection: socket.socket, body: bytes) -> None:
        connection.sendall(STREAM + b"".join(map(chunk, events)) + b"0\r\n\r\n")

    return fault


def test_a_stream_has_a_bound_for_all_its_events(running: Gateway, faulty: FaultyServer) -> None:
    """Each event is small; together they are more than one stream may bring. One event less, and it is an answer."""
    answer = b'data: {"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[]}}\n\n'
    fits = 400_000 // len(EVENT) - 1
    for count, rule in ((fits, None), (fits + 10, "stream-too-large"), (fits * 20, "stream-too-large"), (1, None)):
        faulty.fault = streamed(*[EVENT] * count, answer)
        before = len(calls(running))
        with RawClient(running) as client:
            body = client.post(call("echo")).body
        assert (b'"result"' in body, b"50304" in body) == (rule is None, rule is not None), body[-300:]
        assert body.count(b"data:") <= fits + 2  # those that fit, one by rounding, and the error
        wait_until(lambda before=before: len(calls(running)) > before, "the event of the call")
        told = calls(running)[before:]
        assert [(one["decision"] == "failed", one["rule"]) for one in told] == [(rule is not None, rule or "granted")]


def calls(running: Gateway) -> list[dict[str, Any]]:
    """The events of calls so far."""
    return [event for event in running.deployment.events() if event.get("method") == "tools/call"]


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}\n\n'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def faults() -> dict[str, tuple[Callable[[socket.socket, bytes], None], int, int]]:
    answer = b'{"jsonrpc":"2.0","id":1,"result":{}}'
    return {
        "hangs": (lambda c, _: time.sleep(4), 504, 50401),
        "closes without an answer": (lambda c, _: None, 503, 50301),
        "half a head": (lambda c, _: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Le"), 503, 50301),
        "half a body": (lambda c, _: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"), 503, 50301),
        "garbage": (lambda c, _: c.sendall(b"\x00\xff\x13" * 100), 503, 50301),
        "500 with a stack trace": (lambda c, _: c.sendall(b"HTTP/1.1 500 Oh\r\nContent-Type: text/plain\r\nContent-Length: 23\r\n\r\nTraceback in /srv/app.py"[:-1]), 503, 50301),
        "its own 401": (lambda c, _: c.sendall(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer\r\nContent-Length: 0\r\n\r\n"), 503, 50301),
        "a redirect": (lambda c, _: c.sendall(b"HTTP/1.1 307 Go\r\nLocation: http://evil.example/\r\nContent-Type: text/html\r\nContent-Length: 1\r\n\r\nx"), 503, 50301),
        "not JSON": (lambda c, _: send(c, b"{nope"), 503, 50304),
        "another type": (lambda c, _: send(c, b"<p>hi</p>", b"text/html"), 503, 50301),
        "compressed": (lambda c, _: send(c, answer, extra=b"Content-Encoding: gzip\r\n"), 503, 50301),
        "too large": (lambda c, _: send(c, b'"' + b"x" * 300_000 + b'"'), 503, 50304),
        "endless header": (lambda c, _: c.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\nY: 1\r\n\r\n"), 503, 50301),
        "drips": (drip, 504, 50401),
    }  # fmt: skip


def drip(connection: socket.socket, _: bytes) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n":
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def test_every_fault_has_one_clear_answer_in_time(running: Gateway, faulty: FaultyServer) -> None:
    for name, (fault, status, code) in faults().items():
        faulty.fault = fault
        got = ask(running)
        assert got[:2] == (status, code), (name, got)
        assert got[2] < 10, name
        faulty.recover()
        assert ask(running)[0] == 200, f"after {name}"


@pytest.mark.parametrize("coding", [b"identity", b"Identity", b""])
def test_a_coding_that_is_none_is_none(running: Gateway, faulty: FaultyServer, coding: bytes) -> None:
    """RFC 9110, section 8.4.1: some servers say it although they should not."""

    def plain(connection: socket.socket, body: bytes) -> None:
        id = json.loads(body)["id"]
        answer = json.dumps({"jsonrpc": "2.0", "id": id, "result": {"content": []}}).encode()
        send(connection, answer, extra=b"Content-Encoding: %b\r\n" % coding)

    def event(connection: socket.socket, body: bytes) -> None:
        data = b'data: {"jsonrpc":"2.0","id":%d,"result":{"content":[]}}\n\n' % json.loads(body)["id"]
        head = STREAM.replace(b"\r\n\r\n", b"\r\nContent-Encoding: %b\r\n\r\n" % coding)
        connection.sendall(head + chunk(data) + b"0\r\n\r\n")

    for answers in (plain, event):
        faulty.fault = answers
        with RawClient(running) as client:
            for _ in range(3):  # the second time the gateway knows the request
                answer = client.post(call("echo"))
                assert answer.status == 200 and b'"result"' in answer.body
                assert "content-encoding" not in answer.headers
                faulty.recover()  # it has closed its end: the next call is not sent into that
                faulty.fault = answers


def test_a_stream_that_breaks_or_stalls_ends_with_an_error(running: Gateway, faulty: FaultyServer) -> None:
    def breaks(connection: socket.socket, _: bytes) -> None:
        connection.sendall(STREAM + chunk(EVENT))

    def stalls(connection: socket.socket, _: bytes) -> None:
        connection.sendall(STREAM + chunk(EVENT))
        for _ in range(30):  # keep-alive comments are no progress
            time.sleep(0.1)
            connection.sendall(chunk(b": ping\n\n"))
        time.sleep(2)

    def floods(connection: socket.socket, _: bytes) -> None:
        connection.sendall(STREAM + chunk(b"data: " + b"x" * 300_000 + b"\n\n"))
        time.sleep(1)

    for fault, code in ((breaks, 50301), (stalls, 50401), (floods, 50304)):
        faulty.fault = fault
        with RawClient(running) as client:
            body = client.post(call("echo")).body
        last = json.loads(body.decode().rsplit("data: ", 1)[1])
        assert (last["id"], last["error"]["code"]) == (1, code), fault.__name__
    faulty.fault = None
    assert ask(running)[0] == 200


def test_progress_extends_the_deadline_of_a_call(running: Gateway, faulty: FaultyServer) -> None:
    def slow(connection: socket.socket, body: bytes) -> None:
        connection.sendall(STREAM)
        for _ in range(4):
            connection.sendall(chunk(EVENT))
            time.sleep(1)
        connection.sendall(chunk(b'data: {"jsonrpc":"2.0","id":1,"result":{"content":[]}}\n\n') + b"0\r\n\r\n")

    faulty.fault = slow
    with RawClient(running) as client:
        body = client.post(call("echo")).body
    assert body.count(b"notifications/message") == 4
    assert b'"result"' in body


def test_nothing_of_the_clients_credentials_goes_upstream(running: Gateway, faulty: FaultyServer) -> None:
    secret = "s3cr3t-of-the-client"
    carried = dict.fromkeys(("Authorization", "Cookie", "X-Signature", "X-Nonce", "DPoP", "Proxy-Authorization", "X-Api-Key", "Forwarded", "X-Forwarded-For", "Signature", "X-Client-Cert"), secret)  # fmt: skip
    assert ask(running, {**carried, "traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"})[0] == 200
    sent = b"\n".join(faulty.heads)
    assert secret.encode() not in sent
    assert b"x-own: ours" in sent
    assert b"traceparent: 00-1111" in sent
    assert b"mcp-name: echo" in sent.lower()


def test_only_known_headers_come_back(running: Gateway, faulty: FaultyServer) -> None:
    extra = b"Set-Cookie: a=b\r\nServer: secret/1.0\r\nX-Powered-By: y\r\nAccess-Control-Allow-Origin: *\r\n"
    faulty.fault = lambda c, _: send(c, b'{"jsonrpc":"2.0","id":1,"result":{}}', extra=extra)
    with RawClient(running) as client:
        response = client.post(call("echo"))
    assert response.status == 200
    assert response.headers.keys() <= {
        "content-type",
        "content-length",
        "date",
        "x-content-type-options",
        "cache-control",
    }


def test_lists_from_upstream_are_made_private(running: Gateway) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": MODERN_META}}
    with RawClient(running) as client:
        result = client.post(json.dumps(body).encode()).json["result"]
    assert result["cacheScope"] == "private"
    assert [tool["name"] for tool in result["tools"]] == ["echo", "other"]


def test_an_answer_that_nobody_asked_for_never_meets_the_next_request(running: Gateway, faulty: FaultyServer) -> None:
    """Response splitting on a kept connection: bytes after an answer close it instead of answering the next caller."""
    poison = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"poison"}]}}'

    def twice(connection: socket.socket, _: bytes) -> None:
        send(connection, b'{"jsonrpc":"2.0","id":1,"result":{"content":[]}}')
        time.sleep(0.2)
        send(connection, poison)
        time.sleep(1)

    faulty.fault = twice
    assert ask(running)[0] == 200
    time.sleep(0.4)
    faulty.fault = None
    with RawClient(running) as client:
        assert b"poison" not in client.post(call("echo")).body
