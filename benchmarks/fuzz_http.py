"""A million malformed requests against a live gateway: no crash, no leak, no answer to another client's request.

    python benchmarks/fuzz_http.py [--requests 1000000] [--at-once 32] [--seed 1]

The cases are those of tests/gateway/attacks/test_fuzz_http.py, drawn at random. Prints how many answers there were of
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

from tests.fixtures.deployments import EVERYTHING, OTHER, make_deployment
from tests.fixtures.gateway import start_gateway
from tests.fixtures.http_fuzz import MUTATIONS, Case, Fuzzer

NAMES = sorted(MUTATIONS)


def draw(dice: random.Random) -> Case:
    return [(dice.choice(NAMES), dice.randrange(1 << 16)) for _ in range(dice.randint(1, 4))]


async def run(fuzzer: Fuzzer, requests: int, at_once: int, dice: random.Random) -> None:
    while fuzzer.fired < requests:
        await fuzzer.fire([draw(dice) for _ in range(min(at_once, requests - fuzzer.fired))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        made = make_deployment(Path(directory), {"demo": {"builtin": "demo"}})
        made.document["clients"].append({"id": "other", "certificate": {"san": OTHER}, **EVERYTHING})
        made.document["server"]["limits"] = {"connections_per_address": 2000}
        made.write()
        gateway = start_gateway(made, expected=(r"SSL connection is closed",))
        try:
            process = psutil.Process(gateway.process.pid)
            fuzzer, dice = Fuzzer(gateway, made.client, made.other), random.Random(options.seed)
            asyncio.run(run(fuzzer, min(2000, options.requests), options.at_once, dice))  # what is made once is made
            memory, files, cpu, began = (
                process.memory_info().rss,
                process.num_fds(),
                sum(process.cpu_times()[:2]),
                time.time(),
            )
            first = fuzzer.fired
            asyncio.run(run(fuzzer, options.requests, options.at_once, dice))
            fired = fuzzer.fired - first
            spent = sum(process.cpu_times()[:2]) - cpu
            print(
                f"{fuzzer.fired} requests in {time.time() - began:.0f} s; answers: {dict(sorted(fuzzer.statuses.items()))}"
            )
            if fired:
                print(f"gateway: {spent / fired * 1e6:.0f} µs CPU a request, a handshake each")
            after = process.memory_info().rss
            print(f"memory {memory >> 20} MiB -> {after >> 20} MiB; descriptors {files} -> {process.num_fds()}")
        finally:
            gateway.stop()


if __name__ == "__main__":
    main()
