"""A million malformed requests against a live gateway: no crash, no leak, no answer to another client's request.

    python benchmarks/fuzz_http.py [--requests 1000000] [--at-once 256] [--seed 1] [--plain] [--minutes 600]

With ``--plain`` there is no TLS: a million handshakes take hours on a busy machine, the gateway's own code behind them
takes minutes. The cases are those of tests/gateway/attacks/test_fuzz_http.py, drawn at random. Prints how many answers there were of
each status, the gateway's CPU time a request, and its memory and descriptors before and after.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.fixtures.deployments import EVERYTHING, OTHER, TESTER, make_deployment
from tests.fixtures.gateway import start_gateway
from tests.fixtures.http_fuzz import MUTATIONS, Case, Fuzzer

try:
    from uvloop import run as go
except ImportError:
    go = asyncio.run

NAMES = sorted(MUTATIONS)
SILENCE = 1.0
PLAIN = Path(__file__).parent / "parts" / "plain_gateway.py"


def draw(dice: random.Random) -> Case:
    return [(dice.choice(NAMES), dice.randrange(1 << 16)) for _ in range(dice.randint(1, 4))]


async def run(fuzzer: Fuzzer, requests: int, at_once: int, dice: random.Random, end: float) -> None:
    """So many at a time, each on a connection of its own, beside a bystander who is served all the while."""
    going = True

    async def attack() -> None:
        while fuzzer.fired < requests and time.monotonic() < end:
            await fuzzer.attack(draw(dice))

    async def bystander() -> None:
        while going:
            await fuzzer.serve_bystander()
            await asyncio.sleep(0.2)

    beside = asyncio.ensure_future(bystander())
    try:
        await asyncio.gather(*(attack() for _ in range(at_once)))
    finally:
        going = False
        await beside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--at-once", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--minutes", type=float, default=600)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        made = make_deployment(Path(directory), {"demo": {"builtin": "demo"}})
        made.document["clients"].append({"id": "other", "certificate": {"san": OTHER}, **EVERYTHING})
        made.document["server"]["limits"] = {"connections_per_address": 2000}
        made.write()
        under = (sys.executable, str(PLAIN), TESTER, OTHER) if options.plain else ()
        gateway = start_gateway(made, expected=(r"SSL connection is closed",), under=under)
        try:
            process, end = psutil.Process(gateway.process.pid), time.monotonic() + options.minutes * 60
            fuzzer, dice = (
                Fuzzer(gateway, made.client, made.other, plain=options.plain, silence=SILENCE),
                random.Random(options.seed),
            )
            go(run(fuzzer, min(2000, options.requests), options.at_once, dice, end))  # what is made once is made
            memory, files, cpu, began = (
                process.memory_info().rss,
                process.num_fds(),
                sum(process.cpu_times()[:2]),
                time.time(),
            )
            first = fuzzer.fired
            go(run(fuzzer, options.requests, options.at_once, dice, end))
            fired = fuzzer.fired - first
            spent = sum(process.cpu_times()[:2]) - cpu
            print(
                f"{fuzzer.fired} requests in {time.time() - began:.0f} s; answers: {dict(sorted(fuzzer.statuses.items()))}"
            )
            if fired:
                print(f"gateway: {spent / fired * 1e6:.0f} µs CPU a request, a connection each")
            after = process.memory_info().rss
            print(f"memory {memory >> 20} MiB -> {after >> 20} MiB; descriptors {files} -> {process.num_fds()}")
        finally:
            gateway.stop()


if __name__ == "__main__":
    main()
