"""Traces and metrics as a collector gets them, with the ids that the client gave and the upstream was told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fixtures.processes import wait_until
from tests.fixtures.raw import MODERN_META, RawClient, call
from tests.gateway.upstreams.test_http import FaultyServer

pytest.importorskip("opentelemetry.sdk", reason="needs the extra: pip install -e '.[otel]'")

from tests.telemetry.collector import Collector

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.close()


@pytest.fixture
def upstream() -> Iterator[FaultyServer]:
    server = FaultyServer()
    yield server
    server.close()


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_spans_and_metrics_reach_a_collector(
    deployment: Any, gateway: Any, collector: Collector, upstream: FaultyServer
) -> None:
    made = deployment({"far": {"url": upstream.url}})
    made.document["opentelemetry"] = {
        "endpoint": collector.url,
        "interval": "1s",
        "headers": {"authorization": {"env": "OTLP_TOKEN", "prefix": "Bearer "}},
        "service_name": "gate-7",
    }
    made.write()
    running = gateway(made, environment={"OTLP_TOKEN": "collector-token"})
    meta = {**MODERN_META, "traceparent": f"00-{TRACE}-{SPAN}-01"}
    traced = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "_meta": meta}}
    unsampled = {**traced, "params": {"name": "echo", "_meta": {**meta, "traceparent": f"00-{TRACE}-{SPAN}-00"}}}
    with RawClient(running) as client:
        assert client.post(json.dumps(traced).encode()).status == 200
        assert client.post(json.dumps(unsampled).encode()).status == 200
        assert client.post(call("echo")).status == 200
        assert client.post(call("nosuch")).status == 403
    wait_until(lambda: "mcpsec_requests" in collector.metrics, "metrics")
    running.stop()  # sends what waits

    assert {each.get("authorization") for each in collector.headers} == {"Bearer collector-token"}
    assert {each["service.name"] for each in collector.resources} == {"gate-7"}
    spans = {span.name: span for span in collector.spans}
    assert len(collector.spans) == 3, "the client's decision not to sample holds"
    first = next(span for span in collector.spans if span.trace_id.hex() == TRACE)
    assert first.name == "tools/call echo"
    assert first.parent_span_id.hex() == SPAN
    told = [body["params"]["_meta"]["traceparent"] for body in upstream.bodies if body.get("method") == "tools/call"]
    assert told[0] == f"00-{TRACE}-{first.span_id.hex()}-01", "the upstream's parent is the gateway's span"
    assert told[1].endswith("-00") and told[1].startswith(f"00-{TRACE}-")
    facts = attributes(first)
    assert (facts["mcpsec.client"], facts["mcp.method.name"], facts["http.response.status_code"]) == (
        "tester",
        "tools/call",
        200,
    )
    assert attributes(spans["tools/call nosuch"])["error.type"] == "tool-unlisted"
    assert 0 < first.end_time_unix_nano - first.start_time_unix_nano < 60e9

    events = [event for event in made.events() if "status" in event]
    assert [event["trace_id"] for event in events][:2] == [TRACE, TRACE]
    assert events[0]["span_id"] == first.span_id.hex()
    counted = sum(point.as_double for point in collector.metrics["mcpsec_requests"].sum.data_points)
    assert counted == len(events)
    durations = collector.metrics["mcpsec_request_duration_seconds"].histogram.data_points
    assert sum(point.count for point in durations) == len(events)
    for point in durations:
        assert sum(point.bucket_counts) == point.count
        assert len(point.bucket_counts) == len(point.explicit_bounds) + 1


def test_a_collector_that_is_not_there_costs_nobody_a_request(deployment: Any, gateway: Any) -> None:
    made = deployment({"demo": {"builtin": "demo"}})
    made.document["opentelemetry"] = {"endpoint": "http://127.0.0.1:9", "interval": "1s"}
    made.write()
    running = gateway(made)
    with RawClient(running) as client:
        for _ in range(20):
            assert client.post(call("echo", {"text": "x"})).status == 200
    running.stop()  # and nothing is said on standard error for each failed export


def test_a_missing_extra_is_said_with_what_to_do() -> None:
    code = (
        "import sys; sys.modules['opentelemetry.sdk.trace'] = None\n"
        "from mcpsec.errors import ConfigurationError\n"
        "try:\n    import mcpsec.telemetry.otel\nexcept ConfigurationError as error:\n    print(error.hint)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "pip install 'mcpsec-toolkit[otel]'"
