"""What the shared store costs: the figures that the capacity model of docs/scaling.md is computed from.

    python benchmarks/state.py [--operations 20000] [--clients 1000]

Starts a Redis (or Valkey) of its own and prints CPU time for each nonce and each rate, of the store and of the gateway's
side, the store's memory for each nonce, and the table for 1, 10 and 100 gateways that follows.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from mcpsec.deployment.model import Rate, State
from mcpsec.gateway.state import open_state
from tests.fixtures.stores import Store

AT_ONCE = 32
FLEETS = ((1, 4_000), (10, 20_000), (100, 200_000))
"""Gateways, and requests a second of all of them."""


async def measure(store: Store, count: int, act: Callable[[int], Awaitable[Any]]) -> tuple[float, float, float]:
    """Microseconds of CPU of the store and of this process, and bytes of the store's memory, for each."""
    assert store.process is not None
    server, own = psutil.Process(store.process.pid), psutil.Process()

    def spent(process: psutil.Process) -> float:
        return sum(process.cpu_times()[:2])

    def memory() -> int:
        return int(store.say("INFO", "memory").split(b"used_memory:")[1].split(b"\r\n")[0])

    server_before, own_before, memory_before = spent(server), spent(own), memory()
    for first in range(0, count, AT_ONCE):
        await asyncio.gather(*(act(number) for number in range(first, min(first + AT_ONCE, count))))
    return (
        (spent(server) - server_before) / count * 1e6,
        (spent(own) - own_before) / count * 1e6,
        (memory() - memory_before) / count,
    )


async def run(store: Store, operations: int, clients: int) -> None:
    state: Any = open_state(replace(State(), url=store.url, timeout=20.0), session_idle=60.0, changed=lambda _: None)
    await state.start()
    ends, rate = time.time() + 300, Rate(count=1_000_000, seconds=1.0, burst=1_000_000)
    try:
        await measure(store, 200, lambda number: state.claim("warm", str(number), ends))
        nonce = await measure(store, operations, lambda number: state.claim("key", f"{number:032x}", ends))
        bucket = await measure(
            store, operations, lambda number: state.take("client-rate", f"c{number % clients}", rate)
        )
    finally:
        await state.close()
    print(f"nonce: store {nonce[0]:.0f} µs CPU, gateway {nonce[1]:.0f} µs CPU, {nonce[2]:.0f} bytes")
    print(f"rate:  store {bucket[0]:.0f} µs CPU, gateway {bucket[1]:.0f} µs CPU")
    print("gateways  requests/s  store CPU (signed, one rate)  nonces at max_age = 1m")
    for gateways, requests in FLEETS:
        cores = requests * (nonce[0] + bucket[0]) / 1e6
        print(f"{gateways:8}  {requests:10,}  {cores:22.2f} cores  {requests * 60 * nonce[2] / 1e6:19,.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=20_000)
    parser.add_argument("--clients", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        store = Store(Path(directory))
        store.start()
        try:
            asyncio.run(run(store, options.operations, options.clients))
        finally:
            store.kill()


if __name__ == "__main__":
    main()
