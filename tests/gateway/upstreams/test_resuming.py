"""A stream that broke off is gone on with (`Last-Event-ID`) by who may still have what it answers, and by nobody else."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mcpsec.cli.root import main
from tests.fixtures.gateway import Gateway
from tests.fixtures.issuer import AUDIENCE, Issuer, running_issuer
from tests.fixtures.raw import RawClient
from tests.gateway.upstreams.test_http import STREAM, send
from tests.gateway.upstreams.test_sessions_http import (
    READ,
    LegacyServer,
    event,
    event_id,
    found,
    get,
    open_session,
    rewrite,
    rpc,
)

NEWS = {"method": "notifications/message", "params": {"level": "info", "data": "x"}}
URI = "file:///a"
SCHEMA = {"type": "object"}
Headers = dict[str, str | None]

CALLS: dict[str, tuple[dict[str, Any], str]] = {
    "tools/call": ({"name": "echo", "arguments": {}}, "web/echo"),
    "tasks/result": ({"taskId": "task-1"}, "web/echo"),
    "tasks/get": ({"taskId": "task-1"}, "web/echo"),
    "resources/read": ({"uri": URI}, f"web/resource:{URI}"),
    "prompts/get": ({"name": "greet"}, "web/prompt:greet"),
    "completion/complete": (
        {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "a", "value": ""}},
        "web/prompt:greet",
    ),
}


class BreakingServer(LegacyServer):
    """Every answer of its session is a stream that breaks off behind ``said``; a call with a task makes one."""

    def __init__(self) -> None:
        super().__init__()
        self.session = b"upstream-1"
        self.tools: list[dict[str, Any]] = [{"name": name, "inputSchema": SCHEMA} for name in ("echo", "tool:echo")]

    def _answer(self, connection: socket.socket, message: dict[str, Any]) -> None:  # type: ignore[override]
        method, params, id = message.get("method", ""), message.get("params", {}), message.get("id")
        if method.endswith("/list"):
            lists = {"tools": self.tools, "prompts": [], "resources": [], "resourceTemplates": []}
            send(connection, json.dumps({"jsonrpc": "2.0", "id": id, "result": lists}).encode())
        elif "task" in params:
            times = {"createdAt": "2026-11-28T00:00:00Z", "lastUpdatedAt": "2026-11-28T00:00:00Z"}
            task = {"taskId": "task-1", "status": "working", "ttl": 60_000, **times}
            send(connection, json.dumps({"jsonrpc": "2.0", "id": id, "result": {"task": task}}).encode())
        elif method in CALLS:
            connection.sendall(STREAM + self.said + b"0\r\n\r\n")
        else:
            super()._answer(connection, message)


@pytest.fixture
def server() -> Iterator[BreakingServer]:
    made = BreakingServer()
    yield made
    made.close()


@pytest.fixture
def made(server: BreakingServer, deployment: Any) -> Any:
    return deployment({"web": {"url": server.url}})


@pytest.fixture
def running(made: Any, gateway: Any) -> Gateway:
    started: Gateway = gateway(made, expected=(READ,))
    return started


class Broken:
    """A call whose stream broke off before its answer, which is there by now."""

    def __init__(
        self, running: Gateway, server: BreakingServer, method: str, params: dict[str, Any], **headers: str
    ) -> None:
        self.running, self.server = running, server
        server.said = event(NEWS, "e1")
        with RawClient(running) as client:
            if headers:
                plain = client.post
                client.post = lambda body, more=None: plain(body, {**headers, **(more or {})})  # type: ignore[method-assign]
            self.headers: Headers = {**open_session(client), **headers}
            if method.startswith("tasks/"):
                client.post(rpc("tools/call", {"name": "echo", "arguments": {}, "task": {"ttl": 60_000}}), self.headers)
            self.heard = client.post(rpc(method, params), self.headers).body
        server.said += event({"id": 1, "result": found("words")})

    def resumed(self, id: str = "", **headers: str) -> bytes:
        with RawClient(self.running) as client:
            return get(client, self.headers | {"Last-Event-ID": id or event_id(self.heard), **headers})

    def is_refused(self) -> bool:
        heard = self.resumed()
        assert (b"access denied" in heard) != (b"words" in heard)
        return b"words" not in heard


@pytest.mark.parametrize("method", CALLS)
def test_what_is_not_granted_any_more_is_not_resent(running: Gateway, server: BreakingServer, method: str) -> None:
    params, resource = CALLS[method]
    mine = running.deployment.document["clients"][0]
    mine["allow_resources"] = [resource, "web/other"]
    rewrite(running)
    broken = Broken(running, server, method, params)
    assert not broken.is_refused()
    mine["allow_resources"] = ["web/other"]
    rewrite(running)
    assert broken.is_refused()
    mine["allow_resources"] = [resource]
    rewrite(running)
    again = event_id(broken.resumed())
    assert b"words" in broken.resumed(again), "gone on with where the stream that went on with it broke off"
    mine["allow_resources"] = ["web/other"]
    rewrite(running)
    assert b"words" not in broken.resumed(again)


def test_a_tool_is_not_taken_for_one_of_a_shorter_name(running: Gateway, server: BreakingServer) -> None:
    mine = running.deployment.document["clients"][0]
    broken = Broken(running, server, "tools/call", {"name": "tool:echo", "arguments": {}})
    mine["allow_resources"] = ["web/echo"]
    rewrite(running)
    assert broken.is_refused()
    mine["allow_resources"] = ["web/tool:echo"]
    rewrite(running)
    assert not broken.is_refused()


@pytest.mark.parametrize("method", ["tools/call", "tasks/result", "resources/read"])
def test_the_rules_of_the_moment_are_those_of_who_goes_on(
    running: Gateway, server: BreakingServer, method: str
) -> None:
    params, resource = CALLS[method]
    document = running.deployment.document
    broken = Broken(running, server, method, params)
    for network, refused in (("192.0.2.0/24", True), ("127.0.0.0/8", False)):
        document["rules"] = [{"resources": [resource], "require": {"networks": [network]}}]
        rewrite(running)
        assert broken.is_refused() == refused, network


def test_arguments_are_judged_once(running: Gateway, server: BreakingServer) -> None:
    """Nobody knows them any more when the stream is gone on with."""
    broken = Broken(running, server, "tools/call", {"name": "echo", "arguments": {}})
    running.deployment.document["clients"][0]["resource_filters"] = {"web/echo": {"text": ["a"]}}
    rewrite(running)
    assert not broken.is_refused()


def test_a_tool_that_its_server_lists_no_more_is_not_heard_to_the_end(running: Gateway, server: BreakingServer) -> None:
    broken = Broken(running, server, "tools/call", {"name": "echo", "arguments": {}})

    def listed(tools: list[dict[str, Any]]) -> None:
        server.tools = tools
        with RawClient(running) as client:
            client.post(rpc("tools/list", {}), broken.headers)

    all_of_them = server.tools
    assert not broken.is_refused()
    listed(all_of_them[1:])
    assert broken.is_refused()
    listed(all_of_them)
    assert not broken.is_refused()
    running.stop()
    assert [event["rule"] for event in running.deployment.events() if event.get("decision") == "refused"] == [
        "resumed-not-granted"
    ]


@pytest.mark.parametrize("method", ["tools/call", "tasks/result"])
def test_a_tool_that_differs_from_its_pin_is_not_heard_to_the_end(
    server: BreakingServer, made: Any, gateway: Any, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    server.tools = server.tools[:1]
    assert main(["pin", "-c", str(made.config)]) == 0, capsys.readouterr()
    made.document["pins"] = {"file": "mcpsec.pins.toml"}
    made.write()
    broken = Broken(gateway(made, expected=(r".*pins.*",)), server, method, CALLS[method][0])

    def listed() -> None:
        with RawClient(broken.running) as client:
            client.post(rpc("tools/list", {}), broken.headers)

    assert not broken.is_refused()
    reviewed, server.tools = server.tools, [{**tool, "description": "poisoned"} for tool in server.tools]
    listed()
    assert broken.is_refused()
    server.tools = reviewed
    listed()
    assert not broken.is_refused()


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with running_issuer() as started:
        yield started


@pytest.mark.parametrize("method", ["tools/call", "tasks/result"])
def test_a_token_of_less_scope_goes_on_with_nothing(
    server: BreakingServer, deployment: Any, gateway: Callable[..., Gateway], issuer: Issuer, method: str
) -> None:
    made = deployment({"web": {"url": server.url}}, require=("bearer",))
    made.document["auth"]["oauth"] = {
        "issuer": issuer.url, "audience": AUDIENCE, "sender_constrained": False, "method_scopes": {"execute": "mcp:run"},
    }  # fmt: skip
    made.document["clients"][0]["oauth"] = {"client_id": "tester-app"}
    made.write()
    full, less = (f"Bearer {issuer.token(scope=scope)}" for scope in ("mcp mcp:run", "mcp"))
    broken = Broken(gateway(made), server, method, CALLS[method][0], Authorization=full)
    assert b"words" in broken.resumed()
    assert b"words" not in broken.resumed(Authorization=less)
    assert b"words" in broken.resumed(Authorization=full)


@pytest.mark.parametrize(("letter", "most"), [("a", 2900), ("\N{SNOWMAN}", 2900), ("\\", 2900)])
def test_an_event_id_is_short_enough_to_come_back(
    running: Gateway, server: BreakingServer, letter: str, most: int
) -> None:
    """What is too long has none: then the stream can't be gone on with."""
    for letters, goes_on in ((most, True), (most * 10, False), (most * 100, False)):
        broken = Broken(running, server, "resources/read", {"uri": "file:///" + letter * letters})
        if goes_on:
            assert b"words" in broken.resumed()
        else:
            ids = [line for line in broken.heard.splitlines() if line.startswith(b"id")]
            assert ids == [b"id: "]
            assert b"notifications/message" in broken.heard
