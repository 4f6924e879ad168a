"""Children that misbehave: the caller gets one clear answer, other callers and the next call notice nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.fixtures.deployments import EVERYTHING, OTHER
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, Response, call, request_bytes

CHILD = Path(__file__).with_name("hostile_child.py")
SECOND = {"id": "other", "certificate": {"san": OTHER}, **EVERYTHING}
INITIALIZE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-I", "-S", str(CHILD), *arguments]


def legacy(method: str, params: dict[str, Any] | None = None, *, id: int = 1) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}).encode()


def text_of(response: Response) -> str:
    assert response.status == 200, response
    return str(response.json["result"]["content"][0]["text"])


def make(deployment: Any, *arguments: str, timeout: str = "5s", **limits: Any) -> Any:
    made = deployment({"child": {"command": command(*arguments), "timeout": timeout}})
    made.document["clients"].append(SECOND)
    made.document["server"]["limits"] = {"response_bytes": 200_000, **limits}
    made.write()
    return made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from tests.fixtures.deployments import make_deployment

    directory = tmp_path_factory.mktemp("hostile")
    running = start_gateway(make(lambda upstreams: make_deployment(directory, upstreams), timeout="2s"))
    yield running
    running.stop()


def ask(running: Gateway, tool: str, identity: Any = None) -> Response:
    with RawClient(running, identity) as client:
        return client.post(call(tool))


def open_session(client: RawClient) -> Response:
    opened = client.post(legacy("initialize", INITIALIZE))
    if opened.status == 200:
        initialized = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
        assert client.post(initialized, {"Mcp-Session-Id": opened.headers["mcp-session-id"]}).status == 202
    return opened


def ask_legacy(client: RawClient, session: str, tool: str) -> Response:
    return client.post(legacy("tools/call", {"name": tool, "arguments": {}}), {"Mcp-Session-Id": session})


NOISE = {
    "flood_stderr": "flooded",
    "not_json": "after noise",
    "twice": "first",
    "strangers": "own",
    "bad_tokens": "progressed",
    "bad_members": "still there",
}


@pytest.mark.parametrize("tool", NOISE)
def test_noise_costs_nobody_an_answer(shared: Gateway, tool: str) -> None:
    before = text_of(ask(shared, "pid"))
    response = ask(shared, tool)
    assert b"poison" not in response.body
    assert b"second" not in response.body
    if response.headers["content-type"] == "text/event-stream":
        last = json.loads(response.body.decode().rsplit("data: ", 1)[1])
        assert last["result"]["content"][0]["text"] == NOISE[tool]
    else:
        assert text_of(response) == NOISE[tool]
    assert text_of(ask(shared, "pid")) == before, "the child was lost on the way"


@pytest.mark.parametrize("tool", NOISE)
def test_noise_in_a_session(shared: Gateway, tool: str) -> None:
    with RawClient(shared) as client:
        session = open_session(client).headers["mcp-session-id"]
        response = ask_legacy(client, session, tool)
        assert b"poison" not in response.body
        if response.headers["content-type"] == "text/event-stream":
            assert f'"text":"{NOISE[tool]}"'.encode() in response.body.replace(b'": "', b'":"')
        else:
            assert text_of(response) == NOISE[tool]
        assert text_of(ask_legacy(client, session, "pid")).isdecimal()
        client.send(
            b"DELETE /mcp HTTP/1.1\r\nHost: %b\r\nMcp-Session-Id: %b\r\n\r\n" % (client.host.encode(), session.encode())
        )
        assert client.read().status == 200


UNUSABLE = {
    "huge_line": {503},
    "endless_line": {503},
    "mute": {504},
    "die": {503},
    "deep": {503},
    "odd_error": {200, 503},
    "odd_result": {200, 503},
    "neither": {200, 503},
}


@pytest.mark.parametrize("tool", UNUSABLE)
def test_an_unusable_answer_is_an_error_and_the_next_call_works(shared: Gateway, tool: str) -> None:
    response = ask(shared, tool)
    assert response.status in UNUSABLE[tool], response
    assert "content" not in (response.json.get("result") or {})
    assert text_of(ask(shared, "pid")).isdecimal()
    assert "internal error" not in shared.stderr()


def test_a_question_under_a_large_number_is_refused_and_takes_no_answer_along(shared: Gateway) -> None:
    """The answer is in the same piece of the child's output, behind the question."""
    with RawClient(shared) as client:
        own = text_of(client.post(call("pid")))
        for repeated in range(3):
            assert text_of(client.post(call("asks_large"))) == "asked", repeated
        assert json.loads(text_of(client.post(call("refused")))) == [2**70] * 3
        assert text_of(client.post(call("pid"))) == own


