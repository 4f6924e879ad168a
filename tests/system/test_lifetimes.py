"""Sessions, calls, streams and child processes: who begins them may end them, and they end with what they belong to."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from tests.fixtures.deployments import EVERYTHING, IN_PROCESS, OTHER, fixture_command
from tests.fixtures.gateway import Gateway, sdk_client
from tests.fixtures.processes import PATIENCE, leftovers, wait_until

pytestmark = pytest.mark.anyio

MODERN, LEGACY = "2026-07-28", "2025-11-25"
FOREVER = 900


@pytest.fixture(params=["stdio", "http", "app"])
def upstream(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Our own server on each transport, with a time limit that plays no part."""
    limits: dict[str, Any] = {"timeout": f"{FOREVER}s"}
    if request.param == "stdio":
        return {"command": fixture_command(), **limits}
    if request.param == "app":
        return {**IN_PROCESS, **limits}
    return {"url": request.getfixturevalue("http_server").url, **limits}


@pytest.fixture
def running(upstream: dict[str, Any], deployment: Any, gateway: Any) -> Gateway:
    """A gateway whose two clients may both use everything."""
    made = deployment({"fixture": upstream})
    made.document["clients"].append({"id": "other", "certificate": {"san": OTHER}, **EVERYTHING})
    made.write()
    return gateway(made)


async def appears(path: Path) -> None:
    """Wait until a file is there."""
    await asyncio.to_thread(wait_until, path.exists, str(path))


INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
LIST = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


async def open_session(http: httpx2.AsyncClient, url: str) -> dict[str, str]:
    """Begin a session of the earlier era and return the headers of its requests."""
    answer = await http.post(url, json=INITIALIZE, headers=HEADERS)
    assert answer.status_code == 200, answer.text
    headers = {**HEADERS, "mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": LEGACY}
    initialized = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await http.post(url, json=initialized, headers=headers)).status_code == 202
    return headers


async def test_a_session_belongs_to_its_client(running: Gateway) -> None:
    made = running.deployment
    async with (
        httpx2.AsyncClient(verify=made.client.client_context(), timeout=PATIENCE) as owner,
        httpx2.AsyncClient(verify=made.other.client_context(), timeout=PATIENCE) as other,
    ):
        headers = await open_session(owner, running.url)
        assert (await owner.post(running.url, json=LIST, headers=headers)).status_code == 200
        for attempt in (
            other.post(running.url, json=LIST, headers=headers),
            other.get(running.url, headers=headers),
            other.delete(running.url, headers=headers),
        ):
            refused = await attempt
            assert refused.status_code == 404, "the same answer as for a session that never was"
            assert "test_simple_text" not in refused.text
        never = await other.post(running.url, json=LIST, headers={**headers, "mcp-session-id": "f" * 32})
        assert never.status_code == 404
        assert (await owner.post(running.url, json=LIST, headers=headers)).status_code == 200
        assert (await owner.delete(running.url, headers=headers)).status_code in (200, 204)
        assert (await owner.post(running.url, json=LIST, headers=headers)).status_code == 404


@pytest.mark.parametrize("mode", ["legacy", MODERN])
async def test_a_cancelled_call_is_cancelled_at_the_server(mode: str, running: Gateway, tmp_path: Path) -> None:
    marker = tmp_path / "slow.started"
    async with sdk_client(running.url, running.deployment.client, mode=mode) as client:
        call = asyncio.create_task(client.call_tool("slow", {"seconds": FOREVER, "started": str(marker)}))
        await appears(marker)
        call.cancel()
        await appears(marker.with_suffix(".cancelled"))
        assert (await client.call_tool("echo", {"text": "again"})).content[0].text == "again"


async def test_a_lost_connection_cancels_a_call_of_2026(running: Gateway, tmp_path: Path) -> None:
    marker = tmp_path / "slow.started"
    meta = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
    arguments = {"seconds": FOREVER, "started": str(marker)}
    body = json.dumps(
        {
            "jsonrpc": "2.0",
            "id": 7,
            "method": "tools/call",
            "params": {"name": "slow", "arguments": arguments, "_meta": meta},
        }
    ).encode()
    context = running.deployment.client.client_context()
    _, writer = await asyncio.open_connection(*running.address, ssl=context)
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: {running.authority}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: {MODERN}\r\nMcp-Method: tools/call\r\n"
        f"Mcp-Name: slow\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
    await appears(marker)
    writer.transport.abort()
    await appears(marker.with_suffix(".cancelled"))


