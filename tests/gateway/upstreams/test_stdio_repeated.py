"""Calls to a stdio server that repeat one: they go a shorter way, on which its child misbehaves as on the long one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fixtures.deployments import make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, Response, call, request_bytes
from tests.gateway.upstreams.test_http import calls
from tests.gateway.upstreams.test_stdio import NOISE, UNUSABLE, make, text_of


def do(what: str, *, id: Any = 1, **arguments: Any) -> bytes:
    return call("do", {"what": what, **arguments}, id=id)


def repeat(client: RawClient, times: int = 3) -> str:
    """Calls after which the next one goes the short way; who answers them."""
    wait_until(lambda: client.post(do("pid")).status == 200, "a child that is well")
    for number in range(times):
        response = client.post(do("pid", id=number))
        assert response.json["id"] == number
    return text_of(response)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One call at a time for the upstream: a place that is not given back would refuse all that come."""
    directory = tmp_path_factory.mktemp("repeated")
    made = make(lambda upstreams: make_deployment(directory, upstreams), timeout="2s", in_flight_per_client=1)
    made.document["upstreams"]["child"] |= {"in_flight": 1, "breaker": {"enabled": False}}
    made.write()
    started = start_gateway(made)
    yield started
    started.stop()


@pytest.mark.parametrize("what", [*NOISE, "asks"])
def test_noise_costs_a_repeated_call_nothing(running: Gateway, what: str) -> None:
    with RawClient(running) as client:
        before = repeat(client)
        response = misbehave(client, what)
        assert response.json["result"]["content"][0]["text"] == {**NOISE, "asks": "asked"}[what]
        assert repeat(client) == before, "the child was lost on the way"


def test_integers_of_any_size_come_as_the_child_wrote_them(running: Gateway) -> None:
    wanted = {"balance": 10**30, "least": -(2**63) - 1}
    with RawClient(running) as client:
        assert client.post(call("large")).json["result"]["structuredContent"] == wanted, "a first call"
        repeat(client)
        for _ in range(3):
            assert client.post(do("large")).json["result"]["structuredContent"] == wanted


def misbehave(client: RawClient, what: str) -> Response:
    response = client.post(do(what, id="own"))
    assert b"poison" not in response.body
    assert b"second" not in response.body
    assert response.json.get("id") == "own"
    return response


@pytest.mark.parametrize("what", [*UNUSABLE, "die_speaking", "refuses"])
def test_an_unusable_answer_to_a_repeated_call_is_an_error(running: Gateway, what: str) -> None:
    allowed = {**UNUSABLE, "die_speaking": {503}, "refuses": {400}}[what]
    with RawClient(running) as client:
        repeat(client)
        response = misbehave(client, what)
        assert response.status in allowed, response
        assert "content" not in (response.json.get("result") or {})
        repeat(client)
    if response.status >= 500:
        own = response.json["error"]["data"]["request"]
        wait_until(lambda: own in {event["request_id"] for event in calls(running)}, "its event")
        told = [(each["status"], each["decision"]) for each in calls(running) if each["request_id"] == own]
        assert told == [(response.status, "failed")]
    assert "internal error" not in running.stderr()


def test_an_answer_that_comes_too_late_meets_nobody(running: Gateway) -> None:
    with RawClient(running) as client:
        repeat(client)
        assert client.post(do("late")).status == 504
        assert b"poison" not in client.post(do("pid")).body
        assert json.loads(text_of(client.post(do("cancelled"))))[-1] == "timeout"


def test_a_child_hears_that_the_client_of_a_repeated_call_has_left(running: Gateway) -> None:
    for what in ("mute", "progress_only"):
        with RawClient(running) as client:
            repeat(client)
            before = len(json.loads(text_of(client.post(do("cancelled")))))
            client.send(request_bytes(client.host, do(what)))
            time.sleep(0.3)
        with RawClient(running) as client:
            wait_until(lambda client=client: client.post(do("pid")).status == 200, "its place")
            told = json.loads(text_of(client.post(do("cancelled"))))
        assert told[before:] == ["the client closed the stream"], what


def test_a_repeated_call_becomes_a_stream_when_its_answer_does_not_come_first(running: Gateway) -> None:
    meta = {**json.loads(do("pid"))["params"]["_meta"], "progressToken": "mine"}
    body = {"jsonrpc": "2.0", "id": "own", "method": "tools/call"}
    with RawClient(running) as client:
        for what in ("pid", "pid", "pid", "progress", "pid"):
            params = {"name": "do", "arguments": {"what": what}, "_meta": meta}
            response = client.post(json.dumps({**body, "params": params}).encode())
            assert response.status == 200
            assert response.json["id"] == "own"
            assert response.body.count(b'"progressToken":"mine"') == (2 if what == "progress" else 0)
        repeat(client)


