"""Requests that come while another is being served: the same caps and the same reading as for the first."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.fixtures.gateway import Gateway
from tests.fixtures.raw import RawClient, call, request_bytes
from tests.gateway.upstreams.test_http import FaultyServer, send

SLOW = call("other")
ECHO = call("echo", {"text": "hello"}, id=2)


def answer_late(connection: socket.socket, body: bytes) -> None:
    message = json.loads(body)
    time.sleep(2 if message["params"]["name"] == "other" else 0)
    result = {"resultType": "complete", "content": []}
    send(
        connection,
        json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode(),
        extra=b"Connection: close\r\n",
    )


@pytest.fixture
def running(deployment: Any, gateway: Any) -> Iterator[Gateway]:
    server = FaultyServer()
    server.fault = answer_late
    yield gateway(deployment({"web": {"url": server.url}}))
    server.close()


@pytest.fixture
def busy(running: Gateway) -> Iterator[RawClient]:
    """A connection on which a call runs."""
    with RawClient(running) as client:
        assert client.post(ECHO).status == 200
        client.send(request_bytes(client.host, SLOW))
        yield client


@pytest.mark.parametrize("endless", [b"X-A: ", b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-T: "])
def test_an_endless_head_or_trailer_behind_a_running_request_is_cut(
    running: Gateway, busy: RawClient, endless: bytes
) -> None:
    before = psutil.Process(running.process.pid).memory_info().rss
    busy.send(b"POST /mcp HTTP/1.1\r\nHost: x\r\n" + endless)
    for _ in range(40):
        busy.send(b"a" * 1_000_000)
    assert psutil.Process(running.process.pid).memory_info().rss - before < 20_000_000
    assert busy.read().status == 200  # the first is answered all the same
    assert busy.read().status == 431


def test_a_body_that_outlasts_the_answer_before_it_is_no_head(busy: RawClient) -> None:
    text = "long " * 50_000
    late = request_bytes(busy.host, call("echo", {"text": text}, id=2))
    busy.send(late[:60_000])
    assert busy.read().status == 200
    busy.send(late[60_000:])
    response = busy.read()
    assert (response.status, response.json["id"]) == (200, 2)
    assert busy.post(ECHO).status == 200


def test_trailers_of_a_pipelined_request_are_no_headers(busy: RawClient) -> None:
    """A trailer that would be refused as a header shows whether it was taken for one."""
    head, _, body = request_bytes(busy.host, ECHO).partition(b"\r\n\r\n")
    length = b"Content-Length: %d" % len(body)
    chunked = head.replace(length, b"Transfer-Encoding: chunked") + b"\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(body), body)
    busy.send(chunked + b"Mcp-Name: other\r\n\r\n")
    assert busy.read().status == 200
    assert busy.read().status == 200


def test_a_continue_never_stands_in_the_middle_of_another_answer(busy: RawClient) -> None:
    late = request_bytes(busy.host, ECHO, {"Expect": "100-continue"})
    head, _, body = late.partition(b"\r\n\r\n")
    busy.send(head + b"\r\n\r\n")
    assert busy.read().status == 200
    assert busy.read().status == 100
    busy.send(body)
    assert busy.read().json["id"] == 2
