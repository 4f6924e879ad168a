"""Throughput of a gateway with logging, metrics, alerts and dashboard on, against off, in the same run.

    python benchmarks/telemetry_throughput.py [ROUNDS]

Two gateways serve the same deployment: one as it is, one whose recorder does nothing. The built-in server is behind
them, so nothing but the gateway's own work is in the way: the least favourable case. They are loaded in turn, and each
pair of rounds is compared: requests a second, and CPU time a request, which other work on the machine disturbs less.
"""

from __future__ import annotations

import asyncio
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.fixtures.deployments import make_deployment
from tests.fixtures.processes import wait_for_file
from tests.fixtures.raw import call, request_bytes

CONNECTIONS = 8
REQUESTS = 400
"""Of each connection in one round."""


def serve(mode: str, arguments: list[str]) -> None:
    """The gateway's process; ``off`` takes the recorder's work away."""
    from mcpsec.cli.root import main
    from mcpsec.gateway.record import Recorder

    if mode == "off":
        nothing: Any = lambda self, *args, **options: None  # noqa: E731
        for name in ("request", "write", "connected", "refused_bytes"):
            setattr(Recorder, name, nothing)
    sys.exit(main(arguments))


async def load(address: tuple[str, int], context: ssl.SSLContext, message: bytes) -> float:
    """Requests a second over some connections at once."""

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(*address, ssl=context, server_hostname=address[0])
        for _ in range(REQUESTS):
            writer.write(message)
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head[:16]:
                raise SystemExit(head.decode())
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()
        await writer.wait_closed()

    began = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return CONNECTIONS * REQUESTS / (time.perf_counter() - began)


class Running:
    """One gateway in a process of its own."""

    def __init__(self, mode: str, directory: Path) -> None:
        directory.mkdir()
        self.deployment = make_deployment(directory, {"demo": {"builtin": "demo", "access": {"*": "read"}}})
        ready = directory / "ready.json"
        arguments = ["serve", "-c", str(self.deployment.config), "--rate-limit", "off", "--ready-file", str(ready)]
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", mode, *arguments], stderr=subprocess.DEVNULL
        )
        parts = urlsplit(wait_for_file(ready, self.process)["url"])
        self.address = (parts.hostname or "", parts.port or 0)
        self.message = request_bytes(parts.netloc, call("echo", {"text": "hello"}))
        self.rates: list[float] = []
        self.costs: list[float] = []

    def round(self) -> None:
        times = psutil.Process(self.process.pid)
        before = sum(times.cpu_times()[:2])
        self.rates.append(asyncio.run(load(self.address, self.deployment.client.client_context(), self.message)))
        self.costs.append((sum(times.cpu_times()[:2]) - before) / (CONNECTIONS * REQUESTS) * 1e6)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        on, off = Running("on", Path(directory) / "on"), Running("off", Path(directory) / "off")
        try:
            for number in range(rounds + 1):
                for each in (on, off) if number % 2 else (off, on):
                    each.round()
        finally:
            on.stop()
            off.stop()
        lines = sum(1 for _ in on.deployment.log.open())
    for name, each in (("off", off), ("on", on)):
        each.rates, each.costs = each.rates[1:], each.costs[1:]  # the first round warms up
        print(
            f"{name:4}{statistics.median(each.rates):8.0f} requests/s {statistics.median(each.costs):8.1f} µs CPU a request"
        )
    # Of each pair of rounds, which follow each other: the machine itself changes its pace within minutes.
    rates = [one / other for one, other in zip(on.rates, off.rates, strict=True)]
    costs = [other / one for one, other in zip(on.costs, off.costs, strict=True)]
    print(f"\nthroughput on/off   {statistics.median(rates):.2f}   ({min(rates):.2f} to {max(rates):.2f} of a pair)")
    print(f"CPU off/on          {statistics.median(costs):.2f}   ({min(costs):.2f} to {max(costs):.2f})")
    print(f"{lines} lines were written in {rounds + 1} rounds of {CONNECTIONS * REQUESTS} requests")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], sys.argv[3:])
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
