"""A program that answers nothing any more does not keep its client out for good: it is ended and replaced."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, call

SERVER = r"""
import json, os, signal, sys, time

def say(id, **more):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": id, **more}) + "\n")
    sys.stdout.flush()

modern = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
for line in sys.stdin:
    message = json.loads(line)
    method, id, params = message.get("method"), message.get("id"), message.get("params", {})
    if method == "initialize":
        info = {"name": "s", "version": "1"}
        say(id, result={"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info})
    elif method == "server/discover":
        info = {"name": "s", "version": "1"}
        say(id, result={"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "serverInfo": info, **modern})
    elif method == "tools/list":
        say(id, result={"tools": [{"name": n, "inputSchema": {"type": "object"}} for n in ("do", "long")], **modern})
    elif method == "tools/call":
        what = params["arguments"].get("what", "pid")
        if what == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif what == "close":
            os.close(1)
            time.sleep(3600)
        elif what == "late":
            time.sleep(1.5)
        elif what == "long":
            time.sleep(4)
        say(id, result={"content": [{"type": "text", "text": str(os.getpid())}], "resultType": "complete"})
    elif id is not None:
        say(id, error={"code": -32601, "message": "no"})
"""


@pytest.fixture
def running(deployment: Any, gateway: Any, tmp_path: Path) -> Gateway:
    """A program whose calls may take a second, one of its tools longer; no breaker, which would hide it."""
    program = tmp_path / "server.py"
    program.write_text(SERVER)
    command = [sys.executable, "-I", "-S", str(program)]
    bounds = {"timeout": "1s", "timeouts": {"long": "30s"}, "breaker": {"enabled": False}}
    started: Gateway = gateway(deployment({"s": {"command": command, **bounds}}))
    return started


def pid_of(answer: Any) -> str:
    return str(answer.json["result"]["content"][0]["text"]) if answer.status == 200 else ""


@pytest.mark.parametrize("how", ["stop", "close"])
def test_a_program_that_hangs_is_replaced(running: Gateway, how: str) -> None:
    with RawClient(running) as client:
        first = pid_of(client.post(call("do")))
        assert client.post(call("do", {"what": how})).status == 504
        second = wait_until(lambda: pid_of(client.post(call("do"))), "the next program")
        assert second not in {"", first}


def test_so_it_is_in_a_session(running: Gateway) -> None:
    def ask(method: str, params: dict[str, Any], more: dict[str, str | None]) -> Any:
        return client.post(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode(), more)

    info = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    with RawClient(running) as client:
        session: dict[str, str | None] = {"Mcp-Session-Id": ask("initialize", info, {}).headers["mcp-session-id"]}
        assert ask("tools/call", {"name": "do", "arguments": {"what": "stop"}}, session).status == 504
        do = {"name": "do", "arguments": {}}
        wait_until(lambda: pid_of(ask("tools/call", do, session)), "the next program")


def test_one_that_is_only_late_stays(running: Gateway) -> None:
    with RawClient(running) as client:
        first = pid_of(client.post(call("do")))
        assert client.post(call("do", {"what": "late"})).status == 504
        assert wait_until(lambda: pid_of(client.post(call("do"))), "the program to be done") == first


def test_one_that_is_busy_with_a_longer_call_may_finish_it(running: Gateway) -> None:
    answers = []

    def work() -> None:
        with RawClient(running) as other:
            answers.append(other.post(call("long", {"what": "long"})))

    with RawClient(running) as client:
        first = pid_of(client.post(call("do")))
        working = threading.Thread(target=work)
        working.start()
        wait_until(lambda: client.post(call("do")).status == 504, "a call that waits behind it")
        working.join()
        assert [pid_of(each) for each in answers] == [first]
