"""Calls that repeat one in the session of a stdio server: its child misbehaves, and its client leaves or cancels."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fixtures.deployments import make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.pki import Identity
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, Response, request_bytes
from tests.gateway.upstreams.test_http import calls
from tests.gateway.upstreams.test_stdio import NOISE, UNUSABLE, legacy, make, open_session, text_of


def do(what: str, *, id: Any = 1, token: Any = None, **arguments: Any) -> bytes:
    params: dict[str, Any] = {"name": "do", "arguments": {"what": what, **arguments}}
    if token is not None:
        params["_meta"] = {"progressToken": token}
    return legacy("tools/call", params, id=id)


class Speaker(RawClient):
    """A connection on which one session is spoken: a new one, unless ``session`` names it."""

    def __init__(self, gateway: Gateway, session: str = "", identity: Identity | None = None) -> None:
        super().__init__(gateway, identity)
        self.session = session or open_session(self).headers["mcp-session-id"]
        self.head: dict[str, str | None] = {
            "Mcp-Session-Id": self.session, "MCP-Protocol-Version": "2025-11-25", "Mcp-Method": None, "Mcp-Name": None,
        }  # fmt: skip

    def say(self, body: bytes) -> Response:
        self.send(request_bytes(self.host, body, self.head))
        return self.read()

    def begin(self, body: bytes) -> None:
        self.send(request_bytes(self.host, body, self.head))

    def notify(self, method: str, **params: Any) -> None:
        assert self.say(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode()).status == 202

    def repeat(self, times: int = 3) -> str:
        """Calls after which the next one goes the short way; who answers them."""
        wait_until(lambda: self.say(do("pid")).status == 200, "a child that is well")
        for number in range(times):
            response = self.say(do("pid", id=number))
            assert response.json["id"] == number
        return text_of(response)

    def told(self) -> list[str]:
        """Why the child was told to give up calls."""
        return list(json.loads(text_of(self.say(do("cancelled")))))

    def end(self) -> Response:
        head = b"DELETE /mcp HTTP/1.1\r\nHost: %b\r\nMcp-Session-Id: %b\r\n\r\n"
        self.send(head % (self.host.encode(), self.session.encode()))
        return self.read()


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


@pytest.fixture
def speaker(running: Gateway) -> Iterator[Speaker]:
    with Speaker(running) as made:
        yield made
    with Speaker(running, made.session) as again:
        again.end()


def misbehave(speaker: Speaker, what: str) -> Response:
    response = speaker.say(do(what, id="own"))
    assert b"poison" not in response.body
    assert b"second" not in response.body
    assert response.json.get("id") == "own"
    return response


@pytest.mark.parametrize("what", [*NOISE, "asks"])
def test_noise_costs_a_repeated_call_nothing(speaker: Speaker, what: str) -> None:
    before = speaker.repeat()
    response = misbehave(speaker, what)
    assert response.json["result"]["content"][0]["text"] == {**NOISE, "asks": "asked"}[what]
    assert speaker.repeat() == before, "the child was lost on the way"


@pytest.mark.parametrize("what", [*UNUSABLE, "die_speaking", "refuses"])
def test_an_unusable_answer_to_a_repeated_call_is_an_error(running: Gateway, speaker: Speaker, what: str) -> None:
    allowed = {**UNUSABLE, "die_speaking": {503}, "refuses": {200}}[what]
    speaker.repeat()
    response = misbehave(speaker, what)
    assert response.status in allowed, response
    assert "content" not in (response.json.get("result") or {})
    speaker.repeat()
    if response.status >= 500:
        own = response.json["error"]["data"]["request"]
        wait_until(lambda: own in {event["request_id"] for event in calls(running)}, "its event")
        told = [(each["status"], each["decision"]) for each in calls(running) if each["request_id"] == own]
        assert told == [(response.status, "failed")]
    assert "internal error" not in running.stderr()


def test_an_answer_that_comes_too_late_meets_nobody(speaker: Speaker) -> None:
    speaker.repeat()
    assert speaker.say(do("late")).status == 504
    assert b"poison" not in speaker.say(do("pid")).body
    assert speaker.told() == ["timeout"]


def test_a_repeated_call_becomes_a_stream_when_its_answer_does_not_come_first(speaker: Speaker) -> None:
    for what in ("pid", "pid", "pid", "progress", "pid"):
        response = speaker.say(do(what, id="own", token="mine"))
        assert (response.status, response.json["id"]) == (200, "own")
        assert response.body.count(b'"progressToken":"mine"') == (2 if what == "progress" else 0)
    speaker.repeat()


def test_a_stream_that_a_repeated_call_has_become_ends_in_time(speaker: Speaker) -> None:
    for number in range(3):
        assert text_of(speaker.say(do("pid", id=number, token="mine"))).isdecimal()
    assert speaker.say(do("progress_only", token="mine")).code == 50401
    assert speaker.told() == ["timeout"]
    speaker.repeat()


@pytest.mark.parametrize("what", ["mute", "progress_only"])
def test_a_call_whose_client_has_left_is_given_up_when_its_time_is_over(running: Gateway, what: str) -> None:
    """Not before: in this era a client that leaves cancels nothing (2025-11-25, basic/transports)."""
    with Speaker(running) as leaving:
        for number in range(3):
            assert text_of(leaving.say(do("pid", id=number, token="mine"))).isdecimal()
        leaving.begin(do(what, token="mine"))
        time.sleep(0.3)
    with Speaker(running, leaving.session) as again:
        wait_until(lambda: again.say(do("pid")).status == 200, "its place")
        assert again.told() == ["timeout"]
        again.repeat()
        again.end()


# --- with time -------------------------------------------------------------------------------------------------------


@pytest.fixture
def roomy(deployment: Any, gateway: Any) -> Gateway:
    made: Gateway = gateway(make(deployment, timeout="60s"))
    return made


def narrow(deployment: Any, gateway: Any) -> Gateway:
    made = make(deployment, timeout="60s")
    made.document["upstreams"]["child"] |= {"in_flight": 1}
    made.write()
    running: Gateway = gateway(made)
    return running


def events(running: Gateway, rule: str) -> list[dict[str, Any]]:
    return [event for event in calls(running) if event.get("rule") == rule]


def leave(running: Gateway, body: bytes) -> str:
    """Begin a repeated call and go; the session."""
    with Speaker(running) as leaving:
        leaving.repeat()
        leaving.begin(body)
        time.sleep(0.3)
    wait_until(lambda: events(running, "client-gone"), "the event of the client that has gone")
    return leaving.session


def test_a_call_goes_on_when_its_client_leaves(roomy: Gateway) -> None:
    """The child still works at it, and hears of nothing; what it answers meets nobody."""
    session = leave(roomy, do("hold", text="of the first", many=2))
    with Speaker(roomy, session) as again:
        answer = again.say(do("hold", text="of the second", many=2))
        assert text_of(answer) == "of the second"
        assert again.told() == []
        again.repeat()
    assert [event["status"] for event in events(roomy, "client-gone")] == [499]


def test_a_call_that_goes_on_has_its_place_at_the_child_until_it_ends(deployment: Any, gateway: Any) -> None:
    running = narrow(deployment, gateway)
    session = leave(running, do("waits"))
    with Speaker(running, session) as again, Speaker(running) as beside:
        for _ in range(3):
            refused = again.say(do("pid"))
            assert (refused.status, refused.json["error"]["message"]) == (429, "too many requests at once")
        beside.repeat()  # another session of the same client has a child of its own
        again.notify("notifications/roots/list_changed")
        again.repeat()
        assert again.told() == []


def test_calls_at_once_are_bounded_in_sessions(deployment: Any, gateway: Any) -> None:
    running = narrow(deployment, gateway)
    with Speaker(running) as one, Speaker(running) as other, Speaker(running, one.session) as beside:
        one.repeat()
        other.repeat()
        one.begin(do("waits", id="first"))
        time.sleep(0.3)
        for speaker in (beside, other):
            assert speaker.say(do("pid")).status == 429
        one.close()
        wait_until(lambda: events(running, "client-gone"), "the event of the client that has gone")
        other.repeat()
        assert beside.say(do("pid")).status == 429, "its child works still"
        beside.notify("notifications/roots/list_changed")
        for speaker in (other, beside):
            speaker.repeat()


def test_a_client_cancels_its_own_repeated_call_and_no_other(roomy: Gateway) -> None:
    with Speaker(roomy) as mine, Speaker(roomy, mine.session) as beside, Speaker(roomy) as theirs:
        for speaker in (mine, beside, theirs):
            speaker.repeat()
        mine.begin(do("waits", id=7))
        beside.begin(do("waits", id="7"))
        theirs.begin(do("waits", id=7))
        time.sleep(0.3)
        with Speaker(roomy, mine.session) as other:
            other.notify("notifications/cancelled", requestId=8, reason="nobody's")
            other.notify("notifications/cancelled", requestId=7, reason="enough")
            answer = mine.read()
            assert (answer.status, answer.json["id"], answer.code) == (200, 7, -32800)
            assert other.told() == ["enough"]
            other.notify("notifications/roots/list_changed")
            assert (text_of(answer := beside.read()), answer.json["id"]) == ("released", "7")
        with Speaker(roomy, theirs.session) as other:
            assert other.told() == []
            other.notify("notifications/roots/list_changed")
        assert (text_of(answer := theirs.read()), answer.json["id"]) == ("released", 7)
        mine.repeat()


def test_a_call_can_be_cancelled_when_its_own_client_has_left_it(deployment: Any, gateway: Any) -> None:
    """That is how this era says that nobody wants it any more; its place is free at once."""
    running = narrow(deployment, gateway)
    session = leave(running, do("waits", id="left"))
    with Speaker(running, session) as again:
        assert again.say(do("pid")).status == 429
        again.notify("notifications/cancelled", requestId="left", reason="nobody waits")
        assert again.told() == ["nobody waits"]
        again.repeat()
        again.notify("notifications/roots/list_changed")  # the child answers all the same
        again.repeat()


ANSWER = {"role": "assistant", "content": {"type": "text", "text": "four"}, "model": "m"}


def test_what_a_child_asks_in_a_repeated_call_is_answered_once_by_its_client(roomy: Gateway) -> None:
    said = json.dumps({"jsonrpc": "2.0", "id": "question", "result": ANSWER}).encode()
    other = roomy.deployment.other
    with Speaker(roomy) as asked, Speaker(roomy, asked.session) as beside, Speaker(roomy) as unasked:
        asked.repeat()
        unasked.repeat()
        asked.begin(do("asks_first", id="own"))
        while b"sampling/createMessage" not in asked._buffer:
            assert asked._more()
        assert unasked.say(said).code == -32600, "in another session nothing was asked"
        with RawClient(roomy, other) as stranger:
            assert stranger.post(said, asked.head).status == 404
        assert beside.say(said).status == 202
        assert beside.say(said).status == 400, "once"
        answer = asked.read()
        assert answer.json["id"] == "own"
        assert json.loads(answer.json["result"]["content"][0]["text"]) == ANSWER
        asked.repeat()


def test_the_end_of_a_child_ends_the_calls_of_its_session_and_no_others(roomy: Gateway) -> None:
    with Speaker(roomy) as mine, Speaker(roomy) as theirs:
        waiting = [Speaker(roomy, mine.session) for _ in range(6)]
        held = Speaker(roomy, theirs.session)
        for speaker in (mine, theirs, held, *waiting):
            before = speaker.repeat()
        before = theirs.repeat()
        held.begin(do("waits"))
        for speaker in waiting:
            speaker.begin(do("mute"))
        time.sleep(0.3)
        assert mine.say(do("die_speaking")).code == 50301
        assert [speaker.read().code for speaker in waiting] == [50301] * len(waiting)
        assert theirs.repeat() == before
        theirs.notify("notifications/roots/list_changed")
        assert text_of(held.read()) == "released"
        mine.repeat()
        for speaker in (held, *waiting):
            speaker.close()


def test_a_session_that_is_ended_ends_its_repeated_calls(roomy: Gateway) -> None:
    with Speaker(roomy) as mine, Speaker(roomy, mine.session) as beside, Speaker(roomy) as theirs:
        mine.repeat()
        before = theirs.repeat()
        mine.begin(do("mute"))
        time.sleep(0.3)
        assert beside.end().status == 200
        assert mine.read().code == 50301
        for _ in range(3):
            assert mine.say(do("pid")).status == 404
        assert theirs.repeat() == before


def test_two_sessions_of_one_client_use_the_same_ids_beside_each_other(roomy: Gateway) -> None:
    wrong: list[Any] = []

    def one(place: int, identity: Identity | None) -> None:
        with Speaker(roomy, identity=identity) as speaker:
            child = speaker.repeat()
            for number in range(40):
                got = speaker.say(do("hold", id=number, text=f"{place} {number}", many=1))
                if got.json.get("id") != number or text_of(got) != f"{place} {number}":
                    wrong.append((place, number, got))
            if speaker.repeat() != child:
                wrong.append((place, "another child"))

    identities = [None, None, roomy.deployment.other, None]
    threads = [threading.Thread(target=one, args=each) for each in enumerate(identities)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong


def test_answers_out_of_order_between_noise_reach_whom_they_are_for(roomy: Gateway) -> None:
    """Many calls of one session at once, all with ids of their own as that session must have them."""
    with Speaker(roomy) as first:
        speakers = [Speaker(roomy, first.session) for _ in range(8)]
        for speaker in speakers:
            speaker.repeat()
        for _ in range(3):
            for number, speaker in enumerate(speakers):
                speaker.begin(do("hold", id=f"call {number}", text=f"text of {number}", many=len(speakers)))
            answers = [speaker.read() for speaker in speakers]
            assert [text_of(answer) for answer in answers] == [f"text of {number}" for number in range(8)]
            assert [answer.json["id"] for answer in answers] == [f"call {number}" for number in range(8)]
        for speaker in speakers:
            speaker.close()
