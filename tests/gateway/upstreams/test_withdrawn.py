"""What a server asks its client and then withdraws, or asked in a stream that is over, takes no place from others."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from mcpsec.gateway.upstreams.asked import Asked, withdrawn_by
from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, request_bytes
from tests.fixtures.stores import Store
from tests.gateway.upstreams.test_sessions_http import CALL, LegacyServer, event, open_session, rpc
from tests.system.test_shared_state import pair

MOST = 2


def question(id: Any) -> dict[str, Any]:
    return {"id": id, "method": "elicitation/create", "params": {"message": f"<{id}>", "requestedSchema": {}}}


def withdrawal(id: Any) -> dict[str, Any]:
    return {"method": "notifications/cancelled", "params": {"requestId": id, "reason": "never mind"}}


def consent(id: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": id, "result": {"action": "accept", "content": {}}}).encode()


def test_places_are_given_back_and_bounded() -> None:
    asked, stream, other = Asked(), object(), object()
    assert [asked.add(id, stream, MOST) for id in (1, 2, 3)] == [(True, None), (True, None), (False, None)]
    assert asked.withdraw(1)
    assert not asked.withdraw(1)
    assert asked.add(3, other, MOST) == (True, None)
    asked.carrier_over(stream)
    assert asked.add(4, other, MOST) == (True, 2), "the one whose stream is over"
    assert asked.add(5, other, MOST) == (False, None)
    assert [asked.answer(id) for id in (1, 2, 3, 3, 4, 5)] == [None, None, True, False, True, False]
    for id in range(10_000):
        asked.add(id, stream, MOST)
        asked.withdraw(id)
    assert (asked.answer(9_999), asked.answer(0)) == (None, False), "only the newest are remembered"
    asked.add(1, stream, MOST)
    asked.withdraw(1)
    asked.add(1, stream, MOST)
    assert asked.answer(1) is True, "asked again under its old number"


@pytest.mark.parametrize("params", [None, [], {}, {"requestId": None}, {"requestId": [1]}, {"requestId": True}])
def test_what_withdraws_nothing(params: Any) -> None:
    assert withdrawn_by({"method": "notifications/cancelled", "params": params}) is None


@pytest.fixture
def server() -> Iterator[LegacyServer]:
    made = LegacyServer()
    made.session, made.ends = b"upstream", False
    yield made
    made.close()


@pytest.fixture
def running(server: LegacyServer, deployment: Any, gateway: Any) -> Gateway:
    made = deployment({"web": {"url": server.url, "timeout": "60s"}})
    made.document["server"]["limits"] = {"in_flight_per_client": MOST}
    made.write()
    started: Gateway = gateway(made)
    return started


def hear(client: RawClient, id: Any) -> None:
    while f"<{id}>".encode() not in client._buffer:
        assert client._more(), client._buffer


def answers(server: LegacyServer, member: str) -> list[Any]:
    return [each["id"] for each in server.bodies if member in each and "method" not in each]


@pytest.mark.parametrize("session", [b"", b"upstream"])
def test_a_withdrawn_question_keeps_no_place(running: Gateway, server: LegacyServer, session: bytes) -> None:
    server.session = session
    server.said = b"".join(event(question(id)) + event(withdrawal(id)) for id in range(10)) + event(question("last"))
    with RawClient(running) as client, RawClient(running) as answering:
        headers = open_session(client)
        client.send(request_bytes(client.host, CALL, headers))
        hear(client, "last")
        assert answering.post(consent(3), headers).status == 202, "it had not heard of it yet"
        assert answering.post(consent("never"), headers).status == 400
        assert answering.post(consent("last"), headers).status == 202
        wait_until(lambda: answers(server, "result"), "the answer")
        assert (answers(server, "result"), answers(server, "error")) == (["last"], [])


def test_the_same_at_another_gateway(server: LegacyServer, deployment: Any, gateway: Any, store: Store) -> None:
    """A client's answer goes to any gateway, whichever carried the question and its withdrawal."""
    made = deployment({"web": {"url": server.url, "timeout": "60s"}}, state={"url": store.url, "timeout": "20s"})
    one, other = pair(made, gateway)
    server.said = event(question(3)) + event(withdrawal(3)) + event(question("last"))
    with RawClient(one) as client, RawClient(other) as answering:
        headers = open_session(client)
        client.send(request_bytes(client.host, CALL, headers))
        hear(client, "last")
        assert answering.post(consent(3), headers).status == 202, "it had not heard of it yet"
        assert answering.post(consent("never"), headers).status == 400
        assert answering.post(consent("last"), headers).status == 202
        assert answering.post(consent("last"), headers).status == 400, "once"
        wait_until(lambda: answers(server, "result"), "the answer")
        assert answers(server, "result") == ["last"]


