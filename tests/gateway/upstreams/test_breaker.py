"""The breaker with a clock of its own, then before real upstreams of both kinds and in both eras."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mcpsec.deployment.model import Breaker as Config
from mcpsec.gateway.upstreams.breaker import Breakers, Pass, Pause
from mcpsec.gateway.upstreams.protected import ProtectedUpstream
from tests.fixtures.deployments import fixture_command
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, Response, call

BASE = {"failure_ratio": 0.5, "minimum_calls": 4, "window": 10.0, "open_for": 5.0, "probes": 2}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Case:
    """Calls of one client, whose own breaker it is that changes."""

    def __init__(self, **changes: Any) -> None:
        self.clock, self.history = Clock(), []
        self.breakers = Breakers(Config(**{**BASE, **changes}), changed=self.changed, clock=self.clock)

    def changed(self, state: str, _previous: str, _why: str, client: str | None) -> None:
        assert client == "one", "one client alone never changes the common breaker"
        self.history.append(state)

    @property
    def state(self) -> str:
        return self.breakers.of["one"].state

    def wait(self) -> float:
        pause = self.breakers.admit("one")
        assert isinstance(pause, Pause)
        return pause.seconds

    def pass_(self) -> Pass:
        permit = self.breakers.admit("one")
        assert isinstance(permit, Pass)
        return permit

    def calls(self, outcomes: str) -> None:
        """f: failed, g: good, s: good but slow (2 s), ?: nobody knows."""
        for outcome in outcomes:
            permit = self.pass_()
            self.clock.now += 2.0 if outcome == "s" else 0.0
            permit.settle(failed={"f": True, "?": None}.get(outcome, False))


def test_it_opens_at_the_ratio_and_not_before() -> None:
    case = Case()
    case.calls("fff")
    assert case.state == "closed", "too few calls to judge"
    case.calls("gggg")
    case.calls("f")
    assert case.history == ["open"], "4 of 8"
    assert case.wait() == 5.0
    case.clock.now += 4.0
    assert case.wait() == 1.0


def test_old_failures_and_unknown_ends_do_not_count() -> None:
    case = Case()
    case.calls("fff???")
    case.clock.now += 11.0
    case.calls("fff")
    assert case.history == []
    case.calls("f")
    assert case.history == ["open"]


def test_half_open_lets_so_many_through_and_closes_when_all_went_well() -> None:
    case = Case()
    case.calls("ffff")
    case.clock.now += 5.0
    one, two = case.pass_(), case.pass_()
    assert case.wait() == 1.0, "two probes at once, not three"
    one.settle(failed=None)
    three = case.pass_()
    two.settle(failed=False)
    assert case.state == "half-open"
    three.settle(failed=False)
    assert case.history == ["open", "half-open", "closed"]
    case.calls("ggg")


def test_a_probe_that_goes_on_and_on_keeps_no_other_from_trying() -> None:
    case = Case(probes=1)
    case.calls("ffff")
    case.clock.now += 5.0
    endless = case.pass_()
    case.clock.now += 4.9
    assert case.wait() == 1.0
    case.clock.now += 0.1
    another = case.pass_()
    assert case.wait() == 1.0
    another.settle(failed=False)
    assert case.history == ["open", "half-open", "closed"]
    endless.settle(failed=True)
    assert case.history[-1] == "closed"


def test_an_upstream_that_hangs_does_not_get_many_probes() -> None:
    """They hold places of its bulkhead until their deadline, here 300 s."""
    case = Case(probes=1)
    case.calls("ffff")
    hanging = []
    for _ in range(300):
        case.clock.now += 1.0
        permit = case.breakers.admit("one")
        if isinstance(permit, Pass):
            hanging.append(permit)
    assert len(hanging) == 11, "after 5, 5, 10, 15, ... seconds"
    for permit in hanging:
        permit.settle(failed=True)
    assert case.history == ["open", "half-open", "open"]


def test_a_failed_probe_opens_again_and_late_words_of_earlier_calls_count_no_more() -> None:
    case = Case()
    early = case.pass_()
    case.calls("ffff")
    case.clock.now += 5.0
    probe = case.pass_()
    early.settle(failed=False)
    assert case.state == "half-open"
    probe.settle(failed=True)
    assert case.history == ["open", "half-open", "open"]
    assert case.wait() == 5.0


def test_slow_calls_open_it_too() -> None:
    case = Case(slow_call=1.0, slow_ratio=0.75)
    case.calls("gsss")
    assert case.history == ["open"]
    twin = Case(slow_call=3.0, slow_ratio=0.75)
    twin.calls("gsss")
    assert twin.history == []


def test_a_stream_is_judged_by_its_beginning() -> None:
    case = Case(slow_call=1.0, slow_ratio=0.5, minimum_calls=1)
    permit = case.pass_()
    begun = case.clock.now
    case.clock.now += 60.0
    permit.settle(failed=False, answered_at=begun)
    assert case.history == []


def test_it_can_be_off() -> None:
    case = Case(enabled=False)
    case.calls("f" * 50)
    assert case.history == []


# --- before real upstreams ---------------------------------------------------------------------------------------------


def post(running: Any, tool: str = "echo", arguments: dict[str, Any] | None = None) -> Response:
    with RawClient(running) as client:
        return client.post(call(tool, arguments or {"text": "x"}))


BREAKER = {"minimum_calls": 3, "open_for": "1h", "window": "1h"}


def test_a_dead_http_upstream_is_left_alone_and_then_tried(deployment: Any, gateway: Any, tmp_path: Path) -> None:
    from tests.fixtures.upstreams import start_http_server

    server = start_http_server(tmp_path / "one")
    port = int(server.url.rsplit(":", 1)[1].split("/")[0])
    made = deployment(
        {
            "fixture": {"url": server.url, "breaker": {**BREAKER, "open_for": "1s"}},
            "other": {"builtin": "demo"},
        }
    )
    running = gateway(made)
    path = "/mcp/fixture"

    def ask() -> Response:
        with RawClient(running) as client:
            return client.post(call("echo", {"text": "x"}), path=path)

    try:
        assert ask().status == 200
    finally:
        server.stop()
    wait_until(lambda: ask().code == 50302, "the open breaker")
    refused = ask()
    if refused.code == 50302:  # it may have been tried again meanwhile
        assert refused.status == 503 and int(refused.headers["retry-after"]) >= 1
    with RawClient(running) as client:
        assert client.post(call("time_now"), path="/mcp/other").status == 200, "the other upstream is not touched"
    server = start_http_server(tmp_path / "two", port)
    try:
        wait_until(lambda: ask().status == 200, "the closed breaker")
    finally:
        server.stop()

    def states() -> list[str]:
        return [event["state"] for event in made.events() if event["kind"] == "breaker"]

    wait_until(lambda: states()[-1:] == ["closed"], "the event")
    assert states()[:2] == ["open", "half-open"]


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_a_stdio_server_that_never_answers_is_left_alone(deployment: Any, gateway: Any, era: str) -> None:
    made = deployment(
        {"fixture": {"command": fixture_command(), "timeouts": {"slow": "100ms"}, "breaker": BREAKER}},
    )
    running = gateway(made)
    headers: dict[str, str | None] = {}
    body = call("slow", {"seconds": 900})
    if era == "legacy":
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        with RawClient(running) as client:
            opened = client.post(
                json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}).encode()
            )
            headers = {"Mcp-Session-Id": opened.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
            client.post(b'{"jsonrpc":"2.0","method":"notifications/initialized"}', headers)
        body = json.dumps(
            {
                "jsonrpc": "2.0",
                "id": 2,
                "method": "tools/call",
                "params": {"name": "slow", "arguments": {"seconds": 900}},
            }
        ).encode()

    def ask() -> Response:
        with RawClient(running) as client:
            return client.post(body, headers)

    first = ask()
    assert first.status == 504, "the tool's own deadline, far below the upstream's"
    wait_until(lambda: ask().code == 50302, "the open breaker")


@pytest.mark.anyio
async def test_a_bulkhead_refuses_at_once_what_is_too_much(deployment: Any, gateway: Any, tmp_path: Path) -> None:
    made = deployment(
        {"fixture": {"command": fixture_command(), "in_flight": 2, "timeout": "900s"}, "other": {"builtin": "demo"}}
    )
    running = gateway(made)
    clients = [RawClient(running) for _ in range(3)]
    try:
        from tests.fixtures.raw import request_bytes

        for number, client in enumerate(clients[:2]):
            started = tmp_path / f"started-{number}"
            body = call("slow", {"seconds": 900, "started": str(started)})
            client.send(request_bytes(client.host, body, path="/mcp/fixture"))
            while not started.exists():
                await asyncio.sleep(0.02)
        third = clients[2].post(call("echo", {"text": "x"}), path="/mcp/fixture")
        assert (third.status, third.code, third.headers["retry-after"]) == (429, 42902, "1")
        assert third.json["error"]["data"]["retryAfter"] == 1
        assert clients[2].post(call("time_now"), path="/mcp/other").status == 200
        clients[0].close()

        def free() -> bool:
            return clients[2].post(call("echo", {"text": "x"}), path="/mcp/fixture").status == 200

        wait_until(free, "a place that was given back")
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("listener_fails", [False, True])
def test_a_place_is_given_back_once_whatever_happens_on_the_way_out(listener_fails: bool) -> None:
    """A repeated call ends while somebody who hears of the upstream's health fails: its place is not given back twice."""
    heard: list[bool] = []

    def answers(_name: str, up: bool) -> None:
        heard.append(up)
        if listener_fails:
            raise RuntimeError("a gauge that is broken")

    async def share(_exchange: Any) -> None:
        raise AssertionError("nothing to share")

    inner: Any = SimpleNamespace(name="web", catalogue=None)
    config: Any = SimpleNamespace(name="web", breaker=Config(**BASE), in_flight=2)
    protected = ProtectedUpstream(inner, config, changed=lambda *_: None, answers=answers, share=share)
    others = protected._enter(None)
    own = protected._enter(None)
    assert isinstance(others, Pass) and isinstance(own, Pass) and protected.bulkhead.running == 2
    try:
        protected.bulkhead.ended_well(own.term)
    except RuntimeError:
        protected.bulkhead.leave(own, failed=None)  # as ``Call`` does
    assert heard == [True] and protected.bulkhead.running == 1
