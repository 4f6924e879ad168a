"""What goes wrong in operation ends in a clear answer, in time, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from mcp.shared.exceptions import MCPError

from tests.fixtures.deployments import fixture_command
from tests.fixtures.gateway import Gateway, sdk_client
from tests.fixtures.processes import PATIENCE
from tests.fixtures.upstreams import HttpServer, start_http_server

pytestmark = pytest.mark.anyio

MODERN = "2026-07-28"
FOREVER = 900
"""Seconds that a call would take: whoever gets an answer earlier got it because of the failure."""


async def begun(marker: Path) -> int:
    """Wait until the slow tool runs, and return the process id of its server."""
    for _ in range(int(PATIENCE / 0.05)):
        if marker.exists() and (text := marker.read_text()):
            return int(text)
        await asyncio.sleep(0.05)
    raise AssertionError("the slow tool never began")


def serve(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A run of ``mcpsec serve`` that is expected to end by itself."""
    command = [sys.executable, "-m", "mcpsec", "serve", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("mode", ["legacy", MODERN])
async def test_a_killed_child_fails_its_call_and_not_the_next(
    mode: str, deployment: Any, gateway: Any, tmp_path: Path
) -> None:
    running: Gateway = gateway(
        deployment({"fixture": {"command": fixture_command(), "timeout": f"{FOREVER}s"}}), expected=(r".*fixture.*",)
    )
    marker = tmp_path / "started"
    async with sdk_client(running.url, running.deployment.client, mode=mode) as client:
        call = asyncio.create_task(client.call_tool("slow", {"seconds": FOREVER, "started": str(marker)}))
        child = await begun(marker)
        assert child in {process.pid for process in running.children()}
        os.kill(child, signal.SIGKILL)
        with pytest.raises(MCPError) as failure:
            await asyncio.wait_for(call, PATIENCE)
        assert "Traceback" not in failure.value.message
        assert sys.executable not in failure.value.message
        if mode == MODERN:
            assert (await client.call_tool("echo", {"text": "again"})).content[0].text == "again"
    # In the earlier era the session died with its process: a client begins a new one.
    async with sdk_client(running.url, running.deployment.client, mode=mode) as client:
        assert (await client.call_tool("echo", {"text": "again"})).content[0].text == "again"


@pytest.mark.parametrize("mode", ["legacy", MODERN])
async def test_a_killed_http_server_fails_its_call_and_not_the_next(
    mode: str, deployment: Any, gateway: Any, http_server: HttpServer, tmp_path: Path
) -> None:
    running: Gateway = gateway(
        deployment({"fixture": {"url": http_server.url, "timeout": f"{FOREVER}s"}}), expected=(r".*fixture.*",)
    )
    marker = tmp_path / "started"
    with pytest.raises((MCPError, httpx2.HTTPError)) as failure:
        async with sdk_client(running.url, running.deployment.client, mode=mode) as client:
            call = asyncio.create_task(client.call_tool("slow", {"seconds": FOREVER, "started": str(marker)}))
            await begun(marker)
            http_server.process.kill()
            http_server.process.wait()
            await asyncio.wait_for(call, PATIENCE)
    port = urlsplit(http_server.url).port
    assert str(port) not in str(failure.value)
    again = start_http_server(tmp_path / "again", port)
    try:
        async with sdk_client(running.url, running.deployment.client, mode=mode) as client:
            assert (await client.call_tool("echo", {"text": "again"})).content[0].text == "again"
    finally:
        again.stop()


@pytest.mark.parametrize("mode", ["legacy", MODERN])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stopping_during_a_call(mode: str, number: int, deployment: Any, gateway: Any, tmp_path: Path) -> None:
    running: Gateway = gateway(
        deployment(
            {"fixture": {"command": fixture_command(), "timeout": f"{FOREVER}s"}},
            server={"limits": {"drain_timeout": "1s"}},
        )
    )
    marker = tmp_path / "started"
    with pytest.raises((MCPError, httpx2.HTTPError, ExceptionGroup)):
        async with sdk_client(running.url, running.deployment.client, mode=mode) as client:
            call = asyncio.create_task(client.call_tool("slow", {"seconds": FOREVER, "started": str(marker)}))
            await begun(marker)
            await asyncio.to_thread(running.stop, number)
            await asyncio.wait_for(call, PATIENCE)


async def test_a_short_call_is_finished_before_the_gateway_stops(deployment: Any, gateway: Any, tmp_path: Path) -> None:
    running: Gateway = gateway(deployment({"fixture": {"command": fixture_command()}}))
    marker = tmp_path / "started"
    async with sdk_client(running.url, running.deployment.client, mode=MODERN) as client:
        await client.list_tools()  # the SDK would ask for the list after the call, to check the answer against it
        call = asyncio.create_task(client.call_tool("slow", {"seconds": 1, "started": str(marker)}))
        await begun(marker)
        running.send_signal(signal.SIGTERM)
        assert (await asyncio.wait_for(call, PATIENCE)).content[0].text == "done"
    await asyncio.to_thread(running.stop)


def test_port_in_use(deployment: Any) -> None:
    made = deployment({"fixture": {"command": fixture_command()}})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = serve("-c", str(made.config), "--listen", f"127.0.0.1:{port}", cwd=made.directory)
    assert ended.returncode == 2, ended.stderr
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "in use" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_missing_command(deployment: Any) -> None:
    made = deployment({"fixture": {"command": ["no-such-mcp-server", "--stdio"]}})
    ended = serve("-c", str(made.config), "--listen", "127.0.0.1:0", cwd=made.directory)
    assert ended.returncode == 2, ended.stderr
    assert "no-such-mcp-server" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_missing_command_of_this_run_is_not_the_files_fault(deployment: Any) -> None:
    made = deployment({"fixture": {"command": fixture_command()}})
    ended = serve("-c", str(made.config), "--listen", "127.0.0.1:0", "--", "no-such-mcp-server", cwd=made.directory)
    assert ended.returncode == 2, ended.stderr
    assert "no-such-mcp-server" in ended.stderr
    assert str(made.config) not in ended.stderr


async def test_an_upstream_that_dies_at_start(deployment: Any, gateway: Any) -> None:
    """Its callers get a clear error at once, the operator reads what it said, and the other upstream works."""
    dying = [sys.executable, "-c", "import sys; sys.exit('the licence file is missing')"]
    running: Gateway = gateway(
        deployment({"dying": {"command": dying}, "fixture": {"command": fixture_command()}}),
        expected=(r".*dying.*",),
    )
    for mode in ("legacy", MODERN):
        with pytest.raises((MCPError, ExceptionGroup)) as failure:
            async with sdk_client(running.endpoint("dying"), running.deployment.client, mode=mode) as client:
                await asyncio.wait_for(client.list_tools(), PATIENCE)
        assert "licence" not in repr(failure.value)
        async with sdk_client(running.endpoint("fixture"), running.deployment.client, mode=mode) as client:
            assert (await client.call_tool("echo", {"text": "hi"})).content[0].text == "hi"
    assert "the licence file is missing" in running.stderr()


async def test_a_silent_upstream_does_not_silence_the_others(deployment: Any, gateway: Any) -> None:
    silent = [sys.executable, "-c", "import time; time.sleep(900)"]
    running: Gateway = gateway(
        deployment({"silent": {"command": silent, "timeout": "2s"}, "fixture": {"command": fixture_command()}}),
        expected=(r".*silent.*",),
    )
    async with sdk_client(running.endpoint("fixture"), running.deployment.client, mode=MODERN) as client:
        assert (await client.call_tool("echo", {"text": "hi"})).content[0].text == "hi"
    with pytest.raises((MCPError, ExceptionGroup)):
        async with sdk_client(running.endpoint("silent"), running.deployment.client, mode=MODERN) as client:
            await asyncio.wait_for(client.list_tools(), PATIENCE)


async def test_an_http_upstream_that_is_not_there(deployment: Any, gateway: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    running: Gateway = gateway(deployment({"gone": {"url": f"http://127.0.0.1:{port}/mcp"}}), expected=(r".*gone.*",))
    for mode in ("legacy", MODERN):
        with pytest.raises((MCPError, ExceptionGroup)) as failure:
            async with sdk_client(running.url, running.deployment.client, mode=mode) as client:
                await asyncio.wait_for(client.list_tools(), PATIENCE)
        assert str(port) not in repr(failure.value)
