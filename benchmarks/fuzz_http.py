"""A million malformed requests against a live gateway: no crash, no leak, no answer to another client's request.

    python benchmarks/fuzz_http.py [--requests 1000000] [--at-once 384] [--seed 1] [--first 0] [--plain] [--minutes 600]

With ``--plain`` there is no TLS: a million handshakes take hours on a busy machine, the gateway's own code behind them
takes minutes. The cases are those of tests/gateway/attacks/test_fuzz_http.py, drawn at random: connection N of a seed
sends the same in every run, ``--first N`` begins with it. Prints how many answers there were of each status, the
gateway's CPU time a request, its memory and descriptors on the way, and how long the bystander waited.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from parts.course import Course

from tests.fixtures.deployments import EVERYTHING, OTHER, TESTER, make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.http_fuzz import Fuzzer, Train, draw

try:
    from uvloop import run as go
except ImportError:
    go = asyncio.run

SILENCE = 1.0
SECONDS_BETWEEN_LINES = 30
PLAIN = Path(__file__).parent / "parts" / "plain_gateway.py"
MADE_ONCE = 2000
"""Requests after which what is made once is made, and the descriptors are counted."""


def trains(seed: int, first: int) -> Iterator[tuple[int, Train]]:
    for number in count(first):
        yield number, draw(random.Random(f"{seed}:{number}"))


async def run(fuzzer: Fuzzer, requests: int, at_once: int, numbered: Iterator[tuple[int, Train]], end: float) -> None:
    """So many connections at a time, beside a bystander who is served all the while."""
    going = True

    async def attack() -> None:
        while fuzzer.fired < requests and time.monotonic() < end:
            number, train = next(numbered)
            try:
                await fuzzer.attack(train)
            except AssertionError:
                print(f"connection {number}:", file=sys.stderr)
                raise

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


async def watch(fuzzer: Fuzzer, course: Course) -> None:
    """A sample a second, and a line now and then."""
    for second in count():
        course.sample()
        if second % SECONDS_BETWEEN_LINES == 0:
            print(f"{course.line()}  {fuzzer.fired:,} requests", flush=True)
        await asyncio.sleep(1)


async def watched(fuzzer: Fuzzer, course: Course, options: argparse.Namespace, end: float) -> None:
    numbered = trains(options.seed, options.first)
    await run(fuzzer, min(MADE_ONCE, options.requests), options.at_once, numbered, end)
    files, cpu, began, first = course.process.num_fds(), cpu_seconds(course), time.monotonic(), fuzzer.fired
    watching = asyncio.ensure_future(watch(fuzzer, course))
    try:
        await run(fuzzer, options.requests, options.at_once, numbered, end)
    finally:
        watching.cancel()
    course.sample()
    took, fired = time.monotonic() - began, fuzzer.fired - first
    print(f"{course.line()}  {fuzzer.fired:,} requests")
    print(
        f"{fuzzer.fired} requests on {fuzzer.connections} connections; answers: {dict(sorted(fuzzer.statuses.items()))}"
    )
    if fired:
        cost = (cpu_seconds(course) - cpu) / fired * 1e6
        print(f"{fired / took:.0f} requests a second; gateway: {cost:.0f} µs CPU a request")
    waits = [seconds * 1000 for seconds in fuzzer.waits]
    print(f"bystander: {len(waits)} answers, median {statistics.median(waits):.0f} ms, longest {max(waits):.0f} ms")
    print(f"memory, {course.verdict()}")
    await asyncio.sleep(1)
    assert course.process.num_fds() <= files, f"descriptors: {files} before, {course.process.num_fds()} after"


def cpu_seconds(course: Course) -> float:
    return float(sum(course.process.cpu_times()[:2]))


def start(directory: Path, *, plain: bool) -> Gateway:
    made = make_deployment(directory, {"demo": {"builtin": "demo"}})
    made.document["clients"].append({"id": "other", "certificate": {"san": OTHER}, **EVERYTHING})
    made.document["server"]["limits"] = {"connections_per_address": 2000}
    made.write()
    under = (sys.executable, str(PLAIN), TESTER, OTHER) if plain else ()
    return start_gateway(made, expected=(r"SSL connection is closed",), under=under)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--at-once", type=int, default=384)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--minutes", type=float, default=600)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        gateway = start(Path(directory), plain=options.plain)
        try:
            made = gateway.deployment
            fuzzer = Fuzzer(gateway, made.client, made.other, plain=options.plain, silence=SILENCE)
            end = time.monotonic() + options.minutes * 60
            go(watched(fuzzer, Course(psutil.Process(gateway.process.pid)), options, end))
        finally:
            gateway.stop()  # nothing else on standard error, no child left, exit code 0


if __name__ == "__main__":
    main()
