"""A running gateway whose time of day is set: what it served stays served once, and nobody is kept out for long."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mcpsec.audit.drill.trust import fake_clock
from mcpsec.signing import SignedMessage
from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import RawClient, call
from tests.fixtures.signatures import signer_of
from tests.fixtures.stores import Store

HOUR = 3600
MAX_AGE = 15
"""Seconds: what a busy machine may take for a handshake under a faked clock must not make a message too old."""


@dataclass
class Clock:
    """The time of day of a gateway, by so many seconds wrong; what measures durations stays true."""

    file: Path
    ahead: int = 0

    def set(self, seconds: int) -> None:
        scratch = self.file.with_suffix(".new")
        scratch.write_text(f"{seconds:+d}\n")
        scratch.replace(self.file)
        self.ahead = seconds


def environment(clock: Clock) -> dict[str, str]:
    library = fake_clock()
    if library is None:
        pytest.skip("needs libfaketime: apt-get install faketime")
    return {
        "LD_PRELOAD": os.pathsep.join(filter(None, [str(library), os.environ.get("LD_PRELOAD", "")])),
        "FAKETIME_TIMESTAMP_FILE": str(clock.file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
    }


def signed(running: Gateway, *, ahead: int = 0) -> tuple[bytes, dict[str, str | None]]:
    """A call, signed by a client whose clock is wrong, too."""
    body = call("time_now")
    headers = [(b"mcp-protocol-version", b"2026-07-28"), (b"mcp-method", b"tools/call"), (b"mcp-name", b"time_now")]
    message = SignedMessage("POST", running.authority, "/mcp", "", headers, body)
    stamp = int((time.time() + ahead) * 1000)
    return body, dict(signer_of("tester-1", running.deployment.secret).sign(message, timestamp=stamp))


def post(running: Gateway, request: tuple[bytes, dict[str, str | None]]) -> int:
    with RawClient(running) as client:
        return client.post(*request).status


@pytest.fixture(params=["memory", "shared"])
def place(request: pytest.FixtureRequest, deployment: Any, tmp_path: Path) -> Any:
    """A gateway, its clock, and how to wait until nobody remembers a nonce any more."""
    state: dict[str, Any] = {}
    store: Store | None = None
    if request.param == "shared":
        store = request.getfixturevalue("store")
        state = {"state": {"url": store.url, "timeout": "20s"}}
    made = deployment({"demo": {"builtin": "demo"}}, require=("mtls", "signature"), **state)
    made.document["auth"]["signature"] = {"max_age": f"{MAX_AGE}s"}
    made.write()
    clock = Clock(tmp_path / "clock")
    clock.set(0)
    start = request.getfixturevalue("gateway")  # after the store, so that it ends before it
    running: Gateway = start(made, environment=environment(clock))

    def forget() -> None:
        if store is not None:
            wait_until(lambda: store.say("KEYS", "*:n:*") == b"*0\r\n", "the store to forget")
        else:
            end = time.time() + MAX_AGE + 3
            wait_until(lambda: time.time() > end, "the message to be too old")
        assert post(running, signed(running)) == 200

    return running, clock, forget


def test_a_recorded_request_is_not_served_when_the_clock_is_set_back(place: Any) -> None:
    running, clock, forget = place
    began = time.time()
    recorded = signed(running)
    assert post(running, recorded) == 200
    assert post(running, recorded) == 401
    forget()
    clock.set(-int(time.time() - began) - 20)  # it is of the near future now: with patience for a busy machine
    assert post(running, recorded) == 503
    told = wait_until(
        lambda: [each for each in running.deployment.events() if each.get("rule") == "store-unavailable"], "its event"
    )
    assert "set back" in told[0]["detail"]
    clock.set(0)
    assert post(running, signed(running)) == 200


def test_an_hour_ahead_and_back_keeps_nobody_out(place: Any) -> None:
    running, clock, _ = place
    assert post(running, signed(running)) == 200
    clock.set(HOUR)
    assert post(running, signed(running)) == 401
    assert post(running, signed(running, ahead=HOUR)) == 200
    clock.set(0)
    assert post(running, signed(running)) == 200
