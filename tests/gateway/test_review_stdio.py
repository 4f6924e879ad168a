"""Stdio servers that talk at odd moments: before their first answer, without listening, and while they start again."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.fixtures.raw import RawClient, request_bytes

SERVER = r"""
import json, sys, time

def say(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)

ready = False
for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    if method == "initialize":
        say(method="notifications/message", params={"level": "info", "data": "starting"})
        say(id="early", method="ping")
        time.sleep(1)
        info = {"name": "s", "version": "1"}
        say(id=id, result={"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info})
    elif method == "notifications/initialized":
        ready = True
    elif method == "server/discover" or not ready and id is not None and method:
        say(id=id, error={"code": -32601, "message": "not before initialize"})
    elif method == "tools/list":
        names = ("die", "flood", "echo")
        say(id=id, result={"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in names]})
    elif method == "tools/call":
        name = message["params"]["name"]
        if name == "die":
            sys.exit(3)
        if name == "flood":
            for number in range(60_000):
                print('{"jsonrpc":"2.0","id":"f%d","method":"sampling/createMessage"}' % number)
        say(id=id, result={"content": [{"type": "text", "text": name}]})
"""


def rpc(method: str, params: dict[str, Any], id: int = 1) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode()


def test_a_server_that_talks_at_odd_moments_is_served(deployment: Any, gateway: Any, tmp_path: Path) -> None:
    program = tmp_path / "server.py"
    program.write_text(SERVER)
    grants = {"allow_resources": ["*/*"], "allow_methods": ["read", "write", "execute"]}
    running = gateway(deployment({"odd": {"command": [sys.executable, str(program)]}}, grants=grants))
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    with RawClient(running) as client, RawClient(running) as second:
        opened = client.post(rpc("initialize", params))
        assert (opened.status, opened.headers["content-type"]) == (200, "application/json")
        session: dict[str, str | None] = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
        initialized = json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode()
        assert client.post(initialized, session).status == 202

        # Refusals that a child does not read are lost, its answer is not.
        assert (
            client.post(rpc("tools/call", {"name": "flood"}), session).json["result"]["content"][0]["text"] == "flood"
        )

        # Both calls meet a process that has just been started again; neither overtakes its handshake.
        assert client.post(rpc("tools/call", {"name": "die"}), session).status == 503
        for each in (client, second):
            each.send(request_bytes(each.host, rpc("tools/call", {"name": "echo"}), session))
        for each in (client, second):
            assert each.read().json["result"]["content"][0]["text"] == "echo"
