"""What the gateway costs, beside nginx and haproxy as mutual-TLS proxies and beside other MCP gateways, in one run.

    python benchmarks/gateway.py [--rounds 5] [--seconds 3] [--connections 1,16,64]

Needs wrk, nginx, a C compiler, uvicorn. haproxy, and the MCP gateways mcp-proxy, fastmcp (``pip install mcp-proxy
fastmcp``) and supergateway (``npm install -g supergateway``) are measured where their commands are on PATH; these three
speak plain HTTP and do nothing but pass on. mcpsec runs with mutual TLS, policy, rate limit, audit log and metrics, one
worker. The first table has an MCP server behind each gateway as quick as uvicorn makes one; the second the quickest
that there is, which no server in use comes near; the third a stdio server behind HTTP. Rounds are interleaved and the
medians compared. CPU is user and system time of a gateway's whole process tree over all rounds, for each request: that
is steady on a busy machine, where requests a second are not.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shlex
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

PARTS = Path(__file__).with_name("parts")
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}
BODY = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "echo", "arguments": {"text": "hello"}, "_meta": META},
    },
    separators=(",", ":"),
)
HEADERS = {
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
}
MODERN = {**HEADERS, "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "echo"}
COMPILED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""An installed program has its bytecode beside it; starts are compared with it, after a first one that wrote it."""
LEGACY = {**HEADERS, "mcp-protocol-version": "2025-06-18"}
LEGACY_BODY = json.dumps(
    {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": "hello"}}},
    separators=(",", ":"),
)
SETTLED_SECONDS = 15
"""After these a gateway has given back what its start alone needed (mcpsec/gateway/memory.py)."""
SIGNED_REQUESTS = 60_000
FEW = 100
"""A round with fewer answers says little: it is taken again, LONGER times as long."""
LONGER = 5


def found(program: str, hint: str) -> bool:
    """Whether a peer is installed; says how to get it when it is not."""
    if shutil.which(program) is not None:
        return True
    print(f"without {program} (not installed: {hint})", file=sys.stderr)
    return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tree(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def stop_tree(pid: int) -> None:
    """Ask a program and its children to end; one that has ended by itself is no trouble."""
    try:
        processes = tree(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return
    for each in reversed(processes):
        with suppress(psutil.NoSuchProcess):
            each.terminate()


def cpu_seconds(process: psutil.Process) -> float:
    total = 0.0
    for each in tree(process):
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_mib(process: psutil.Process) -> float:
    total = 0
    for each in tree(process):
        try:
            total += each.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total / 2**20


@dataclass
class Target:
    """Something to load: where it is, what it is sent, and whose CPU is counted."""

    name: str
    url: str
    process: psutil.Process | None = None
    body: str = BODY
    headers: dict[str, str] = field(default_factory=lambda: dict(MODERN))
    sign: Callable[[int], list[str]] | None = None
    session: bool = False
    """All connections are one session: two requests at once with the same id would be one request to it."""
    results: dict[int, list[dict[str, float]]] = field(default_factory=dict)

    @property
    def mib(self) -> float:
        """Memory after the load, shared pages counted in part."""
        return memory_mib(self.process) if self.process else 0.0

    def median(self, connections: int, what: str) -> float:
        return statistics.median(each[what] for each in self.results[connections])

    def cost(self, connections: int) -> float:
        """CPU of a request over all rounds together.

        Some of it comes at once, as a rotated log's compression does: a median has it whole or not at all.
        """
        rounds = self.results[connections]
        return sum(each["cpu"] * each["requests"] for each in rounds) / sum(each["requests"] for each in rounds)


class Bench:
    """A directory with everything in it, and the load generator."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        run = [sys.executable, "-m", "mcpsec"]
        subprocess.run([*run, "init", str(directory / "d"), "--client", "bench"], check=True, capture_output=True)
        self.deployment = directory / "d"
        self.certificate = self.deployment / "pki/client/bench/chain.pem"
        self.key = self.deployment / "pki/client/bench/key.pem"
        self.server = self.deployment / "pki/server/gateway"
        self.client_ca = self.deployment / "pki/client-ca.pem"
        self.shim = directory / "client_certificate.so"
        subprocess.run(
            ["cc", "-O2", "-shared", "-fPIC", "-o", self.shim, PARTS / "client_certificate.c", "-ldl"], check=True
        )
        self.port = free_port()

    # --- targets ---------------------------------------------------------------------------------------------------

    @contextmanager
    def program(self, *command: str, port: int | None = None, **options: Any) -> Iterator[psutil.Process]:
        with (self.directory / f"{Path(command[0]).name}.{secrets.token_hex(3)}.log").open("w") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=COMPILED, **options
            )
        try:
            if port is not None:
                wait_for_port(port, process)
            yield psutil.Process(process.pid)
        finally:
            stop_tree(process.pid)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def upstream(self, *, bare: bool) -> AbstractContextManager[psutil.Process]:
        """The MCP server behind the gateways."""
        command = [str(PARTS / "upstream.py"), str(self.port)]
        if not bare:
            options = ("--http", "httptools", "--loop", "uvloop", "--no-access-log", "--app-dir", str(PARTS))
            command = ["-m", "uvicorn", *options, "--port", str(self.port), "asgi:app"]
        return self.program(sys.executable, *command, port=self.port)

    def direct(self) -> Target:
        return Target("direct, plain HTTP", f"http://127.0.0.1:{self.port}/mcp")

    @contextmanager
    def nginx(self) -> Iterator[Target]:
        port, home = free_port(), self.directory / "nginx"
        home.mkdir()
        (home / "nginx.conf").write_text(
            f"""daemon off; master_process off; worker_processes 1; pid {home}/pid; error_log {home}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f;
  uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
  upstream server {{ server 127.0.0.1:{self.port}; keepalive 128; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {self.server}/chain.pem; ssl_certificate_key {self.server}/key.pem;
    ssl_client_certificate {self.client_ca}; ssl_verify_client on; ssl_verify_depth 3; ssl_protocols TLSv1.3;
    location /mcp {{
      proxy_pass http://server; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header X-Client $ssl_client_s_dn;
    }}
  }}
}}
"""
        )
        with self.program("nginx", "-c", str(home / "nginx.conf"), "-p", str(home), port=port) as process:
            yield Target("nginx", f"https://127.0.0.1:{port}/mcp", process)

    @contextmanager
    def haproxy(self) -> Iterator[Target]:
        port, home = free_port(), self.directory / "haproxy"
        home.mkdir()
        (home / "server.pem").write_text(
            (self.server / "chain.pem").read_text() + (self.server / "key.pem").read_text()
        )
        (home / "haproxy.cfg").write_text(
            f"""global
  nbthread 1
  maxconn 2000
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend clients
  bind 127.0.0.1:{port} ssl crt {home}/server.pem ca-file {self.client_ca} verify required ssl-min-ver TLSv1.3
  http-request set-header X-Client %[ssl_c_s_dn]
  default_backend server
backend server
  http-reuse always
  server upstream 127.0.0.1:{self.port} pool-max-conn 200
"""
        )
        with self.program("haproxy", "-f", str(home / "haproxy.cfg"), port=port) as process:
            yield Target("haproxy", f"https://127.0.0.1:{port}/mcp", process)

    @contextmanager
    def peer(self, name: str, *command: str, port: int, session: bool = False) -> Iterator[Target]:
        """Another MCP gateway, over plain HTTP and in the revision that all of them speak."""
        with self.program(*command, port=port) as process:
            target = Target(name, f"http://127.0.0.1:{port}/mcp", process, LEGACY_BODY, dict(LEGACY))
            if session:
                target.headers["mcp-session-id"] = self.open_session(target)
                target.session = True
            yield target

    def peers(self, stdio: list[str]) -> Iterator[AbstractContextManager[Target]]:
        """Those that are installed, in front of the HTTP server or, with ``stdio``, of that command."""
        port = free_port
        if not stdio:
            if found("fastmcp", "pip install fastmcp"):
                number = port()
                url = f"http://127.0.0.1:{self.port}/mcp"
                options = ("--transport", "http", "--port", str(number), "--no-banner")
                yield self.peer("fastmcp proxy", "fastmcp", "run", url, *options, port=number, session=True)
            return
        if found("mcp-proxy", "pip install mcp-proxy"):
            number = port()
            yield self.peer(
                "mcp-proxy", "mcp-proxy", "--stateless", "--port", str(number), "--", *stdio, port=number
            )  # fmt: skip
        if found("supergateway", "npm install -g supergateway"):
            number = port()
            options = ("--outputTransport", "streamableHttp", "--stateful", "--port", str(number), "--logLevel", "none")
            yield self.peer(
                "supergateway", "supergateway", "--stdio", shlex.join(stdio), *options, port=number, session=True
            )  # fmt: skip

    def open_session(self, target: Target) -> str:
        """The id of a session that a peer has opened."""
        params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
        body = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}).encode()
        context = self.context() if target.url.startswith("https:") else None
        request = urllib.request.Request(target.url, body, LEGACY)
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            answer.read()
            id = str(answer.headers.get("mcp-session-id", ""))
        told = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
        headers = {**LEGACY, "mcp-session-id": id}
        request = urllib.request.Request(target.url, told, headers)
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            answer.read()
        return id

    def of_2025(self, target: Target, *, session: bool = False) -> Target:
        """The same gateway for clients of the 2025 era."""
        older = Target(f"{target.name}, 2025", target.url, target.process, LEGACY_BODY, dict(LEGACY))
        if session:
            older.headers["mcp-session-id"] = self.open_session(older)
            older.session = True
        return older

    @contextmanager
    def mcpsec(
        self, name: str, upstream: str, *, signed: bool = False, extra: str = "", arguments: tuple[str, ...] = ()
    ) -> Iterator[Target]:
        """mcpsec with everything on: mutual TLS (and a signature), policy, rate limit, log, metrics."""
        label = secrets.token_hex(3)
        config, ready = self.deployment / f"{label}.toml", self.directory / f"{label}.json"
        key = 'signing_keys = [{ id = "bench", secret = { file = "secrets/bench.hmac" } }]' if signed else ""
        config.write_text(
            f"""version = 1
[server]
listen = "127.0.0.1:0"
[server.tls]
certificate = "pki/server/gateway/chain.pem"
key = "pki/server/gateway/key.pem"
client_ca = "pki/client-ca.pem"
crl = "pki/client-ca.crl"
[server.admin]
listen = "127.0.0.1:0"
[server.limits]
connections_per_address = 2000
in_flight_per_client = 1000
[auth]
require = {json.dumps(["mtls", "signature"] if signed else ["mtls"])}
[log]
file = "log/{label}.jsonl"
{extra}
[upstreams.bench]
{upstream}
[upstreams.bench.access]
"*" = "read"
[[clients]]
id = "bench"
certificate = {{ san = "spiffe://mcpsec.local/client/bench" }}
allow_resources = ["bench/echo"]
allow_methods = ["read"]
rate_limit = {{ rate = "1000000/second", burst = 1000000 }}
{key}
"""
        )
        command = (sys.executable, "-m", "mcpsec", "serve", "-c", str(config), "--ready-file", str(ready), *arguments)
        started = time.perf_counter()
        with self.program(*command) as process:
            while not ready.exists():
                if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                    raise SystemExit(f"mcpsec did not start: see {self.directory}")
                time.sleep(0.002)
            target = Target(name, json.loads(ready.read_text())["url"], process)
            if signed:
                target.sign = lambda count: self.signatures(target.url, count)
                target.headers["x-key-id"] = "bench"
            else:
                self.post(target)
            self.started = time.perf_counter() - started
            yield target

    def signatures(self, url: str, count: int) -> list[str]:
        from urllib.parse import urlsplit

        from mcpsec.signing import SignedMessage, Signer, SigningKey, load_secret

        signer = Signer(
            SigningKey(id="bench", secret=load_secret(self.deployment / "secrets/bench.hmac")), "hmac-sha256"
        )
        parts = urlsplit(url)
        fields = [(name.encode(), value.encode()) for name, value in MODERN.items()]
        message = SignedMessage("POST", parts.netloc, parts.path, "", fields, BODY.encode())
        lines = []
        for _ in range(count):
            made = {name.lower(): value for name, value in signer.sign(message).items()}
            lines.append(f"{made['x-timestamp']} {made['x-nonce']} {made['x-signature']}")
        return lines

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.deployment / "pki/server-ca.pem"))
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_cert_chain(self.certificate, self.key)
        return context

    def post(self, target: Target) -> None:
        """One request whose answer is looked at: what is loaded must work."""
        headers = dict(target.headers)
        if target.sign is not None:
            headers |= dict(zip(("x-timestamp", "x-nonce", "x-signature"), target.sign(1)[0].split(), strict=True))
        request = urllib.request.Request(target.url, target.body.encode(), headers)
        context = self.context() if target.url.startswith("https:") else None
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            text = answer.read()
        if b"hello" not in text:
            raise SystemExit(f"{target.name} answered {text[:200]!r}")

    # --- load ------------------------------------------------------------------------------------------------------

    def load(self, target: Target, connections: int, seconds: float) -> None:
        """One round, added to the target's results."""
        result = self.round(target, connections, seconds)
        if result["requests"] < FEW:
            result = self.round(target, connections, seconds * LONGER)
        if result["failed"] or not result["requests"]:
            print(f"  {target.name}: {result['failed']} of {result['requests']} requests failed", file=sys.stderr)
        target.results.setdefault(connections, []).append(result)

    def round(self, target: Target, connections: int, seconds: float) -> dict[str, float]:
        files = {"BODY": target.body, "HEADERS": "".join(f"{k}: {v}\n" for k, v in target.headers.items())}
        if target.sign is not None:
            files["SIGNED"] = "\n".join(target.sign(SIGNED_REQUESTS)) + "\n"
        environment = dict(os.environ)
        for name, text in files.items():
            path = self.directory / f"{name}.txt"
            path.write_text(text)
            environment[name] = str(path)
        if target.session:
            environment["NUMBERED"] = "1"
        if target.url.startswith("https:"):
            environment |= {"LD_PRELOAD": str(self.shim), "CERT": str(self.certificate), "KEY": str(self.key)}
        before = cpu_seconds(target.process) if target.process else 0.0
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds:g}s",
            "--timeout",
            "30s",
            "-s",
            str(PARTS / "post.lua"),
        ]
        done = subprocess.run([*command, target.url], env=environment, capture_output=True, text=True)
        line = next((line for line in done.stdout.splitlines() if line.startswith("JSON ")), None)
        if line is None:
            raise SystemExit(f"{target.name}: wrk said {done.stdout[-400:]}{done.stderr[-400:]}")
        result = json.loads(line[5:])
        used = cpu_seconds(target.process) - before if target.process else 0.0
        result["cpu"] = used / max(1, result["requests"]) * 1e6
        result["rate"] = result["requests"] / result["seconds"]
        return dict(result)


