"""Each step of the chain against its attack, over real TLS; the twin differs in that flaw alone and is answered."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcpsec.signing import SignedMessage, Signer, SigningKey, load_secret
from tests.fixtures.deployments import EVERYTHING, OTHER, fixture_command
from tests.fixtures.gateway import Gateway
from tests.fixtures.raw import MODERN_META, RawClient, Response, call

DEMO = {"demo": {"builtin": "demo", "access": {"*": "read"}}}
ECHO = call("echo", {"text": "hello"})
SECOND = {"id": "other", "certificate": {"san": OTHER}, **EVERYTHING}


def events(running: Gateway) -> list[dict[str, Any]]:
    """The audit events so far that are about requests or handshakes."""
    running.stop()
    return running.deployment.events()


def rules(running: Gateway) -> list[str]:
    return [
        event.get("rule") or event.get("reason", "")
        for event in events(running)
        if "decision" in event and event["kind"] != "handshake"
    ]


def post(running: Gateway, body: bytes, headers: dict[str, str | None] | None = None, **options: Any) -> Response:
    identity = options.pop("identity", None)
    with RawClient(running, identity) as client:
        return client.post(body, headers, **options)


@pytest.fixture
def demo(deployment: Any, gateway: Any) -> Gateway:
    running: Gateway = gateway(deployment(DEMO))
    return running


# --- HTTP hygiene -------------------------------------------------------------------------------------------------------


def hygiene_attacks(host: str) -> Iterator[tuple[str, dict[str, str | None], int]]:
    port = host.rpartition(":")[2]
    for evil in (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1",
        f"127.0.0.1:{port}.evil.example",
        f"{host}@evil",
        "",
    ):
        yield "host", {"Host": evil}, 421
    for evil in ("http://evil.example", "null", f"https://{host}.evil.example", f"http://localhost:{port}@evil", ""):
        yield "origin", {"Origin": evil}, 403
    for media in (
        None,
        "text/plain",
        "application/jsonfoo",
        "application/json-rpc",
        "application/json; charset=utf-16",
    ):
        yield "content-type", {"Content-Type": media}, 415
    yield "content-encoding", {"Content-Encoding": "gzip"}, 415
    for accept in (None, "application/json", "text/event-stream", "text/html"):
        yield "accept", {"Accept": accept}, 406
    yield "header-repeated", {"Content-Type": "application/json", "content-type": "application/json"}, 400
    yield "header-repeated", {"Origin": None, "origin": "https://a", "ORIGIN": "https://b"}, 400


def test_hygiene(demo: Gateway) -> None:
    expected = []
    for rule, headers, status in hygiene_attacks(demo.authority):
        response = post(demo, ECHO, headers)
        assert response.status == status, (rule, headers, response)
        assert "result" not in response.json
        expected.append(rule)
    assert post(demo, ECHO, {"Content-Type": "Application/JSON; charset=UTF-8"}).status == 200
    assert post(demo, ECHO, {"Host": f"localhost:{demo.address[1]}"}).status == 200
    assert rules(demo) == [*expected, "granted", "granted"]


def test_an_allowed_origin_passes_and_only_exactly_that_one(deployment: Any, gateway: Any) -> None:
    made = deployment(DEMO)
    made.document["server"]["allowed_origins"] = ["https://app.example"]
    made.write()
    running = gateway(made)
    assert post(running, ECHO, {"Origin": "https://app.example"}).status == 200
    for near in (
        "https://app.example:443",
        "http://app.example",
        "https://app.example.evil",
        "https://sub.app.example",
    ):
        assert post(running, ECHO, {"Origin": near}).status == 403


# --- identity -------------------------------------------------------------------------------------------------------------


def test_a_certificate_that_names_no_client_is_nobody(demo: Gateway) -> None:
    response = post(demo, ECHO, identity=demo.deployment.other)
    assert (response.status, response.code) == (401, 40101)
    assert post(demo, ECHO).status == 200
    assert rules(demo) == ["certificate-unknown", "granted"]


def test_a_certificate_that_names_two_clients_is_nobody(deployment: Any, gateway: Any) -> None:
    from cryptography import x509

    made = deployment(DEMO)
    fingerprint = x509.load_pem_x509_certificate(made.client.certificate.read_bytes()).fingerprint
    from cryptography.hazmat.primitives.hashes import SHA256

    made.document["clients"].append(
        {"id": "pinned", "certificate": {"sha256": fingerprint(SHA256()).hex()}, **EVERYTHING}
    )
    made.write()
    running = gateway(made)
    assert post(running, ECHO).status == 401
    assert rules(running) == ["certificate-unknown"]


def test_handshakes_without_a_trusted_certificate_are_refused_and_recorded(demo: Gateway) -> None:
    with pytest.raises((OSError, AssertionError)):
        assert post(demo, ECHO, identity=demo.deployment.stranger).status == 200
    context = ssl.create_default_context(cafile=str(demo.deployment.client.ca))
    import socket

    with socket.create_connection(demo.address, timeout=10) as plain, pytest.raises(OSError):
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as bare:
            bare.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert bare.recv(100) == b""
            raise ConnectionResetError
    with socket.create_connection(demo.address, timeout=10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP" not in plain.recv(1000)
    assert post(demo, ECHO).status == 200
    found = [event["reason"] for event in events(demo) if event["kind"] == "handshake-refused"]
    assert any("certificate refused" in reason for reason in found), found
    assert "no client certificate" in found
    assert "plain HTTP on the TLS port" in found


def test_old_tls_is_refused(demo: Gateway) -> None:
    import socket

    context = demo.deployment.client.client_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(demo.address, timeout=10) as plain, pytest.raises(OSError):
        context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_no_session_is_ever_resumed(demo: Gateway) -> None:
    with RawClient(demo) as client:
        assert client.post(ECHO).status == 200
        assert client.socket.session is None or not client.socket.session.has_ticket
        assert not client.socket.session_reused


# --- signature ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def signed(deployment: Any, gateway: Any) -> Gateway:
    running: Gateway = gateway(deployment(DEMO, require=("mtls", "signature")))
    return running


def signature(running: Gateway, body: bytes, *, secret: Path | None = None, key_id: str = "tester-1") -> dict[str, str]:
    key = SigningKey(key_id, secret=load_secret(secret or running.deployment.secret))
    meta = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", json.loads(body)["params"]["name"]),
    ]
    message = SignedMessage.from_url("POST", running.url, headers=meta, body=body)
    return dict(Signer(key, scheme="hmac-sha256").sign(message))


def test_only_a_fresh_signature_of_the_clients_own_key_passes(signed: Gateway, tmp_path: Path) -> None:
    good = signature(signed, ECHO)
    assert post(signed, ECHO, good).status == 200
    foreign = tmp_path / "foreign"
    foreign.touch(mode=0o600)
    foreign.write_text("x" * 43)
    other_body = call("echo", {"text": "other"})
    attacks = [
        (ECHO, {}),
        (ECHO, good),
        (other_body, signature(signed, ECHO)),
        (ECHO, signature(signed, ECHO, secret=foreign)),
        (ECHO, signature(signed, ECHO, key_id="nobody-1")),
        (ECHO, {**signature(signed, ECHO), "Mcp-Session-Id": "added"}),
        (ECHO, {**signature(signed, ECHO), "x-timestamp": "1700000000000"}),
    ]
    for body, headers in attacks:
        response = post(signed, body, headers)
        assert (response.status, response.code) == (401, 40101), headers
    assert post(signed, ECHO, signature(signed, ECHO)).status == 200
    found = rules(signed)
    assert found[0] == found[-1] == "granted"
    assert found[2] == "nonce-replayed"
    assert "granted" not in found[1:-1]


def test_failed_signatures_are_counted_and_then_refused_unheard(signed: Gateway) -> None:
    statuses = [post(signed, ECHO, {}).status for _ in range(35)]
    assert statuses[:30] == [401] * 30
    assert 429 in statuses[30:]


# --- rate -----------------------------------------------------------------------------------------------------------------


def test_the_rate_counts_refused_and_malformed_requests_too(deployment: Any, gateway: Any) -> None:
    made = deployment(DEMO)
    made.document["clients"][0]["rate_limit"] = "10/hour"
    made.document["clients"].append(SECOND)
    made.write()
    running = gateway(made, limit_rate=True)
    with RawClient(running) as client:
        statuses = [client.post(body).status for body in (ECHO, b"not json", call("nosuch"), ECHO) for _ in range(3)]
    assert statuses == [200] * 3 + [400] * 3 + [403] * 3 + [200, 429, 429]
    refused = post(running, ECHO)
    assert refused.status == 429
    assert 300 <= int(refused.headers["retry-after"]) <= 360
    assert post(running, ECHO, identity=running.deployment.other).status == 200, "another client has its own rate"


# --- the message ------------------------------------------------------------------------------------------------------------


def legacy(method: str, params: dict[str, Any] | None = None) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}).encode()


def message_attacks() -> Iterator[tuple[str, bytes, dict[str, str | None], int, int]]:
    nested = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}}"
    meta = json.dumps(MODERN_META)
    yield "not JSON", b"{", {}, 400, -32700
    yield "batch", b"[" + ECHO + b"]", {}, 400, -32600
    yield "deep", nested, {}, 400, -32700
    yield "too deep", nested.replace(b"[" * 19_900, b"").replace(b"]" * 19_900, b""), {}, 400, -32600
    yield "two names", ECHO.replace(b'"name": "echo"', b'"name": "echo", "name": "digest"'), {}, 400, -32600
    yield "two methods", ECHO.replace(b'"id": 1', b'"id": 1, "method": "ping"'), {}, 400, -32600
    yield "NaN", ECHO.replace(b'"hello"', b"NaN"), {}, 400, -32700
    yield "id null", ECHO.replace(b'"id": 1', b'"id": null'), {}, 400, -32600
    yield "invalid UTF-8", ECHO.replace(b"hello", b"\xff"), {}, 400, -32700
    yield (
        "response",
        json.dumps({"jsonrpc": "2.0", "id": 1, "result": {}}).encode(),
        {"MCP-Protocol-Version": "2026-07-28"},
        400,
        -32600,
    )
    modern = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "echo"}
    yield "other name in the header", ECHO, {**modern, "Mcp-Name": "digest"}, 400, -32020
    yield "other method in the header", ECHO, {**modern, "Mcp-Method": "ping"}, 400, -32020
    yield "no name header", ECHO, {**modern, "Mcp-Name": None}, 400, -32020
    yield "two version headers", ECHO, {**modern, "mcp-protocol-version": "2025-11-25"}, 400, -32020
    yield "underscore twin", ECHO, {**modern, "Mcp_Name": "digest"}, 400, -32020
    yield "unknown version", ECHO, {**modern, "MCP-Protocol-Version": "2099-01-01"}, 400, -32020
    yield (
        "downgrade with a false name",
        ECHO,
        {**modern, "MCP-Protocol-Version": "2025-11-25", "Mcp-Name": "digest"},
        400,
        -32020,
    )
    yield "no _meta", legacy("tools/call", {"name": "echo"}), {**modern}, 400, -32602
    yield (
        "unknown method",
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "shell/run", "params": {"_meta": json.loads(meta)}}).encode(),
        {},
        404,
        -32601,
    )
    yield (
        "method of the other era",
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"_meta": json.loads(meta)}}).encode(),
        {},
        404,
        -32601,
    )
    yield (
        "no tool name",
        json.dumps(
            {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"arguments": {}, "_meta": json.loads(meta)}}
        ).encode(),
        {},
        400,
        -32602,
    )


def test_a_message_that_could_be_read_in_two_ways_is_refused(demo: Gateway) -> None:
    for name, body, headers, status, code in message_attacks():
        response = post(demo, body, headers)
        assert (response.status, response.code) == (status, code), (name, response)
    assert post(demo, ECHO).status == 200


def test_the_2026_era_knows_post_only(demo: Gateway) -> None:
    with RawClient(demo) as client:
        for method in ("GET", "DELETE"):
            client.send(
                f"{method} /mcp HTTP/1.1\r\nHost: {client.host}\r\nAccept: text/event-stream\r\n"
                "MCP-Protocol-Version: 2026-07-28\r\n\r\n".encode()
            )
            response = client.read()
            assert (response.status, response.headers["allow"]) == (405, "POST")


# --- sessions ----------------------------------------------------------------------------------------------------------------

HANDSHAKE = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}


def test_a_session_belongs_to_the_client_that_opened_it(deployment: Any, gateway: Any, http_server: Any) -> None:
    made = deployment({"own": {"command": fixture_command()}, "web": {"url": http_server.url}})
    made.document["clients"].append(SECOND)
    made.write()
    running = gateway(made)
    for name in ("own", "web"):
        path = f"/mcp/{name}"
        opened = post(running, legacy("initialize", HANDSHAKE), path=path)
        session = opened.headers["mcp-session-id"]
        assert len(session) >= 22
        headers: dict[str, str | None] = {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"}
        listing = legacy("tools/list")
        assert post(running, listing, headers, path=path).status == 200
        stolen = post(running, listing, headers, path=path, identity=running.deployment.other)
        made_up = post(running, listing, {**headers, "Mcp-Session-Id": "x" * 32}, path=path)
        elsewhere = post(running, listing, headers, path="/mcp/web" if name == "own" else "/mcp/own")
        for response in (stolen, made_up, elsewhere):
            assert (response.status, response.code) == (404, -32600)
        assert stolen.body == made_up.body, "nothing tells a foreign session from one that never was"
        assert post(running, listing, headers, path=path).status == 200


def test_session_ids_are_random(deployment: Any, gateway: Any) -> None:
    running = gateway(deployment({"own": {"command": fixture_command()}}))
    ids = [post(running, legacy("initialize", HANDSHAKE)).headers["mcp-session-id"] for _ in range(4)]
    assert len(set(ids)) == 4
    assert len({id[:4] for id in ids}) > 1


# --- policy -------------------------------------------------------------------------------------------------------------------

NARROW = {"allow_resources": ["demo/echo", "demo/digest"], "allow_methods": ["read"]}


def test_what_nobody_granted_is_denied_and_not_listed(deployment: Any, gateway: Any) -> None:
    upstreams = {"demo": {"builtin": "demo", "access": {"echo": "read", "convert": "read"}}}
    running = gateway(deployment(upstreams, grants=NARROW))
    assert post(running, ECHO).status == 200
    denied = [
        post(running, call(tool, {"text": "x"})) for tool in ("convert", "digest", "nosuch", "Echo", "echo ", "ECHO")
    ]
    assert {(response.status, response.code) for response in denied} == {(403, 40301)}
    assert len({json.dumps({**r.json["error"], "data": None}) for r in denied}) == 1, (
        "the answer does not tell what exists"
    )
    listing = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": MODERN_META}}).encode()
    result = post(running, listing).json["result"]
    assert [tool["name"] for tool in result["tools"]] == ["echo"], "digest is granted but unclassified, so execute"
    assert result["cacheScope"] == "private"
    assert rules(running)[1:3] == ["resource-not-granted", "method-class-not-granted"]


def test_resources_prompts_and_completions_need_their_own_grant(deployment: Any, gateway: Any) -> None:
    grants = {"allow_resources": ["own/test_simple_text"], "allow_methods": ["read", "write", "execute"]}
    running = gateway(deployment({"own": {"command": fixture_command()}}, grants=grants))
    meta = {"_meta": MODERN_META}
    asked = {
        "resources/read": {"uri": "test://static-text"},
        "prompts/get": {"name": "test_simple_prompt"},
        "completion/complete": {
            "ref": {"type": "ref/prompt", "name": "test_prompt_with_arguments"},
            "argument": {"name": "arg1", "value": "t"},
        },
        "subscriptions/listen": {"notifications": {"resourceSubscriptions": ["test://watched-resource"]}},
    }
    for method, params in asked.items():
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, **meta}}).encode()
        name = params.get("uri") or params.get("name")
        headers = {"Mcp-Method": method, "MCP-Protocol-Version": "2026-07-28", "Mcp-Name": name}
        response = post(running, body, headers)
        assert (response.status, response.code) == (403, 40301), (method, response)
    for method, member in {"resources/list": "resources", "prompts/list": "prompts"}.items():
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": meta}).encode()
        assert post(running, body).json["result"][member] == []
    assert post(running, call("test_simple_text")).status == 200


def test_paths_lead_nowhere_else(demo: Gateway) -> None:
    for path in ("/", "/mcp/", "/mcp/other", "/mcp/demo/", "/mcp/../mcp", "/mcp%2Fdemo", "/MCP", "//mcp", "/metrics"):
        assert post(demo, ECHO, path=path).status == 404, path
    assert post(demo, ECHO, path="/mcp/demo").status == 200
