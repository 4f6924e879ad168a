"""One client's failing calls stop that client; the breaker for all opens only on what several of them meet."""

from __future__ import annotations

import json
import math
import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from mcpsec.deployment.model import Breaker as Config
from mcpsec.gateway.upstreams.breaker import Breakers, Pass, Pause
from tests.fixtures.deployments import EVERYTHING, OTHER
from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, Response, call
from tests.gateway.test_admin import ADMIN, metrics
from tests.gateway.upstreams.test_breaker import Clock
from tests.gateway.upstreams.test_http import FaultyServer, send
from tests.gateway.upstreams.test_stdio import command

BASE = {"failure_ratio": 0.5, "minimum_calls": 4, "window": 10.0, "open_for": 5.0, "probes": 1}


class Case:
    def __init__(self, **changes: Any) -> None:
        self.clock = Clock()
        self.history: list[tuple[str | None, str]] = []
        self.breakers = Breakers(Config(**{**BASE, **changes}), changed=self.changed, clock=self.clock)

    def changed(self, state: str, _previous: str, _why: str, client: str | None) -> None:
        self.history.append((client, state))

    def call(self, client: str, *, failed: bool | None) -> bool:
        """One call; False when there was no pass."""
        permit = self.breakers.admit(client)
        if isinstance(permit, Pass):
            permit.settle(failed=failed)
        return isinstance(permit, Pass)

    def open_for_all(self) -> None:
        for client in ("one", "two"):
            for _ in range(4):
                self.call(client, failed=True)
        assert self.breakers.common.state == "open"


def test_whatever_one_client_does_another_is_served() -> None:
    for seed in range(30):
        rolled = random.Random(seed)
        case = Case(probes=rolled.choice([1, 3]))
        running: list[Pass] = []
        others = 0
        for _ in range(500):
            case.clock.now += rolled.choice([0.0, 0.01, 1.0, 6.0])
            for _ in range(rolled.randrange(10)):
                permit = case.breakers.admit("hostile")
                if isinstance(permit, Pass):
                    running.append(permit)
            rolled.shuffle(running)
            for _ in range(rolled.randrange(len(running) + 1)):
                running.pop().settle(failed=rolled.choice([True, True, True, None, False]))
            if rolled.random() < 0.1:
                case.breakers.tidy()
            if rolled.random() < 0.5:
                others += 1
                assert case.call("other", failed=others % 8 == 0), (seed, case.history)
        assert ("hostile", "open") in case.history
        assert not [each for each in case.history if each[0] != "hostile"]


def test_what_several_clients_meet_opens_it_for_all() -> None:
    case = Case()
    for client in ("one", "two", "three"):
        for _ in range(2):
            assert case.call(client, failed=True), case.history
    assert case.history == [(None, "open")], "4 of any two clients failed, and no more were waited for"
    pause = case.breakers.admit("four")
    assert pause == Pause(5.0, "for all clients")
    case.clock.now += 5.0
    assert case.call("four", failed=False)
    assert case.history == [(None, "open"), (None, "half-open"), (None, "closed")]


@pytest.mark.parametrize(("hostile", "others"), [(2, 2), (2, 5), (5, 6)])
def test_few_clients_whose_calls_all_fail_stop_nobody_else(hostile: int, others: int) -> None:
    """Who calls little has as much of a say as who calls all the time."""

    def case_where(others_fail: bool) -> Case:
        case = Case()
        for number in range(others):
            case.call(f"other-{number}", failed=others_fail)
        for _ in range(20):
            for number in range(hostile):
                case.call(f"hostile-{number}", failed=True)
        return case

    case = case_where(others_fail=False)
    assert {client for client, _ in case.history} == {f"hostile-{number}" for number in range(hostile)}
    assert all(case.call(f"other-{number}", failed=False) for number in range(others))
    assert (None, "open") in case_where(others_fail=True).history


