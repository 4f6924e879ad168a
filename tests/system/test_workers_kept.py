"""What is between a supervisor and its workers: it keeps them whatever is missing, and takes no signal for itself."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from mcpsec.gateway.workers import WorkerPlace
from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import PATIENCE, spawn, wait_until
from tests.fixtures.raw import RawClient, call
from tests.fixtures.stores import Store
from tests.system.test_workers import DEMO, SAID, workers

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a system with fork and exec")

APP = """
import asyncio, json, os, signal
from pathlib import Path

HEARD = Path(__file__).parent / f"heard-{os.getpid()}"


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, HEARD.write_text, "x")
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        return
    message = json.loads((await receive())["body"])
    result = {"resultType": "complete"}
    if message["method"] == "server/discover":
        result |= {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
    elif message["method"] == "tools/list":
        result |= {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}], "ttlMs": 0, "cacheScope": "private"}
    else:
        result |= {"content": [{"type": "text", "text": str(os.getpid())}], "isError": False}
    body = json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "result": result}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})
"""


def is_ready(running: Gateway) -> bool:
    return httpx2.get(f"{running.admin_url}/readyz", timeout=PATIENCE).status_code == 200


def with_two(deployment: Any, gateway: Any, store: Store, *said: str, **more: Any) -> Gateway:
    made = deployment(DEMO, state={"url": store.url, "timeout": "20s"}, server={"admin": {"listen": "127.0.0.1:0"}})
    running: Gateway = gateway(made, "--workers", "2", expected=(*SAID, *said), **more)
    wait_until(lambda: is_ready(running), "both workers ready")
    return running


@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="another process's limits can't be set here")
def test_a_worker_that_cant_be_started_now_is_started_later(deployment: Any, gateway: Any, store: Store) -> None:
    """No descriptor, no memory, a program that is just being replaced: none of that lasts."""
    running = with_two(deployment, gateway, store)
    supervisor = psutil.Process(running.process.pid)
    limit = supervisor.rlimit(psutil.RLIMIT_NOFILE)
    supervisor.rlimit(psutil.RLIMIT_NOFILE, (supervisor.num_fds() - 1, limit[1]))
    victim = workers(running)[0]
    victim.send_signal(signal.SIGKILL)
    wait_until(lambda: "can't be started" in running.stderr(), "a word on why")
    supervisor.rlimit(psutil.RLIMIT_NOFILE, limit)
    wait_until(lambda: len(workers(running)) == 2 and is_ready(running), "both workers again")
    assert "it is tried again" in running.stderr()


def test_a_worker_is_started_again_when_the_temporary_files_were_tidied_away(
    deployment: Any, gateway: Any, store: Store, tmp_path: Path
) -> None:
    """systemd-tmpfiles takes what nobody has touched for ten days."""
    own = tmp_path / "temporary"
    own.mkdir()
    running = with_two(deployment, gateway, store, environment={"TMPDIR": str(own)})
    for left in own.iterdir():
        shutil.rmtree(left)
    workers(running)[0].send_signal(signal.SIGKILL)
    wait_until(lambda: "ended with -9" in running.stderr(), "its end")
    wait_until(lambda: len(workers(running)) == 2 and is_ready(running), "both workers again")
    running.stop()
    assert list(own.iterdir()) == []


def test_an_applications_own_signal_is_its_own(deployment: Any, gateway: Any, store: Store, tmp_path: Path) -> None:
    place = tmp_path / "application"
    place.mkdir()
    (place / "signalled.py").write_text(APP)
    made = deployment(
        {"web": {"app": "signalled:app", "app_dir": str(place)}}, state={"url": store.url, "timeout": "20s"}
    )
    running = gateway(made, "--workers", "2", expected=SAID)
    found = workers(running)
    for each in found:
        each.send_signal(signal.SIGUSR2)
        wait_until((place / f"heard-{each.pid}").exists, "the application's own handler")
    with RawClient(running) as client:
        assert client.post(call("echo")).status == 200
    assert workers(running) == found


@pytest.mark.anyio
@pytest.mark.parametrize("word", [b"", b"!"])
@pytest.mark.parametrize("before", [True, False])
async def test_the_supervisors_word_is_heard_once_by_every_worker(word: bytes, *, before: bool) -> None:
    """Also by one that begins to listen only then; and none goes on to be told, over and over, until it has drained."""
    kept, lifeline = socket.socketpair()
    heard: list[str] = []

    def say() -> None:
        kept.send(word) if word else kept.close()

    with kept, lifeline:
        if before:
            say()
        for number in range(3):
            place = WorkerPlace(number, 0, os.dup(lifeline.fileno()), "")
            place.watch_supervisor(gone=lambda: heard.append("gone"), hurried=lambda: heard.append("hurried"))
        if not before:
            say()
        async with asyncio.timeout(PATIENCE):
            while len(heard) < 3:
                await asyncio.sleep(0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert heard == ["hurried" if word else "gone"] * 3


SLOW = """
import pathlib, time

here = pathlib.Path(__file__).parent
(here / "begun").touch()
while True:
    time.sleep(0.02)
"""


def test_who_is_stopped_before_all_workers_serve_says_no_ready(deployment: Any, store: Store, tmp_path: Path) -> None:
    (tmp_path / "slow_import.py").write_text(SLOW)
    made = deployment(
        {"web": {"app": "slow_import:app", "app_dir": str(tmp_path)}}, state={"url": store.url, "timeout": "20s"}
    )
    ready, told = tmp_path / "ready.json", tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(told))
        manager.settimeout(PATIENCE)
        process = spawn(
            [sys.executable, "-m", "mcpsec", "serve", "-c", str(made.config), "--listen", "127.0.0.1:0",
             "--workers", "2", "--ready-file", str(ready)],
            stderr=subprocess.PIPE, env={**os.environ, "NOTIFY_SOCKET": str(told)},
        )  # fmt: skip
        wait_until((tmp_path / "begun").exists, "a worker that begins")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0 and not ready.exists() and "ready" not in said
        assert b"READY" not in manager.recv(4096), "the first word to the service manager"
