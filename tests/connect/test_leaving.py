"""A client that leaves: what it said before is served, and whatever the server does, its bridge leaves soon after."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from mcpsec.connect import Credentials
from mcpsec.connect.http1 import HttpClient
from mcpsec.connect.oauth.authorizer import Authorizer
from mcpsec.connect.oauth.settings import Keep, Settings
from mcpsec.connect.stdio import StdioPipe
from tests.connect.bridges import INITIALIZED, Pipes, Script, ScriptedServer, Seen, call, command, initialize
from tests.fixtures.processes import PATIENCE

pytestmark = pytest.mark.anyio

READY = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}


def note(number: int) -> dict[str, object]:
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": number}}


async def honest(seen: Seen) -> None:
    """A server of the earlier era without a stream."""
    if seen.method != "POST":
        await seen.answer(405)
    elif "id" not in seen.body:
        await seen.answer(202)
    else:
        await seen.result(READY)


async def mute(seen: Seen) -> None:
    await seen.gone.wait()


async def takes_no_notes(seen: Seen) -> None:
    await (honest if seen.body and "id" in seen.body else mute)(seen)


@pytest.mark.parametrize("script", [mute, takes_no_notes])
async def test_what_waits_behind_a_server_that_is_silent_keeps_nobody(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One deadline for all of it, whether or not all of it has been read."""
    monkeypatch.setattr("mcpsec.connect.bridge._LEAVING_SECONDS", 0.3)
    async with ScriptedServer(script) as server, Pipes(server.url) as client:
        client.write(initialize())
        for number in range(10):
            client.write(note(number))
        client.hang_up()
        await asyncio.wait_for(client._task, PATIENCE)
        assert any("what the client said last" in each for each in client.notes)


async def test_ten_messages_of_a_client_that_has_left_are_served() -> None:
    async with ScriptedServer(honest) as server, Pipes(server.url) as client:
        client.write(initialize())
        client.write(INITIALIZED)
        for number in range(10):
            client.write(note(number))
        client.write(call(1, "ping", modern=False))
        client.hang_up()
        assert [(await client.read())["id"] for _ in range(2)] == [0, 1]
    assert [body["params"]["progress"] for body in server.bodies("notifications/progress")] == [*range(10)]


def _pipe() -> tuple[int, int]:
    return os.pipe()


def _sockets() -> tuple[int, int]:
    mine, theirs = socket.socketpair()
    return mine.detach(), theirs.detach()