def test_one_clients_trouble_is_not_anothers(shared: Gateway) -> None:
    """While one client's child sleeps or dies, another's answers, and they are never the same process."""
    other = shared.deployment.other
    pids = {text_of(ask(shared, "pid")), text_of(ask(shared, "pid", other))}
    assert len(pids) == 2
    with RawClient(shared) as client:
        sessions = [open_session(client).headers["mcp-session-id"] for _ in range(2)]
        pids |= {text_of(ask_legacy(client, session, "pid")) for session in sessions}
    with RawClient(shared, other) as client:
        theirs = open_session(client).headers["mcp-session-id"]
        pids.add(text_of(ask_legacy(client, theirs, "pid")))
    assert len(pids) == 5
    before = text_of(ask(shared, "pid", other))
    with RawClient(shared) as mine:
        mine.send(request_bytes(mine.host, call("slow")))
        assert text_of(ask(shared, "pid", other)) == before
        assert text_of(mine.read()) == "slow"
    ask(shared, "die")
    assert text_of(ask(shared, "pid", other)) == before
    assert {process.pid for process in shared.children()} >= {int(before)}


def test_a_server_that_fails_at_its_second_start(deployment: Any, gateway: Any, tmp_path: Path) -> None:
    """Callers hear 503 at once while it is given a pause, few processes are tried, and it comes back by itself."""
    broken = tmp_path / "broken"
    running = gateway(make(deployment, "--fail-while", str(broken)))
    assert text_of(ask(running, "pid")).isdecimal()
    broken.touch()
    assert ask(running, "die").status == 503
    began = time.monotonic()
    answers = [ask(running, "pid") for _ in range(12)]
    assert {(answer.status, answer.code) for answer in answers} == {(503, 50301)}
    assert b"licence" not in b"".join(answer.body for answer in answers)
    assert time.monotonic() - began < 20
    broken.unlink()
    wait_until(lambda: ask(running, "pid").status == 200, "the server to be back")


def test_the_pid_of_a_child_is_known_before_its_end(tmp_path: Path) -> None:
    """A program that ends while the loop is busy is only ever itself killed, never the gateway's own process group."""
    script = """
import asyncio, time
from mcpsec.gateway.upstreams.child import Child

async def busy():
    while True:
        time.sleep(0.02)
        await asyncio.sleep(0)

async def main():
    ended = []
    hog = asyncio.create_task(busy())
    for _ in range(5):
        child = await Child.start(["/bin/true"], environment={}, cwd=None, line_bytes=100,
                                  received=lambda line: None, ended=lambda *_: ended.append(1))
        await child.gone
        await child.stop()
    hog.cancel()
    print("survived", len(ended))

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, start_new_session=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "survived 5\n", "")


def test_a_child_that_ends_at_once_is_not_counted_for_ever(deployment: Any, gateway: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    running = gateway(make(deployment, "--fail-while", str(broken), sessions=2))
    broken.touch()
    for _ in range(6):
        assert ask(running, "pid").status == 503
    broken.unlink()
    wait_until(lambda: ask(running, "pid").status == 200, "the server to be back")


def test_sessions_are_limited_per_client_and_given_back(deployment: Any, gateway: Any) -> None:
    running = gateway(make(deployment, sessions_per_client=2))
    with RawClient(running) as client, RawClient(running, running.deployment.other) as other:
        mine = [open_session(client).headers["mcp-session-id"] for _ in range(2)]
        third = open_session(client)
        assert (third.status, third.code) == (429, 42903)
        assert open_session(other).status == 200
        pid = int(text_of(ask_legacy(client, mine[0], "pid")))
        head = b"DELETE /mcp HTTP/1.1\r\nHost: %b\r\nMcp-Session-Id: %b\r\n\r\n"
        client.send(head % (client.host.encode(), mine[0].encode()))
        assert client.read().status == 200
        wait_until(lambda: not psutil.pid_exists(pid), "the child of the closed session to go")
        assert ask_legacy(client, mine[0], "pid").status == 404
        assert open_session(client).status == 200


def test_idle_children_are_recycled_all_at_once_even_if_stubborn(deployment: Any, gateway: Any, tmp_path: Path) -> None:
    """A child that ignores every wish to end is killed, and waiting for one holds up neither the next nor the rest."""
    asked = tmp_path / "asked"
    running = gateway(make(deployment, "--stubborn", str(asked), session_idle_timeout="1s"))
    with RawClient(running) as client:
        sessions = [open_session(client).headers["mcp-session-id"] for _ in range(4)]
        pids = {int(text_of(ask_legacy(client, session, "pid"))) for session in sessions}
    assert len(pids) == 4
    wait_until(lambda: not any(map(psutil.pid_exists, pids)), "idle children to go")
    times = [float(Path(f"{asked}.{pid}").read_text()) for pid in pids]
    assert max(times) - min(times) < 2.0, "they were stopped one after the other"
    with RawClient(running) as client:
        assert ask_legacy(client, sessions[0], "pid").status == 404
