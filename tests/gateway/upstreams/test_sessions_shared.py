"""A session that can't be made known to the other gateways does not begin: nothing of it stays open upstream."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from mcpsec.gateway.sessions import Session
from mcpsec.gateway.state import StoreUnavailableError
from mcpsec.gateway.upstreams.asked import Asked
from mcpsec.gateway.upstreams.relaying import EventRelay
from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, request_bytes
from tests.fixtures.stores import Store
from tests.gateway.upstreams.test_http import STREAM
from tests.gateway.upstreams.test_sessions_http import CALL, VERSION, LegacyServer, event, rpc

INFO = {"name": "t", "version": "1"}
INITIALIZE = rpc("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": INFO})


class StreamingServer(LegacyServer):
    """Answers ``initialize`` of a client by a stream that it leaves open; ``left`` once the other side has ended it."""

    def __init__(self) -> None:
        self.answered, self.left = threading.Event(), threading.Event()
        super().__init__()
        self.session = b"upstream"

    def _answer(self, connection: socket.socket, message: dict[str, Any]) -> None:  # type: ignore[override]
        if message.get("method") != "initialize" or message["params"]["clientInfo"]["name"] != "t":
            super()._answer(connection, message)
            return
        result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "s", "version": "1"}}
        head = STREAM.replace(b"\r\n\r\n", b"\r\nMcp-Session-Id: upstream\r\n\r\n")
        connection.sendall(head + event({"id": message["id"], "result": result}))
        self.answered.set()
        try:
            while connection.recv(1):
                pass
        finally:
            self.left.set()


@pytest.fixture
def server() -> Iterator[StreamingServer]:
    made = StreamingServer()
    yield made
    made.close()


@pytest.fixture
def running(server: StreamingServer, deployment: Any, gateway: Any, store: Store) -> Gateway:
    made = deployment({"web": {"url": server.url, "timeout": "300s"}}, state={"url": store.url, "timeout": "30s"})
    started: Gateway = gateway(made, expected=(r".*state store.*",))
    return started


def ended(server: StreamingServer) -> bool:
    return any(head.startswith(b"DELETE ") for head in server.heads)


def test_a_streamed_opening_is_let_go_when_the_store_is_gone(
    running: Gateway, server: StreamingServer, store: Store
) -> None:
    store.kill()
    with RawClient(running) as client:
        assert client.post(INITIALIZE).json["error"]["code"] == 50301
    assert server.left.wait(30), "the upstream's stream stays open"
    wait_until(lambda: ended(server), "the end of the upstream's session")


def test_a_streamed_opening_is_let_go_when_its_client_leaves(
    running: Gateway, server: StreamingServer, store: Store
) -> None:
    store.pause()
    with RawClient(running) as client:
        client.send(request_bytes(client.host, INITIALIZE))
        assert server.answered.wait(60)
    assert server.left.wait(60), "the upstream's stream stays open"


def test_a_streamed_opening_that_is_known_to_all_goes_on(running: Gateway, server: StreamingServer) -> None:
    with RawClient(running) as client, RawClient(running) as calling:
        client.send(request_bytes(client.host, INITIALIZE))
        while b"serverInfo" not in client._buffer:
            assert client._more()
        id = next(line for line in client._buffer.split(b"\r\n") if line.lower().startswith(b"mcp-session-id: "))
        headers: dict[str, str | None] = VERSION | {"Mcp-Session-Id": id.split(b": ")[1].decode()}
        assert calling.post(CALL, headers).json["result"]
        assert not server.left.is_set()
        assert not ended(server)


@pytest.mark.anyio
async def test_a_question_that_the_others_cannot_hear_of_is_refused_and_keeps_no_place() -> None:
    class Away:
        async def expect(self, id: str, request_id: object) -> None:
            raise StoreUnavailableError("away")

    class There:
        async def expect(self, id: str, request_id: object) -> None:
            return None

    for shared, passed in ((Away(), None), (There(), b"question")):
        refused: list[Any] = []
        tables: Any = SimpleNamespace(shared=shared)
        any_: Any = None
        relay = EventRelay(
            any_, tables, any_, any_, cancel=lambda _: None, refuse=lambda _, id, refused=refused: refused.append(id)
        )
        asked = Asked()
        assert asked.add(7, object(), 1)[0]
        session = Session("tester", "web", SimpleNamespace(asked=asked, newest=7), "id")
        assert await relay._expect_elsewhere(session, b"question") == passed
        assert (refused, len(asked)) == (([7], 0) if passed is None else ([], 1))
