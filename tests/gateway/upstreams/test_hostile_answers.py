"""Answers of an upstream against variants made to break the gateway: each ends in one clear answer, the next call works."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcpsec.gateway.upstreams.http_client import HttpPool, UpstreamFault, UpstreamResponse
from mcpsec.protocol.jsonrpc import ProtocolError
from mcpsec.protocol.sse import SseParser
from tests.fixtures.deployments import make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.mutations import examples, mutations
from tests.fixtures.raw import RawClient, call

from .test_http import FaultyServer

hostile = settings(max_examples=examples(100), deadline=None, suppress_health_check=list(HealthCheck))

RESULT = b'{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[{"type":"text","text":"hi"}]}}'
ERROR = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no","data":{"a":[1,2]}}}'
EVENTS = [
    b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}\n\n',
    b": ping\r\n\r\nretry: 10\r\nid: 7\r\nevent: message\r\n",
    b"data: " + RESULT + b"\n\n",
]
JSON, STREAM = b"content-type: application/json\r\n", b"content-type: text/event-stream\r\n"


def answer(head: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body


def chunks(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))


WHOLE = answer(JSON + b"content-length: %d\r\n" % len(RESULT), RESULT)
SEEDS = [
    WHOLE,
    answer(JSON + b"content-length: %d\r\n" % len(ERROR), ERROR),
    answer(JSON + b"transfer-encoding: chunked\r\n", chunks(RESULT[:30], RESULT[30:])),
    answer(JSON + b"connection: close\r\n", RESULT),
    answer(STREAM + b"transfer-encoding: chunked\r\nmcp-session-id: abc\r\n", chunks(*EVENTS)),
    answer(STREAM + b"connection: close\r\n", b"".join(EVENTS)),
    b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + WHOLE,
    WHOLE + WHOLE,
    b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\ncontent-type: text/html\r\ncontent-length: 4\r\n\r\n<p/>",
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n" + WHOLE,
]  # fmt: skip


@contextlib.asynccontextmanager
async def upstream(pieces: list[bytes], *, early: bool) -> AsyncIterator[HttpPool]:
    """A pool to a server whose first connection is answered with ``pieces``, before it asks if ``early``, then closed.

    Every later connection is answered well.
    """
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        first = connections == 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            if not (first and early):
                await reader.readuntil(b"\r\n\r\n")
            for piece in pieces if first else [WHOLE]:
                writer.write(piece)
                await writer.drain()
            if first and early:
                await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    pool = HttpPool("127.0.0.1", port, tls=None, connect_timeout=60.0, response_bytes=4096, header_bytes=2500)
    try:
        async with server:
            yield pool
    finally:
        pool.close()


async def taken(pool: HttpPool) -> UpstreamResponse:
    """An answer with its whole body. Raises UpstreamFault."""
    got = await pool.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", timeout=60.0, repeatable=True)
    if got.stream is not None:
        parser, received = SseParser(max_event_bytes=4096), b""
        async for piece in got.stream.pieces():
            received += piece
            for event in parser.feed(piece):
                assert event.raw in received
    return got


@pytest.mark.parametrize("early", [False, True], ids=["when asked", "before it is asked"])
def test_an_answer_in_pieces(early: bool) -> None:
    """An answer within bounds, or a fault; nothing of it is left for the request that comes next."""

    async def look(pieces: list[bytes]) -> int:
        failures: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        status = 0
        async with upstream(pieces, early=early) as pool:
            with contextlib.suppress(UpstreamFault, ProtocolError):
                got = await taken(pool)
                status = got.status
                assert 200 <= status <= 999
                assert len(got.body) <= 4096
                assert sum(map(len, got.fields)) <= 2500
            after = await taken(pool)
            assert (after.status, after.body) == (200, RESULT), pieces
        assert not failures, failures
        return status

    for seed in SEEDS[:7]:
        if not early:
            assert asyncio.run(look([seed])) == 200, seed

    @hostile
    @given(mutations(*SEEDS), st.lists(st.integers(1, 400), max_size=3))
    def attack(document: bytes, cuts: list[int]) -> None:
        stops = sorted({0, *(cut for cut in cuts if cut < len(document)), len(document)})
        asyncio.run(look([document[begin:end] for begin, end in itertools.pairwise(stops)] or [b"\n"]))

    attack()


@pytest.fixture(scope="module")
def faulty() -> Iterator[FaultyServer]:
    server = FaultyServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def running(faulty: FaultyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    web = {"url": faulty.url, "timeout": "60s", "breaker": {"enabled": False}}
    made = make_deployment(tmp_path_factory.mktemp("hostile"), {"web": web})
    started = start_gateway(made)
    yield started
    started.stop()  # and nothing unexpected on standard error


def test_what_a_client_gets_of_it(running: Gateway, faulty: FaultyServer) -> None:
    """Through the whole gateway: an answer to this very request, or an error that says so."""

    def look(document: bytes) -> None:
        def fault(connection: socket.socket, _: bytes) -> None:
            connection.sendall(document)

        faulty.fault = fault
        with RawClient(running) as client:
            got = client.post(call("echo"))
        faulty.recover()
        assert 200 <= got.status < 500 or got.status == 503, (got.status, document)
        if b"jsonrpc" in got.body and not got.headers.get("content-type", "").startswith("text/event-stream"):
            told = json.loads(got.body)
            assert told["id"] in (1, None), document
            assert ("result" in told) != ("error" in told)
            assert "internal" not in str(told.get("error", {}).get("message", "")), told

    for seed in SEEDS:
        look(seed)

    @settings(hostile, max_examples=examples(60))
    @given(mutations(*SEEDS))
    def attack(document: bytes) -> None:
        look(document)

    attack()
    with RawClient(running) as client:
        assert client.post(call("echo")).status == 200
