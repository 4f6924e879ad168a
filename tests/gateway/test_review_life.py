"""What goes wrong around a gateway's work (accepting, keeping order, stopping, another event loop) does not end it."""

from __future__ import annotations

import asyncio
import errno
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from mcpsec.deployment import Deployment, load
from mcpsec.deployment.model import Address, Limits
from mcpsec.errors import ConfigurationError
from mcpsec.gateway.listener import Listener, bind
from mcpsec.gateway.message import Answer
from mcpsec.gateway.registry import ConnectionRegistry
from mcpsec.gateway.server import Gateway
from tests.fixtures.processes import PATIENCE, press_until_it_ends, wait_until
from tests.fixtures.raw import RawClient, call, request_bytes
from tests.gateway.upstreams.test_http import FaultyServer, send

DEMO = {"demo": {"builtin": "demo"}}


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPERM, errno.ENETDOWN, errno.EMFILE])
def test_a_connection_that_cannot_be_accepted_stops_nobody_else(number: int) -> None:
    async def handler(request: Any, peer: Any) -> Answer:
        return Answer(200, [], b"fine")

    async def scenario() -> bytes:
        loop = asyncio.get_running_loop()
        listener = Listener(
            bind(Address("127.0.0.1", 0)),
            ConnectionRegistry(handler, Limits()),
            context=lambda: None,
            identify=lambda peer: peer,
            refused=lambda address, reason: None,
        )
        accept, faults = loop.sock_accept, [OSError(number, "as accept(2) has it")]

        async def sometimes(listening: socket.socket) -> Any:
            if faults:
                raise faults.pop()
            return await accept(listening)

        loop.sock_accept = sometimes  # type: ignore[method-assign]
        serving = loop.create_task(listener.serve())
        reader, writer = await asyncio.open_connection(*listener.address)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await writer.wait_closed()
        await listener.close()
        assert serving.cancelled()
        return answer

    assert asyncio.run(scenario()).endswith(b"fine")


def test_housekeeping_goes_on_after_an_unforeseen_error(deployment: Any) -> None:
    made = deployment(DEMO)
    made.document["server"]["limits"] = {"handshake_timeout": "1s"}
    said: list[str] = []

    def broken() -> bool:
        raise RuntimeError("with a secret inside")

    async def scenario() -> None:
        gateway = Gateway(load(made.write()), say=said.append)
        gateway._trust.changed = broken  # type: ignore[method-assign]
        await gateway.start()
        try:
            tasks = [task for task in asyncio.all_tasks() if "_regularly" in str(task.get_coro())]
            await asyncio.sleep(1.5)
            assert len(tasks) >= 5, "deadlines and log, TLS files, alerts, own certificate, idle sessions and more"
            assert not any(task.done() for task in tasks)
        finally:
            await gateway.close()

    asyncio.run(scenario())
    assert len(said) == 1  # once, not a few times a second
    assert "RuntimeError" in said[0] and "housekeeping" in said[0] and "secret" not in said[0]


def test_a_gateway_that_drains_refuses_newcomers_at_once(deployment: Any, gateway: Any) -> None:
    server = FaultyServer()

    def late(connection: socket.socket, body: bytes) -> None:
        time.sleep(3)
        result = {"resultType": "complete", "content": []}
        send(connection, json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode())

    server.fault = late
    running = gateway(deployment({"web": {"url": server.url}}))
    with RawClient(running) as client:
        client.send(request_bytes(client.host, call("echo")))
        time.sleep(1)
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(running.address, timeout=5)
        assert client.read().status == 200
    server.close()


class WaitingServer(FaultyServer):
    """Answers a call when it is told to."""

    def __init__(self) -> None:
        self.asked, self.released = threading.Event(), threading.Event()
        super().__init__()
        self.fault = self._late

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.close()

    def _late(self, connection: socket.socket, _body: bytes) -> None:
        self.asked.set()
        self.released.wait(PATIENCE)
        result = {"resultType": "complete", "content": []}
        send(connection, json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode())


