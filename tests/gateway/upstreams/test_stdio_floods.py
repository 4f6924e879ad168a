"""Children that flood, stall or end at odd moments: the gateway's memory and its other clients are none of theirs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fixtures.deployments import EVERYTHING, OTHER
from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, Response, request_bytes

SERVER = r"""
import json, os, sys, threading, time

lock = threading.Lock()

def say(**message):
    with lock:
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        sys.stdout.flush()

def news(size):
    return {"method": "notifications/message", "params": {"level": "info", "data": "x" * size}}

def ask():
    for number in range(10_000):
        time.sleep(0.1)
        say(id=f"a{number}", method="sampling/createMessage", params={})

for line in sys.stdin:
    message = json.loads(line)
    method, id, params = message.get("method"), message.get("id"), message.get("params", {})
    if method == "initialize":
        name = params["clientInfo"]["name"]
        if name == "crash":
            os._exit(3)
        info = {"name": "s", "version": "1"}
        say(id=id, result={"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info})
    elif method == "server/discover":
        say(id=id, error={"code": -32601, "message": "no"})
    elif method == "tools/list":
        say(id=id, result={"tools": [{"name": "do", "inputSchema": {"type": "object"}}]})
    elif method == "tools/call":
        what = params["arguments"]["what"]
        answer = {"content": [{"type": "text", "text": what}]}
        if what == "slow":
            time.sleep(1)
        if what == "small":
            for number in range(200):
                say(**news(100))
        if what == "updates":
            for number in range(250):
                news_of = {"uri": "file:///a", "_meta": {"x": "x" * 1_000_000}}
                say(method="notifications/resources/updated", params=news_of)
        if what == "asked":
            for number in range(250):
                say(id=f"q{number}", method="sampling/createMessage", params={"x": "x" * 1_000_000})
        if what == "asks on and on":
            threading.Thread(target=ask, daemon=True).start()
            continue
        if what == "doubled":
            for number in range(20):
                say(**news(1_000_000))
            big = {"content": [{"type": "text", "text": "x" * 1_000_000}]}
            for number in range(250):
                say(id=id, result=big)
        if what == "unread":
            for number in range(250):
                say(**news(1_000_000))
        if what == "progress":
            token = params.get("_meta", {}).get("progressToken", id)
            say(method="notifications/progress", params={"progressToken": token, "progress": 1})
        say(id=id, result=answer)
        if "done" in params["arguments"]:
            open(params["arguments"]["done"], "w").close()
    elif id is not None:
        say(id=id, result={})
"""


def rpc(method: str, params: dict[str, Any], id: Any = 1) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode()


def do(what: str, id: Any = 1) -> bytes:
    return rpc("tools/call", {"name": "do", "arguments": {"what": what}}, id)


def serve(
    deployment: Any, gateway: Any, tmp_path: Path, *, grants: dict[str, Any] | None = None, **more: Any
) -> Gateway:
    program = tmp_path / "server.py"
    program.write_text(SERVER)
    made = deployment({"s": {"command": [sys.executable, "-I", "-S", str(program)], **more}}, grants=grants)
    made.document["clients"].append({"id": "other", "certificate": {"san": OTHER}, **EVERYTHING})
    made.write()
    started: Gateway = gateway(made)
    return started


def initialize(client: RawClient, name: str = "t") -> Response:
    info = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": name, "version": "1"}}
    return client.post(rpc("initialize", info))


def open_session(client: RawClient) -> dict[str, str | None]:
    return {"Mcp-Session-Id": initialize(client).headers["mcp-session-id"]}


def resident(running: Gateway) -> int:
    return int(psutil.Process(running.process.pid).memory_info().rss)


def fills(running: Gateway, what: str, done: Path) -> int:
    """How many bytes the gateway grows by while a child writes 250 MB that nobody reads."""
    with RawClient(running) as client:
        session = open_session(client)
        before = resident(running)
        arguments = {"what": what, "done": str(done)}
        client.send(request_bytes(client.host, rpc("tools/call", {"name": "do", "arguments": arguments}), session))
        wait_until(done.exists, "the child to have written all")
        return resident(running) - before


@pytest.mark.parametrize("what", ["updates", "unread", "asked", "doubled"])
def test_what_nobody_reads_does_not_pile_up(deployment: Any, gateway: Any, tmp_path: Path, what: str) -> None:
    """Of 250 MB; what a client has in flight, and a connection's own buffers, take their part."""
    assert fills(serve(deployment, gateway, tmp_path), what, tmp_path / "done") < 100_000_000


def test_small_news_before_an_answer_all_come(deployment: Any, gateway: Any, tmp_path: Path) -> None:
    with RawClient(serve(deployment, gateway, tmp_path)) as client:
        answer = client.post(do("small"), open_session(client))
        assert answer.body.count(b"notifications/message") == 200
        assert answer.json["result"]["content"][0]["text"] == "small"


def test_a_client_that_crashes_its_child_holds_up_nobody_else(deployment: Any, gateway: Any, tmp_path: Path) -> None:
    running = serve(deployment, gateway, tmp_path, breaker={"enabled": False})
    with RawClient(running) as client, RawClient(running, running.deployment.other) as other:
        assert [initialize(client, "crash").status for _ in range(4)] == [503] * 4
        assert initialize(other).status == 200


def test_news_do_not_prolong_the_opening_of_a_session(deployment: Any, gateway: Any, tmp_path: Path) -> None:
    """They don't reach the client, so to it they are silence; an opening has 60 seconds, or what its call has."""
    running = serve(deployment, gateway, tmp_path, grants=EVERYTHING | {"allow_server_requests": []}, timeout="1s")
    with RawClient(running) as client:
        answer = client.post(do("asks on and on"), open_session(client))
        assert (answer.status, answer.code) == (504, 50401)


def test_progress_is_told_only_to_those_who_asked_for_it(deployment: Any, gateway: Any, tmp_path: Path) -> None:
    with RawClient(serve(deployment, gateway, tmp_path)) as client:
        session = open_session(client)
        answer = client.post(do("progress"), session)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        meta = {"_meta": {"progressToken": "mine"}, "name": "do", "arguments": {"what": "progress"}}
        assert (
            b'"progressToken":"mine"'
            in client.post(rpc("tools/call", meta), session | {"MCP-Protocol-Version": None, "Mcp-Method": None}).body
        )


@pytest.mark.parametrize("named", ["mcpsec", 1.5, True, None])
def test_a_client_cancels_only_what_it_named_itself(deployment: Any, gateway: Any, tmp_path: Path, named: Any) -> None:
    """Neither what the gateway asks for itself, nor a call whose id merely equals the one that is named."""
    running = serve(deployment, gateway, tmp_path)
    with RawClient(running) as client, RawClient(running) as second:
        session = open_session(client)
        client.send(request_bytes(client.host, do("slow", 1), session))
        note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": named}}
        assert second.post(json.dumps(note).encode(), session).status == 202
        assert client.read().json["result"]["content"][0]["text"] == "slow"
