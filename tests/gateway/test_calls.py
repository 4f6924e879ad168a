"""Calls that repeat one, which go a way without a task of their own: each fault, and each client that leaves, meets
them as it meets any other call."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, Response, call, request_bytes
from tests.gateway.upstreams.test_http import EVENT, STREAM, FaultyServer, calls, chunk, faults, send

ECHO = call("echo", {"text": "hello"})


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    made = FaultyServer()
    yield made
    made.close()


@pytest.fixture
def start(server: FaultyServer, deployment: Any, gateway: Any) -> Callable[..., Gateway]:
    def started(limits: dict[str, Any] | None = None, **upstream: Any) -> Gateway:
        web = {"url": server.url, "timeout": "2s", "breaker": {"enabled": False}, **upstream}
        made = deployment({"web": web})
        made.document["server"]["limits"] = limits or {}
        made.write()
        running: Gateway = gateway(made)
        return running

    return started


def repeat(client: RawClient, times: int = 3) -> None:
    """Calls after which the next one goes the short way: its head, its form and the upstream's answer are known.

    An upstream that has closed after a fault may do so under the call that comes next, which is not repeated then.
    """
    wait_until(lambda: client.post(call("echo", {"text": "hello"})).status == 200, "an upstream that is well")
    for number in range(times):
        response = client.post(call("echo", {"text": "hello"}, id=number))
        assert (response.status, response.json["id"]) == (200, number)


class CountingClient(RawClient):
    """Knows how many calls it has made: the log has one event for each, soon."""

    posted = 0

    def post(self, *args: Any, **kwargs: Any) -> Response:
        self.posted += 1
        return super().post(*args, **kwargs)


def test_every_fault_meets_a_repeated_call_as_any_other(start: Callable[..., Gateway], server: FaultyServer) -> None:
    """One call at a time for each client: a place that is not given back would refuse all that come."""
    running = start({"in_flight_per_client": 1, "response_bytes": 200_000}, in_flight=1)
    told: list[tuple[int, str]] = []
    for name, (fault, status, code) in faults().items():
        server.fault = None
        with CountingClient(running) as client:
            repeat(client)
            server.fault = fault
            response = client.post(ECHO)
            assert (response.status, response.code) == (status, code), name
            server.fault = None
            # An upstream that answers and closes may do so under the next call, which is not repeated then.
            wait_until(lambda client=client: client.post(ECHO).status == 200, f"an answer after {name}")
        due = len(told) + client.posted
        wait_until(lambda due=due: len(calls(running)) >= due, f"the events after {name}")
        seen, told = len(told), [(event["status"], event["decision"]) for event in calls(running)]
        well = told.index((200, "allowed"), seen)
        assert told[well : well + 5] == [(200, "allowed")] * 4 + [(status, "failed")], name


def test_a_repeated_call_may_be_answered_by_a_stream(start: Callable[..., Gateway], server: FaultyServer) -> None:
    running = start({"in_flight_per_client": 1}, in_flight=1)
    last = b'data: {"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[]}}\n\n'

    def streams(connection: socket.socket, _: bytes) -> None:
        connection.sendall(STREAM + chunk(EVENT) + chunk(last) + b"0\r\n\r\n")

    def breaks(connection: socket.socket, _: bytes) -> None:
        connection.sendall(STREAM + chunk(EVENT))

    with RawClient(running) as client:
        repeat(client)
        server.fault = streams
        response = client.post(ECHO)
        assert response.body.count(b"data: ") == 2
        assert response.json["result"]["content"] == []
        server.fault = None
        repeat(client)
        server.fault = breaks
        assert client.post(ECHO).code == 50301
        server.fault = None
        repeat(client)


def test_a_repeated_call_may_get_an_answer_with_an_unknown_head(
    start: Callable[..., Gateway], server: FaultyServer
) -> None:
    """Also one in two pieces, and one after which the upstream closes."""
    running = start(in_flight=1)
    body = b'{"jsonrpc":"2.0","id":1,"result":{"content":[]}}'

    def in_pieces(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-New: 1\r\n")
        time.sleep(0.1)
        connection.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    with RawClient(running) as client:
        for fault in (in_pieces, lambda c, _: send(c, body, extra=b"Connection: close\r\n")):
            server.fault = None
            repeat(client)
            server.fault = fault
            assert client.post(ECHO).json["result"] == {"content": []}
            time.sleep(0.3)  # until the gateway has seen that the connection was closed


def test_what_comes_behind_the_answer_of_a_repeated_call_meets_nobody(
    start: Callable[..., Gateway], server: FaultyServer
) -> None:
    running = start()
    poison = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"poison"}]}}'
    fine = b'{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[]}}'

    def at_once(connection: socket.socket, _: bytes) -> None:
        both = [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(each), each)
                for each in (fine, poison)]  # fmt: skip
        connection.sendall(b"".join(both))
        time.sleep(0.5)

    def later(connection: socket.socket, _: bytes) -> None:
        send(connection, fine)
        time.sleep(0.2)
        send(connection, poison)
        time.sleep(0.5)

    with RawClient(running) as client:
        for twice in (at_once, later):
            repeat(client)
            server.fault = twice
            assert b"poison" not in client.post(ECHO).body
            server.fault = None
            time.sleep(0.5)
            for _ in range(3):
                assert b"poison" not in client.post(ECHO).body


class Slow:
    """Holds calls until it is told, then answers them; knows how many the gateway has given up."""

    def __init__(self) -> None:
        self.go, self.came, self.left = threading.Event(), threading.Event(), threading.Event()

    def __call__(self, connection: socket.socket, body: bytes) -> None:
        self.came.set()
        connection.settimeout(0.05)
        while not self.go.is_set():
            try:
                if not connection.recv(1):
                    self.left.set()
                    return
            except TimeoutError:
                continue
        result = {"resultType": "complete", "content": []}
        send(connection, json.dumps({"jsonrpc": "2.0", "id": json.loads(body)["id"], "result": result}).encode())


def test_a_client_that_leaves_a_repeated_call_frees_its_place_and_its_upstream(
    start: Callable[..., Gateway], server: FaultyServer
) -> None:
    running, slow = start({"in_flight_per_client": 1}, in_flight=1, timeout="30s"), Slow()
    with RawClient(running) as client:
        repeat(client)
        server.fault, before = slow, len(calls(running))
        client.send(request_bytes(client.host, ECHO))
        assert slow.came.wait(20)
    assert slow.left.wait(20), "the upstream still works for somebody who has gone"
    server.fault = None
    with RawClient(running) as client:
        repeat(client)
    wait_until(lambda: len(calls(running)) >= before + 4, "the events")
    gone = [event for event in calls(running)[before:] if event["status"] == 499]
    assert [(event["decision"], event["rule"]) for event in gone] == [("failed", "client-gone")]


def test_requests_behind_a_repeated_call_wait_for_their_turn(
    start: Callable[..., Gateway], server: FaultyServer
) -> None:
    running, slow = start(timeout="30s"), Slow()
    with RawClient(running) as client:
        repeat(client)
        server.fault = slow
        client.send(request_bytes(client.host, call("echo", {"text": "hello"}, id="first")))
        assert slow.came.wait(20)
        server.fault = None
        for number in range(3):
            client.send(request_bytes(client.host, call("echo", {"text": "hello"}, id=f"next {number}")))
        client.send(b"NO REQUEST\r\n\r\n")
        time.sleep(0.3)
        slow.go.set()
        ids = [client.read().json["id"] for _ in range(4)]
        assert ids == ["first", "next 0", "next 1", "next 2"]
        assert client.read().status == 400
        assert client.read().status == 0


def test_the_bulkhead_and_the_breaker_hold_for_repeated_calls(
    start: Callable[..., Gateway], server: FaultyServer
) -> None:
    breaker = {"minimum_calls": 3, "failure_ratio": 0.05, "open_for": "1s", "probes": 1}
    running, slow = start(in_flight=1, timeout="30s", breaker=breaker), Slow()
    with RawClient(running) as first, RawClient(running) as second:
        repeat(first)
        repeat(second)
        server.fault = slow
        first.send(request_bytes(first.host, ECHO))
        assert slow.came.wait(20)
        response = second.post(ECHO)
        assert (response.status, response.json["error"]["message"]) == (429, "too many requests at once")
        slow.go.set()
        assert first.read().status == 200
        server.fault = lambda _connection, _body: None
        assert second.post(ECHO).code == 50301
        server.fault = None
        wait_until(lambda: second.post(ECHO).code == 50302, "an open breaker")
        wait_until(lambda: second.post(ECHO).status == 200, "a closed breaker", patience=20)
        repeat(second)


def test_a_repeated_call_is_finished_while_the_gateway_stops(
    start: Callable[..., Gateway], server: FaultyServer
) -> None:
    running, slow = start(timeout="30s"), Slow()
    with RawClient(running) as client:
        repeat(client)
        server.fault = slow
        client.send(request_bytes(client.host, ECHO))
        assert slow.came.wait(20)
        running.send_signal(15)
        wait_until(lambda: not accepts(running), "a gateway that takes no more connections")
        slow.go.set()
        response = client.read()
    assert (response.status, response.headers.get("connection")) == (200, "close")


def accepts(running: Gateway) -> bool:
    try:
        socket.create_connection(running.address, timeout=5).close()
    except OSError:
        return False
    return True


def test_repeated_calls_of_slow_readers_wait_for_them(start: Callable[..., Gateway], server: FaultyServer) -> None:
    """Answers that nobody reads fill the connection; all of them arrive once somebody does."""
    running = start()
    text = "x" * 200_000
    answer = {"resultType": "complete", "content": [{"type": "text", "text": text}]}
    plain = FaultyServer._answer

    def large(connection: socket.socket, message: dict[str, Any]) -> None:
        if message.get("method") != "tools/call":
            plain(connection, message)
            return
        send(connection, json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": answer}).encode())

    server._answer = large  # type: ignore[method-assign]
    with RawClient(running) as client:
        repeat(client)
        thread = threading.Thread(
            target=client.send,
            args=(
                b"".join(request_bytes(client.host, call("echo", {"text": "hello"}, id=each)) for each in range(12)),
            ),
        )
        thread.start()
        time.sleep(0.5)
        answers = [client.read().json for _ in range(12)]
        thread.join(20)
    assert [each["id"] for each in answers] == list(range(12))
    assert all(each["result"]["content"][0]["text"] == text for each in answers)


def test_repeated_calls_of_many_connections_get_their_own_answers(
    start: Callable[..., Gateway], server: FaultyServer
) -> None:
    running = start()
    wrong: list[Any] = []

    def one(name: str) -> None:
        with RawClient(running) as client:
            for number in range(60):
                got = client.post(call("echo", {"text": name}, id=f"{name} {number}"))
                if got.status != 200 or got.json["id"] != f"{name} {number}":
                    wrong.append((name, number, got))

    threads = [threading.Thread(target=one, args=(f"client {number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    wait_until(lambda: len(calls(running)) >= 360, "an event for each")
    ids = [event["request_id"] for event in calls(running)]
    assert len(ids) == len(set(ids)) == 360