def test_a_stream_that_a_repeated_call_has_become_ends_in_time(running: Gateway) -> None:
    with RawClient(running) as client:
        repeat(client)
        assert client.post(do("progress_only")).code == 50401
        repeat(client)


MANY = 12


@pytest.fixture
def roomy(deployment: Any, gateway: Any) -> Gateway:
    made: Gateway = gateway(make(deployment, timeout="30s"))
    return made


def at_once(running: Gateway, what: str, identities: list[Any], **arguments: Any) -> list[Response]:
    """The answers to a call on a connection for each, all under way together and all with the same id."""
    clients = [RawClient(running, identity) for identity in identities]
    for client in clients:
        repeat(client)
    for number, client in enumerate(clients):
        client.send(request_bytes(client.host, do(what, text=f"text of {number}", **arguments)))
    answers = [client.read() for client in clients]
    for client in clients:
        client.close()
    return answers


def test_answers_out_of_order_between_noise_reach_whom_they_are_for(roomy: Gateway) -> None:
    """Of two clients, of many connections each, in one piece, beside answers to ids that are others' or nobody's."""
    identities = [None, roomy.deployment.other] * MANY
    for _ in range(3):
        answers = at_once(roomy, "hold", identities, many=MANY)
        assert [text_of(answer) for answer in answers] == [f"text of {number}" for number in range(2 * MANY)]
        assert {answer.json["id"] for answer in answers} == {1}


def test_messages_larger_than_a_pipe_arrive_whole(roomy: Gateway) -> None:
    answers = at_once(roomy, "hold", [None] * MANY, many=MANY, padding="x" * 60_000)
    assert [text_of(answer) for answer in answers] == [f"text of {number}" for number in range(MANY)]


def test_the_end_of_a_child_ends_all_of_its_calls_and_no_others(roomy: Gateway) -> None:
    other = roomy.deployment.other
    with RawClient(roomy) as mine, RawClient(roomy, other) as theirs, RawClient(roomy, other) as held:
        repeat(mine)
        before = repeat(theirs)
        held.send(request_bytes(held.host, do("hold", text="kept", many=2)))
        waiting = [RawClient(roomy) for _ in range(MANY)]
        for client in waiting:
            repeat(client)
            client.send(request_bytes(client.host, do("mute")))
        time.sleep(0.3)
        assert mine.post(do("die_speaking")).code == 50301
        assert [client.read().code for client in waiting] == [50301] * MANY
        assert repeat(theirs) == before
        assert text_of(theirs.post(do("hold", text="second", many=2))) == "second"
        assert text_of(held.read()) == "kept"
        repeat(mine)
        for client in waiting:
            client.close()


def test_the_bulkhead_and_the_breaker_hold_for_repeated_calls(deployment: Any, gateway: Any) -> None:
    made = make(deployment, timeout="1s")
    breaker = {"minimum_calls": 3, "failure_ratio": 0.05, "open_for": "1s", "probes": 1}
    made.document["upstreams"]["child"] |= {"in_flight": 1, "breaker": breaker}
    made.write()
    running = gateway(made)
    with RawClient(running) as first, RawClient(running, made.other) as second:  # each with a child of its own
        repeat(first)
        repeat(second)
        first.send(request_bytes(first.host, do("mute")))
        time.sleep(0.3)
        response = second.post(do("pid"))
        assert (response.status, response.json["error"]["message"]) == (429, "too many requests at once")
        assert first.read().status == 504
        assert first.post(do("pid")).code == 50302
        repeat(second)
        wait_until(lambda: first.post(do("pid")).status == 200, "a closed breaker", patience=20)
        repeat(first)


def test_repeated_calls_beside_each_other_get_their_own_answers(roomy: Gateway) -> None:
    wrong: list[Any] = []

    def one(name: str, identity: Any) -> None:
        with RawClient(roomy, identity) as client:
            for number in range(40):
                got = client.post(do("hold", id=f"{name} {number}", text=f"{name} {number}", many=1))
                if got.json.get("id") != f"{name} {number}" or text_of(got) != f"{name} {number}":
                    wrong.append((name, number, got))

    identities = [None, roomy.deployment.other] * 4
    threads = [threading.Thread(target=one, args=(f"c{place}", each)) for place, each in enumerate(identities)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
