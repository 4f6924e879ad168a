"""Which eras a stdio server speaks, and what tools it has, is found out also of one that is slow to begin."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from mcpsec.deployment import load
from mcpsec.gateway.sessions import SessionTable
from mcpsec.gateway.upstreams.base import UpstreamStartError
from mcpsec.gateway.upstreams.stdio import StdioUpstream

SERVER = """
import json, sys, time

def say(id, **message):
    print(json.dumps({"jsonrpc": "2.0", "id": id, **message}), flush=True)

time.sleep(5.5)  # longer than the gateway waits for a first word before it tries the older handshake
for line in sys.stdin:
    message = json.loads(line)
    method, id = message["method"], message.get("id")
    if method == "tools/list":
        say(id, result={"tools": [{"name": "late", "inputSchema": {"type": "object"}}]})
    elif method == sys.argv[1]:
        info = {"name": "s", "version": "1"}
        say(id, result={"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info})
    elif id is not None:
        say(id, error={"code": -32601, "message": "Method not found"})
"""


@pytest.mark.parametrize("greeting", ["server/discover", "initialize"])
def test_a_server_that_is_slow_to_begin_is_known(deployment: Any, tmp_path: Path, greeting: str) -> None:
    """One of the modern era alone refuses the handshake of the older one, and one of the older era the question."""
    program = tmp_path / "server.py"
    program.write_text(SERVER)
    made = deployment({"late": {"command": [sys.executable, str(program), greeting]}})
    file = load(made.config)

    async def started() -> dict[str, Any]:
        guard: Any = None  # nothing is answered here
        upstream = StdioUpstream(
            file.upstreams["late"], {}, file.server.limits, SessionTable(file.server.limits), guard
        )
        await upstream.start()
        return upstream.catalogue.greeting | upstream.catalogue.tools

    assert asyncio.run(started()).keys() >= {"serverInfo", "late"}


@pytest.mark.parametrize(
    "command",
    [
        ["cat"],  # it repeats what it is told, even the gateway's refusal of its own question
        [sys.executable, "-c", SERVER.replace("time.sleep(5.5)", ""), "nothing"],
    ],
    ids=["cat", "refuses"],
)
def test_what_refuses_every_handshake_is_no_server(deployment: Any, command: list[str]) -> None:
    made = deployment({"late": {"command": command}})
    file = load(made.config)

    async def start() -> None:
        guard: Any = None
        await StdioUpstream(
            file.upstreams["late"], {}, file.server.limits, SessionTable(file.server.limits), guard
        ).start()

    with pytest.raises(UpstreamStartError, match="it started but did not answer as an MCP server"):
        asyncio.run(start())
