"""The service manager's protocols, spoken by a test in its place."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.processes import PATIENCE, spawn, wait_for_file, wait_until
from tests.fixtures.raw import RawClient, call

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is there on Linux only")
DEMO = {"demo": {"builtin": "demo"}}
EXPECTED = (r".*read again: in use now", r".*in use now, \d+ open connections cut")


def test_the_manager_hears_of_every_change(deployment: Any, gateway: Any, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(PATIENCE)
        channel.bind(str(tmp_path / "notify"))

        def heard(words: str) -> str:
            while True:
                message = channel.recv(4096).decode()
                if words in message:
                    return message

        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
        running = gateway(deployment(DEMO), environment=environment, expected=EXPECTED)
        assert running.url in heard("READY=1")
        heard("WATCHDOG=1")
        heard("WATCHDOG=1")
        os.kill(running.process.pid, signal.SIGHUP)
        assert "MONOTONIC_USEC=" in heard("RELOADING=1")
        heard("READY=1")
        running.send_signal(signal.SIGTERM)
        heard("STOPPING=1")


def test_it_serves_on_the_socket_that_it_was_started_with(deployment: Any, tmp_path: Path) -> None:
    made = deployment(DEMO, server={"admin": {"listen": "127.0.0.1:0"}})
    ready_file, stderr_file = tmp_path / "ready.json", tmp_path / "stderr"
    with socket.socket() as public, socket.socket() as admin, stderr_file.open("w") as stderr:
        for listening in (public, admin):
            listening.bind(("127.0.0.1", 0))
            listening.listen()
        start = (
            "import os, sys; a, b = int(sys.argv[1]), int(sys.argv[2]); c, d = os.dup(a), os.dup(b);"
            "os.dup2(c, 3); os.dup2(d, 4); os.set_inheritable(3, True); os.set_inheritable(4, True);"
            "os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '2', 'LISTEN_FDNAMES': 'public:admin'};"
            "os.execv(sys.executable, [sys.executable, '-m', 'mcpsec', 'serve', *sys.argv[3:]])"
        )
        command = [sys.executable, "-c", start, str(public.fileno()), str(admin.fileno())]
        command += ["-c", str(made.config), "--ready-file", str(ready_file)]
        process = spawn(
            command, pass_fds=(public.fileno(), admin.fileno()), stdin=subprocess.DEVNULL, stderr=stderr,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            ready = wait_for_file(ready_file, process, stderr_file)
            assert ready["url"] == f"https://127.0.0.1:{public.getsockname()[1]}/mcp"
            assert ready["admin_url"] == f"http://127.0.0.1:{admin.getsockname()[1]}"
            from tests.fixtures.gateway import Gateway

            running = Gateway(process, ready["url"], ready["admin_url"], made, stderr_file)
            with RawClient(running) as client:
                assert client.post(call("time_now")).status == 200
            with socket.create_connection(admin.getsockname()) as client:
                client.sendall(f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{admin.getsockname()[1]}\r\n\r\n".encode())
                assert client.recv(4096).startswith(b"HTTP/1.1 200")
        finally:
            process.terminate()
            process.wait(PATIENCE)
    assert process.returncode == 0, stderr_file.read_text()


def test_a_stop_drains_within_its_deadline(deployment: Any, gateway: Any) -> None:
    running = gateway(deployment(DEMO, server={"limits": {"drain_timeout": "1s"}}))
    with RawClient(running) as idle, RawClient(running) as other:
        assert idle.post(call("time_now")).status == 200
        other.send(b"POST /mcp HTTP/1.1\r\n")  # never ends
        running.send_signal(signal.SIGTERM)
        assert idle.is_closed()
        wait_until(lambda: running.process.poll() is not None, "the end")
