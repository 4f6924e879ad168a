"""Networks and peers that fail in every way: one clear answer within its deadline, and everybody else is served.

One gateway takes all of it. docs/failures.md lists what is proven here and elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from tests.fixtures.deployments import make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.partition import Partition
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, Response, call, request_bytes
from tests.gateway.upstreams.test_http import STREAM, FaultyServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors and sockets as Linux shows them")

ENDLESS = [sys.executable, str(Path(__file__).with_name("endless_server.py"))]
ANSWER_BYTES, PIECE = 14_000_000, b"x" * 1_000_000
MEMORY = 100 << 20
"""How much more memory the gateway may hold after a gigabyte has come: many times its bounds, a tenth of that."""


@dataclass
class Scene:
    gateway: Gateway
    faulty: FaultyServer
    partition: Partition

    def ask(self, upstream: str, tool: str = "echo") -> Response:
        with RawClient(self.gateway) as client:
            return client.post(call(tool), path=f"/mcp/{upstream}")

    def fine(self, *upstreams: str) -> None:
        """Everybody is served; a call that was made while the fault lasted may still have failed."""

        def answered() -> bool:
            with contextlib.suppress(OSError):
                return all(self.ask(each).status == 200 for each in upstreams)
            return False

        wait_until(answered, "good answers")
        self.demo()
        assert self.gateway.process.poll() is None

    def demo(self) -> None:
        """A server that no fault of these can touch is answered, now."""
        with RawClient(self.gateway) as client:
            answer = client.post(call("time_now"), path="/mcp/demo")
        assert answer.status == 200, answer

    def memory(self) -> int:
        size: int = psutil.Process(self.gateway.process.pid).memory_info().rss
        return size

    def sockets(self) -> int:
        """Connections that the gateway holds on its public port."""
        port = self.gateway.address[1]
        held = psutil.Process(self.gateway.process.pid).net_connections("tcp")
        return sum(each.laddr.port == port and each.status != "LISTEN" for each in held)


@pytest.fixture(scope="module")
def full() -> Iterator[int]:
    """A port whose backlog is full: connecting to it gets no answer, as from a machine that is gone."""
    with socket.socket() as listener, contextlib.ExitStack() as held:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            caller = held.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, full: int) -> Iterator[Scene]:
    faulty = FaultyServer()
    partition = Partition(("127.0.0.1", urlsplit(faulty.url).port or 0))
    quick: dict[str, Any] = {"timeout": "3s", "breaker": {"enabled": False}}
    upstreams = {
        "web": {"url": faulty.url, **quick, "timeout": "5m"},
        "cut": {"url": f"http://127.0.0.1:{partition.port}/mcp", **quick},
        "gone": {"url": f"http://127.0.0.1:{full}/mcp", "connect_timeout": "1s", **quick},
        "lines": {"command": ENDLESS, "timeout": "5m"},
        "demo": {"builtin": "demo"},
    }
    made = make_deployment(tmp_path_factory.mktemp("failures"), upstreams)
    made.document["server"]["limits"] = {
        "response_bytes": ANSWER_BYTES,
        "write_timeout": "10s",
        "connections": 6000,
        "connections_per_address": 250,
        "handshake_timeout": "20s",
    }
    made.write()
    gateway = start_gateway(made, expected=(r".*can't be (reached|accepted|started).*", r".*descriptor.*"))
    try:
        yield Scene(gateway, faulty, partition)
    finally:
        partition.close()
        faulty.close()
        gateway.stop()


def test_a_partition_in_the_middle_of_a_call(scene: Scene) -> None:
    scene.fine("cut")
    scene.partition.cut()
    try:
        answer = scene.ask("cut")
        assert (answer.status, answer.code) == (504, 50401)
        scene.demo()
    finally:
        scene.partition.heal()
    scene.fine("cut")


def test_a_machine_that_is_gone(scene: Scene) -> None:
    answer = scene.ask("gone")
    assert (answer.status, answer.code) == (503, 50301)
    scene.demo()


class Endless:
    """Sends a beginning, and then pieces without end, up to 1 GB, until the other side has had enough."""

    def __init__(self, head: bytes, wrap: Callable[[bytes], bytes] = bytes) -> None:
        self.head, self.piece = head, wrap(PIECE)
        self.sent = 0

    def __call__(self, connection: socket.socket, _: bytes) -> None:
        connection.sendall(self.head)
        for _ in range(1000):
            connection.sendall(self.piece)
            self.sent += len(self.piece)


JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Endless(JSON + b"Content-Length: 2000000000\r\n\r\n"), 503),
        (Endless(JSON + b"Connection: close\r\n\r\n"), 503),
        (
            Endless(JSON + b"Transfer-Encoding: chunked\r\n\r\n", lambda piece: b"%x\r\n%b\r\n" % (len(piece), piece)),
            503,
        ),
        (Endless(b"HTTP/1.1 200 OK\r\nX-Large: "), 503),
        (Endless(STREAM, lambda piece: b"%x\r\n%b\r\n" % (len(piece), piece)), 200),
    ],
    ids=["length", "until it closes", "chunked", "header", "event"],
)
def test_an_answer_without_end_is_cut_and_kept_nowhere(scene: Scene, fault: Endless, status: int) -> None:
    scene.fine("web")
    before = scene.memory()
    scene.faulty.fault = fault
    try:
        answer = scene.ask("web")
    finally:
        scene.faulty.fault = None
    assert answer.status == status
    assert (b'"code":50301' if b"X-Large" in fault.head else b'"code":50304') in answer.body.replace(b" ", b"")
    assert fault.sent < 100_000_000  # what it may hold, what the sockets hold, and no gigabyte
    assert scene.memory() - before < MEMORY
    scene.fine("web")


def test_a_line_of_a_gigabyte_is_an_error_and_kept_nowhere(scene: Scene) -> None:
    scene.fine("lines")
    before = scene.memory()
    answer = scene.ask("lines", "gigabyte")
    assert b'"result"' not in answer.body and (answer.status >= 500 or answer.code is not None)
    assert scene.memory() - before < MEMORY
    scene.fine("lines")


def test_a_client_that_reads_nothing_is_let_go(scene: Scene) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "text", "text": "x" * 12_000_000}]}})
    head = JSON + b"Content-Length: %d\r\n\r\n" % len(body)
    scene.faulty.fault = lambda connection, _: connection.sendall(head + body.encode())
    try:
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.settimeout(60)
        plain.connect(scene.gateway.address)
        context = scene.gateway.deployment.client.client_context()
        with context.wrap_socket(plain, server_hostname=scene.gateway.address[0]) as client:
            mine = client.getsockname()[1]
            client.sendall(request_bytes(scene.gateway.authority, call("echo"), path="/mcp/web"))
            client.recv(100)

            def gone() -> bool:
                held = psutil.Process(scene.gateway.process.pid).net_connections("tcp")
                return not any(each.raddr and each.raddr.port == mine for each in held)

            wait_until(gone, "the end of the connection")
            scene.demo()
        assert scene.ask("web").status == 200  # the twin reads, and gets all of it
    finally:
        scene.faulty.fault = None


def test_two_thousand_who_never_speak(scene: Scene) -> None:
    """Each network address may hold 250 connections; these come from ten. A good client is served all the while."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with contextlib.ExitStack() as held:
            for number in range(2000):
                source = (f"127.0.1.{1 + number // 200}", 0)
                silent = socket.create_connection(scene.gateway.address, timeout=60, source_address=source)
                held.callback(silent.close)
                if number % 100 == 0:
                    silent.send(b"\x16\x03\x01\x02")  # some begin a handshake
            scene.demo()
            wait_until(lambda: scene.sockets() < 100, "the end of their patience")  # and nobody closed them but it
            scene.demo()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    scene.fine()


def test_descriptors_run_out(scene: Scene) -> None:
    """What can't be accepted waits or is refused; what is open goes on; with descriptors again all is as before."""
    scene.fine()
    process = psutil.Process(scene.gateway.process.pid)
    before = process.rlimit(psutil.RLIMIT_NOFILE)
    with RawClient(scene.gateway) as kept:
        assert kept.post(call("time_now"), path="/mcp/demo").status == 200
        process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + 5, before[1]))
        try:
            with contextlib.ExitStack() as held:
                for _ in range(60):
                    crowd = socket.create_connection(scene.gateway.address, timeout=60, source_address=("127.0.2.1", 0))
                    held.callback(crowd.close)
                wait_until(
                    lambda: process.num_fds() >= process.rlimit(psutil.RLIMIT_NOFILE)[0] - 1, "the last descriptor"
                )
                for _ in range(5):
                    assert kept.post(call("time_now"), path="/mcp/demo").status == 200
        finally:
            process.rlimit(psutil.RLIMIT_NOFILE, before)

    def served() -> bool:
        with contextlib.suppress(OSError, ssl.SSLError):
            return scene.ask("web").status == 200
        return False

    wait_until(served, "a new connection")
    scene.fine("web")
