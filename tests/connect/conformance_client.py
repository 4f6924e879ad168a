"""A client for the conformance suite's client scenarios: the official SDK's, straight or through bridge and gateway.

The suite starts a server of its own and runs ``python -m tests.connect.conformance_client WAY URL``. WAY is ``direct``,
``bridge`` (no gateway) or ``gateway``. The client lists the tools and calls each of them once, with the arguments that
the suite hands out or ones that fit the schema.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import mcp_types as types
from mcp import Client

from tests.connect.bridges import bridged
from tests.fixtures.deployments import make_deployment
from tests.fixtures.gateway import start_gateway

SAMPLES = {"integer": 5, "number": 3, "boolean": True, "array": [], "object": {}}


async def elicit(context: Any, params: Any) -> types.ElicitResult:
    """Accept, with each field's default."""
    fields = getattr(params, "requested_schema", {}).get("properties", {})
    content = {name: schema["default"] for name, schema in fields.items() if "default" in schema}
    return types.ElicitResult(action="accept", content=content)


@contextlib.asynccontextmanager
async def connected(way: str, url: str, **options: Any) -> AsyncIterator[Client]:
    """The SDK's client, straight or through a gateway that demands both factors."""
    if way != "gateway":
        async with Client(url, **options) if way == "direct" else bridged(url, **options) as client:
            yield client
        return
    with tempfile.TemporaryDirectory() as directory:
        limits = {"limits": {"drain_timeout": "1s"}}
        made = make_deployment(Path(directory), {"suite": {"url": url}}, require=("mtls", "signature"), server=limits)
        gateway = start_gateway(made)
        try:
            async with bridged(gateway.url, made, **options) as client:
                yield client
        finally:
            gateway.process.terminate()
            gateway.process.wait()


def arguments_for(tool: types.Tool) -> dict[str, Any]:
    properties = tool.input_schema.get("properties", {})
    return {name: SAMPLES.get(schema.get("type", "string"), "text") for name, schema in properties.items()}


async def main(way: str, url: str) -> None:
    version = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION") or "2025-11-25"
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    mode = "legacy" if version <= "2025-11-25" else version
    async with connected(way, url, mode=mode, elicitation_callback=elicit) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        calls = context.get("toolCalls") or [
            {"name": name, "arguments": arguments_for(tool)} for name, tool in tools.items()
        ]
        for call in calls:
            with contextlib.suppress(Exception):  # what the server thinks of a call is the suite's business
                await client.call_tool(call["name"], call.get("arguments", {}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