def test_a_question_that_is_not_withdrawn_keeps_its_place(running: Gateway, server: LegacyServer) -> None:
    server.said = b"".join(event(question(id)) for id in range(MOST + 1)) + event(withdrawal("another"))
    with RawClient(running) as client, RawClient(running) as answering:
        headers = open_session(client)
        client.send(request_bytes(client.host, CALL, headers))
        hear(client, MOST - 1)
        wait_until(lambda: answers(server, "error") == [MOST], "the refusal of one too many")
        for id in range(MOST):
            assert answering.post(consent(id), headers).status == 202
        wait_until(lambda: answers(server, "result") == list(range(MOST)), "the answers")


def test_a_question_whose_stream_is_over_gives_way(running: Gateway, server: LegacyServer) -> None:
    server.ends = True
    server.said = b"".join(event(question(id)) for id in range(MOST))
    with RawClient(running) as client:
        headers = open_session(client)
        assert client.post(CALL, headers).body.count(b"elicitation") == MOST
        server.said = event(question("next"))
        assert client.post(CALL, headers).body.count(b"elicitation") == 1
        wait_until(lambda: answers(server, "error") == [0], "the refusal of the oldest")
        assert client.post(consent(1), headers).status == 202, "while there is room, an answer may come late"
        assert client.post(consent("next"), headers).status == 202
        wait_until(lambda: answers(server, "result") == [1, "next"], "the answers")


CHILD = r"""
import json, sys

def say(**message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()

heard = []
for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    if method == "initialize":
        info = {"name": "s", "version": "1"}
        say(id=id, result={"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info})
    elif method == "tools/list":
        say(id=id, result={"tools": [{"name": "do", "inputSchema": {"type": "object"}}]})
    elif method == "tools/call":
        for each in message["params"]["arguments"]["say"]:
            say(**each)
        if message["params"]["arguments"]["ends"]:
            say(id=id, result={"content": [{"type": "text", "text": json.dumps(heard)}]})
    elif method is None:
        heard.append([id, "result" if "result" in message else "error"])
    elif id is not None:
        say(id=id, error={"code": -32601, "message": "no"})
"""


def do(*said: dict[str, Any], ends: bool = True, id: int = 1) -> bytes:
    return rpc("tools/call", {"name": "do", "arguments": {"say": list(said), "ends": ends}}, id=id)


def test_the_same_over_stdio(deployment: Any, gateway: Any) -> None:
    made = deployment({"child": {"command": [sys.executable, "-I", "-S", "-c", CHILD], "in_flight": MOST}})
    running = gateway(made)
    with ExitStack() as stack:
        client, answering = (stack.enter_context(RawClient(running)) for _ in range(2))
        headers = open_session(client)
        said = [each for id in range(10) for each in (question(id), withdrawal(id))]
        client.send(request_bytes(client.host, do(*said, question("last"), ends=False), headers))
        hear(client, "last")
        assert answering.post(consent(3), headers).status == 202
        assert answering.post(consent("never"), headers).status == 400
        assert answering.post(consent("last"), headers).status == 202
        heard = json.loads(answering.post(do(id=2), headers).json["result"]["content"][0]["text"])
        assert heard == [["last", "result"]]


def test_questions_of_a_call_that_is_over_give_way_over_stdio(deployment: Any, gateway: Any) -> None:
    made = deployment({"child": {"command": [sys.executable, "-I", "-S", "-c", CHILD], "in_flight": MOST}})
    running = gateway(made)
    with RawClient(running) as client:
        headers = open_session(client)
        for number in range(3):
            asked = (question(f"{number}a"), question(f"{number}b"))
            assert client.post(do(*asked), headers).body.count(b"elicitation") == MOST, number
        assert client.post(consent("2a"), headers).status == 202
        heard = json.loads(client.post(do(), headers).json["result"]["content"][0]["text"])
        assert heard == [["0a", "error"], ["0b", "error"], ["1a", "error"], ["1b", "error"], ["2a", "result"]]
