"""What identifies one side never reaches the other: stripped on the way in and on the way out, absent from every word."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.fixtures.raw import RawClient
from tests.gateway.attacks.arena import Arena, called, legacy, modern, open_arena

CANARY = "canary-0123456789abcdef"
ECHO = called("echo", {"text": "hello"})


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with open_arena(tmp_path_factory.mktemp("leak")) as opened:
        yield opened


INBOUND = (
    *("Authorization", "Proxy-Authorization", "Cookie", "DPoP", "X-Api-Key", "X-Signature", "X-Key-Id", "X-Nonce"),
    *("X-Timestamp", "Signature", "Signature-Input", "Forwarded", "X-Forwarded-For", "X-Forwarded-Client-Cert"),
    *("X-Real-IP", "Via", "X-Client-Cert", "X-SSL-Client-Cert", "Ssl-Client-Verify", "X-Remote-User", "X-Upstream"),
    *("X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "TE", "Trailer", "Keep-Alive", "Proxy-Connection"),
    *("X-Confirm-Danger", "Mcp-Session-Id", "Last-Event-ID", "Referer", "User-Agent", "X-Mcpsec-Client", "Baggage"),
)
"""What a client may send along and no server behind the gateway may see."""


@pytest.mark.parametrize("name", INBOUND)
def test_a_clients_headers_stay_here(arena: Arena, name: str) -> None:
    arena.answered(ECHO.but(headers={name: CANARY}))
    head = arena.web.heads[-1].decode().lower()
    assert CANARY not in head
    assert "x-upstream: own" in head, "the server's own header is there, and not the client's of that name"


def test_what_a_connection_header_names_stays_here(arena: Arena) -> None:
    """Hop-by-hop (RFC 9110 section 7.6.1): a client can't make the gateway drop what the server must see either."""
    arena.answered(ECHO.but(headers={"Connection": "Mcp-Name, X-Upstream, Content-Type, X-Hop", "X-Hop": CANARY}))
    head = arena.web.heads[-1].decode().lower()
    assert CANARY not in head
    assert "mcp-name: echo" in head and "x-upstream: own" in head and "content-type: application/json" in head


def test_parameters_and_traces_go_through(arena: Arena) -> None:
    """The legitimate twin: what MCP gives a meaning reaches the server."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    arena.answered(ECHO.but(headers={"Mcp-Param-Unknown": "x", "traceparent": trace}))
    head = arena.web.heads[-1].decode().lower()
    assert "mcp-param-unknown: x" in head and f"traceparent: {trace}" in head and "mcp-method: tools/call" in head


def test_a_servers_headers_stay_there(arena: Arena) -> None:
    answer = arena.answered(ECHO)
    assert {"x-powered-by", "set-cookie", "server"}.isdisjoint(answer.headers)
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_token_in_the_query_goes_no_further(arena: Arena) -> None:
    arena.answered(ECHO.but(path=f"/mcp/web?access_token={CANARY}"))
    assert CANARY.encode() not in arena.web.heads[-1]


def test_refusals_name_nothing(arena: Arena) -> None:
    """No path, version, exception, upstream, rule, other client or what was sent stands in the gateway's own answers."""
    attacks = (
        called("hidden", {"text": CANARY}),
        called("echo", {"text": CANARY}, path=f"/mcp/{CANARY}"),
        called("danger", {"text": CANARY}),
        modern(CANARY, {}),
        legacy("tools/call", {"name": CANARY}),
        ECHO.but(body=CANARY.encode()),
        ECHO.but(headers={"Host": CANARY}),
        ECHO.but(headers={"Origin": CANARY}),
        ECHO.but(headers={"Mcp-Name": CANARY}),
        ECHO.but(headers={"MCP-Protocol-Version": "2025-11-25", "Mcp-Session-Id": CANARY}),
        modern("tools/call", {"name": "echo", "requestState": CANARY}, headers={"Mcp-Name": "echo"}),
    )
    with RawClient(arena.gateway) as client:
        for attack in attacks:
            client.send(attack.bytes(client.host))
            answer = client.read()
            said = json.dumps(answer.headers) + answer.body.decode()
            assert answer.status >= 400, attack
            for word in (CANARY, "second", "Traceback", "/work", "site-packages", ".py", "Python", "mcpsec/", "web"):
                assert word not in said, (word, answer)
    arena.answered(ECHO)
    log = arena.gateway.deployment.log.read_text()
    assert log.count(CANARY) <= log.count("resource"), "names of things are logged, arguments are not"
    assert '"text"' not in log
