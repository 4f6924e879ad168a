"""A structured fuzzer against a live listener: no crash, no leak, no answer to the request of another client.

``python benchmarks/fuzz_http.py`` fires a million of the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psutil
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.fixtures.deployments import EVERYTHING, OTHER, make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.http_answers import Answers, Stray, token
from tests.fixtures.http_fuzz import MUTATIONS, Fuzzer, Train
from tests.fixtures.processes import wait_until

CASES = st.lists(st.tuples(st.sampled_from(sorted(MUTATIONS)), st.integers(0, 2**16)), min_size=1, max_size=4)
TRAINS = st.lists(st.lists(CASES, min_size=1, max_size=3), min_size=1, max_size=3)
BATCH = 12


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    made = make_deployment(tmp_path_factory.mktemp("fuzz"), {"demo": {"builtin": "demo"}})
    made.document["clients"].append({"id": "other", "certificate": {"san": OTHER}, **EVERYTHING})
    made.document["server"]["limits"] = {"connections_per_address": 2000}
    made.write()
    # What the event loop says of a client that went away while several answers were on their way to it.
    started = start_gateway(made, expected=(r"SSL connection is closed",))
    yield started
    started.stop()  # and nothing else on standard error, such as an internal error


@pytest.fixture(scope="module")
def fuzzer(running: Gateway) -> Fuzzer:
    return Fuzzer(running, running.deployment.client, running.deployment.other)


@settings(
    max_examples=30, phases=[Phase.explicit, Phase.generate, Phase.shrink], suppress_health_check=[HealthCheck.too_slow]
)
@given(st.lists(TRAINS, min_size=BATCH, max_size=BATCH))
@example([[[[(name, number)]]] for name in MUTATIONS for number in range(3)])
def test_no_request_harms_the_gateway_or_another_client(fuzzer: Fuzzer, trains: list[Train]) -> None:
    asyncio.run(fuzzer.fire(trains))


def test_nothing_is_left_of_it(running: Gateway, fuzzer: Fuzzer) -> None:
    """The twin is answered, refusals were met, and every connection is gone."""
    asyncio.run(fuzzer.fire([[[[("flip", 0)]]]] * 40))
    asyncio.run(fuzzer.serve_bystander())
    assert fuzzer.statuses.get(400, 0) > 0
    process, port = psutil.Process(running.process.pid), running.address[1]

    def open_connections() -> int:
        return sum(each.laddr.port == port and bool(each.raddr) for each in process.net_connections("tcp"))

    wait_until(lambda: open_connections() == 0, "the end of every connection")
    assert process.is_running()


def _answer(body: bytes, fields: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n%b\r\n%b" % (len(body), fields, body)


_LAST = b"connection: close\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "received",
    [
        _answer(token(9)),
        _answer(token(2)) + _answer(token(1)),
        _answer(token(1), _LAST) + b"H",
        _answer(token(1), _LAST) + _answer(token(2)),
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.1 200 OK\ncontent-length: 0\r\n\r\n",
        _answer(b"") + token(1),
        CHUNKED + b"5\r\nhello",
    ],
    ids=[
        "of another",
        "out of turn",
        "a byte behind",
        "one behind",
        "version",
        "bare newline",
        "no head",
        "chunk behind",
    ],
)
def test_the_fuzzer_sees_what_is_not_owed(received: bytes) -> None:
    for pieces in ([received], [received[at : at + 1] for at in range(len(received))]):
        answers = Answers()
        answers.own = {1, 2}
        with pytest.raises(Stray):
            for piece in pieces:
                answers.feed(piece)


def test_the_fuzzer_takes_what_is_owed() -> None:
    """In pieces of any size, with interim answers, and with a token that a mutation made of the client's own."""
    changed = token(1)[:-1] + (b"0" if token(1)[-1:] != b"0" else b"1")
    received = (
        b"HTTP/1.1 100 Continue\r\n\r\n" + CHUNKED + _answer(token(1)) + _answer(changed) + _answer(token(2), _LAST)
    )
    for size in (1, 7, len(received)):
        answers = Answers()
        answers.own = {1, 2}
        for at in range(0, len(received), size):
            answers.feed(received[at : at + size])
        assert answers.statuses == [200] * 4 and answers.last and answers.whole
