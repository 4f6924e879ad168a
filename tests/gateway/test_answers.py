"""The guard of answers: what can't be passed on whole is not passed on at all."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from mcpsec.deployment.model import Client
from mcpsec.gateway.answers import AnswerGuard
from mcpsec.gateway.handles import HandleSeal
from mcpsec.gateway.message import Exchange, Peer, Request
from mcpsec.gateway.upstreams.base import Catalogue

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
