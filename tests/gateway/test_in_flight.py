"""A client that has all the calls under way that it may have can still end them, and answer what they wait for."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, Response, request_bytes
from tests.gateway.upstreams.test_http import STREAM
from tests.gateway.upstreams.test_sessions_http import QUESTION, LegacyServer, event, found, open_session, rpc

BOUND = 2
ECHO = {"name": "echo", "arguments": {}}


def note(method: str, params: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode()


class HangingServer(LegacyServer):
    """Answers no call before it is cancelled or its question is answered, and of notifications no ``progress``."""

    def __init__(self) -> None:
        super().__init__()
        self.session = b"upstream-1"
        self.waiting: dict[Any, socket.socket] = {}

    def _answer(self, connection: socket.socket, message: dict[str, Any]) -> None:  # type: ignore[override]
        method, params, id = message.get("method", ""), message.get("params", {}), message.get("id")
        if method == "tools/call":
            self.waiting[id] = connection
            connection.sendall(STREAM + event(QUESTION))
        elif method == "notifications/progress":
            self.waiting[id] = connection
        else:
            ended = list(self.waiting) if "result" in message else [params.get("requestId")]
            for each in ended:
                if each in self.waiting:
                    self.waiting.pop(each).sendall(event({"id": each, "result": found("ended")}) + b"0\r\n\r\n")
            super()._answer(connection, message)


@pytest.fixture
def server() -> Iterator[HangingServer]:
    made = HangingServer()
    yield made
    made.close()


Limited = dict[str, dict[str, int]]
OF_CLIENT: Limited = {"limits": {"in_flight_per_client": BOUND}, "upstream": {}}
OF_UPSTREAM: Limited = {"limits": {}, "upstream": {"in_flight": BOUND}}


@pytest.fixture(params=[OF_CLIENT, OF_UPSTREAM], ids=["of the client", "of the upstream"])
def running(request: pytest.FixtureRequest, server: HangingServer, deployment: Any, gateway: Any) -> Gateway:
    made = deployment({"web": {"url": server.url, **request.param["upstream"]}})
    made.document["server"].setdefault("limits", {}).update(request.param["limits"])
    made.write()
    started: Gateway = gateway(made)
    return started


class Full:
    """A client with all the calls under way that it may have."""

    def __init__(self, running: Gateway, server: HangingServer, stack: ExitStack) -> None:
        self.spare, *self.calls = (stack.enter_context(RawClient(running)) for _ in range(BOUND + 1))
        self.session = open_session(self.spare)
        self.spare.post(rpc("tools/list", {}), self.session)
        for id, each in enumerate(self.calls):
            each.send(request_bytes(each.host, rpc("tools/call", ECHO, id), self.session))
            while b"elicitation" not in each._buffer:
                assert each._more()
        assert self.post(rpc("tools/call", ECHO, 9)).status == 429
        wait_until(lambda: len(server.waiting) == BOUND, "the calls")

    def post(self, body: bytes) -> Response:
        return self.spare.post(body, self.session)


ENDS: dict[str, Callable[[Full], Response]] = {
    "cancelled": lambda full: full.post(note("notifications/cancelled", {"requestId": 0})),
    "answered": lambda full: full.post(
        json.dumps({"jsonrpc": "2.0", "id": 0, "result": {"action": "accept"}}).encode()
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_call_ends_though_there_is_no_room_for_another(running: Gateway, server: HangingServer, end: str) -> None:
    with ExitStack() as stack:
        full = Full(running, server, stack)
        assert ENDS[end](full).status == 202
        assert b"ended" in full.calls[0].read().body
        full.calls[0].send(request_bytes(full.spare.host, rpc("tools/call", ECHO, 10), full.session))
        wait_until(lambda: 10 in server.waiting, "a call that has the room of the one that ended")


def test_notifications_are_not_without_bound(running: Gateway, server: HangingServer) -> None:
    """As many again as calls, where the server leaves them lying."""
    progress = note("notifications/progress", {"progressToken": 1, "progress": 1})
    with ExitStack() as stack:
        full = Full(running, server, stack)
        hanging = [stack.enter_context(RawClient(running)) for _ in range(BOUND)]
        for each in hanging:
            each.send(request_bytes(each.host, progress, full.session))
        wait_until(lambda: sum(m.get("method") == "notifications/progress" for m in server.bodies) == BOUND, "them")
        assert full.post(progress).status == 429
        assert full.post(note("notifications/cancelled", {"requestId": 0})).status == 429


def test_notifications_that_lie_about_take_no_calls_room(running: Gateway, server: HangingServer) -> None:
    """Of one client alone, as many as it may send: every call still finds its room, its own and that of the upstream."""
    progress = note("notifications/progress", {"progressToken": 1, "progress": 1})
    with ExitStack() as stack:
        client = stack.enter_context(RawClient(running))
        session = open_session(client)
        client.post(rpc("tools/list", {}), session)
        hanging = [stack.enter_context(RawClient(running)) for _ in range(BOUND)]
        for each in hanging:
            each.send(request_bytes(each.host, progress, session))
        wait_until(lambda: sum(m.get("method") == "notifications/progress" for m in server.bodies) == BOUND, "them")
        assert client.post(progress, session).status == 429
        calls = [stack.enter_context(RawClient(running)) for _ in range(BOUND)]
        for id, each in enumerate(calls):
            each.send(request_bytes(each.host, rpc("tools/call", ECHO, id), session))
        wait_until(lambda: set(server.waiting) >= set(range(BOUND)), "the calls")
        assert client.post(rpc("tools/call", ECHO, 9), session).status == 429
