"""Servers of the fastmcp package inside the gateway: tools, a context that calls back, errors, composed servers."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.deployments import make_deployment
from tests.fixtures.gateway import Gateway, sdk_client, start_gateway

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(importlib.util.find_spec("fastmcp") is None, reason="no fastmcp: pip install fastmcp"),
]

LEGACY, MODERN = "legacy", "2026-07-28"

SERVERS = """
import logging
from fastmcp import Context, FastMCP

logging.disable()
single = FastMCP("single")

@single.tool
def echo(text: str) -> str:
    return text

@single.tool
async def told(context: Context) -> str:
    await context.info("halfway")
    await context.report_progress(1, 2)
    return "told"

@single.tool
def fail() -> str:
    raise ValueError("secret words at /srv/private/place.py")

@single.resource("notes://today")
def notes() -> str:
    return "nothing"

composed = FastMCP("composed")
composed.mount(single, namespace="inner")
application = single.http_app(path="/mcp")
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    place: Path = tmp_path_factory.mktemp("fastmcp")
    (place / "of_fastmcp.py").write_text(SERVERS)
    apps = {
        name: {"app": f"of_fastmcp:{name}", "app_dir": str(place)} for name in ("single", "composed", "application")
    }
    made = make_deployment(tmp_path_factory.mktemp("deployment"), apps)
    warned = (r".*MCPDeprecationWarning.*", r"\s+await session\..*")  # its own, about logging to clients
    started = start_gateway(made, expected=warned)
    yield started
    started.stop()


@pytest.mark.parametrize("mode", [LEGACY, MODERN])
@pytest.mark.parametrize(("name", "tool"), [("single", "echo"), ("composed", "inner_echo"), ("application", "echo")])
async def test_tools_are_listed_and_called(running: Gateway, name: str, tool: str, mode: str) -> None:
    async with sdk_client(running.endpoint(name), running.deployment.client, mode=mode) as client:
        assert tool in {each.name for each in (await client.list_tools()).tools}
        assert (await client.call_tool(tool, {"text": "grüße"})).content[0].text == "grüße"


@pytest.mark.parametrize("mode", [LEGACY, MODERN])
async def test_a_tool_may_speak_while_it_works(running: Gateway, mode: str) -> None:
    async with sdk_client(running.endpoint("single"), running.deployment.client, mode=mode) as client:
        assert (await client.call_tool("told", {})).content[0].text == "told"
        assert "notes://today" in {str(each.uri) for each in (await client.list_resources()).resources}


@pytest.mark.parametrize("mode", [LEGACY, MODERN])
async def test_an_error_keeps_its_place_to_itself(running: Gateway, mode: str) -> None:
    async with sdk_client(running.endpoint("single"), running.deployment.client, mode=mode) as client:
        result = await client.call_tool("fail", {})
        assert result.is_error and "/srv/private" not in repr(result)
        assert (await client.call_tool("echo", {"text": "still here"})).content[0].text == "still here"
