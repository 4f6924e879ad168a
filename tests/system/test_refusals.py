"""Who is not a client of the deployment gets nothing, and a client gets no more than it was granted."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from tests.fixtures.deployments import fixture_command
from tests.fixtures.gateway import Gateway, sdk_client

pytestmark = pytest.mark.anyio

MODERN = "2026-07-28"


def exchange(running: Gateway, context: ssl.SSLContext) -> bytes:
    """Everything that a raw client receives for one valid request, after the handshake."""
    body = json.dumps(
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/list",
            "params": {
                "_meta": {
                    "io.modelcontextprotocol/protocolVersion": MODERN,
                    "io.modelcontextprotocol/clientCapabilities": {},
                }
            },
        }
    )
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: {running.authority}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: {MODERN}\r\nMcp-Method: tools/list\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    received = b""
    with socket.create_connection(running.address, 30) as plain, context.wrap_socket(plain) as secure:
        try:
            secure.sendall((head + body).encode())
            while data := secure.recv(65536):
                received += data
        except OSError:
            pass  # TLS 1.3 tells a client only after its own handshake that it is not welcome
    return received


def anonymous(ca: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca))
    context.check_hostname = False
    return context


@pytest.fixture
def running(deployment: Any, gateway: Any) -> Gateway:
    return gateway(deployment({"fixture": {"command": fixture_command()}}))


def test_a_client_of_the_file_is_answered(running: Gateway) -> None:
    context = running.deployment.client.client_context()
    context.check_hostname = False
    assert exchange(running, context).startswith(b"HTTP/1.1 200 ")


def test_without_a_certificate_nothing_is_answered(running: Gateway) -> None:
    assert exchange(running, anonymous(running.deployment.client.ca)) == b""


def test_with_a_certificate_of_another_ca_nothing_is_answered(running: Gateway) -> None:
    context = running.deployment.stranger.client_context()
    context.check_hostname = False
    assert exchange(running, context) == b""


def test_a_certificate_that_belongs_to_no_client_is_refused(running: Gateway) -> None:
    context = running.deployment.other.client_context()
    context.check_hostname = False
    answer = exchange(running, context)
    assert answer.split(b" ")[1] in (b"401", b"403"), answer
    assert b"test_simple_text" not in answer


def test_plain_http_is_not_answered(running: Gateway) -> None:
    with socket.create_connection(running.address, 30) as plain:
        plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert not plain.recv(65536).startswith(b"HTTP/")


@pytest.mark.parametrize("mode", ["legacy", MODERN])
async def test_default_deny(mode: str, deployment: Any, gateway: Any) -> None:
    grants = {"allow_resources": ["fixture/echo"], "allow_methods": ["read", "write", "execute"]}
    running = gateway(deployment({"fixture": {"command": fixture_command()}}, grants=grants))
    async with sdk_client(running.url, running.deployment.client, mode=mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["echo"]
        assert (await client.call_tool("echo", {"text": "hi"})).content[0].text == "hi"
        with pytest.raises(MCPError) as granted_nothing:
            await client.call_tool("test_simple_text", {})
        with pytest.raises(MCPError) as unknown:
            await client.call_tool("no_such_tool", {})
        # Nobody learns from a refusal which tools there are.
        assert (granted_nothing.value.code, granted_nothing.value.message) == (
            unknown.value.code,
            unknown.value.message,
        )
        assert not -32768 <= unknown.value.code <= -32000