def test_a_client_that_is_left_alone_is_not_needed_to_find_out_that_all_is_well() -> None:
    """A trial that one client can spoil would leave an upstream that is well again alone for ever."""
    case = Case()
    case.open_for_all()
    case.clock.now += 5.0
    case.history.clear()
    assert case.call("hostile", failed=True)
    assert case.history == [(None, "half-open"), ("hostile", "open")]
    assert case.breakers.admit("hostile") == Pause(5.0, "for this client")
    assert case.call("three", failed=False)
    assert case.history[-1] == (None, "closed")


def test_a_trial_that_two_clients_fail_opens_it_again() -> None:
    case = Case()
    case.open_for_all()
    case.clock.now += 5.0
    case.history.clear()
    assert case.call("three", failed=True)
    assert case.call("four", failed=True)
    assert case.history[-1] == (None, "open")
    assert case.breakers.admit("five") == Pause(5.0, "for all clients")


@pytest.mark.parametrize("tidied", [False, True])
def test_a_client_whose_trial_goes_on_and_on_keeps_nobody_else_out(tidied: bool) -> None:
    """A call that makes progress may take as long as a stream may: an hour."""
    case = Case()
    case.open_for_all()
    case.clock.now += 5.0
    assert isinstance(case.breakers.admit("hostile"), Pass)
    assert not case.call("three", failed=False), "one at a time"
    case.clock.now += 5.0
    if tidied:
        case.breakers.tidy()
        assert "hostile" not in case.breakers.of, "it has no other calls"
    assert case.breakers.admit("hostile") == Pause(1.0, "for all clients"), "the next is for another"
    assert case.call("three", failed=False)
    assert case.breakers.common.state == "closed"


def test_a_client_that_drops_its_trial_and_begins_another_keeps_nobody_else_out() -> None:
    case = Case()
    case.open_for_all()
    case.clock.now += 5.0
    trial = case.breakers.admit("hostile")
    assert not case.call("three", failed=False)
    case.clock.now += 4.9
    assert isinstance(trial, Pass)
    trial.settle(failed=None)
    assert isinstance(case.breakers.admit("hostile"), Pause), "the next is for another"
    assert case.call("three", failed=False)
    assert case.breakers.common.state == "closed"


def test_a_client_that_calls_alone_is_tried_again_and_again() -> None:
    case = Case()
    case.open_for_all()
    case.clock.now += 5.0
    assert not isinstance(case.breakers.admit("alone"), Pause)
    assert isinstance(case.breakers.admit("alone"), Pause)
    case.clock.now += 5.0
    second = case.breakers.admit("alone")
    assert isinstance(second, Pass), "nobody else wants it"
    case.clock.now += 9.9
    assert isinstance(case.breakers.admit("alone"), Pause), "two are under way: the next takes twice as long"
    case.clock.now += 0.1
    assert case.call("alone", failed=None)
    second.settle(failed=False)
    assert case.breakers.common.state == "closed"


def test_who_asked_once_and_came_no_more_is_not_waited_for() -> None:
    case = Case()
    case.open_for_all()
    case.clock.now += 5.0
    trial = case.breakers.admit("busy")
    assert isinstance(trial, Pass)
    assert not case.call("gone", failed=False)
    trial.settle(failed=None)
    case.clock.now += 10.9
    assert not case.call("busy", failed=False)
    case.clock.now += 0.1
    assert case.call("busy", failed=False)
    assert case.breakers.common.state == "closed"


def test_a_client_whose_trials_end_well_may_make_them_all() -> None:
    case = Case(probes=3)
    case.open_for_all()
    case.clock.now += 5.0
    held = [case.breakers.admit(each) for each in ("hostile", "three", "four")]
    assert not case.call("five", failed=False)
    assert isinstance(held[1], Pass)
    held[1].settle(failed=False)
    case.clock.now += 5.0
    assert case.call("three", failed=False)
    case.clock.now += 5.0
    assert case.call("three", failed=False)
    assert case.breakers.common.state == "closed"


