"""What bridge and gateway add to a call: `python benchmarks/signing_connect.py [CALLS]`.

The official SDK's client makes sequential calls of one tool of one server, over HTTP and over stdio: straight to the
server, and through `mcpsec connect` and `mcpsec serve` with mutual TLS and signatures. Between the two stands the way
without the bridge: straight to the gateway, with the library's signing. Median and 95th percentile in milliseconds, in
one run, the ways taken in turn, so that each number has its twin from the same minute on the same machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx2
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent

from mcpsec.connect import Credentials
from tests.connect.bridges import bridged
from tests.fixtures.deployments import Deployment, fixture_command, make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.upstreams import start_http_server

WARM_UP = 50


async def call(client: Client, text: str) -> float:
    start = time.perf_counter()
    result = await client.call_tool("echo", {"text": text})
    taken = time.perf_counter() - start
    (answer,) = result.content
    assert isinstance(answer, TextContent) and answer.text == text
    return taken


def report(name: str, taken: list[float], direct: float | None) -> float:
    median = statistics.median(taken) * 1000
    added = "" if direct is None else f"   added {median - direct:+.2f} ms ({median / direct:.2f}x)"
    print(
        f"{name:46} median {median:6.2f}   p95 {sorted(taken)[int(len(taken) * 0.95)] * 1000:6.2f}{added}", flush=True
    )
    return median


@contextlib.asynccontextmanager
async def straight(url: str, made: Deployment, mode: str) -> AsyncIterator[Client]:
    """The SDK's HTTP client at the gateway, with the library's certificate and signing."""
    who = made.client
    own = Credentials.load(
        certificate=who.certificate, key=who.key, ca=who.ca, key_id="tester-1", secret_file=made.secret
    )
    async with httpx2.AsyncClient(verify=own.ssl_context(), auth=own.httpx2_auth(), timeout=60) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=mode) as client:
            yield client


async def compare(name: str, direct: Any, gateway: Gateway, made: Deployment, mode: str, calls: int) -> None:
    """The three ways in turn, call by call, so that what else the machine does falls on all of them alike."""
    url = gateway.endpoint(name)
    async with direct as one, straight(url, made, mode) as two, bridged(url, made, mode=mode) as three:
        ways = {"the server itself": one, "gateway, no bridge": two, "connect and serve": three}
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(calls + WARM_UP):
            for way, client in ways.items():
                taken[way].append(await call(client, str(number)))
    alone = None
    for way, times in taken.items():
        median = report(f"{mode}, {name}: {way}", times[WARM_UP:], alone)
        alone = median if alone is None else alone


async def main(calls: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        server = start_http_server(Path(directory))
        program, *words = fixture_command()
        upstreams = {"http": {"url": server.url}, "stdio": {"command": [program, *words]}}
        made = make_deployment(Path(directory) / "deployed", upstreams, require=("mtls", "signature"))
        gateway = start_gateway(made)
        try:
            for mode in ("2026-07-28", "legacy"):
                http = Client(server.url, mode=mode)
                await compare("http", http, gateway, made, mode, calls)
                stdio = Client(stdio_client(StdioServerParameters(command=program, args=words)), mode=mode)
                await compare("stdio", stdio, gateway, made, mode, calls)
        finally:
            gateway.stop()
            server.stop()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
