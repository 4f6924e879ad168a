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
from tests.fixtures.http_fuzz import MUTATIONS, Case, Fuzzer
from tests.fixtures.processes import wait_until

CASES = st.lists(st.tuples(st.sampled_from(sorted(MUTATIONS)), st.integers(0, 2**16)), min_size=1, max_size=4)
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
@given(st.lists(CASES, min_size=BATCH, max_size=BATCH))
@example([[(name, number)] for name in MUTATIONS for number in range(3)])
def test_no_request_harms_the_gateway_or_another_client(fuzzer: Fuzzer, cases: list[Case]) -> None:
    asyncio.run(fuzzer.fire(cases))


def test_nothing_is_left_of_it(running: Gateway, fuzzer: Fuzzer) -> None:
    """The twin is answered, refusals were met, and every connection is gone."""
    asyncio.run(fuzzer.fire([[("flip", 0)]] * 40))
    asyncio.run(fuzzer.serve_bystander())
    assert fuzzer.statuses.get(400, 0) > 0
    process, port = psutil.Process(running.process.pid), running.address[1]

    def open_connections() -> int:
        return sum(each.laddr.port == port and bool(each.raddr) for each in process.net_connections("tcp"))

    wait_until(lambda: open_connections() == 0, "the end of every connection")
    assert process.is_running()