@pytest.fixture
def waiting() -> Iterator[WaitingServer]:
    with WaitingServer() as server:
        yield server


def is_closed(running: Any) -> bool:
    """Whether nobody listens there any more."""
    try:
        socket.create_connection(running.address, timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("again", [True, False])
def test_who_presses_ctrl_c_again_waits_for_no_request(
    deployment: Any, gateway: Any, waiting: WaitingServer, first: int, again: bool
) -> None:
    limits = {"drain_timeout": "5m"}
    running = gateway(deployment({"web": {"url": waiting.url, "timeout": "5m"}}, server={"limits": limits}))
    with RawClient(running) as client:
        client.send(request_bytes(client.host, call("echo")))
        wait_until(waiting.asked.is_set, "the call")
        running.process.send_signal(first)
        wait_until(lambda: is_closed(running), "its end to begin")
        if again:
            assert press_until_it_ends(running.process) == 0
        else:
            waiting.released.set()
        assert client.read().status == (0 if again else 200)


def test_a_hang_up_while_it_begins_is_minded_when_it_serves(
    deployment: Any, gateway: Any, waiting: WaitingServer, tmp_path: Path
) -> None:
    """Whoever asks for a reload may be quicker than the start: nothing ends, and nothing that changed is missed."""
    code = (
        "import os, pathlib, signal, sys; once = pathlib.Path(sys.argv[1]); print('word');"
        "once.exists() or (once.touch(), os.kill(os.getppid(), signal.SIGHUP))"
    )
    headers = {"authorization": {"command": [sys.executable, "-c", code, str(tmp_path / "once")]}}
    made = deployment({"demo": {"builtin": "demo"}, "web": {"url": waiting.url, "headers": headers}})
    running = gateway(made, expected=(r".*the deployment was read again: in use now", r".*in use now, 0 open .* cut"))
    wait_until(lambda: "was read again" in running.stderr(), "the reload")
    with RawClient(running) as client:
        assert client.post(call("echo", {"text": "x"}), path="/mcp/demo").status == 200


def test_hang_ups_leave_nothing_behind(deployment: Any) -> None:
    path, said = deployment(DEMO).write(), list[str]()
    outcomes = [RuntimeError("with a secret inside"), ConfigurationError("broken"), None] * 3

    def read() -> Deployment:
        outcome = outcomes.pop()
        if outcome is not None:
            raise outcome
        return load(path)

    async def scenario() -> None:
        gateway = Gateway(load(path), say=said.append, read=read)
        await gateway.start()
        try:
            before = len(gateway._tasks)
            for left in reversed(range(len(outcomes))):
                gateway.hang_up()
                async with asyncio.timeout(PATIENCE):
                    while len(outcomes) > left or len(gateway._tasks) > before:
                        await asyncio.sleep(0.01)
        finally:
            await gateway.close()

    asyncio.run(scenario())
    assert sum("RuntimeError" in each for each in said) == 3
    assert not any("secret" in each for each in said)


def test_without_uvloop_two_hundred_clients_are_served(deployment: Any, gateway: Any, tmp_path: Path) -> None:
    (tmp_path / "uvloop.py").write_text("raise ImportError('not here')\n")
    patient = {"header_timeout": "5m", "handshake_timeout": "5m", "idle_timeout": "5m"}  # the machine may be busy
    made = deployment(DEMO, server={"limits": patient})
    running = gateway(made, environment={"PYTHONPATH": str(tmp_path)})
    clients = [RawClient(running) for _ in range(200)]
    with pytest.raises((AssertionError, OSError)):  # the bound of one address
        assert RawClient(running).post(call("echo", {"text": "one too many"})).status
    for number, client in enumerate(clients):
        client.send(request_bytes(client.host, call("echo", {"text": str(number)})))
    texts = [client.read().json["result"]["content"][0]["text"] for client in clients]
    for client in clients:
        client.close()
    assert texts == [str(number) for number in range(200)]
