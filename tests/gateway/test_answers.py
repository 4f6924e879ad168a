"""The guard of answers: what can't be passed on whole is not passed on at all."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from mcpsec.deployment.model import Client
from mcpsec.gateway.answers import AnswerGuard
from mcpsec.gateway.catalogue import Catalogue
from mcpsec.gateway.cleaning import AnswerCleaner
from mcpsec.gateway.handles import HandleSeal
from mcpsec.gateway.message import Exchange, Peer, Request
from mcpsec.protocol.jsonrpc import parse

pytestmark = pytest.mark.anyio


class Everything:
    """A policy that shows everything."""

    def visible(self, client: str, upstream: str, kind: str, name: str) -> bool:
        return True


class Endpoint:
    catalogue = Catalogue()


def answer(depth: int) -> bytes:
    """A list whose one tool has a schema of so many levels: more than 254 can be read, but not written again."""
    schema = b'{"a":' * depth + b"1" + b"}" * depth
    return b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"t","inputSchema":%b}]}}' % schema


async def test_a_list_that_can_be_read_but_not_written_is_refused() -> None:
    exchange = Exchange(Request(), Peer("127.0.0.1", client=Client(id="tester")), "1")
    exchange.endpoint = Endpoint()
    guard = AnswerGuard(lambda: Everything(), HandleSeal(60))  # type: ignore[arg-type, return-value]
    passed: Any = guard.inspect(exchange, answer(200))
    assert orjson.loads(passed.data)["result"]["tools"][0]["name"] == "t"
    refused = guard.inspect(exchange, answer(600))
    assert (refused.data, refused.rule) == (None, "answer-too-deep")


TOKEN = "ghp_" + "wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO2bVxWr"[:36]
ORDINARY = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"hello"}],"isError":false}}'


def shaped(content: bytes) -> bytes:
    """An ordinary answer with this in it."""
    return ORDINARY.replace(b'"isError"', b'"structuredContent":{"found":%b},"isError"' % content)


RESULTS: dict[str, tuple[bytes, str | None]] = {
    "an ordinary one": (ORDINARY, None),
    "an id that is a text": (ORDINARY.replace(b'"id":1', b'"id":"a"'), None),
    "an id that is null": (ORDINARY.replace(b'"id":1', b'"id":null'), None),
    "a secret": (ORDINARY.replace(b"hello", TOKEN.encode()), ""),
    "a secret in escapes": (ORDINARY.replace(b"hello", b"gh\\u0070_" + TOKEN[4:].encode()), ""),
    "a certificate": (ORDINARY.replace(b"hello", b"-----BEGIN CERTIFICATE-----"), ""),
    "a secret as a name": (shaped(b'{"%b":1}' % TOKEN.encode()), ""),
    "a secret as a name in escapes": (shaped(b'{"gh\\u0070_%b":[]}' % TOKEN[4:].encode()), ""),
    "a name that is none": (shaped(b'{"text\\u0020of the token":1}'), None),
    "a secret far down": (shaped(b"[" * 230 + b'"%b"' % TOKEN.encode() + b"]" * 230), ""),
    "a secret in escapes far down": (shaped(b"[" * 600 + b'"gh\\u0070_%b"' % TOKEN[4:].encode() + b"]" * 600), ""),
    "a text far down": (shaped(b"[" * 600 + b'"\\u0061"' + b"]" * 600), None),
    "a secret that a second result hides": (
        ORDINARY.replace(b'"result"', b'"result":"%b","result"' % TOKEN.encode()),
        "",
    ),
    "a result that comes twice": (ORDINARY.replace(b'"result"', b'"result":{},"result"'), ""),
    "a secret beside the result": (ORDINARY.replace(b'"id"', b'"debug":{"x":"%b"},"id"' % TOKEN.encode()), ""),
    "a secret in escapes beside the result": (
        ORDINARY.replace(b'"id"', b'"debug":"gh\\u0070_%b","id"' % TOKEN[4:].encode()),
        "",
    ),
    "a member beside the result": (ORDINARY.replace(b'"id"', b'"debug":{"x":"a\\u0020b"},"id"'), None),
    "a secret where a picture's bytes belong": (
        shaped(b'{"type":"image","data":{"x":"%b"}}' % TOKEN.encode()),
        "",
    ),
    "an error with a trace": (ORDINARY.replace(b"false", b"true").replace(b"hello", b"goroutine 7 [running]"), ""),
    "a list": (ORDINARY.replace(b'"content"', b'"tools":[{"name":"hidden"}],"x"'), ""),
    "no JSON": (ORDINARY[:-1], "answer-not-json"),
    "a batch": (b"[" + ORDINARY + b"]", "answer-not-a-message"),
    "a text": (b'"result"', "answer-not-a-message"),
    "an id that is a list": (ORDINARY.replace(b'"id":1', b'"id":[1]'), "answer-not-a-message"),
    "an id with a fraction": (ORDINARY.replace(b'"id":1', b'"id":1.5'), "answer-not-a-message"),
    "a method that is none": (ORDINARY.replace(b'"result"', b'"method":1,"result"'), "answer-not-a-message"),
}


class Nothing(Everything):
    """A policy that shows nothing."""

    def visible(self, client: str, upstream: str, kind: str, name: str) -> bool:
        return False


@pytest.mark.parametrize("name", RESULTS)
async def test_a_tools_result_is_judged_by_its_own_bytes(name: str) -> None:
    data, rule = RESULTS[name]
    exchange = Exchange(Request(), Peer("127.0.0.1", client=Client(id="tester")), "1")
    exchange.endpoint, exchange.kind, exchange.upstream = Endpoint(), "tool", "demo"
    guard = AnswerGuard(lambda: Nothing(), HandleSeal(60), {"demo": AnswerCleaner("redact", "hide")})  # type: ignore[arg-type, return-value]
    for each in (ORDINARY, data):  # whatever came before it
        inspected = guard.inspect(exchange, each)
    if rule:
        assert (inspected.data, inspected.rule) == (None, rule)
    elif rule is None:
        assert inspected == (data, True, None, "", None)
        assert inspected.data is data
    else:
        assert inspected.answers
        assert not guard.ordinary("demo")(data, 1)
        assert inspected.data not in (None, data)
        shown = str(inspected.data)
        assert not any(word in shown for word in (TOKEN, TOKEN[4:], "BEGIN", "goroutine", "hidden"))


WHOSE: dict[str, tuple[bytes, bytes, bool | None]] = {
    "its own result": (b'"id":1,"method":"tools/call"', ORDINARY, True),
    "another's result": (b'"id":2,"method":"tools/call"', ORDINARY, False),
    "a result for its id as a number": (b'"id":"1","method":"tools/call"', ORDINARY, True),
    "a result for true": (b'"id":1,"method":"tools/call"', ORDINARY.replace(b'"id":1', b'"id":true'), None),
    "a result for 1.0": (b'"id":1,"method":"tools/call"', ORDINARY.replace(b'"id":1', b'"id":1.0'), None),
    "a result for a nobody's 0": (b'"id":0,"method":"tools/call"', ORDINARY.replace(b'"id":1', b'"id":false'), None),
    "a result for nobody": (b'"id":1,"method":"tools/call"', ORDINARY.replace(b'"id":1', b'"id":null'), False),
    "another's error": (b'"id":2,"method":"ping"', b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}', False),
    "an error for nobody": (
        b'"id":2,"method":"ping"', b'{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}', True
    ),
    "a message of the server's own": (b'"id":2,"method":"ping"', b'{"jsonrpc":"2.0","method":"notifications/x"}', True),
    "a result for a notification": (b'"method":"notifications/initialized"', ORDINARY, False),
    "an empty word for a notification": (b'"method":"notifications/initialized"', b'{"jsonrpc":"2.0"}', True),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["tool", "method"])
@pytest.mark.parametrize("name", WHOSE)
async def test_what_comes_alone_answers_its_own_request(name: str, kind: str) -> None:
    sent, data, passes = WHOSE[name]
    exchange = Exchange(Request(), Peer("127.0.0.1", client=Client(id="tester")), "1")
    exchange.endpoint, exchange.kind, exchange.upstream = Endpoint(), kind, "demo"
    exchange.message = parse(b'{"jsonrpc":"2.0",%b,"params":{}}' % sent)
    guard = AnswerGuard(lambda: Everything(), HandleSeal(60))  # type: ignore[arg-type, return-value]
    if passes is None:
        assert guard.inspect(exchange, data) == guard.inspect(exchange, data, alone=True)
        assert guard.inspect(exchange, data)[::3] == (None, "answer-not-a-message")
        assert not guard.ordinary("demo")(data, exchange.rpc_id)
        return
    assert guard.inspect(exchange, data).data is data, "in a stream that goes on with another it may come at any time"
    alone = guard.inspect(exchange, data, alone=True)
    assert alone.data is data if passes else (alone.data, alone.rule) == (None, "answer-to-another")
    if exchange.rpc_id is not None and data is ORDINARY:
        assert guard.ordinary("demo")(data, exchange.rpc_id) is (exchange.rpc_id == 1)


LONG = b'"isError":false,"structuredContent":{"number":123456789012345678901234567890,"text":"-----BEGIN no key"}'


async def test_a_clean_answer_stays_as_it_is_however_much_it_looks_like_one_with_a_secret() -> None:
    """What has a member twice is written again, without the one that was not looked at."""
    exchange = Exchange(Request(), Peer("127.0.0.1", client=Client(id="tester")), "1")
    exchange.endpoint, exchange.kind, exchange.upstream = Endpoint(), "tool", "demo"
    guard = AnswerGuard(lambda: Nothing(), HandleSeal(60), {"demo": AnswerCleaner("redact", "hide")})  # type: ignore[arg-type, return-value]
    escaped = ORDINARY.replace(b'"isError":false', LONG).replace(b"hello", b"\\u0041KIA: no key")
    spaced = escaped.replace(b",", b" , ")
    hidden = b'"number":1,"number":"%b","number":123456789012345678901234567890' % TOKEN.encode()
    for data in (escaped, spaced):
        assert guard.inspect(exchange, data).data is data
    for data in (
        escaped.replace(b'"number":123456789012345678901234567890', hidden),
        ORDINARY.replace(b'"jsonrpc"', b'"id":"%b","jsonrpc"' % TOKEN.encode()),
    ):
        shown = guard.inspect(exchange, data).data
        assert shown is not None
        assert TOKEN.encode() not in shown