@pytest.mark.parametrize("seed", range(12))
def test_whatever_others_do_with_their_trials_each_client_gets_its_own(seed: int) -> None:
    """Hostile clients ask twice as often as they should, hold their trials and drop them when they like."""
    rolled = random.Random(seed)
    case, longest = Case(probes=rolled.choice([1, 1, 3])), 300.0
    hostile = [f"hostile-{number}" for number in range(rolled.choice([1, 2, 4]))]
    case.open_for_all()
    case.clock.now += 5.0
    running: list[tuple[float, Pass]] = []
    began = last = case.clock.now
    most = 0
    while case.clock.now < began + 3600.0:
        for client in rolled.sample(hostile, len(hostile)):
            permit = case.breakers.admit(client)
            if isinstance(permit, Pass):
                running.append((case.clock.now + rolled.choice([0.0, 4.5, 5.0, 60.0, longest]), permit))
        if case.clock.now % 1.0 == 0.0 and case.call("honest", failed=None):
            last = case.clock.now
        for ends, permit in running:
            if ends <= case.clock.now:
                permit.settle(failed=None)
        running = [each for each in running if each[0] > case.clock.now]
        most = max(most, len(running))
        assert case.breakers.common.state == "half-open"
        assert case.breakers.common.probing == len(running), "none is lost"
        # Two rounds at most, and before each trial the wait that those under way impose.
        assert case.clock.now - last <= (2 * len(hostile) + 2) * 60.0, "nobody is kept out"
        if case.clock.now % 5.0 == 0.0:
            case.breakers.tidy()
        case.clock.now += 0.5
    assert most <= case.breakers._config.probes + 10, "5 + 10 + ... + 50 s is nearly as long as any of them takes"
    case.clock.now += longest
    for _, permit in running:
        permit.settle(failed=None)
    case.clock.now += 10.0
    for _ in range(case.breakers._config.probes):
        assert case.call("honest", failed=False)
    assert case.breakers.common.state == "closed"


@pytest.mark.parametrize("probes", [1, 3])
@pytest.mark.parametrize("open_for", [1.0, 5.0, 60.0])
@pytest.mark.parametrize("hostile", [2, 3, 6])
def test_clients_that_fail_their_trials_at_once_do_not_keep_it_open(hostile: int, open_for: float, probes: int) -> None:
    """They ask a hundred times a second and fail what they are given; others come when they were told to."""
    case = Case(open_for=open_for, probes=probes)
    case.open_for_all()
    began, due = case.clock.now, case.clock.now
    while case.breakers.common.state != "closed":
        for number in range(hostile):
            case.call(f"hostile-{number}", failed=True)
        if case.clock.now >= due:
            permit = case.breakers.admit("honest")
            if isinstance(permit, Pass):
                permit.settle(failed=False)
            else:
                due = case.clock.now + math.ceil(permit.seconds)
        case.clock.now += 0.01
        if case.clock.now % 5.0 < 0.01:
            case.breakers.tidy()
        assert case.clock.now - began < (hostile + 2) * (open_for + probes + 1), "nobody is kept out"


def test_who_failed_a_trial_is_not_kept_out_by_who_never_comes_again() -> None:
    case = Case(open_for=60.0)
    case.open_for_all()
    case.clock.now += 60.0
    assert case.call("one", failed=True) and case.call("two", failed=True)
    assert case.breakers.admit("gone") == Pause(60.0, "for all clients")
    case.clock.now += 60.0
    assert not case.call("one", failed=False), "it may be on its way"
    case.clock.now += 10.0
    assert case.call("one", failed=False)
    assert case.breakers.common.state == "closed"


def test_trials_that_nobody_hears_of_keep_no_place() -> None:
    case = Case(probes=2)
    case.open_for_all()
    case.clock.now += 5.0
    permits = [case.breakers.admit("three") for _ in range(2)]
    assert isinstance(case.breakers.admit("four"), Pause)
    for permit, failed in zip(permits, (True, None), strict=True):
        assert isinstance(permit, Pass)
        permit.settle(failed=failed)  # the first stops this client, so that the second belongs to an earlier term
    for _ in range(2):
        assert case.call("four", failed=False)
    assert case.breakers.common.state == "closed"


