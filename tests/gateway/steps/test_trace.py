"""W3C Trace Context: read from the message or the header, never believed when malformed, handed on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from mcpsec.gateway.message import Exchange, Peer, Request
from mcpsec.gateway.steps.trace import Trace, parse_traceparent
from mcpsec.protocol.jsonrpc import parse
from tests.fixtures.raw import MODERN_META, RawClient
from tests.gateway.upstreams.test_http import FaultyServer

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        "",
        GOOD[:-1],
        GOOD + "-x",
        GOOD.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}_{SPAN}-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01x",
    ],
)
def test_what_is_no_traceparent(value: object) -> None:
    assert parse_traceparent(value) is None


def test_what_is_one() -> None:
    found = parse_traceparent(GOOD, "vendor=1")
    assert found is not None
    assert (found.trace_id, found.span_id, found.sampled, found.state) == (TRACE, SPAN, True, "vendor=1")
    assert found.traceparent == GOOD
    later = parse_traceparent(f"01-{TRACE}-{SPAN}-00-more")
    assert later is not None and not later.sampled
    assert parse_traceparent(GOOD, "x" * 600) == found._replace(state="")
    assert parse_traceparent(GOOD, "a=b\r\nevil: 1") == found._replace(state="")


def exchange(meta: dict[str, Any] | None = None, **headers: str) -> Exchange:
    request = Request()
    request.method = b"POST"
    for name, value in headers.items():
        request.add_header(name.encode(), value.encode())
    params = {"name": "echo", "arguments": {"traceparent": GOOD}} | ({} if meta is None else {"_meta": meta})
    request.body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    made = Exchange(request, Peer("127.0.0.1"), "id")
    made.message = parse(request.body)
    return made


def test_the_message_counts_before_the_header_and_arguments_are_left_alone() -> None:
    made = exchange({"traceparent": GOOD, "tracestate": "a=1"}, traceparent=f"00-{'1' * 32}-{SPAN}-00")
    Trace()(made)
    assert made.trace is not None
    assert made.trace.trace_id == TRACE
    assert made.request.values(b"traceparent") == [GOOD.encode()]
    assert made.request.values(b"tracestate") == [b"a=1"]
    assert made.message is not None
    assert made.message.params["arguments"] == {"traceparent": GOOD}
    assert made.message.raw == made.request.body


def test_a_header_reaches_an_upstream_that_reads_messages() -> None:
    made = exchange(traceparent=GOOD)
    Trace()(made)
    assert made.message is not None
    assert made.message.params["_meta"]["traceparent"] == GOOD
    assert json.loads(made.message.raw)["params"] == made.message.params


def test_a_malformed_context_is_not_handed_on() -> None:
    made = exchange(traceparent="00-evil", tracestate="a=1")
    Trace()(made)
    assert made.trace is None
    assert made.request.headers == []
    assert made.message is not None
    assert "_meta" not in made.message.params


def test_with_spans_of_its_own_the_gateway_is_the_parent() -> None:
    made = exchange({"traceparent": GOOD})
    Trace(own_spans=True)(made)
    assert made.trace is not None
    assert (made.trace.trace_id, made.trace.parent_id) == (TRACE, SPAN)
    assert made.trace.span_id != SPAN
    assert made.message is not None
    assert made.message.params["_meta"]["traceparent"] == f"00-{TRACE}-{made.trace.span_id}-01"
    begun = exchange()
    Trace(own_spans=True, sample=0)(begun)
    assert begun.trace is not None
    assert not begun.trace.sampled
    assert begun.trace.parent_id is None


@pytest.fixture
def upstream() -> Iterator[FaultyServer]:
    server = FaultyServer()
    yield server
    server.close()


def test_a_trace_goes_through_the_gateway_and_into_the_log(
    deployment: Any, gateway: Any, upstream: FaultyServer
) -> None:
    running = gateway(deployment({"far": {"url": upstream.url}}))
    meta = {**MODERN_META, "traceparent": GOOD}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "_meta": meta}}
    plain = {**message, "params": {"name": "echo", "_meta": MODERN_META}}
    with RawClient(running) as client:
        assert client.post(json.dumps(message).encode()).status == 200
        assert client.post(json.dumps(plain).encode(), {"Traceparent": GOOD, "Tracestate": "a=1"}).status == 200
        assert client.post(json.dumps(plain).encode(), {"Traceparent": "evil"}).status == 200
        assert client.post(b"{", {"Traceparent": GOOD}).status == 400
    running.stop()
    calls = [
        (head.lower(), body["params"]["_meta"].get("traceparent"))
        for head, body in zip(upstream.heads, upstream.bodies, strict=True)
        if body.get("method") == "tools/call"
    ]
    assert [given for _, given in calls] == [GOOD, GOOD, None]
    assert [f"traceparent: {GOOD}".encode() in head for head, _ in calls] == [True, True, False]
    assert b"tracestate: a=1" in calls[1][0]
    assert b"evil" not in calls[2][0]
    logged = [event.get("trace_id") for event in running.deployment.events() if "status" in event]
    assert logged == [TRACE, TRACE, None, TRACE]
