"""Headers against body: the official SDK's ladder as the oracle, and the places where we are stricter."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.shared.inbound import (
    ERROR_CODE_HTTP_STATUS,
    InboundLadderRejection,
    classify_inbound_request,
    decode_header_value,
    encode_header_value,
)

from mcpsec.protocol import Era, ProtocolError, Route, mcp_headers, parse, route
from mcpsec.protocol.headers import decode_value, encode_value

VERSION, CAPABILITIES = "io.modelcontextprotocol/protocolVersion", "io.modelcontextprotocol/clientCapabilities"
META = {VERSION: "2026-07-28", CAPABILITIES: {}, "io.modelcontextprotocol/clientInfo": {"name": "test"}}


def message(method: str = "tools/call", *, notification: bool = False, **params: Any) -> Any:
    body = {"jsonrpc": "2.0", "method": method, "params": params} | ({} if notification else {"id": 9})
    return parse(orjson.dumps(body))


def modern(method: str = "tools/call", **extra: str) -> dict[str, str]:
    return {"mcp-protocol-version": "2026-07-28", "mcp-method": method} | extra


def refusal(*arguments: Any) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        route(*arguments)
    return caught.value


# --- the same answers as the SDK ---

METAS: list[Any] = [
    META,
    {VERSION: "2026-07-28", CAPABILITIES: {}},
    {VERSION: "2026-07-28", CAPABILITIES: None},
    {VERSION: "2026-07-28"},
    {CAPABILITIES: {}},
    {VERSION: "2099-01-01", CAPABILITIES: {}},
    {VERSION: "2025-11-25", CAPABILITIES: {}},
    {VERSION: None, CAPABILITIES: {}},
    {VERSION: 20260728, CAPABILITIES: {}},
    {},
    None,
    [],
    "x",
    ...,
]
METHODS = ["tools/call", "prompts/get", "resources/read", "tools/list", "initialize", "no/such", "server/discover"]
NAMED: list[dict[str, Any]] = [
    {"name": "echo", "uri": "file:///a"},
    {"name": "e\u0301cho", "uri": "file:///\u00e9"},
    {},
    {"name": None, "uri": None},
    {"name": 5, "uri": ["x"]},
    {"name": "", "uri": ""},
]
NAMES = [
    None,
    "echo",
    "slow",
    "Echo",
    "file:///a",
    "",
    "=?base64?ZWNobw==?=",
    "=?base64?ZWNobw?=",
    "=?BASE64?ZWNobw==?=",
]
NAMES += [
    encode_header_value("e\u0301cho"),
    encode_header_value("\u00e9cho"),
    encode_header_value("file:///\u00e9"),
    "5",
]


@pytest.mark.parametrize(
    ("version", "outcomes"),
    [
        ("2026-07-28", {-32602, -32020, 0}),
        ("2099-01-01", {-32602, -32020, -32022}),
        ("", {-32602, -32020}),
        ("2026-07-28x", {-32602, -32020}),
    ],
)
def test_the_ladder_of_the_sdk(version: str, outcomes: set[int]) -> None:
    seen: set[int] = set()
    for meta, method, named in itertools.product(METAS, METHODS, NAMED):
        params = named if meta is ... else named | {"_meta": meta}
        request = message(method, **params)
        for header_method, name in itertools.product([method, None, "tools/list", "Tools/Call"], NAMES):
            headers = {"mcp-protocol-version": version}
            headers |= {} if header_method is None else {"mcp-method": header_method}
            headers |= {} if name is None else {"mcp-name": name}
            expected = classify_inbound_request(orjson.loads(request.raw), headers=headers)
            if isinstance(expected, InboundLadderRejection):
                error = refusal(request, headers)
                assert (error.code, error.data, error.id) == (expected.code, expected.data, 9)
                assert error.http_status == ERROR_CODE_HTTP_STATUS[expected.code]
                seen.add(error.code)
            else:
                result = route(request, headers)
                assert result == Route(
                    Era.MODERN, expected.protocol_version, expected.client_info, expected.client_capabilities
                )
                seen.add(0)
    assert seen == outcomes


def test_an_unsupported_version_is_told_what_is_supported() -> None:
    request = message("tools/list", _meta=META | {VERSION: "2099-01-01"})
    error = refusal(request, modern("tools/list") | {"mcp-protocol-version": "2099-01-01"})
    assert (error.code, error.http_status) == (-32022, 400)
    assert error.data == {"supported": ["2026-07-28"], "requested": "2099-01-01"}


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
def test_a_task_is_named_in_the_header(method: str) -> None:
    request = message(method, taskId="t-1", _meta=META)
    route(request, modern(method, **{"mcp-name": "t-1"}))
    assert refusal(request, modern(method, **{"mcp-name": "t-2"})).code == -32020
    assert refusal(request, modern(method)).code == -32020


# --- notifications and responses of the modern era ---


def test_a_modern_notification_needs_a_supported_version_only() -> None:
    request = message("notifications/cancelled", notification=True, requestId=1)
    assert route(request, {"mcp-protocol-version": "2026-07-28"}).era is Era.MODERN
    assert refusal(request, {"mcp-protocol-version": "2099-01-01"}).code == -32022
    assert refusal(request, modern("notifications/progress")).code == -32020


def test_a_modern_server_takes_no_responses() -> None:
    answer = parse(b'{"jsonrpc":"2.0","id":1,"result":{}}')
    assert refusal(answer, {"mcp-protocol-version": "2026-07-28"}).code == -32600
    assert route(answer, {"mcp-protocol-version": "2025-11-25"}).era is Era.LEGACY


# --- the legacy era: nothing is required, but nothing may lie ---


@pytest.mark.parametrize("version", [None, "2024-11-05", "2025-11-25"])
@pytest.mark.parametrize(
    ("true", "false"),
    [
        ({}, {"mcp-method": "tools/list"}),
        ({"mcp-method": "tools/call"}, {"mcp-method": "Tools/call"}),
        ({"mcp-name": "echo"}, {"mcp-name": "slow"}),
        ({"mcp-name": "=?base64?ZWNobw==?="}, {"mcp-name": "=?base64?c2xvdw==?="}),
        ({"mcp-param-region": "x"}, {"mcp-name": ""}),
    ],
)
def test_mirrored_headers_of_a_legacy_request(version: str | None, true: Any, false: Any) -> None:
    base = {} if version is None else {"mcp-protocol-version": version}
    request = message(name="echo", arguments={})
    assert route(request, base | true) == Route(Era.LEGACY, version)
    error = refusal(request, base | false)
    assert (error.code, error.http_status, error.id) == (-32020, 400, 9)


def test_a_modern_body_does_not_pass_as_a_legacy_request() -> None:
    request = message(name="echo", arguments={}, _meta=META)
    assert refusal(request, {"mcp-protocol-version": "2025-11-25"}).code == -32020
    assert refusal(request, {}).code == -32020
    assert route(request, modern(**{"mcp-name": "echo"})).era is Era.MODERN
    assert route(message(name="echo", _meta={"progressToken": 1}), {}).era is Era.LEGACY


# --- header lines ---


def test_only_mcp_headers_are_taken() -> None:
    lines = [(b"Host", b"x"), (b"MCP-Method", b" tools/call\t"), (b"mcp-Name", b"a b"), (b"mcpx", b"1"), (b"mc", b"1")]
    assert mcp_headers(lines) == {"mcp-method": "tools/call", "mcp-name": "a b"}


@pytest.mark.parametrize(
    ("lines", "twin"),
    [
        ([(b"mcp-method", b"a"), (b"Mcp-Method", b"a")], [(b"mcp-method", b"a"), (b"x-method", b"a")]),
        ([(b"mcp-param-x", b"a"), (b"MCP-PARAM-X", b"b")], [(b"mcp-param-x", b"a"), (b"mcp-param-y", b"a")]),
        ([(b"mcp-session-id", b"a"), (b"mcp-session-id", b"a")], [(b"mcp-session-id", b"a")]),
        ([(b"mcp_method", b"a")], [(b"mcp-method", b"a")]),
        ([(b"mcp-protocol_version", b"a")], [(b"mcp-param-my_name", b"a")]),
        ([(b"mcp-name", b"\xc3\xa9")], [(b"mcp-name", b"=?base64?w6k=?=")]),
        ([(b"mcp-name", b"a\tb")], [(b"mcp-name", b"a b")]),
        ([(b"mcp-name", b"a\x7fb")], [(b"mcp-name", b"a~b")]),
    ],
)
def test_header_lines_that_are_read_in_two_ways(lines: Any, twin: Any) -> None:
    with pytest.raises(ProtocolError) as caught:
        mcp_headers(lines)
    assert (caught.value.code, caught.value.http_status) == (-32020, 400)
    mcp_headers(twin)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=12), st.text("=?base64ZWNobw ", max_size=24).map(lambda text: f"=?base64?{text}?=")))
def test_values_are_encoded_and_decoded_like_the_sdk(text: str) -> None:
    try:
        encoded = encode_value(text)
    except UnicodeEncodeError:
        return
    assert decode_value(encoded) == decode_header_value(encoded) == text
    assert encoded.isascii()
    if "\n" not in text:  # the SDK's pattern takes no line break, and no header value holds one
        assert decode_value(text) == decode_header_value(text)
