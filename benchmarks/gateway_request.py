"""What one request costs in the gateway's own Python: no socket, no TLS, no load generator, one process.

    python benchmarks/gateway_request.py [--rounds 9] [--requests 4000] [--connections 16] [--against TREE] [--opcodes]

A real gateway is built from a deployment file (policy, rate limit, audit log, metrics; the second figure with signed
requests). Its connections get their bytes from memory, and so do those to the upstream. Only CPU time of the event
loop's thread counts. With ``--against`` another tree of the sources is measured in turn with this one, and the ratio is
the median over pairs of rounds: that holds on a busy machine, where a single figure does not. ``--opcodes`` counts the
bytecode instructions of a request, which no other program's load changes, and where most of them are.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "parts"))

from upstream import CALL, answer  # noqa: E402 # the MCP server that the other benchmarks use

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}
CALLED = {"name": "echo", "arguments": {"text": "hello"}, "_meta": META}
BODY = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": CALLED}, separators=(",", ":")).encode()
FIELDS = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": "echo",
}
SAN = "spiffe://mcpsec.local/client/bench"
CONFIG = """version = 1
[server]
listen = "127.0.0.1:0"
[server.tls]
certificate = "pki/server/gateway/chain.pem"
key = "pki/server/gateway/key.pem"
client_ca = "pki/client-ca.pem"
crl = "pki/client-ca.crl"
[server.limits]
connections_per_address = 2000
in_flight_per_client = 1000
[auth]
require = {factors}
[log]
file = "log/{label}.jsonl"
[upstreams.bench]
url = "http://127.0.0.1:9/mcp"
[upstreams.bench.access]
"*" = "read"
[[clients]]
id = "bench"
certificate = {{ san = "{san}" }}
allow_resources = ["bench/echo"]
allow_methods = ["read"]
rate_limit = {{ rate = "1000000/second", burst = 1000000 }}
{key}
"""
KEY = 'signing_keys = [{ id = "bench", secret = { file = "secrets/bench.hmac" } }]'


class Upstream:
    """The transport of a connection to the upstream: what is written to it is answered at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.protocol: Any = None

    def write(self, data: bytes) -> None:
        body = data.partition(b"\r\n\r\n")[2]
        reply = CALL if b'"tools/call"' in body else answer(body) or b""
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(reply)
        self.loop.call_soon(deliver, self.protocol, head + reply)

    def abort(self) -> None:
        self.protocol.connection_lost(None)

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, _name: str) -> None:
        return None


class Client:
    """The transport of a client's connection: an answer that is written to it brings the next request."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.protocol: Any = None
        self.last = b""

    def write(self, data: bytes) -> None:
        self.last = data
        self.load.answered(self)

    def is_closing(self) -> bool:
        return self.protocol is None

    def get_extra_info(self, _name: str) -> object:
        return self  # as if there were TLS: the peer is made up anyway

    def abort(self) -> None:
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            protocol.connection_lost(None)

    close = pause_reading = resume_reading = abort


class Load:
    """So many requests over so many connections."""

    def __init__(self, loop: asyncio.AbstractEventLoop, registry: Any, identify: Any, connections: int) -> None:
        from mcpsec.gateway.connection import Connection

        self.loop, self.clients = loop, []
        for _ in range(connections):
            client = Client(self)
            client.protocol = Connection(registry, "127.0.0.1", identify=identify)
            client.protocol.connection_made(client)
            self.clients.append(client)

    async def run(self, requests: list[bytes]) -> float:
        """CPU seconds of this thread for each of them."""
        self.due, self.open, self.done = list(requests), 0, self.loop.create_future()
        began = time.thread_time()
        for client in self.clients:
            self.next(client)
        await self.done
        return (time.thread_time() - began) / len(requests)

    def next(self, client: Client) -> None:
        if self.due:
            self.open += 1
            self.loop.call_soon(deliver, client.protocol, self.due.pop())
        elif not self.open:
            self.done.set_result(None)

    def answered(self, client: Client) -> None:
        self.open -= 1
        self.next(client)


def deliver(protocol: Any, data: bytes) -> None:
    protocol.get_buffer(-1)[: len(data)] = data
    protocol.buffer_updated(len(data))


class Gateway:
    """A gateway of one deployment, with its load."""

    def __init__(self, deployment: Path, *, signed: bool) -> None:
        from mcpsec.deployment import load
        from mcpsec.gateway import server

        label = "signed" if signed else "plain"
        factors = json.dumps(["mtls", "signature"] if signed else ["mtls"])
        self.config = deployment / f"{label}.toml"
        self.config.write_text(CONFIG.format(factors=factors, label=label, san=SAN, key=KEY if signed else ""))
        self.signed, self.deployment = signed, deployment
        self.gateway: Any = server.Gateway(load(self.config), say=lambda _text: None)

    async def start(self, connections: int) -> None:
        await self.gateway.start()
        gateway, loop = self.gateway, asyncio.get_running_loop()
        self.host = gateway.url.split("/")[2]
        self.load = Load(loop, gateway._registries[0], gateway._directory.identify, connections)
        await self.load.run(self.requests(200))
        last = self.load.clients[0].last
        if b"hello" not in last:
            raise SystemExit(f"the gateway answered {last[:300]!r}")

    def requests(self, count: int) -> list[bytes]:
        fields = {"host": self.host, **FIELDS}
        signatures = self.signatures(count) if self.signed else [{}] * count
        return [self.request({**fields, **each}) for each in signatures]

    @staticmethod
    def request(fields: dict[str, str]) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"POST /mcp HTTP/1.1\r\n{lines}content-length: {len(BODY)}\r\n\r\n".encode() + BODY

    def signatures(self, count: int) -> list[dict[str, str]]:
        from mcpsec.signing import SignedMessage, Signer, SigningKey, load_secret

        signer = Signer(
            SigningKey(id="bench", secret=load_secret(self.deployment / "secrets/bench.hmac")), "hmac-sha256"
        )
        fields = [(name.encode(), value.encode()) for name, value in FIELDS.items()]
        message = SignedMessage("POST", self.host, "/mcp", "", fields, BODY)
        made = [{name.lower(): value for name, value in signer.sign(message).items()} for _ in range(count)]
        return [{"x-key-id": "bench", **each} for each in made]


def pretend() -> None:
    """No certificate is shown and no socket opened: the peer and the upstream's connections are made up."""
    from mcpsec.gateway import connection
    from mcpsec.gateway.message import Peer
    from mcpsec.gateway.upstreams import http_client

    def peer_of(address: str, _connection: object) -> Peer:
        return Peer(address, sans=(SAN,), fingerprint="00" * 32, not_after=2**40, der=b"none", tls="TLSv1.3")

    async def connect(pool: Any) -> Any:
        made: Any = http_client.UpstreamConnection(pool)
        transport = Upstream(asyncio.get_running_loop())
        transport.protocol = made
        made.connection_made(transport)
        pool._live.add(made)
        return made

    pool: Any = http_client.HttpPool
    connection.__dict__["peer_of"] = peer_of
    pool._connect = connect