async def test_changes_reach_those_who_listen(running: Gateway) -> None:
    async with sdk_client(running.url, running.deployment.client, mode=MODERN) as client:
        before = {tool.name for tool in (await client.list_tools()).tools}
        async with client.listen(tools_list_changed=True) as subscription:
            await client.call_tool("test_trigger_tool_change", {})
            event = await asyncio.wait_for(anext(aiter(subscription)), PATIENCE)
            assert type(event).__name__ == "ToolsListChanged"
        after = {tool.name for tool in (await client.list_tools()).tools}
        assert before ^ after == {"test_extra_tool"}


@pytest.mark.parametrize("mode", ["legacy", MODERN])
async def test_progress_arrives_while_the_call_runs(mode: str, running: Gateway) -> None:
    seen: list[float] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        seen.append(done)

    async with sdk_client(running.url, running.deployment.client, mode=mode) as client:
        result = await client.call_tool("test_tool_with_progress", {}, progress_callback=progress)
    assert not result.is_error
    assert seen == [0, 50, 100]


@pytest.mark.parametrize("mode", ["legacy", MODERN])
async def test_many_calls_at_once_get_their_own_answers(mode: str, running: Gateway) -> None:
    made = running.deployment

    async def ask(client: Any, who: str, number: int) -> None:
        words = f"{who} {number} äöü " + "x" * (number * 500)
        assert (await client.call_tool("echo", {"text": words})).content[0].text == words

    async with (
        sdk_client(running.url, made.client, mode=mode) as one,
        sdk_client(running.url, made.other, mode=mode) as two,
    ):
        async with asyncio.TaskGroup() as group:
            for number in range(25):
                group.create_task(ask(one, "tester", number))
                group.create_task(ask(two, "other", number))


async def test_an_answer_of_two_megabytes(running: Gateway) -> None:
    async with sdk_client(running.url, running.deployment.client, mode=MODERN) as client:
        words = "0123456789abcdef" * (2 * 1024 * 1024 // 16)
        result: types.CallToolResult = await client.call_tool("echo", {"text": words})
        assert result.content[0].text == words


async def test_a_sessions_child_ends_with_the_session(deployment: Any, gateway: Any) -> None:
    running: Gateway = gateway(deployment({"fixture": {"command": fixture_command()}}))
    async with sdk_client(running.url, running.deployment.client, mode="legacy") as client:
        await client.call_tool("echo", {"text": "hi"})
        with_one = {process.pid for process in running.children()}
        async with sdk_client(running.url, running.deployment.client, mode="legacy") as another:
            await another.call_tool("echo", {"text": "hi"})
            with_two = {process.pid for process in running.children()}
        assert len(with_two) > len(with_one), "every session has a process of its own"
        await asyncio.to_thread(
            wait_until, lambda: len(running.children()) == len(with_one), "the second session's process to end"
        )
        assert (await client.call_tool("echo", {"text": "hi"})).content[0].text == "hi"


async def test_children_do_not_outlive_a_killed_gateway(deployment: Any, gateway: Any) -> None:
    running: Gateway = gateway(deployment({"fixture": {"command": fixture_command()}}))
    with pytest.raises((MCPError, httpx2.HTTPError, ExceptionGroup)):
        async with sdk_client(running.url, running.deployment.client, mode=MODERN) as client:
            await client.call_tool("echo", {"text": "hi"})
            children = running.children()
            assert children
            running.exit_code = -9
            running.process.kill()
            running.process.wait()
            await client.call_tool("echo", {"text": "hi"})
    await asyncio.to_thread(wait_until, lambda: not leftovers(children), "the children to end")


async def test_a_stubborn_child_does_not_outlive_a_killed_gateway(deployment: Any, gateway: Any) -> None:
    """One that takes the end of its pipes and the polite signal for nothing."""
    running: Gateway = gateway(deployment({"fixture": {"command": fixture_command("--stubborn")}}))
    with pytest.raises((MCPError, httpx2.HTTPError, ExceptionGroup)):
        async with sdk_client(running.url, running.deployment.client, mode=MODERN) as client:
            await client.call_tool("echo", {"text": "hi"})
            children = running.children()
            assert children
            running.exit_code = -9
            running.process.kill()
            running.process.wait()
            await client.call_tool("echo", {"text": "hi"})
    await asyncio.to_thread(wait_until, lambda: not leftovers(children), "the children to end")


async def test_a_stubborn_child_ends_with_the_gateway(deployment: Any, gateway: Any) -> None:
    running: Gateway = gateway(deployment({"fixture": {"command": fixture_command("--stubborn")}}))
    async with sdk_client(running.url, running.deployment.client, mode=MODERN) as client:
        await client.call_tool("echo", {"text": "hi"})
        assert running.children()
    await asyncio.to_thread(running.stop)