@pytest.mark.parametrize("make", [_pipe, _sockets])
async def test_a_hangup_is_heard_before_all_has_been_read_and_loses_nothing(
    make: Callable[[], tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcpsec.connect.stdio._MOST_READ_BYTES", 2500)
    source, theirs = make()
    _, sink = ends = os.pipe()
    pipe = StdioPipe(source, sink)
    lines = [b"%d" % number + b"x" * 1000 for number in range(10)]
    os.write(theirs, b"\n".join(lines))  # without an end of the last line
    messages = pipe.messages()
    assert await asyncio.wait_for(anext(messages), PATIENCE) == lines[0]
    assert not pipe.ended.is_set()
    os.close(theirs)
    await asyncio.wait_for(pipe.ended.wait(), PATIENCE)
    assert pipe._incoming.qsize() < 5
    assert [line async for line in messages] == lines[1:]
    await pipe.close()
    for descriptor in (source, *ends):
        os.close(descriptor)


@pytest.mark.parametrize(
    ("last", "answer"), [(json.dumps(call(7)).encode(), {}), (b'{"jsonrpc": "2.0", "id": 7,', None)]
)
async def test_a_last_line_without_an_end_is_a_message(last: bytes, answer: object) -> None:
    """What a client was killed in the midst of is none, and does nothing."""

    async def script(seen: Seen) -> None:
        await seen.result()

    async with ScriptedServer(script) as server, Pipes(server.url) as client:
        os.write(client._to_bridge, last)
        client.hang_up()
        said = await client.read()
    assert said.get("result") == answer
    assert len(server.seen) == (answer is not None)
    assert answer is not None or said["error"]["code"] == -32700


@pytest.mark.parametrize("person", [True, False])
@pytest.mark.parametrize("modern", [True, False])
async def test_a_login_in_progress_is_waited_for(
    person: bool, modern: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script ends its input at once, and the person at the browser has five minutes all the same."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("mcpsec.connect.bridge._LEAVING_SECONDS", 1.0)
    monkeypatch.setattr("mcpsec.connect.bridge.LOGIN_SECONDS", PATIENCE if person else 1.5)
    asked = asyncio.Queue[str]()

    def heard(text: str) -> None:
        if "log in at" in text:
            asked.put_nowait(text.splitlines()[-1])

    async def script(seen: Seen) -> None:
        base = server.url.removesuffix("/mcp")
        if seen.path == "/.well-known/oauth-protected-resource/mcp":
            await seen.answer(200, {"resource": server.url, "authorization_servers": [base]})
        elif seen.path == "/.well-known/oauth-authorization-server":
            places = {name: f"{base}/{name}" for name in ("authorization_endpoint", "token_endpoint")}
            await seen.answer(200, {"issuer": base, "code_challenge_methods_supported": ["S256"], **places})
        elif seen.path == "/token_endpoint":
            await seen.answer(200, {"access_token": "t", "token_type": "bearer"})
        elif "authorization" not in seen.headers:
            await seen.answer(401, None, www_authenticate="Bearer")
        else:
            await honest(seen)

    def authorizer() -> Authorizer:
        options = Settings(client_id="x", keep=Keep.file, browser=False)
        return Authorizer(server.url, Credentials(), options, note=heard)

    async with ScriptedServer(script) as server, Pipes(server.url, authorizer=authorizer) as client:
        client._bridge._drain = 1.0
        client.write(call(0) if modern else initialize())
        client.hang_up()
        parameters = parse_qs(urlsplit(await asyncio.wait_for(asked.get(), PATIENCE)).query)
        if person:
            await asyncio.sleep(1.5)  # longer than it is waited for an answer
            answer = {"code": "c", "state": parameters["state"][0]}
            async with httpx.AsyncClient(trust_env=False) as browser:
                assert (await browser.get(parameters["redirect_uri"][0], params=answer)).status_code == 200
            assert "result" in await client.read()
        await asyncio.wait_for(client._task, PATIENCE)
    assert any("was not answered" in each for each in client.notes) is not person


async def test_who_waits_hears_of_a_login_that_nobody_knew_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The patience with a script has begun when the first answer asks for a token: it is that of a login from then."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    async def script(seen: Seen) -> None:
        if seen.method == "POST":
            await seen.answer(401, None, www_authenticate="Bearer")
        else:
            await seen.gone.wait()  # so that the login does not end

    def authorizer() -> Authorizer:
        return Authorizer(server.url, Credentials(), Settings(client_id="x", keep=Keep.file), note=lambda _: None)

    async with ScriptedServer(script) as server:
        client = HttpClient(server.url, Credentials(), authorizer=authorizer)
        waiting = asyncio.create_task(client.login_turn())
        await asyncio.sleep(0)
        asking = asyncio.create_task(client.request("POST", {}, b"{}"))
        try:
            while not client.logging_in:
                await asyncio.wait_for(waiting, PATIENCE)
                waiting = asyncio.create_task(client.login_turn())
                await asyncio.sleep(0)
        finally:
            asking.cancel()
            waiting.cancel()
            await asyncio.gather(asking, waiting, return_exceptions=True)
            await client.close()


@pytest.mark.parametrize("reads", [True, False])
async def test_for_a_client_that_takes_no_answers_nothing_more_is_done(reads: bool) -> None:
    """It has not closed its own end, and may never do so."""
    calls: list[int] = []

    async def script(seen: Seen) -> None:
        calls.append(seen.body["id"])
        await seen.result()

    source, to_bridge = os.pipe()
    from_bridge, sink = os.pipe()
    async with ScriptedServer(script) as server:
        words = command(server.url)
        bridge = await asyncio.create_subprocess_exec(*words, stdin=source, stdout=sink, stderr=subprocess.PIPE)
        os.close(source)
        os.close(sink)
        try:
            with os.fdopen(from_bridge, "rb") as lines:
                os.write(to_bridge, json.dumps(call(1)).encode() + b"\n")
                assert json.loads(await asyncio.to_thread(lines.readline))["id"] == 1
                if reads:
                    os.write(to_bridge, json.dumps(call(2)).encode() + b"\n")
                    assert json.loads(await asyncio.to_thread(lines.readline))["id"] == 2
                    os.close(to_bridge)
                    to_bridge = -1
                    assert await asyncio.wait_for(bridge.wait(), PATIENCE) == 0
            if not reads:
                os.write(to_bridge, json.dumps(call(2)).encode() + b"\n")
                assert await asyncio.wait_for(bridge.wait(), PATIENCE) == 0
                with pytest.raises(BrokenPipeError):
                    os.write(to_bridge, json.dumps(call(3)).encode() + b"\n")
            assert bridge.stderr is not None
            assert await bridge.stderr.read() == b""
        finally:
            if to_bridge >= 0:
                os.close(to_bridge)
            if bridge.returncode is None:
                bridge.kill()
                await bridge.wait()
    assert calls == [1, 2]


async def test_a_client_that_reads_slowly_gets_all_of_a_large_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcpsec.connect.stdio._SILENCE_SECONDS", 1.0)
    source, theirs = os.pipe()
    from_bridge, sink = os.pipe()
    pipe = StdioPipe(source, sink)
    await pipe.send(b"x" * 1_000_000)
    closing = asyncio.create_task(pipe.close())
    got = 0
    while got <= 1_000_000:
        assert not closing.done() or not pipe._writer.is_alive()
        got += len(await asyncio.to_thread(os.read, from_bridge, 20_000))
        await asyncio.sleep(0.05)
    await closing
    assert not pipe._writer.is_alive()
    for descriptor in (from_bridge, source, theirs, sink):
        os.close(descriptor)


async def test_a_client_that_reads_one_byte_at_a_time_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte in time: without a bound on all of them a signal ended nothing."""
    source, theirs = os.pipe()
    from_bridge, sink = os.pipe()
    pipe = StdioPipe(source, sink)
    await pipe.send(b"x" * 1_000_000)
    stopped = asyncio.Event()

    async def sip() -> None:
        while not stopped.is_set():
            await asyncio.to_thread(os.read, from_bridge, 5000)
            await asyncio.sleep(0.05)

    sipping = asyncio.create_task(sip())
    monkeypatch.setattr("mcpsec.connect.stdio._LAST_SECONDS", PATIENCE)
    closing = asyncio.create_task(pipe.close())
    pipe.hurry()
    await asyncio.wait([closing], timeout=0.3)
    assert not closing.done()  # once is asking
    pipe.hurry()
    await asyncio.wait_for(closing, PATIENCE)
    assert pipe._writer.is_alive()  # with most of it unread
    stopped.set()
    await sipping
    for descriptor in (from_bridge, source, theirs):
        os.close(descriptor)
    await asyncio.to_thread(pipe._writer.join)
    os.close(sink)


@pytest.mark.parametrize("signals", [1, 2])
async def test_a_signal_ends_the_bridge_of_a_client_that_sips(signals: int) -> None:
    async def script(seen: Seen) -> None:
        await seen.stream()
        await seen.event({"jsonrpc": "2.0", "id": 1, "result": {"long": "x" * 3_000_000}})

    async with ScriptedServer(script) as server:
        bridge = await asyncio.create_subprocess_exec(
            *command(server.url), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, limit=1
        )
        assert bridge.stdin is not None
        assert bridge.stdout is not None
        sipped = 0
        try:
            bridge.stdin.write(json.dumps(call(1)).encode() + b"\n")
            await bridge.stdin.drain()
            await asyncio.wait_for(bridge.stdout.read(1), PATIENCE)
            for _ in range(signals):
                bridge.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.2)
            while signals > 1 and await asyncio.wait_for(bridge.stdout.read(4096), PATIENCE):
                sipped += 1
                assert sipped < 200  # of 750
                await asyncio.sleep(0.05)
            if signals == 1:  # what waits is written to a client that goes on to read
                said = await asyncio.wait_for(bridge.stdout.read(), PATIENCE)
                assert len(said) > 3_000_000
            assert await asyncio.wait_for(bridge.wait(), PATIENCE) == 0
        finally:
            if bridge.returncode is None:
                bridge.kill()
            bridge._transport.close()  # type: ignore[attr-defined]
            await bridge.wait()