class Opcodes:
    """Counts the bytecode instructions of every function."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __call__(self, frame: FrameType, event: str, _argument: object) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            code = frame.f_code
            self.counts[f"{Path(code.co_filename).name}:{getattr(code, 'co_qualname', code.co_name)}"] += 1
        return self


async def measure(deployment: Path, options: argparse.Namespace) -> None:
    """Print one line of JSON for each line that is read: the CPU of a round of each kind, in microseconds."""
    gateways = [Gateway(deployment, signed=signed) for signed in (False, True)]
    for each in gateways:
        await each.start(options.connections)
    print("ready", flush=True)
    while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
        if line == "opcodes":
            print(json.dumps([await opcodes(each) for each in gateways]), flush=True)
        else:
            costs = [await each.load.run(each.requests(options.requests)) * 1e6 for each in gateways]
            print(json.dumps(costs), flush=True)
    for each in gateways:
        await each.gateway.close()


async def opcodes(gateway: Gateway, count: int = 192) -> tuple[float, list[tuple[str, float]]]:
    requests, counter = gateway.requests(count), Opcodes()
    for task in asyncio.all_tasks():
        frame: Any = task.get_stack(limit=1)
        for each in frame:
            each.f_trace, each.f_trace_opcodes = counter, True
    sys.settrace(counter)
    await gateway.load.run(requests)
    sys.settrace(None)
    of_ours = {place: number for place, number in counter.counts.items() if not place.startswith("gateway_request.py")}
    most = sorted(of_ours.items(), key=lambda item: -item[1])[:60]
    return sum(of_ours.values()) / count, [(place, number / count) for place, number in most]


class Tree:
    """This script in a process of its own, with the sources of one tree."""

    def __init__(self, sources: Path, deployment: Path, options: argparse.Namespace) -> None:
        environment = {**os.environ, "PYTHONPATH": str(sources)}
        numbers = ("--requests", str(options.requests), "--connections", str(options.connections))
        command = [sys.executable, __file__, *numbers, "--deployment", str(deployment)]
        self.process = subprocess.Popen(
            command, env=environment, cwd=deployment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.ask(None)

    def ask(self, what: str | None) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        if what is not None:
            self.process.stdin.write(f"{what}\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        return json.loads(line) if what is not None else line

    def end(self) -> None:
        self.process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--opcodes", action="store_true")
    parser.add_argument("--deployment", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.deployment is not None:
        import uvloop

        pretend()
        uvloop.run(measure(options.deployment, options))
        return
    with tempfile.TemporaryDirectory(prefix="mcpsec-bench-") as directory:
        trees = []
        for number, sources in enumerate(filter(None, (HERE.parent, options.against))):
            deployment = Path(directory, str(number))
            init = [sys.executable, "-m", "mcpsec", "init", str(deployment), "--client", "bench"]
            subprocess.run(init, check=True, capture_output=True)
            trees.append(Tree(sources.resolve(), deployment, options))
        compare(trees, options)
        for tree in trees:
            tree.end()


def compare(trees: list[Tree], options: argparse.Namespace) -> None:
    rounds = [[tree.ask("run") for tree in trees] for _ in range(options.rounds)]
    for kind, name in enumerate(("plain", "signed")):
        line = f"{name:7} {statistics.median(each[0][kind] for each in rounds):7.1f} µs a request"
        if len(trees) > 1:
            line += f", the other {statistics.median(each[1][kind] for each in rounds):7.1f}"
            line += f", ratio {statistics.median(each[0][kind] / each[1][kind] for each in rounds):.3f}"
        print(line)
    if options.opcodes:
        for tree in trees:
            for name, (total, most) in zip(("plain", "signed"), tree.ask("opcodes"), strict=True):
                print(f"\n{name}: {total:.0f} instructions a request")
                print("\n".join(f"{number:8.1f}  {place}" for place, number in most))


if __name__ == "__main__":
    main()
