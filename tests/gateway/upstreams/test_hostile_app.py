"""Applications inside the gateway that would keep it: hung threads, tasks that take a cancellation for nothing, lies."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mcpsec.gateway.upstreams import asgi
from mcpsec.gateway.upstreams.asgi import AppPool
from mcpsec.gateway.upstreams.containment import contain
from mcpsec.gateway.upstreams.http import HttpUpstream
from mcpsec.gateway.upstreams.http_client import NoRoomFault, UpstreamFault, UpstreamTimeout
from mcpsec.gateway.upstreams.protected import ProtectedUpstream
from mcpsec.gateway.upstreams.python_app import AppServer
from tests.fixtures.deployments import EVERYTHING, OTHER
from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import PATIENCE, wait_until
from tests.fixtures.raw import RawClient, Response, call, request_bytes

APPLICATION = r'''
import asyncio, json, threading
from pathlib import Path

class Application:
    """Answers "fine", but for the tools that it is named after."""

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            return await self.live(receive, send)
        message = json.loads((await receive())["body"])
        method, name = message["method"], message.get("params", {}).get("name", "")
        result = {"resultType": "complete"}
        if method == "server/discover":
            result |= {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
        elif method == "tools/list":
            tools = [each for each in dir(self) if each.startswith("do_")] + ["echo"]
            result |= {"tools": [{"name": each.removeprefix("do_"), "inputSchema": {"type": "object"}} for each in tools],
                       "ttlMs": 0, "cacheScope": "private"}
        else:
            result |= {"content": [{"type": "text", "text": "fine"}], "isError": False}
        body = json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "result": result}).encode()
        await getattr(self, "do_" + name, self.plain)(send, body)

    async def live(self, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()

    async def plain(self, send, body):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})

    async def do_thread(self, send, body):
        await asyncio.to_thread(threading.Event().wait)

    async def do_deaf(self, send, body):
        await self.for_ever()

    @staticmethod
    async def for_ever():
        while True:
            try:
                await asyncio.Event().wait()
            except BaseException:
                pass

    async def do_again(self, send, body):
        """Catches that its first head was refused, and says another."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"mcp-session-id", b"a\r\nb: c")]})
        except Exception:
            pass
        await self.plain(send, body)

    async def do_number(self, send, body):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": len(body)})

    async def do_text(self, send, body):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body.decode()})

    async def do_list(self, send, body):
        await send(["http.response.start"])

    async def do_no_headers(self, send, body):
        await send({"type": "http.response.start", "status": 200, "headers": None})


