"""The MCP Inspector's command line finds the same behind the bridge and the gateway as at the server itself."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcpsec.connect.install import find_client, printed
from tests.connect.bridges import command
from tests.fixtures.deployments import make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.node import NodeParts, find_node_parts

ASKED = [
    ["tools/list"],
    ["tools/call", "--tool-name", "get-sum", "--tool-arg", "a=19", "b=23"],
    ["prompts/get", "--prompt-name", "simple-prompt"],
    ["tools/call", "--tool-name", "no-such-tool"],
]


@pytest.fixture(scope="module")
def parts() -> NodeParts:
    return find_node_parts()


@pytest.fixture(scope="module")
def gateway(parts: NodeParts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    server = parts.command("@modelcontextprotocol/server-everything", "stdio")
    made = make_deployment(
        tmp_path_factory.mktemp("deployed"), {"all": {"command": server}}, require=("mtls", "signature")
    )
    running = start_gateway(made)
    yield running
    running.stop()


@pytest.fixture
def servers(parts: NodeParts, gateway: Gateway, tmp_path: Path) -> Path:
    """A configuration as clients keep it, with the server itself and what ``connect --print`` writes."""
    own = parts.command("@modelcontextprotocol/server-everything", "stdio")
    bridge = command(gateway.url, gateway.deployment)
    entry = {"command": bridge[0], "args": bridge[1:]}
    document = json.loads(printed(find_client("claude-desktop"), "hardened", entry))
    document["mcpServers"]["direct"] = {"command": own[0], "args": own[1:]}
    file = tmp_path / "mcp.json"
    file.write_text(json.dumps(document))
    return file


def inspect(parts: NodeParts, servers: Path, name: str, asked: list[str]) -> tuple[int, Any]:
    """What the Inspector prints, and how it exits."""
    words = ["--cli", "--config", str(servers), "--server", name, "--method", *asked]
    script = "clients/launcher/build/index.js"
    done = subprocess.run(
        [parts.node, parts.script("@modelcontextprotocol/inspector", script), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
        env={**os.environ, "HOME": str(servers.parent)},
    )
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        return done.returncode, (done.stdout, done.stderr)


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: " ".join(asked))
def test_the_same_is_found(asked: list[str], parts: NodeParts, gateway: Gateway, servers: Path) -> None:
    direct, hardened = (inspect(parts, servers, name, asked) for name in ("direct", "hardened"))
    if asked[-1] == "no-such-tool":  # the gateway says no to what the server does not list, in words of its own
        assert direct[0] != 0 or direct[1].get("isError")
        assert hardened[0] != 0
        return
    assert direct[0] == 0, direct
    assert hardened == direct