def wait_for_port(port: int, process: subprocess.Popen[Any], patience: float = 90.0) -> None:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit(f"{process.args!r} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise SystemExit(f"{process.args!r} does not listen on {port}")


def table(targets: list[Target], reference: Target, connections: list[int]) -> None:
    """Medians (of CPU: all rounds together), and ratios to ``reference``."""
    print(f"\n{'':26}" + "".join(f"{f'{n} connections':>40}" for n in connections))
    print(
        f"{'':26}"
        + f"{'CPU µs':>9}{'ratio':>7}{'req/s':>9}{'ratio':>7}{'p50 ms':>8}" * len(connections)
        + f"{'MiB':>7}"
    )
    for target in targets:
        row = f"{target.name:26}"
        for number in connections:
            cpu, rate = target.cost(number), target.median(number, "rate")
            cpu_ratio = cpu / (reference.cost(number) or 1)
            # all.py takes a row apart at its blanks: one stands before every figure, however wide that is
            row += f" {cpu:8.1f} {cpu_ratio:6.2f} {rate:8.0f} {rate / reference.median(number, 'rate'):6.2f}"
            row += f" {target.median(number, 'p50') * 1000:7.3f}"
        print(f"{row} {target.mib:6.1f}")


def rounds(bench: Bench, targets: list[Target], options: argparse.Namespace, connections: list[int]) -> None:
    """Load everything in turn, so that what else the machine does falls on all alike."""
    for target in targets:
        bench.post(target)
    for _ in range(options.rounds):
        for number in connections:
            for target in targets:
                bench.load(target, number, options.seconds)


def behind_nothing_slower(bench: Bench, stack: ExitStack, options: argparse.Namespace, connections: list[int]) -> None:
    """The second table: a server that costs next to nothing, so that a gateway waits for itself alone."""
    stack.enter_context(bench.upstream(bare=True))
    url = f'url = "http://127.0.0.1:{bench.port}/mcp"'
    nginx = stack.enter_context(bench.nginx())
    plain = stack.enter_context(bench.mcpsec("mcpsec, bare server", url))
    signed = stack.enter_context(bench.mcpsec("mcpsec, signed, bare", url, signed=True))
    targets = [bench.direct(), nginx, plain, signed]
    rounds(bench, targets, options, connections)
    table(targets, nginx, connections)


def over_stdio(bench: Bench, options: argparse.Namespace, connections: list[int]) -> None:
    """The last table: one stdio server behind each gateway; its own CPU is in every figure."""
    command = [sys.executable, str(PARTS / "upstream.py")]
    with ExitStack() as stack:
        ours = stack.enter_context(bench.mcpsec("mcpsec, mutual TLS", f"command = {json.dumps(command)}"))
        targets = [ours, bench.of_2025(ours, session=True)]
        targets += [stack.enter_context(each) for each in bench.peers(command)]
        rounds(bench, targets, options, connections)
        table(targets, ours, connections)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", default="1,16,64")
    options = parser.parse_args()
    missing = [name for name in ("wrk", "nginx", "cc") if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)}")
    connections = [int(each) for each in options.connections.split(",")]
    with tempfile.TemporaryDirectory(prefix="mcpsec-bench-") as directory, ExitStack() as stack:
        bench = Bench(Path(directory))
        stack.enter_context(bench.upstream(bare=False))
        url = f'url = "http://127.0.0.1:{bench.port}/mcp"'
        nginx = stack.enter_context(bench.nginx())
        with bench.mcpsec("to write the bytecode", url):
            pass
        plain = stack.enter_context(bench.mcpsec("mcpsec", url))
        print(f"start to first answer: {bench.started * 1000:.0f} ms")
        time.sleep(SETTLED_SECONDS)
        print(f"idle memory: {plain.mib:.1f} MiB")
        signed = stack.enter_context(bench.mcpsec("mcpsec, signed requests", url, signed=True))
        targets = [bench.direct(), nginx, plain, bench.of_2025(plain), signed]
        if found("haproxy", "apt-get install haproxy"):
            targets.insert(2, stack.enter_context(bench.haproxy()))
        targets += [stack.enter_context(each) for each in bench.peers([])]
        rounds(bench, targets, options, connections)
        table(targets, nginx, connections)
        if 1 in connections:
            added = (plain.median(1, "p50") - targets[0].median(1, "p50")) * 1000
            print(f"\nadded at the median, 1 connection, over direct: {added:.3f} ms")
    with tempfile.TemporaryDirectory(prefix="mcpsec-bench-") as directory, ExitStack() as stack:
        behind_nothing_slower(Bench(Path(directory)), stack, options, connections)
    with tempfile.TemporaryDirectory(prefix="mcpsec-bench-") as directory:
        over_stdio(Bench(Path(directory)), options, connections)


if __name__ == "__main__":
    main()
