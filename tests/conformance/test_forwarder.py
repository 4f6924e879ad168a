"""The forwarder passes bytes as they are and shows its certificate; the signing one adds headers and nothing else."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest

from tests.fixtures.forwarder import Forwarder, SigningForwarder

pytestmark = pytest.mark.anyio


async def test_bytes_arrive_unchanged_under_the_client_certificate(deployment: Any) -> None:
    made = deployment()
    names: list[Any] = []

    async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        names.append(writer.get_extra_info("peercert")["subjectAltName"])
        writer.write((await reader.readexactly(5)).upper())
        writer.close()

    server = await asyncio.start_server(upper, "127.0.0.1", 0, ssl=made.server.server_context())
    async with server, Forwarder(originate=made.client.client_context()) as forwarder:
        forwarder.connect_to(*server.sockets[0].getsockname())
        reader, writer = await asyncio.open_connection(forwarder.host, forwarder.port)
        writer.write(b"a\r\nbc")
        assert await reader.read() == b"A\r\nBC"
        writer.close()
    assert names == [(("URI", "spiffe://mcpsec.test/agent/tester"),)]


async def test_a_certificate_of_another_ca_gets_nothing(deployment: Any) -> None:
    made = deployment()
    accepted = []

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(1)
        writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0, ssl=made.server.server_context())
    async with server, Forwarder(originate=made.stranger.client_context()) as forwarder:
        forwarder.connect_to(*server.sockets[0].getsockname())
        reader, writer = await asyncio.open_connection(forwarder.host, forwarder.port)
        writer.write(b"hello")
        assert await _rest(reader) == b""
        writer.close()
    assert not accepted


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except (ConnectionError, ssl.SSLError):
        return b""


async def test_signing_adds_headers_to_every_request_of_a_connection() -> None:
    received = bytearray()
    both = asyncio.Event()

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            received.extend(data)
            if received.endswith(b"second"):
                both.set()
        writer.close()

    def sign(method: str, target: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
        return {"x-signed": f"{method} {target} {headers['host']} {len(body)}"}

    server = await asyncio.start_server(collect, "127.0.0.1", 0)
    async with server, SigningForwarder(sign=sign) as forwarder:
        forwarder.connect_to(*server.sockets[0].getsockname())
        _, writer = await asyncio.open_connection(forwarder.host, forwarder.port)
        writer.write(b"GET /mcp HTTP/1.1\r\nHost: a\r\n\r\n")
        writer.write(b"POST /mcp HTTP/1.1\r\nHost: b\r\nContent-Length: 6\r\n\r\nsecond")
        await asyncio.wait_for(both.wait(), 30)
        writer.close()
    assert bytes(received) == (
        b"GET /mcp HTTP/1.1\r\nHost: a\r\nx-signed: GET /mcp a 0\r\n\r\n"
        b"POST /mcp HTTP/1.1\r\nHost: b\r\nContent-Length: 6\r\nx-signed: POST /mcp b 6\r\n\r\nsecond"
    )
