"""An upstream that answers a request twice is one answer ahead from then on: nobody gets another's."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fixtures.deployments import EVERYTHING, OTHER
from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, Response, call
from tests.gateway.upstreams.test_http import STREAM, FaultyServer, calls, chunk, send


def answer(id: Any, text: str) -> bytes:
    result = {"resultType": "complete", "content": [{"type": "text", "text": text}]}
    return json.dumps({"jsonrpc": "2.0", "id": id, "result": result}).encode()


class TwiceServer(FaultyServer):
    """Repeats a call's text. When ``again`` says so, the answer to the call before it comes once more, in its place."""

    def __init__(self) -> None:
        self.before = b""
        self.again = self.lists_again = False
        self.streams = False
        self.status: tuple[bytes, bytes] | None = None
        super().__init__()

    def _answer(self, connection: socket.socket, message: dict[str, Any]) -> None:  # type: ignore[override]
        method = message.get("method")
        if method == "tools/list" and self.lists_again:
            self.lists_again = False
            ghost = {"tools": [{"name": "ghost", "inputSchema": {"type": "object"}}]}
            self._send(connection, json.dumps({"jsonrpc": "2.0", "id": "x", "result": ghost}).encode())
        elif method != "tools/call":
            FaultyServer._answer(connection, message)
        elif self.status is not None:
            line, body = self.status
            head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (line, len(body))
            connection.sendall(head + body)
        else:
            mine = answer(message["id"], message["params"]["arguments"]["text"])
            due = (self.before, mine) if self.again else (mine,)
            self.again, self.before = False, mine  # before its client can go on
            for each in due:
                self._send(connection, each)

    def _send(self, connection: socket.socket, message: bytes) -> None:
        if self.streams:
            connection.sendall(STREAM + chunk(b"data: %b\n\n" % message) + b"0\r\n\r\n")
        else:
            send(connection, message)


@pytest.fixture
def server() -> Iterator[TwiceServer]:
    made = TwiceServer()
    yield made
    made.close()


@pytest.fixture(params=[{"minimum_calls": 1, "failure_ratio": 0.01}])
def running(server: TwiceServer, deployment: Any, gateway: Any, request: pytest.FixtureRequest) -> Gateway:
    """Its breaker opens at the first failure that is counted, unless a test says otherwise."""
    made = deployment({"web": {"url": server.url, "breaker": request.param}})
    made.document["clients"].append({"id": "other", "certificate": {"san": OTHER}, **EVERYTHING})
    made.write()
    started: Gateway = gateway(made)
    return started


WAYS: dict[str, dict[str, str | None]] = {"the shortened way": {}, "the whole way": {"Cookie": "a=b"}}


def ask(client: RawClient, id: Any, headers: dict[str, str | None]) -> Response:
    return client.post(call("echo", {"text": f"for {id}"}, id=id), headers)


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_an_answer_to_another_request_meets_nobody(
    running: Gateway, server: TwiceServer, way: str, streams: bool
) -> None:
    headers, server.streams = WAYS[way], streams
    with RawClient(running) as one, RawClient(running, running.deployment.other) as other:
        for id in range(4):
            assert b"for %d" % id in ask(one, id, headers).body
            assert b"for a%d" % id in ask(other, f"a{id}", headers).body
        server.again = True
        refused = ask(one, 4, headers)
        assert (refused.status, refused.code, refused.json["id"]) == (200 if streams else 503, 50304, 4)
        assert b"for" not in refused.body
        # What comes behind it came with it, and was cut with its connection: everybody is in step again.
        for id in range(5, 9):
            assert b"for %d" % id in ask(one, id, headers).body
            assert b"for a%d" % id in ask(other, f"a{id}", headers).body
    wait_until(lambda: len(calls(running)) == 17, "the events")
    rules = [event["rule"] for event in calls(running)]
    assert rules.count("answer-to-another") == 1, "and no breaker has opened: a client may have chosen an odd id"


@pytest.mark.parametrize(
    "status",
    [
        (b"200 OK", b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}'),
        (b"400 Bad Request", b'{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"no"}}'),
    ],
)
def test_an_error_may_not_know_whose_it_is(running: Gateway, server: TwiceServer, status: tuple[bytes, bytes]) -> None:
    with RawClient(running) as client:
        for id in range(4):
            assert ask(client, id, {}).status == 200
        server.status = status
        assert ask(client, 4, {}).json["error"]["message"] == "no"


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("running", [{"enabled": False}], indirect=True)
def test_a_list_for_somebody_else_teaches_the_gateway_nothing(
    running: Gateway, server: TwiceServer, streams: bool
) -> None:
    ghost, server.streams = call("ghost", {"text": "x"}), streams
    with RawClient(running) as client:
        server.lists_again = True
        assert client.post(ghost).status == 503
        assert client.post(ghost).status == 403