class DeafLife(Application):
    async def live(self, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await self.for_ever()

class NoStart(Application):
    async def live(self, receive, send):
        await self.for_ever()

application, deaf_life, no_start = Application(), DeafLife(), NoStart()
'''


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "application"
    made.mkdir()
    (made / "hostile_app.py").write_text(APPLICATION)
    return made


@pytest.fixture
def serve(place: Path, deployment: Any, gateway: Any) -> Callable[..., Gateway]:
    """A gateway with one of the applications, and with tools of its own beside it."""

    def start(name: str, **options: Any) -> Gateway:
        own = {"app": f"hostile_app:{name}", "app_dir": str(place), "timeout": "1s", "breaker": {"enabled": False}}
        made = deployment({"own": own, "demo": {"builtin": "demo"}})
        made.document["server"]["limits"] = {"header_timeout": "1s", "drain_timeout": "1s"}
        made.document["log"]["checkpoint_age"] = "1s"
        made.document["clients"].append({"id": "other", "certificate": {"san": OTHER}, **EVERYTHING})
        made.write()
        running: Gateway = gateway(made, **options)
        return running

    return start


def ask(running: Gateway, tool: str, upstream: str = "own", identity: Any = None) -> Response:
    with RawClient(running, identity) as client:
        return client.post(call(tool), path=f"/mcp/{upstream}")


def kinds(running: Gateway, kind: str) -> list[dict[str, Any]]:
    return [each for each in running.deployment.events() if each["kind"] == kind]


def test_threads_that_hang_are_the_applications_own(serve: Callable[..., Gateway]) -> None:
    """As many as it may have: the gateway still signs its log, cuts who is slow, and ends when it is told."""
    running = serve("application")
    body, clients = call("thread"), []
    for _ in range(40):  # each speaks before the next one comes: who is slow is cut here
        clients.append(RawClient(running))
        clients[-1].send(request_bytes(clients[-1].host, body, path="/mcp/own"))
    for client in clients:
        assert client.read().code == 50401
        client.close()
    signed = len(kinds(running, "log-checkpoint"))
    with RawClient(running) as slow:
        slow.send(b"POST /mcp HTTP/1.1\r\n")
        assert slow.read().status == 408
    assert ask(running, "time_now", "demo").status == 200
    wait_until(lambda: len(kinds(running, "log-checkpoint")) > signed, "a checkpoint")
    running.stop()


def test_a_call_that_cannot_be_cancelled_does_not_keep_the_gateway(serve: Callable[..., Gateway]) -> None:
    running = serve("application")
    assert ask(running, "deaf").code == 50401
    assert ask(running, "echo").status == 200
    running.stop()
    assert kinds(running, "server-stop")


def test_a_lifespan_that_does_not_end_does_not_keep_the_gateway(serve: Callable[..., Gateway]) -> None:
    running = serve("deaf_life")
    assert ask(running, "echo").status == 200
    running.stop()


def test_one_that_does_not_start_is_said_and_the_others_are_served(serve: Callable[..., Gateway]) -> None:
    running = serve("no_start", expected=(r".*its lifespan did not start in time.*", r".*an app is MODULE:NAME.*"))
    assert ask(running, "echo").status == 503
    assert ask(running, "time_now", "demo").status == 200
    running.stop()


@pytest.mark.parametrize("tool", ["again", "number", "text", "list", "no_headers"])
def test_what_is_no_answer_stays_none(serve: Callable[..., Gateway], tool: str) -> None:
    running = serve("application")
    refused = ask(running, tool)
    assert (refused.status, refused.code) == (503, 50301)
    assert ask(running, "echo").status == 200
    told = wait_until(
        lambda: [each for each in running.deployment.events() if each.get("rule") == "upstream-unavailable"],
        "its event",
    )
    assert len(told) == 1


@pytest.mark.anyio
async def test_calls_that_cannot_be_cancelled_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """With so many of them the application gets no more, until some have ended."""
    monkeypatch.setattr(asgi, "_GRACE_SECONDS", 0.0)
    monkeypatch.setattr(asgi, "_MOST_DEAF", 3)
    over, running, cancelled = asyncio.Event(), 0, 0

    async def application(scope: Any, receive: Any, send: Any) -> None:
        nonlocal running, cancelled
        running += 1
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                cancelled += 1
        running -= 1

    async def given() -> Any:
        return application

    pool = AppPool(given, response_bytes=1000)
    head = b"POST /mcp HTTP/1.1\r\nhost: localhost\r\n\r\n{}"
    for wanted in (1, 2, 3):
        with pytest.raises(UpstreamTimeout):
            await pool.send(head, timeout=0.01, repeatable=False)
        while cancelled < wanted:  # the application counts
            await asyncio.sleep(0)
    with pytest.raises(UpstreamFault, match="though they were cancelled"):
        await pool.send(head, timeout=0.01, repeatable=False)
    assert running == 3
    over.set()
    while running:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(UpstreamFault, match="without a whole answer"):
        await pool.send(head, timeout=60, repeatable=False)


DEAF = b"POST /mcp HTTP/1.1\r\nhost: localhost\r\n\r\n{}"
ENDS = DEAF.replace(b"\r\n\r\n", b"\r\nx-end: now\r\n\r\n")


@pytest.fixture
async def pool() -> AsyncIterator[AppPool]:
    """To an application that takes every cancellation for nothing until the test is over; it ends at ``x-end``."""
    over = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        while (b"x-end", b"now") not in scope["headers"] and not over.is_set():
            with suppress(asyncio.CancelledError):
                await over.wait()

    async def given() -> Any:
        return application

    made = AppPool(given, response_bytes=1000)
    yield made
    over.set()
    while made._running:
        await asyncio.sleep(0)


async def leave(pool: AppPool, client: str, times: int) -> None:
    """So many calls of a client that go away before they have an answer, and, without a grace, are cancelled."""
    for _ in range(times):
        before = pool._left.of(client)
        with pytest.raises(UpstreamTimeout):
            await pool.of_client(client).send(DEAF, timeout=0.001, repeatable=False)
        while asgi._GRACE_SECONDS == 0.0 and pool._deaf.of(client) <= before:
            await asyncio.sleep(0)


async def is_served(pool: AppPool, client: str) -> bool:
    with pytest.raises(UpstreamFault) as met:
        await pool.of_client(client).send(ENDS, timeout=60, repeatable=False)
    if isinstance(met.value, NoRoomFault):
        return False
    assert met.value.reason == "the application ended without a whole answer"
    return True


@pytest.mark.anyio
async def test_one_clients_calls_that_go_on_are_its_own(pool: AppPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "_GRACE_SECONDS", 0.0)
    await leave(pool, "eve", 9)
    assert await is_served(pool, "eve")
    await leave(pool, "eve", 1)
    assert not await is_served(pool, "eve")
    assert await is_served(pool, "bob")


@pytest.mark.anyio
async def test_whoever_has_none_that_go_on_is_served_also_when_there_are_many(
    pool: AppPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi, "_GRACE_SECONDS", 0.0)
    monkeypatch.setattr(asgi, "_MOST_DEAF", 6)
    for client in ("eve", "mallory"):
        await leave(pool, client, 3)
    assert not await is_served(pool, "eve")
    assert await is_served(pool, "bob")
    await leave(pool, "bob", 1)
    assert not await is_served(pool, "bob")


@pytest.mark.anyio
async def test_calls_in_their_grace_are_bounded_for_each_client(pool: AppPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else one could begin any number of them before the first is found to be deaf."""
    monkeypatch.setattr(asgi, "_MOST_LEFT", 3)
    await leave(pool, "eve", 3)
    assert not await is_served(pool, "eve")
    assert await is_served(pool, "bob")


@pytest.mark.anyio
async def test_calls_that_have_ended_leave_nothing_behind(pool: AppPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "_GRACE_SECONDS", 0.0)
    for number in range(200):
        assert await is_served(pool, f"client {number % 20}")
    while pool._running:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (pool._left._of, pool._deaf._of, pool._left.total, pool._deaf.total) == ({}, {}, 0, 0)


def test_what_there_is_no_room_for_speaks_against_nobody() -> None:
    """Neither the client's breaker nor the common one may count what the gateway itself refused."""
    upstream = HttpUpstream.__new__(HttpUpstream)
    exchange: Any = None
    assert ProtectedUpstream.verdict(upstream.failed(exchange, NoRoomFault("full", sent=False))) is None
    assert ProtectedUpstream.verdict(upstream.failed(exchange, UpstreamFault("gone"))) is True


def test_a_client_whose_calls_go_on_keeps_nobody_else_out(serve: Callable[..., Gateway]) -> None:
    running = serve("application")
    clients = [RawClient(running) for _ in range(10)]
    for client in clients:
        client.send(request_bytes(client.host, call("deaf"), path="/mcp/own"))
    for client in clients:
        assert client.read().code == 50401
        client.close()
    wait_until(lambda: ask(running, "echo").status == 503, "its calls to be found deaf")
    assert ask(running, "echo", identity=running.deployment.other).status == 200
    told = [each for each in running.deployment.events() if each.get("rule") == "too-many-calls-left"]
    assert {each["client"] for each in told} <= {"tester"}
    running.stop()


MEETING = "import threading\nbarrier = threading.Barrier(2, timeout=1)\n"
CIRCULAR = """
import contextlib, importlib, threading
import meeting_of_imports

async def application(scope, receive, send):
    raise NotImplementedError

with contextlib.suppress(threading.BrokenBarrierError):
    meeting_of_imports.barrier.wait()  # until the other one is being imported, too, if it is
importlib.import_module("{other}")
"""


@pytest.mark.anyio
async def test_applications_whose_modules_import_each_other_start_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those do that use one framework. Two threads that import such modules are a deadlock, which Python notices."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "meeting_of_imports.py").write_text(MEETING)
    names = ["circular_one", "circular_other"]
    for name, other in (names, names[::-1]):
        (tmp_path / f"{name}.py").write_text(CIRCULAR.format(other=other))
    servers = [AppServer(name, f"{name}:application", tmp_path) for name in names]
    try:
        await asyncio.gather(*(server.start() for server in servers))
        for server in servers:
            assert callable(await server.get())
    finally:
        await asyncio.gather(*(server.close() for server in servers))


HANGING = """
import pathlib, time
here = pathlib.Path(__file__).parent
with (here / "begun").open("a") as begun:
    begun.write("x")
while not (here / "go").exists():
    time.sleep(0.01)

async def application(scope, receive, send):
    raise NotImplementedError
"""


@pytest.mark.anyio
async def test_an_import_that_hangs_is_begun_once_and_keeps_no_other_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try took another of the applications' few threads; its turn it gives up, and its end is not missed."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr("mcpsec.gateway.upstreams.python_app._IMPORT_SECONDS", 0.2)
    monkeypatch.setattr("mcpsec.gateway.upstreams.python_app._REST_SECONDS", 0.0)
    (tmp_path / "hanging_import.py").write_text(HANGING)
    (tmp_path / "other_import.py").write_text("async def application(scope, receive, send):\n    raise OSError\n")
    hanging = AppServer("hanging", "hanging_import:application", tmp_path)
    contain(asyncio.get_running_loop())
    try:
        loading = None
        for _ in range(4):
            with pytest.raises(UpstreamFault, match="was not over"):
                await hanging.get()
            loading = loading or hanging._loading
            assert hanging._loading is loading, "another thread waits for the same import"
        other = AppServer("other", "other_import:application", tmp_path)
        monkeypatch.setattr("mcpsec.gateway.upstreams.python_app._IMPORT_SECONDS", PATIENCE)
        assert callable(await other.get())
        await other.close()
    finally:
        (tmp_path / "go").touch()
    assert callable(await hanging.get())
    assert (tmp_path / "begun").read_text() == "x"
    await hanging.close()
