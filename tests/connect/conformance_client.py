"""A client for the conformance suite's client scenarios: the official SDK's, straight or through bridge and gateway.

The suite starts a server of its own and runs ``python -m tests.connect.conformance_client WAY URL``. WAY is ``direct``,
``bridge`` (no gateway), ``gateway`` or ``oauth``, which is the bridge with a browser and what the suite hands out. The client lists the tools and calls each of them once, with the arguments that
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
from urllib.parse import urlsplit

import httpx
import mcp_types as types
from mcp import Client

from tests.connect.bridges import bridged
from tests.fixtures import browser
from tests.fixtures.deployments import make_deployment
from tests.fixtures.gateway import start_gateway

CLIENT_METADATA = "https://conformance-test.local/client-metadata.json"
SAMPLES = {"integer": 5, "number": 3, "boolean": True, "array": [], "object": {}}


async def elicit(context: Any, params: Any) -> types.ElicitResult:
    """Accept, with each field's default."""
    fields = getattr(params, "requested_schema", {}).get("properties", {})
    content = {name: schema["default"] for name, schema in fields.items() if "default" in schema}
    return types.ElicitResult(action="accept", content=content)


@contextlib.asynccontextmanager
async def connected(way: str, url: str, **options: Any) -> AsyncIterator[Client]:
    """The SDK's client, straight or through a gateway that demands both factors."""
    if way == "oauth":
        with tempfile.TemporaryDirectory() as directory:
            env = {**browser.environment(), "XDG_STATE_HOME": directory}
            async with bridged(url, None, credentials(Path(directory), url), env, **options) as client:
                yield client
        return
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


def credentials(directory: Path, url: str) -> list[str]:
    """The options that say who the client is, where the scenario has registered it beforehand."""
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    scenario = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
    words = ["--oauth-store", "file"]
    if "client_id" in context:
        words += ["--oauth-client-id", context["client_id"]]
    if scenario == "auth/basic-cimd":
        words += ["--oauth-client-id", CLIENT_METADATA]
    for name, option in (
        ("client_secret", "--oauth-client-secret-file"),
        ("private_key_pem", "--oauth-client-key-file"),
    ):
        if name in context:
            file = directory / name
            file.write_text(context[name])
            words += [option, str(file)]
    if "client_secret" in context and "credentials" not in scenario:
        words += ["--oauth-grant", "authorization-code"]
    elif "client_secret" in context:  # whoever has a secret knows whose it is; the suite does not say it
        parts = urlsplit(url)
        place = f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource{parts.path}"
        words += ["--oauth-issuer", httpx.get(place).json()["authorization_servers"][0]]
    return words


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
