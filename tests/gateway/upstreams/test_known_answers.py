"""An answer's head that came before is not parsed again: whatever comes must be read exactly as the parser reads it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mcpsec.gateway.upstreams.http_client import HttpPool, UpstreamFault
from mcpsec.gateway.upstreams.known_answers import KnownAnswers

pytestmark = pytest.mark.anyio

JSON = b"content-type: application/json\r\n"
TEXT = b'{"jsonrpc":"2.0","id":1,"result":{}}'


def answer(
    body: bytes = TEXT, head: bytes = JSON, status: bytes = b"HTTP/1.1 200 OK", length: int | None = None
) -> bytes:
    size = len(body) if length is None else length
    return status + b"\r\n" + head + b"content-length: %d\r\n\r\n" % size + body


GOOD = answer()
LARGE = b'{"a":"' + b"x" * 5000 + b'"}'
ANSWERS: dict[str, list[bytes]] = {
    "the same": [GOOD],
    "another body": [answer(b'{"jsonrpc":"2.0","id":2,"result":{"a":[1,2,3]}}')],
    "a longer body": [answer(b" " * 900 + TEXT)],
    "head and body apart": [GOOD[:-20], GOOD[-20:]],
    "byte by byte": [GOOD[at : at + 1] for at in range(len(GOOD))],
    "no body": [answer(b"")],
    "a leading zero": [GOOD.replace(b": %d" % len(TEXT), b": 0%d" % len(TEXT))],
    "a body that is too short": [answer(length=len(TEXT) + 5), b""],
    "a body that is too long": [answer(length=len(TEXT) - 5)],
    "a second answer behind it": [GOOD + GOOD],
    "half a second answer behind it": [GOOD + GOOD[:30]],
    "a length twice": [answer(head=JSON + b"content-length: 2\r\n")],
    "a length in other words": [GOOD.replace(b"content-length", b"Content-Length")],
    "a length and chunks": [answer(head=JSON + b"transfer-encoding: chunked\r\n")],
    "chunks": [b"HTTP/1.1 200 OK\r\n" + JSON + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"],
    "too large a body": [answer(LARGE)],
    "too large a head": [answer(head=JSON + b"x-a: " + b"a" * 3000 + b"\r\n")],
    "another status": [answer(status=b"HTTP/1.1 404 Not Found")],
    "another reason": [answer(status=b"HTTP/1.1 200 Fine")],
    "an older version": [answer(status=b"HTTP/1.0 200 OK")],
    "another type": [answer(head=b"content-type: text/html\r\n")],
    "a session": [answer(head=JSON + b"mcp-session-id: abc\r\n")],
    "a close": [answer(head=JSON + b"connection: close\r\n")],
    "a header twice": [answer(head=JSON + b"x-a: 1\r\nx-a: 2\r\n")],
    "a folded line": [answer(head=JSON + b"x-a: 1\r\n 2\r\n")],
    "a bare line feed": [answer(head=JSON + b"x-a: 1\n")],
    "a continue before it": [b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD],
    "garbage": [b"nonsense\r\n\r\n"],
}


class Script:
    """A server that sends for each request what is next, piece by piece."""

    def __init__(self) -> None:
        self.answers: list[list[bytes]] = []
        self.connections = 0
        self.serving: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await self.answer(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            for piece in self.answers.pop(0):
                if not piece:
                    return
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.001)


@pytest.fixture
async def script() -> AsyncIterator[tuple[Script, HttpPool]]:
    made = Script()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = HttpPool("127.0.0.1", port, tls=None, connect_timeout=30.0, response_bytes=4096, header_bytes=2500)
    yield made, pool
    pool.close()
    server.close()
    for task in made.serving:
        task.cancel()
    await asyncio.gather(*made.serving, return_exceptions=True)
    await server.wait_closed()


async def read(made: Script, pool: HttpPool, pieces: list[bytes]) -> tuple[Any, ...]:
    """What one request is answered with, in comparable form."""
    made.answers.append(pieces)
    try:
        got = await pool.send(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", timeout=30.0, repeatable=False)
    except UpstreamFault as fault:
        return ("fault", fault.reason)
    fields = {name: value for name, value in got.fields.items() if name != b"content-length"}
    return got.status, got.content_type, fields, got.body


def one_new(pool: HttpPool) -> None:
    """Forget every head."""
    pool.known = KnownAnswers(pool.response_bytes)


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_known_head_reads_as_the_parser_does(script: tuple[Script, HttpPool], name: str) -> None:
    made, pool = script
    one_new(pool)
    expected = await read(made, pool, ANSWERS[name])
    plain = await read(made, pool, [GOOD])
    assert await read(made, pool, [GOOD]) == plain  # its head is known now
    assert pool.known.read(GOOD) is not None
    for _ in range(3):  # known, and after whatever stood before it on the connection
        assert await read(made, pool, ANSWERS[name]) == expected
        assert await read(made, pool, [GOOD]) == plain


async def test_a_known_head_keeps_the_connection(script: tuple[Script, HttpPool]) -> None:
    made, pool = script
    for _ in range(20):
        assert (await read(made, pool, [GOOD]))[3] == TEXT
    assert made.connections == 1


@pytest.mark.parametrize("behind", [GOOD, GOOD[:30], b"x"])
async def test_what_nobody_asked_for_meets_no_other_request(script: tuple[Script, HttpPool], behind: bytes) -> None:
    made, pool = script
    await read(made, pool, [GOOD + behind])
    other = answer(b'{"jsonrpc":"2.0","id":2,"result":{"mine":true}}')
    assert (await read(made, pool, [other]))[3].endswith(b'{"mine":true}}')
    assert made.connections == 2


def test_few_heads_are_remembered() -> None:
    known = KnownAnswers(4096)
    for number in range(1000):
        head = b"x-id: %d\r\n" % number
        fields = {b"content-type": b"application/json", b"x-id": b"%d" % number, b"content-length": b"36"}
        known.remember(answer(head=JSON + head), 200, b"application/json", fields, TEXT)
    assert len(known._heads) == 256
    assert known.read(answer(head=JSON + b"x-id: 1\r\n")) is None
    assert known.read(answer(head=JSON + b"x-id: 999\r\n")) is not None


MORE = JSON + b"x-a: 1\r\n"
FIELDS = {b"content-type": b"application/json", b"content-length": b"36"}
ODD = {
    "as long": answer(b"y" * 36),
    "longer, as many digits": answer(b"z" * 99),
    "shorter, as many digits": answer(b"z" * 10),
    "longer, more digits": answer(b"z" * 100),
    "shorter, fewer digits": answer(b"z" * 9),
    "empty": answer(b""),
    "too large": answer(b"z" * 5000),
    "a length that is one short": answer(length=35),
    "a length that is one long": answer(length=37),
    "a length that is one long, more digits": answer(b"z" * 100, length=101),
    "a length that is one short, fewer digits": answer(b"z" * 9, length=8),
    "a length with a zero before it": answer().replace(b": 36", b": 036"),
    "a length with a sign": answer().replace(b": 36", b": +36"),
    "a length with a blank": answer().replace(b": 36", b": 36 "),
    "a length in other digits": answer().replace(b": 36", ": ３６".encode()),
    "a head in the body": answer(GOOD[: 36 - 4] + b"\r\n\r\n"),
    "another head": answer(head=MORE),
    "the beginning of one": GOOD[:40],
    "nothing": b"",
}


@pytest.mark.parametrize("name", ODD)
def test_what_was_the_last_head_changes_no_reading(name: str) -> None:
    data = ODD[name]
    fresh, used = KnownAnswers(4096), KnownAnswers(4096)
    for known in (fresh, used):
        known.remember(GOOD, 200, b"application/json", FIELDS, TEXT)
        known.remember(answer(head=MORE), 200, b"application/json", FIELDS | {b"x-a": b"1"}, TEXT)
    assert used.read(GOOD) is not None
    for _ in range(2):
        expected, got = fresh.read(data), used.read(data)
        assert (got is None) == (expected is None)
        if got is not None and expected is not None:
            assert (got[0].fields, got[1]) == (expected[0].fields, expected[1])
            assert got[1] == data.partition(b"\r\n\r\n")[2]
        fresh._last = None
    assert used.read(GOOD) is not None


@pytest.mark.parametrize(("before", "data"), [(answer(b"z"), answer(b"")), (answer(b"z" * 4000), answer(b"z" * 4097))])
def test_no_length_is_taken_for_the_last_ones_sake(before: bytes, data: bytes) -> None:
    known = KnownAnswers(4096)
    known.remember(GOOD, 200, b"application/json", FIELDS, TEXT)
    for each in (before, before):
        assert known.read(each) is not None
    assert known.read(data) is None
