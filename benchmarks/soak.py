"""Mixed load with misbehaving clients for minutes on end: what the gateway's memory does.

    python benchmarks/soak.py [--minutes 10] [--state redis://127.0.0.1:6379/0]

At the same time: calls over kept connections, calls over a new connection each, old clients that open sessions and leave
them, malformed requests, bodies that are too large, requests that stop half-way, readers that don't read, connections that
say nothing, callers without a certificate. Prints memory, descriptors, children and what was answered, once in thirty
seconds, and whether it was flat: the slope over the second half, with its error (parts/course.py).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import ssl
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from parts.course import Course

from tests.fixtures.deployments import EVERYTHING, OTHER, make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.http_fuzz import Fuzzer, draw
from tests.fixtures.raw import call, request_bytes

SECONDS_BETWEEN_LINES = 30
AFTERWARDS = 15.0
"""Seconds in which what is freed goes back to the system."""
WATCHED = Path(__file__).parent / "parts" / "watched_gateway.py"
INITIALIZE = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "soak", "version": "1"},
        },
    }
).encode()


class Crowd:
    """The clients, good and bad, until ``stop`` is set."""

    def __init__(self, gateway: Gateway, seed: int) -> None:
        self.gateway = gateway
        made = gateway.deployment
        self.good = made.client.client_context()
        self.nobody = ssl.create_default_context(cafile=made.client.ca)
        self.fuzzer = Fuzzer(gateway, made.client, made.other)
        self.dice = random.Random(seed)
        self.stop = asyncio.Event()
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        kinds: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (8, self.kept),
            (3, self.anew),
            (2, self.session),
            (4, self.malformed),
            (1, self.too_large),
            (2, self.half),
            (2, self.deaf),
            (4, self.silent),
            (1, self.stranger),
        ]
        await asyncio.gather(*(self._again(each) for number, each in kinds for _ in range(number)))

    async def _again(self, once: Callable[[], Awaitable[None]]) -> None:
        while not self.stop.is_set():
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
                await once()
            await asyncio.sleep(0)

    @contextlib.asynccontextmanager
    async def _connection(
        self, context: ssl.SSLContext | None = None
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        host, port = self.gateway.address
        reader, writer = await asyncio.open_connection(host, port, ssl=context or self.good, server_hostname=host)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, kind: str) -> bytes:
        async with asyncio.timeout(30):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0
            )
            await reader.readexactly(length)
        self.counts[f"{kind} {head[9:12].decode()}"] += 1
        return head

    def _call(self, text: str = "hello") -> bytes:
        return request_bytes(self.gateway.authority, call("echo", {"text": text}))

    async def kept(self) -> None:
        async with self._connection() as (reader, writer):
            for number in range(self.dice.randint(20, 400)):
                writer.write(self._call(f"hello {number} " + "x" * self.dice.choice((1, 30, 900, 30_000))))
                await self._answer(reader, "kept")
                await asyncio.sleep(0.02)

    async def anew(self) -> None:
        async with self._connection() as (reader, writer):
            writer.write(self._call())
            await self._answer(reader, "anew")

    async def session(self) -> None:
        """An old client that opens a session, and in half the cases ends it."""
        async with self._connection() as (reader, writer):
            writer.write(request_bytes(self.gateway.authority, INITIALIZE))
            head = await self._answer(reader, "session")
            named = [line[15:].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"mcp-session-id:")]
            if named and self.dice.random() < 0.5:
                end = (
                    f"DELETE /mcp HTTP/1.1\r\nHost: {self.gateway.authority}\r\nMcp-Session-Id: {named[0].decode()}\r\n"
                )
                writer.write(f"{end}MCP-Protocol-Version: 2025-11-25\r\n\r\n".encode())
                await self._answer(reader, "session end")
        await asyncio.sleep(0.2)

    async def malformed(self) -> None:
        await self.fuzzer.fire([draw(self.dice)])
        self.counts["malformed"] += 1

    async def too_large(self) -> None:
        async with self._connection() as (reader, writer):
            writer.write(self._call("x" * 9_000_000))
            await self._answer(reader, "too large")

    async def half(self) -> None:
        whole = self._call("x" * 2000)
        async with self._connection() as (_, writer):
            writer.write(whole[: self.dice.randrange(len(whole))])
            await asyncio.sleep(self.dice.random() * 2)
        self.counts["half"] += 1

    async def deaf(self) -> None:
        """Asks for much and reads nothing."""
        async with self._connection() as (reader, writer):
            reader._limit = 1
            writer.transport.pause_reading()
            for _ in range(20):
                writer.write(self._call("x" * 100_000))
            await asyncio.sleep(self.dice.random() * 5)
        self.counts["deaf"] += 1

    async def silent(self) -> None:
        async with self._connection():
            await asyncio.sleep(self.dice.random() * 20)
        self.counts["silent"] += 1

    async def stranger(self) -> None:
        self.counts["stranger"] += 1
        async with self._connection(self.nobody) as (reader, _):
            await reader.read()


async def soak(gateway: Gateway, seconds: float, seed: int) -> None:
    course, crowd = Course(psutil.Process(gateway.process.pid)), Crowd(gateway, seed)
    running = asyncio.ensure_future(crowd.run())
    began, next_line = time.monotonic(), 0.0
    while (passed := time.monotonic() - began) < seconds:
        course.sample()
        if passed >= next_line:
            next_line += SECONDS_BETWEEN_LINES
            print(f"{course.line()}  {sum(crowd.counts.values()):,} done", flush=True)
        await asyncio.sleep(1)
    crowd.stop.set()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    malformed = Counter({f"malformed {status}": number for status, number in crowd.fuzzer.statuses.items()})
    print(f"answers: {dict(sorted((crowd.counts + malformed).items()))}")
    print(f"memory, {course.verdict()}")
    await asyncio.sleep(AFTERWARDS)
    course.sample()
    print(f"a quarter of a minute after the last of them: {course.line()}")
    async with crowd._connection() as (reader, writer):
        writer.write(crowd._call())
        assert b" 200 " in await crowd._answer(reader, "afterwards"), "the gateway no longer answers"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--state", help="a Redis URL; memory without it")
    parser.add_argument("--inside", type=Path, help="a file for what the gateway itself holds, a line a minute")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        made = make_deployment(Path(directory), {"demo": {"builtin": "demo"}})
        made.document["clients"].append({"id": "other", "certificate": {"san": OTHER}, **EVERYTHING})
        made.document["server"]["limits"] = {"connections_per_address": 2000, "sessions_per_client": 200}
        if options.state:
            made.document["state"] = {"url": options.state}
        made.write()
        under = (sys.executable, str(WATCHED), str(options.inside), "60") if options.inside else ()
        gateway = start_gateway(made, expected=(r"SSL connection is closed",), under=under)
        try:
            asyncio.run(soak(gateway, options.minutes * 60, options.seed))
        finally:
            gateway.stop()


if __name__ == "__main__":
    main()
