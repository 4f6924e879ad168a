"""Bursts and slow requests, judged by what the endpoint answered and when."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mcpsec.audit.probes import load
from mcpsec.audit.probes.session import Answer, Credentials
from mcpsec.deployment.model import Rate
from tests.audit.probes.scripted import ALICE, BOB, Clock, Stream, connected_to, error, greets, opened, said, told

TEN = Rate(10, 60.0, 10)
REFUSED = Answer(429, {"retry-after": "1"})


def bucket(size, *, refusal=REFUSED, by=lambda asked: asked.who, refill=3.0, clock=None):
    """A server that takes ``size`` requests of each of what ``by`` tells apart, and refills after a pause."""
    left, last = {}, {}

    def server(asked):
        key = by(asked)
        if clock is not None and clock.now - last.get(key, clock.now) > refill:
            left.clear()
        last[key] = clock.now if clock else 0
        left[key] = left.get(key, size) - 1
        return greets(asked) if left[key] >= 0 else refusal

    return server


def forwarded(asked):
    return asked.headers.get("x-forwarded-for", asked.who)


LIMITS = {
    "in time": (10, {}, {("RTE003", "pass"), ("RTE004", "pass")}),
    "early": (7, {}, {("RTE003", "early"), ("RTE004", "pass")}),
    "at the last": (13, {}, {("RTE003", "pass"), ("RTE004", "pass")}),
    "too late": (14, {}, {("RTE003", "never"), ("RTE004", "not-assessed")}),
    "503": (10, {"refusal": Answer(503)}, {("RTE003", "503"), ("RTE004", "pass")}),
    "without Retry-After": (10, {"refusal": Answer(429)}, {("RTE003", "retry-after"), ("RTE004", "pass")}),
    "one bucket for all": (10, {"by": lambda asked: ""}, {("RTE003", "pass"), ("RTE004", "shared")}),
    "a bucket by header": (10, {"by": forwarded}, {("RTE003", "pass"), ("RTE004", "spoofed")}),
    "gone": (10, {"refusal": Answer(failure="reset")}, {("RTE003", "not-assessed"), ("RTE004", "not-assessed")}),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_burst_is_judged_by_its_first_refusal(name, monkeypatch):
    size, more, expected = LIMITS[name]
    clock = Clock()
    server = bucket(size, clock=clock, **more)
    found = list(load.limits(opened(monkeypatch, server, clock=clock, credentials=ALICE, other=BOB, rate=TEN)))
    assert {(check, key if state == "fail" else state) for check, state, key in told(found)} == expected


def test_what_refills_faster_than_we_ask_and_what_is_too_slow_is_not_blamed(monkeypatch):
    clock = Clock(tick=1.0)
    times = iter(range(100))

    def forgiving(asked):
        return REFUSED if next(times) == 11 else greets(asked)

    quick = Rate(10, 1.0, 10)
    session = opened(monkeypatch, forgiving, clock=clock, credentials=ALICE, rate=quick)
    found = list(load.limits(session))
    said(found, "RTE004", "not-assessed", "refills faster than we can ask")
    clock = Clock(tick=20.0)
    found = list(load.limits(opened(monkeypatch, greets, clock=clock, credentials=ALICE, rate=Rate(100, 60.0, 100))))
    said(found, "RTE003", "not-assessed", "too slow to tell")


def test_other_headers_without_another_client_are_half_of_an_answer(monkeypatch):
    clock = Clock()
    session = opened(monkeypatch, bucket(10, clock=clock), clock=clock, credentials=ALICE, rate=TEN)
    said(load.limits(session), "RTE004", "not-assessed", "--other-client NAME")


def test_another_client_that_is_turned_away_says_nothing_of_the_limit(monkeypatch):
    clock = Clock()
    inner = bucket(10, clock=clock)
    session = opened(
        monkeypatch,
        lambda asked: error(401) if asked.who == "bob" else inner(asked),
        clock=clock,
        credentials=ALICE,
        other=BOB,
        rate=TEN,
    )
    said(load.limits(session), "RTE004", "not-assessed", "the other client: HTTP 401")


def test_a_burst_after_which_the_server_is_gone(monkeypatch):
    clock = Clock()
    seen = []

    def dying(asked):
        seen.append(asked)
        return greets(asked) if len(seen) <= 12 else error(500) if clock.now > 1100 else REFUSED

    found = list(load.limits(opened(monkeypatch, dying, clock=clock, credentials=ALICE, rate=TEN)))
    assert ("RTE003", "fail", "dead") in told(found)


@pytest.mark.parametrize(
    ("options", "server", "text"),
    [
        ({"rate": TEN}, lambda asked: error(401), "nothing is answered to us"),
        ({}, greets, "no limit is declared"),
        ({"rate": Rate(5_000, 60.0, 5_000)}, greets, "more than the 1200 requests"),
        ({"rate": Rate(1, 3600.0, 1)}, greets, "120 s of a burst"),
    ],
)
def test_no_burst_is_sent_without_a_limit_that_fits(options, server, text, monkeypatch):
    session = opened(monkeypatch, server, credentials=ALICE, **options)
    found = list(load.limits(session))
    assert [each.check for each in found] == ["RTE003", "RTE004"]
    for each in found:
        said([each], each.check, "not-assessed", text)
    assert len(session.facts["asked"]) <= 4


@pytest.mark.parametrize(("own", "expected"), [(TEN, TEN), (None, Rate(7, 60.0, 7))])
def test_the_limit_of_the_deployment_is_the_clients_own_before_the_default(own, expected, monkeypatch):
    clients = [SimpleNamespace(id="bob", rate_limit=None), SimpleNamespace(id="alice", rate_limit=own)]
    deployment = SimpleNamespace(clients=clients, default_rate_limit=Rate(7, 60.0, 7))
    assert load._declared(opened(monkeypatch, greets, credentials=ALICE, deployment=deployment)) == expected


SLOW = {
    "hangs up": (lambda: Stream(b""), ("pass", "waits for half the body")),
    "resets": (lambda: Stream(ConnectionResetError()), ("pass", "waits for half the body")),
    "waits": (lambda: Stream(TimeoutError()), ("fail", "are waited for: still open after 30 s")),
    "nobody": (lambda: ConnectionRefusedError(111, "Connection refused"), ("not-assessed", "connection refused")),
}


@pytest.mark.parametrize("name", SLOW)
def test_half_a_request_is_waited_for_or_not(name, monkeypatch):
    make, (state, text) = SLOW[name]
    connected_to(monkeypatch, make)
    said(list(load.slow(opened(monkeypatch, greets, credentials=Credentials()))), "TMO003", state, text)


def test_slow_requests_need_somebody_who_answers_before_and_after(monkeypatch):
    connected_to(monkeypatch, lambda: Stream(b""))
    said(
        list(load.slow(opened(monkeypatch, lambda asked: error(401)))), "TMO003", "not-assessed", "nothing is answered"
    )
    session = opened(monkeypatch, lambda asked: greets(asked) if len(session.facts["asked"]) <= 2 else error(503))
    assert ("TMO003", "fail", "dead") in told(load.slow(session))
