"""What the bridge adds to a call: `python benchmarks/signing_connect.py [CALLS]`.

One gateway (mutual TLS and signatures), the official SDK's client, sequential calls of a built-in tool, median and 95th
percentile in milliseconds: straight over HTTP with the library's signing, and over stdio through `mcpsec connect`.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from mcpsec.connect import Credentials
from tests.connect.bridges import bridged
from tests.fixtures.deployments import make_deployment
from tests.fixtures.gateway import start_gateway


async def timed(client: Client, calls: int) -> list[float]:
    taken = []
    for number in range(calls + 50):
        start = time.perf_counter()
        result = await client.call_tool("echo", {"text": str(number)})
        taken.append(time.perf_counter() - start)
        assert result.content[0].text == str(number)  # type: ignore[union-attr] # echo answers with text
    return taken[50:]


def report(name: str, taken: list[float], direct: float | None) -> float:
    median = statistics.median(taken) * 1000
    added = "" if direct is None else f"   added {median - direct:+.2f} ms"
    print(f"{name:28} median {median:6.2f}   p95 {sorted(taken)[int(len(taken) * 0.95)] * 1000:6.2f}{added}")
    return median


async def main(calls: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        made = make_deployment(Path(directory), {"demo": {"builtin": "demo"}}, require=("mtls", "signature"))
        gateway = start_gateway(made)
        who = made.client
        own = Credentials.load(
            certificate=who.certificate, key=who.key, ca=who.ca, key_id="tester-1", secret_file=made.secret
        )
        try:
            for mode in ("2026-07-28", "legacy"):
                async with httpx2.AsyncClient(verify=own.ssl_context(), auth=own.httpx2_auth()) as http:
                    async with Client(streamable_http_client(gateway.url, http_client=http), mode=mode) as client:
                        direct = report(f"{mode}, direct", await timed(client, calls), None)
                async with bridged(gateway.url, made, mode=mode) as client:
                    report(f"{mode}, mcpsec connect", await timed(client, calls), direct)
        finally:
            gateway.stop()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