def test_clients_that_no_longer_call_are_forgotten() -> None:
    case = Case()
    for number in range(10_000):
        case.call(f"client-{number}", failed=False)
        case.clock.now += 0.1
        if number % 50 == 0:
            case.breakers.tidy()
    assert len(case.breakers.of) <= 160, "those of the last ten seconds, and of the time between two tidyings"
    for _ in range(4):
        case.call("gone", failed=True)
    assert case.history == [("gone", "open")]
    case.clock.now += 5.0
    case.breakers.tidy()
    assert case.history == [("gone", "open")]
    case.clock.now += 11.0
    case.breakers.tidy()
    assert case.history == [("gone", "open"), ("gone", "closed")], "nobody is held back, and nothing says so"
    assert not case.breakers.of


@pytest.mark.parametrize("failed", [True, False])
def test_a_call_that_outlasts_its_clients_breaker_still_counts(failed: bool) -> None:
    case = Case()
    permits = [case.breakers.admit("slow") for _ in range(4)]
    case.clock.now += 30.0
    case.breakers.tidy()
    assert not case.breakers.of
    for permit in permits:
        assert isinstance(permit, Pass)
        permit.settle(failed=failed)
    assert case.history == ([("slow", "open")] if failed else [])


def test_a_pause_that_is_over_is_not_shown_as_one() -> None:
    case = Case()
    case.open_for_all()
    case.clock.now += 5.0
    case.breakers.tidy()
    assert case.history[-1] == (None, "half-open")


def test_breakers_that_are_replaced_hold_nobody_back() -> None:
    case = Case()
    running = [case.breakers.admit("slow") for _ in range(4)]
    case.open_for_all()
    case.history.clear()
    case.breakers.retire()
    assert case.history == [("one", "closed"), ("two", "closed"), (None, "closed")]
    for permit in running:
        assert isinstance(permit, Pass)
        permit.settle(failed=True)
    assert len(case.history) == 3


# --- before real upstreams ---------------------------------------------------------------------------------------------

BREAKER = {"minimum_calls": 3, "open_for": "1h", "window": "1h"}


def make(deployment: Any, gateway: Any, upstream: dict[str, Any]) -> Gateway:
    made = deployment({"web": {"breaker": BREAKER, **upstream}}, **ADMIN)
    made.document["clients"].append({"id": "other", "certificate": {"san": OTHER}, **EVERYTHING})
    made.write()
    started: Gateway = gateway(made)
    return started


def ask(running: Gateway, body: bytes, *, other: bool = False) -> Response:
    with RawClient(running, running.deployment.other if other else None) as client:
        return client.post(body)


def figures(running: Gateway) -> tuple[float, float]:
    """The state of the breaker for all, and the number of clients that are stopped by their own."""
    found = metrics(running)
    labels = (("upstream", "web"),)
    return found.get(("mcpsec_breaker_state", labels), 0.0), found.get(("mcpsec_breaker_clients", labels), 0.0)


def changes(running: Gateway) -> list[tuple[str | None, str]]:
    events = running.deployment.events()
    return [(each.get("client"), each["state"]) for each in events if each["kind"] == "breaker"]


def test_a_client_that_crashes_its_own_child_is_stopped_alone(deployment: Any, gateway: Any) -> None:
    running = make(deployment, gateway, {"command": command(), "timeout": "5s"})
    assert ask(running, call("pid"), other=True).status == 200
    wait_until(lambda: ask(running, call("die")).code == 50302, "the open breaker")
    for _ in range(5):
        assert ask(running, call("pid"), other=True).status == 200
    assert ask(running, call("pid")).code == 50302
    assert figures(running) == (0.0, 1.0)
    wait_until(lambda: changes(running), "the event")
    assert changes(running) == [("tester", "open")]


