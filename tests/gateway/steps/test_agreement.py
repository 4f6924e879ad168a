"""Headers and body are compared for every request, also when the head came before and agreed with another body."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mcpsec.gateway.message import Answer, Exchange, Head, Peer, Refusal, Request
from mcpsec.gateway.steps.parse import ParseMessage
from mcpsec.protocol.eras import Era
from tests.fixtures.raw import MODERN_META, call

HEADERS = [
    (b"host", b"gateway.example"),
    (b"mcp-protocol-version", b"2026-07-28"),
    (b"mcp-method", b"tools/call"),
    (b"mcp-name", b"echo"),
]
GOOD = call("echo", {"text": "hello"})


def passed(body: bytes, head: Head | None = None) -> tuple[Any, ...]:
    """What the step makes of it, with a known head or one that is parsed anew."""
    request = Request(head, body)
    if head is None:
        request.method, request.path = b"POST", b"/mcp"
        request.headers, request.fields = list(HEADERS), dict(HEADERS)
    exchange = Exchange(request, Peer("192.0.2.1"), "1")
    outcome = ParseMessage(64)(exchange)
    said = (outcome.status, outcome.code, outcome.message) if isinstance(outcome, Refusal) else outcome
    return said, exchange.era, exchange.message


def known() -> Head:
    """A head that came before, with a body that agreed."""
    head = Head(b"POST", b"/mcp", b"", HEADERS)
    assert passed(GOOD, head)[:2] == (None, Era.MODERN)
    assert head.agreement is not None
    return head


def changed(**facts: Any) -> bytes:
    message: dict[str, Any] = json.loads(GOOD)
    for name, value in facts.items():
        if name in message:
            message[name] = value
        else:
            message["params"][name] = value
    return json.dumps(message).encode()


@pytest.mark.parametrize(
    "body",
    [
        changed(name="convert"),
        changed(name=None),
        changed(name=["echo"]),
        changed(method="tools/list"),
        changed(method="prompts/get"),
        changed(_meta=None),
        changed(_meta=[]),
        changed(_meta={**MODERN_META, "io.modelcontextprotocol/protocolVersion": "2025-11-25"}),
        changed(_meta={**MODERN_META, "io.modelcontextprotocol/protocolVersion": None}),
        changed(_meta={key: value for key, value in MODERN_META.items() if "Capabilities" not in key}),
        b'{"jsonrpc":"2.0","method":"tools/call","params":{"name":"echo"}}',
        b'{"jsonrpc":"2.0","id":1,"result":{}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}',
        b"[]",
    ],
)
def test_another_body_is_judged_as_if_its_head_were_new(body: bytes) -> None:
    judged = passed(body, known())
    assert judged == passed(body)
    assert judged[0] is not None or body == changed(name=None)


def test_the_same_words_with_other_arguments_pass() -> None:
    head = known()
    for body in (call("echo", {"text": "other"}, id="a"), GOOD, call("echo")):
        assert passed(body, head) == passed(body)
        assert passed(body, head)[:2] == (None, Era.MODERN)


def test_a_head_that_never_agreed_is_asked_each_time() -> None:
    head = Head(b"POST", b"/mcp", b"", HEADERS)
    for _ in range(2):
        outcome = passed(changed(name="convert"), head)[0]
        assert outcome is not None and not isinstance(outcome, Answer)
        assert head.agreement is None
