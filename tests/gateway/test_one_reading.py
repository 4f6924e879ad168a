"""What an upstream hides from the gateway's reader in a message reaches no client's reader either."""

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
from mcpsec.gateway.one_reading import settle
from mcpsec.protocol.jsonrpc import parse

pytestmark = pytest.mark.anyio

TOKEN = "gh" + "p_" + "wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO2bVxWr"
ESCAPED = rb"\u0067" + TOKEN[1:].encode()
EVIL = b'{"tools":[{"name":"EVIL","inputSchema":{}}]}'
ASKS = (
    b'{"resultType":"input_required","inputRequests":{"a":{"method":"sampling/createMessage","params":{"x":"EVIL"}}}}'
)
TRACE = b'{"isError":true,"content":[{"type":"text","text":"Traceback (most recent call last) EVIL"}]}'
GOOD = b'{"content":[{"type":"text","text":"hello"}]}'


class Nothing:
    """A policy that shows and allows nothing."""

    def visible(self, client: str, upstream: str, kind: str, name: str) -> bool:
        return False

    def allows_server_request(self, client: str, upstream: str, method: str) -> bool:
        return False


class Endpoint:
    catalogue = Catalogue()


def exchange_of(method: str) -> Exchange:
    exchange = Exchange(Request(), Peer("127.0.0.1", client=Client(id="tester")), "1")
    exchange.endpoint = Endpoint()
    exchange.kind, exchange.upstream = "tool" if method == "tools/call" else "", "demo"
    exchange.message = parse(orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {}}))
    return exchange


def guard_of() -> AnswerGuard:
    return AnswerGuard(lambda: Nothing(), HandleSeal(60), {"demo": AnswerCleaner("redact", "hide")})  # type: ignore[arg-type, return-value]


def message(members: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,' + members + b"}"


HIDDEN: dict[str, bytes] = {
    "a list in the first of two results": message(b'"result":%b,"result":%b' % (EVIL, GOOD)),
    "the same with a name in escapes": message(rb'"resul\u0074":%b,"result":%b' % (EVIL, GOOD)),
    "the same with blanks": message(b'"result" : %b , "result" : %b' % (EVIL, GOOD)),
    "a question in the first of two results": message(b'"result":%b,"result":%b' % (ASKS, GOOD)),
    "a stack trace in the first of two results": message(b'"result":%b,"result":%b' % (TRACE, GOOD)),
    "a secret in escapes in the first of two contents": message(
        b'"result":{"content":[{"type":"text","text":"EVIL %b"}],"content":[]}' % ESCAPED
    ),
    "a list under a name in other letters": message(b'"result":{"tools":[],"Tools":[{"name":"EVIL"}]}'),
    "a list under such a name in a tool's result": message(b'"result":{"content":[],"TOOLS":[{"name":"EVIL"}]}'),
    "a result in other letters": message(b'"Result":%b,"result":%b' % (EVIL, GOOD)),
    "a result in a ping": message(b'"method":"ping","result":%b' % EVIL),
    "a result in a notification": b'{"jsonrpc":"2.0","method":"notifications/message","params":{},"result":%b}' % EVIL,
    "an error with a trace and a result": message(b'"error":{"code":1,"message":"bad"},"result":%b' % TRACE),
    "an id that is there twice": b'{"jsonrpc":"2.0","id":"EVIL","id":1,"result":%b}' % GOOD,
}


@pytest.mark.parametrize("method", ["tools/call", "tools/list"])
@pytest.mark.parametrize("name", HIDDEN)
async def test_what_the_gateways_reader_does_not_find_goes_to_no_client(name: str, method: str) -> None:
    data, exchange, guard = HIDDEN[name], exchange_of(method), guard_of()
    assert not guard.ordinary("demo")(data, 1)
    passed = guard.inspect(exchange, data).data
    assert passed is not None and b"EVIL" not in passed and TOKEN[4:].encode() not in passed
    assert [reason for reason, _ in exchange.guarded].count("answer-ambiguous") == 1


PLAIN: dict[str, bytes] = {
    "a result": message(b'"result":%b' % GOOD),
    "with a member of its own": message(b'"result":{"content":[],"Verdict":1,"toolbox":2}'),
    "with one name at two levels": message(b'"result":{"content":[],"structuredContent":{"result":{"result":1}}}'),
    "with blanks and escapes": message(rb'"result" : {"content":[{"type":"text","text":"\"result\": \"a:b\" \u00e9"}]}'),
    "with a number of more than 64 bits": message(b'"result":{"content":[],"structuredContent":{"n":123456789012345678901234}}'),
    "an error": message(b'"error":{"code":-32602,"message":"no"}'),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
async def test_what_all_read_alike_stays_the_bytes_that_it_was(name: str) -> None:
    exchange = exchange_of("tools/call")
    assert guard_of().inspect(exchange, PLAIN[name]).data is PLAIN[name]
    assert not exchange.guarded


async def test_an_error_that_is_null_is_none() -> None:
    """Some servers say it with each result, as JSON-RPC 1.0 did."""
    inspected = guard_of().inspect(exchange_of("tools/call"), message(b'"error":null,"result":%b' % GOOD))
    assert inspected.answers
    assert orjson.loads(inspected.data or b"") == {"jsonrpc": "2.0", "id": 1, "result": orjson.loads(GOOD)}


@pytest.mark.parametrize(
    ("members", "left"),
    [
        ({"result": None, "error": {"code": 1}}, {"error"}),
        ({"result": {}, "error": {"code": 1}}, {"error"}),
        ({"result": {}, "error": None}, {"result"}),
        ({"method": "ping", "error": {}}, {"method"}),
    ],
)
def test_a_message_is_one_thing(members: dict[str, Any], left: set[str]) -> None:
    frame = {**members}
    assert settle(frame) and set(frame) == left