class Moody(FaultyServer):
    """The tool ``other`` fails in the way that ``mood`` names."""

    mood = "500"

    def _answer(self, connection: socket.socket, message: dict[str, Any]) -> None:  # type: ignore[override]
        if message.get("method") == "tools/call" and message["params"]["name"] == "other":
            if self.mood == "500":
                connection.sendall(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
            elif self.mood == "garbage":
                send(connection, b"{garbage")
            elif self.mood == "error":
                error = {"code": -32000, "message": "no"}
                send(connection, json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode())
            if self.mood in {"500", "garbage", "error"}:
                return
            if self.mood == "cut":
                connection.shutdown(socket.SHUT_RDWR)
            return  # silence
        FaultyServer._answer(connection, message)


@pytest.fixture
def moody() -> Iterator[Moody]:
    server = Moody()
    yield server
    server.close()


@pytest.mark.parametrize("mood", ["500", "garbage", "cut", "silence"])
def test_a_client_whose_own_calls_fail_over_http_is_stopped_alone(
    deployment: Any, gateway: Any, moody: Moody, mood: str
) -> None:
    moody.mood = mood
    running = make(deployment, gateway, {"url": moody.url, "timeouts": {"other": "200ms"}})
    wait_until(lambda: ask(running, call("other")).code == 50302, "the open breaker")
    for _ in range(5):
        assert ask(running, call("echo"), other=True).status == 200
    assert figures(running) == (0.0, 1.0)
    before = len(moody.bodies)
    assert ask(running, call("echo")).code == 50302, "it is left alone by this client"
    assert len(moody.bodies) == before


def test_errors_that_a_server_answers_open_nothing(deployment: Any, gateway: Any, moody: Moody) -> None:
    moody.mood = "error"
    running = make(deployment, gateway, {"url": moody.url})
    for _ in range(8):
        assert ask(running, call("other")).json["error"]["code"] == -32000
    assert ask(running, call("echo")).status == 200
    assert figures(running) == (0.0, 0.0)


@pytest.mark.parametrize("kind", ["http", "stdio"])
def test_what_is_broken_for_several_clients_is_left_alone_by_all(
    deployment: Any, gateway: Any, moody: Moody, kind: str
) -> None:
    """Twice the calls that one client needs, of each of two: whichever is left out, the other's would do."""
    upstream = {"url": moody.url} if kind == "http" else {"command": command(), "timeout": "5s"}
    running = make(deployment, gateway, upstream)
    body = call("other" if kind == "http" else "die")
    for other in (False, True):
        wait_until(lambda other=other: ask(running, body, other=other).code == 50302, "the open breaker")
    wait_until(lambda: (None, "open") in changes(running), "the breaker for all")
    assert figures(running)[0] == 2.0


def test_a_dead_upstream_is_left_alone_when_only_one_client_calls(deployment: Any, gateway: Any) -> None:
    server = FaultyServer()
    try:
        running = make(deployment, gateway, {"url": server.url})
        assert ask(running, call("echo")).status == 200
    finally:
        server.close()
    wait_until(lambda: ask(running, call("echo")).code == 50302, "the open breaker")
    wait_until(lambda: changes(running), "the event")
    assert changes(running) == [("tester", "open")]


def test_a_reload_that_replaces_breakers_says_that_they_are_closed(deployment: Any, gateway: Any, moody: Moody) -> None:
    running = make(deployment, gateway, {"url": moody.url})
    running.expected.append(r".*the deployment was read again: in use now")
    wait_until(lambda: ask(running, call("other")).code == 50302, "the open breaker")
    assert figures(running) == (0.0, 1.0)
    made = running.deployment
    made.document["upstreams"]["web"]["breaker"]["minimum_calls"] = 4
    made.write()
    wait_until(lambda: figures(running) == (0.0, 0.0), "the new ones")
    assert ask(running, call("echo")).status == 200
