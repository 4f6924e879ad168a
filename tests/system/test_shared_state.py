"""Two gateways, one store: a client may reach either, at every request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mcpsec.signing import SignedMessage
from tests.fixtures.deployments import EVERYTHING, OTHER, Deployment, fixture_command
from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, Response, call
from tests.fixtures.signatures import signer_of
from tests.fixtures.stores import Store
from tests.fixtures.upstreams import HttpServer

SAID = (r".*state store.*",)


def pair(made: Deployment, gateway: Any, **options: Any) -> tuple[Gateway, Gateway]:
    """Two gateways of one deployment."""
    return gateway(made, expected=SAID, **options), gateway(made.sibling("other"), expected=SAID, **options)


def signed(gateway: Gateway, body: bytes, host: str, tool: str = "echo") -> dict[str, str | None]:
    signer = signer_of("tester-1", gateway.deployment.secret)
    headers = [(b"mcp-protocol-version", b"2026-07-28"), (b"mcp-method", b"tools/call"), (b"mcp-name", tool.encode())]
    message = SignedMessage("POST", host, "/mcp", "", headers, body)
    return dict(signer.sign(message))


def rpc(method: str, params: dict[str, Any] | None = None, id: int | None = 1) -> bytes:
    message = {"jsonrpc": "2.0", "method": method, "params": params or {}} | ({} if id is None else {"id": id})
    return json.dumps(message).encode()


def post(gateway: Gateway, body: bytes, headers: dict[str, str | None] | None = None) -> Response:
    with RawClient(gateway) as client:
        return client.post(body, headers)


def test_a_request_that_one_gateway_has_served_is_not_served_by_another(
    deployment: Any, gateway: Any, http_server: HttpServer, store: Store
) -> None:
    name = "mcp.example.test"
    made = deployment(
        {"fixture": {"url": http_server.url}},
        require=("mtls", "signature"),
        state={"url": store.url, "timeout": "20s"},
        server={"allowed_hosts": [name]},
    )
    one, other = pair(made, gateway)
    body = call("echo", {"text": "once"})
    headers = {"Host": name, **signed(one, body, name)}
    assert post(one, body, headers).status == 200
    assert post(other, body, headers).status == 401
    assert post(one, body, headers).status == 401
    twin = {"Host": name, **signed(one, body, name)}
    assert post(other, body, twin).status == 200


def test_a_session_goes_on_at_another_gateway(
    deployment: Any, gateway: Any, http_server: HttpServer, store: Store
) -> None:
    made = deployment({"fixture": {"url": http_server.url}}, state={"url": store.url, "timeout": "20s"})
    one, other = pair(made, gateway)
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    opened = post(one, rpc("initialize", hello))
    assert opened.status == 200
    session: dict[str, str | None] = {
        "Mcp-Session-Id": opened.headers["mcp-session-id"],
        "MCP-Protocol-Version": "2025-11-25",
    }
    assert post(other, rpc("notifications/initialized", id=None), session).status == 202
    for gateway_ in (one, other, one, other):
        answer = post(gateway_, rpc("tools/call", {"name": "echo", "arguments": {"text": "there"}}), session)
        assert answer.status == 200 and b"there" in answer.body
    assert post(other, rpc("tools/list"), {**session, "Mcp-Session-Id": "A" * 32}).status == 404
    with RawClient(other) as client:
        head = f"DELETE /mcp HTTP/1.1\r\nHost: {client.host}\r\nMcp-Session-Id: {session['Mcp-Session-Id']}\r\n"
        client.send(f"{head}MCP-Protocol-Version: 2025-11-25\r\nAccept: text/event-stream\r\n\r\n".encode())
        assert client.read().status in {200, 204}
    for gateway_ in (one, other):
        assert post(gateway_, rpc("tools/list"), session).status == 404


@pytest.mark.parametrize("name", ["t", "\x7f", 'a\\\x7f\x1f"\N{SNOWMAN}\x85\u2028'])
def test_a_programs_session_goes_on_at_another_gateway_whatever_the_handshake_says(
    deployment: Any, gateway: Any, store: Store, name: str
) -> None:
    made = deployment({"fixture": {"command": fixture_command()}}, state={"url": store.url, "timeout": "20s"})
    one, other = pair(made, gateway)
    info = {"name": name, "version": "1", name: name}
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
    opened = post(one, rpc("initialize", hello))
    assert opened.status == 200
    session: dict[str, str | None] = {
        "Mcp-Session-Id": opened.headers["mcp-session-id"],
        "MCP-Protocol-Version": "2025-11-25",
    }
    for gateway_ in (one, other):
        answer = post(gateway_, rpc("tools/call", {"name": "echo", "arguments": {"text": "there"}}), session)
        assert answer.status == 200 and b"there" in answer.body


def test_a_session_of_one_client_is_nobody_elses_at_another_gateway(
    deployment: Any, gateway: Any, http_server: HttpServer, store: Store
) -> None:
    """Neither its calls, nor its stream, nor its end; to its own client it goes on."""
    made = deployment({"fixture": {"url": http_server.url}}, state={"url": store.url, "timeout": "20s"})
    made.document["clients"].append({"id": "other", "certificate": {"san": OTHER}, **EVERYTHING})
    made.write()
    one, two = pair(made, gateway)
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    session: dict[str, str | None] = {
        "Mcp-Session-Id": post(one, rpc("initialize", hello)).headers["mcp-session-id"],
        "MCP-Protocol-Version": "2025-11-25",
    }
    assert post(one, rpc("notifications/initialized", id=None), session).status == 202
    for place in (two, one):
        with RawClient(place, made.other) as thief:
            assert thief.post(rpc("tools/list"), session).status == 404
            for method in ("GET", "DELETE"):
                head = (
                    f"{method} /mcp HTTP/1.1\r\nHost: {thief.host}\r\nMcp-Session-Id: {session['Mcp-Session-Id']}\r\n"
                )
                thief.send(f"{head}MCP-Protocol-Version: 2025-11-25\r\nAccept: text/event-stream\r\n\r\n".encode())
                assert thief.read().status == 404
        assert post(place, rpc("tools/list"), session).status == 200


@pytest.mark.parametrize("kind", ["http", "stdio"])
@pytest.mark.parametrize("handle", ["garbage", "\N{SNOWMAN}", "5", "[]", ""])
def test_a_session_that_is_none_of_its_upstream_is_over(
    deployment: Any, gateway: Any, request: pytest.FixtureRequest, store: Store, kind: str, handle: str
) -> None:
    """Its upstream was another one when it was opened, or somebody else writes to the store."""
    if kind == "http":
        upstream: dict[str, Any] = {"url": request.getfixturevalue("http_server").url}
    else:
        upstream = {"command": fixture_command()}
    made = deployment({"fixture": upstream}, state={"url": store.url, "timeout": "20s"})
    running = gateway(made, expected=SAID)
    record = json.dumps(["tester", "fixture", handle, ""], ensure_ascii=False)
    store.say_bytes(b"SET", b"mcpsec:s:" + b"A" * 32, record.encode())
    odd: dict[str, str | None] = {"Mcp-Session-Id": "A" * 32, "MCP-Protocol-Version": "2025-11-25"}
    assert post(running, rpc("tools/list"), odd).status == 404
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    fine = {**odd, "Mcp-Session-Id": post(running, rpc("initialize", hello)).headers["mcp-session-id"]}
    assert post(running, rpc("tools/list"), fine).status == 200


def test_a_rate_is_counted_across_gateways(
    deployment: Any, gateway: Any, http_server: HttpServer, store: Store
) -> None:
    made = deployment(
        {"fixture": {"url": http_server.url}},
        state={"url": store.url, "timeout": "20s"},
        server={"limits": {"rate_limit": {"rate": "4/hour", "burst": 4}}},
    )
    one, other = pair(made, gateway, limit_rate=True)
    body = call("echo", {"text": "x"})
    answers = [post(each, body) for each in (one, other, one, other, one, other)]
    assert [answer.status for answer in answers] == [200] * 4 + [429] * 2
    assert answers[0].headers["ratelimit-policy"] == '"client";q=4;w=3600'
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers[:4]] == ["r=3", "r=2", "r=1", "r=0"]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 900


@pytest.mark.parametrize("failure", ["paused", "killed"])
def test_without_the_store_signed_requests_are_refused_in_time_and_then_served_again(
    deployment: Any, gateway: Any, http_server: HttpServer, store: Store, failure: str
) -> None:
    made = deployment(
        {"fixture": {"url": http_server.url}},
        require=("mtls", "signature"),
        state={"url": store.url, "timeout": "500ms"},
    )
    running: Gateway = gateway(made, expected=SAID)
    body = call("echo", {"text": "x"})

    def ask() -> Response:
        return post(running, body, signed(running, body, running.authority))

    wait_until(lambda: ask().status == 200, "a served request")
    store.pause() if failure == "paused" else store.kill()
    answer = ask()
    assert (answer.status, answer.code) == (503, 50301)  # its signature may be as good as any
    assert answer.headers["retry-after"] == "1"
    store.resume() if failure == "paused" else store.start()
    wait_until(lambda: ask().status == 200, "a served request")

    def states() -> list[str]:
        return [event["state"] for event in made.events() if event.get("name") == "state"]

    wait_until(lambda: states()[-1:] == ["up"], "the event that the store is back")
    assert "down" in states()
