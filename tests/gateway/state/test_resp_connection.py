"""The connection to a store: whatever it answers, nothing waits for ever and the operator hears why."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from mcpsec.gateway.state.resp import Resp, RespParser, Script, StoreUnavailableError

pytestmark = pytest.mark.anyio

Answer = Callable[[list[bytes]], bytes | None]


@contextlib.asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[tuple[int, list[list[bytes]]]]:
    """A store that answers each command as ``answer`` says; None hangs up."""
    heard: list[list[bytes]] = []
    talking: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = RespParser()
        talking.append(writer)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if not data.startswith(b"*"):  # somebody speaks TLS to us
                    writer.write(b"-ERR Protocol error\r\n")
                    break
                for command in parser.feed(data):
                    heard.append(command)
                    reply = answer(command)
                    if reply is None:
                        writer.close()
                        return
                    writer.write(reply)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1], heard
    finally:
        listening.close()
        for writer in talking:
            writer.transport.abort()
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def connected(target: Any, **options: Any) -> AsyncIterator[tuple[Resp, list[str | None]]]:
    said: list[str | None] = []
    known: dict[str, Any] = {"tls": None, "greeting": list, "timeout": 2.0, "changed": said.append}
    store = Resp(target, **{**known, **options})
    await store.start()
    try:
        yield store, said
    finally:
        await store.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it does not speak RESP2"),
        (b"*1\r\n" * 3000, "it does not speak RESP2"),
        (b"+OK\r\n+OK\r\n", "it answered what nobody asked"),
        (None, "the connection was lost"),
    ],
)
async def test_an_answer_that_is_none_cuts_the_connection(reply: bytes | None, reason: str) -> None:
    async with server(lambda _: reply) as (port, _), connected(("127.0.0.1", port)) as (store, said):
        assert said == [None]
        with contextlib.suppress(StoreUnavailableError):
            await store.command(b"PING")
        await until(lambda: len(said) > 1)
        assert said[1] == reason


@pytest.mark.parametrize("state", ["READONLY You can't write", "NOAUTH first", "MASTERDOWN link", "LOADING the data"])
async def test_a_server_that_can_not_serve_now_is_left_for_another_connection(state: str) -> None:
    replies = [f"-{state}\r\n".encode(), b"+PONG\r\n"]
    async with server(lambda _: replies.pop(0)) as (port, heard), connected(("127.0.0.1", port)) as (store, said):
        with pytest.raises(StoreUnavailableError, match=state):
            await store.command(b"PING")
        assert not store.usable
        with pytest.raises(StoreUnavailableError, match=state):
            await store.command(b"PING")  # nobody waits meanwhile
        await until(lambda: store.usable)
        assert await store.command(b"PING") == b"PONG"
        assert said == [None, state, None] and len(heard) == 2


async def test_an_ordinary_error_is_an_error_and_the_connection_stays() -> None:
    async with server(lambda _: b"-ERR wrong type\r\n") as (port, _), connected(("127.0.0.1", port)) as (store, said):
        for _ in range(2):
            with pytest.raises(StoreUnavailableError, match="ERR wrong type"):
                await store.run(Script("return 1"), [b"key"], [])
        assert store.usable and said == [None]


async def test_a_script_that_the_server_forgot_is_sent_as_text() -> None:
    script = Script("return ARGV[1]")

    def answer(command: list[bytes]) -> bytes:
        return b"-NOSCRIPT no matching script\r\n" if command[0] == b"EVALSHA" else b":7\r\n"

    async with server(answer) as (port, heard), connected(("127.0.0.1", port)) as (store, _):
        assert await store.run(script, [b"k"], [b"7"]) == 7
        assert heard == [
            [b"EVALSHA", script.sha, b"1", b"k", b"7"],
            [b"EVAL", script.text, b"1", b"k", b"7"],
        ]


async def test_a_greeting_that_is_refused_is_said_and_tried_again() -> None:
    replies = [b"-WRONGPASS\r\n", b"+OK\r\n"]
    greeting = {"greeting": lambda: [(b"AUTH", b"secret")]}
    async with (
        server(lambda _: replies.pop(0)) as (port, _),
        connected(("127.0.0.1", port), **greeting) as (store, said),
    ):
        await until(lambda: store.usable)
        assert said == ["AUTH was refused: WRONGPASS", None]


async def test_a_greeting_that_fails_here_is_said_too() -> None:
    def greeting() -> list[tuple[bytes, ...]]:
        raise RuntimeError("no password")

    async with (
        server(lambda _: b"+OK\r\n") as (port, _),
        connected(("127.0.0.1", port), greeting=greeting) as (_, said),
    ):
        assert said == ["no password"]


async def test_a_silent_server_has_a_deadline_and_takes_everything_that_waits_along() -> None:
    async with server(lambda _: b"") as (port, _), connected(("127.0.0.1", port), timeout=0.05) as (store, said):
        waiting = [asyncio.ensure_future(store.command(b"GET", b"%d" % number)) for number in range(3)]
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert [str(error) for error in found] == ["it did not answer in time"] * 3
        assert said[1] == "it did not answer in time"


async def test_where_nothing_listens_and_where_nothing_speaks_tls(tmp_path: Path) -> None:
    async with connected(str(tmp_path / "none.sock")) as (store, said):
        assert said == ["No such file or directory"]
        with pytest.raises(StoreUnavailableError, match="No such file"):
            await store.command(b"PING")
        store.tell(b"PING")  # is not sent
    async with server(lambda _: b"+OK\r\n") as (port, _):
        tls = ssl.create_default_context()
        async with connected(("127.0.0.1", port), tls=tls) as (_, said):
            assert len(said) == 1 and said[0] is not None and "PING" not in said[0]


async def test_too_many_that_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcpsec.gateway.state.resp._MOST_PENDING", 2)
    async with server(lambda _: b"") as (port, heard), connected(("127.0.0.1", port)) as (store, _):
        waiting = [asyncio.ensure_future(store.command(b"GET", b"%d" % number)) for number in range(2)]
        await until(lambda: len(heard) == 2)
        with pytest.raises(StoreUnavailableError, match="too many commands"):
            await store.command(b"GET", b"2")
        store.tell(b"GET", b"3")
        await asyncio.sleep(0.01)
        assert len(heard) == 2
        await store.close()
        assert [str(error) for error in await asyncio.gather(*waiting, return_exceptions=True)] == ["closed"] * 2


async def test_what_is_told_may_fail_unheard_and_messages_go_elsewhere() -> None:
    pushed: list[list[Any]] = []

    def answer(command: list[bytes]) -> bytes:
        if command[0] == b"SUBSCRIBE":
            return b"+OK\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nhello\r\n"
        return b"-ERR no\r\n"

    async with server(answer) as (port, heard), connected(("127.0.0.1", port), pushed=pushed.append) as (store, _):
        store.tell(b"DEL", b"key")
        assert await store.command(b"SUBSCRIBE", b"c") == b"OK"
        await until(lambda: bool(pushed))
        assert pushed == [[b"message", b"c", b"hello"]] and [command[0] for command in heard] == [b"DEL", b"SUBSCRIBE"]
        waiting = asyncio.ensure_future(store.command(b"SUBSCRIBE", b"c"))
        await asyncio.sleep(0)
        waiting.cancel()  # whoever asked went away; its answer belongs to nobody else
        assert await store.command(b"SUBSCRIBE", b"d") == b"OK"
