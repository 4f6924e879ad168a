"""A session's own version is what its upstream hears, whatever later requests name."""

from __future__ import annotations

import pytest

from mcpsec.deployment.model import Client, Limits
from mcpsec.gateway.message import Exchange, Peer, Request
from mcpsec.gateway.sessions import SessionTable
from mcpsec.gateway.steps.session import FindSession
from mcpsec.protocol.eras import Era


def asked(session_id: str, version: bytes | None) -> Exchange:
    request = Request()
    request.add_header(b"Mcp-Session-Id", session_id.encode())
    if version is not None:
        request.add_header(b"MCP-Protocol-Version", version)
    exchange = Exchange(request, Peer("127.0.0.1"), "1")
    exchange.client, exchange.upstream, exchange.era = Client(id="tester"), "files", Era.LEGACY
    return exchange


@pytest.mark.anyio
async def test_the_upstream_hears_the_version_of_the_session() -> None:
    sessions = SessionTable(Limits())
    session = sessions.open("tester", "files", None)
    session.version = "2025-11-25"
    for version in (b"2025-11-25", b"2025-03-26", b"2024-11-05"):
        exchange = asked(session.id, version)
        assert FindSession(sessions)(exchange) is None
        assert exchange.session is session
        assert exchange.request.values(b"mcp-protocol-version") == [b"2025-11-25"]
        assert exchange.request.fields[b"mcp-protocol-version"] == b"2025-11-25"
    silent = asked(session.id, None)
    assert FindSession(sessions)(silent) is None
    assert silent.request.values(b"mcp-protocol-version") == []
