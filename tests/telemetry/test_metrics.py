from __future__ import annotations

import time
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from mcpsec.telemetry import Event
from mcpsec.telemetry.metrics import Metrics
from tests.telemetry.conftest import request


def scraped(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What a scrape says, read by the real parser."""
    status, headers, body = metrics.exposition()
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, /, **labels: str) -> float:
    return scraped(metrics).get((name, tuple(sorted(labels.items()))), 0.0)


def test_requests_are_counted_by_decision_and_timed() -> None:
    metrics = Metrics(version="1.2.3")
    for _ in range(3):
        metrics.observe(request(upstream_ms=40.0, duration_ms=60.0))
    metrics.observe(request(kind="authorization", decision="refused", status=403, reason="no-grant"))
    labels = {"upstream": "files", "method_class": "read"}
    assert value(metrics, "mcpsec_requests_total", **labels, decision="allowed", status="200") == 3
    assert value(metrics, "mcpsec_requests_total", **labels, decision="refused", status="403") == 1
    assert value(metrics, "mcpsec_authorization_denials_total", reason="no-grant") == 1
    assert value(metrics, "mcpsec_client_requests_total", client="reporting-agent", decision="allowed") == 3
    assert value(metrics, "mcpsec_request_duration_seconds_count", upstream="files") == 4
    assert value(metrics, "mcpsec_upstream_duration_seconds_sum", upstream="files") == 0.12
    assert value(metrics, "mcpsec_request_duration_seconds_bucket", upstream="files", le="0.1") == 4
    assert value(metrics, "mcpsec_build_info", version="1.2.3") == 1


def test_what_the_checklist_asks_for_moves() -> None:
    metrics = Metrics()
    cases: list[tuple[Event, str, dict[str, str]]] = [
        (
            Event("authentication-failed", reason="bad-signature", status=401),
            "mcpsec_authentication_failures_total",
            {"reason": "bad-signature"},
        ),
        (Event("handshake-refused", reason="unknown-ca"), "mcpsec_handshakes_refused_total", {"reason": "unknown-ca"}),
        (
            Event("rate-limited", reason="client-rate", status=429),
            "mcpsec_rate_limited_total",
            {"reason": "client-rate"},
        ),
        (Event("timeout", upstream="files", status=504), "mcpsec_timeouts_total", {"upstream": "files"}),
        (Event("pin", upstream="files"), "mcpsec_pin_changes_total", {"upstream": "files"}),
        (Event("alert", name="breaker-open"), "mcpsec_alerts_total", {"name": "breaker-open"}),
    ]
    for event, name, labels in cases:
        before = value(metrics, name, **labels)
        metrics.observe(event)
        assert value(metrics, name, **labels) == before + 1


def test_states_and_certificates() -> None:
    metrics = Metrics()
    metrics.observe(Event("breaker", upstream="files", state="open"))
    metrics.observe(Event("upstream", upstream="files", state="up"))
    metrics.set_certificate("server", time.time() + 10 * 86400)
    assert value(metrics, "mcpsec_breaker_state", upstream="files") == 2
    assert value(metrics, "mcpsec_upstream_up", upstream="files") == 1
    assert 9.9 < value(metrics, "mcpsec_certificate_days_left", name="server") <= 10
    metrics.observe(Event("breaker", upstream="files", state="closed"))
    assert value(metrics, "mcpsec_breaker_state", upstream="files") == 0
    for client, state, stopped in (("a", "open", 1), ("b", "open", 2), ("a", "half-open", 2), ("a", "closed", 1)):
        metrics.observe(Event("breaker", upstream="files", state=state, client=client))
        assert value(metrics, "mcpsec_breaker_clients", upstream="files") == stopped
    assert value(metrics, "mcpsec_breaker_state", upstream="files") == 0, "the one for all is closed"


def test_labels_that_a_peer_drives_stay_bounded_and_clean() -> None:
    metrics = Metrics(max_series=20, redact=lambda text: text.replace("hunter2", "[gone]"))
    metrics.observe(request(client="hunter2", status=200))
    for number in range(5000):
        metrics.observe(request(client=f"c{number}", upstream=f"u{number}", status=200 + number % 300))
        metrics.observe(Event("authentication-failed", reason=f"r{number}", status=401))
    body = metrics.exposition()[2]
    assert b"hunter2" not in body
    assert b'client="other"' in body
    clients = {labels for name, labels in scraped(metrics) if name == "mcpsec_client_requests_total"}
    assert len(clients) <= 22


def test_openmetrics_when_asked() -> None:
    _, headers, body = Metrics().exposition("application/openmetrics-text; version=1.0.0")
    assert "openmetrics" in headers["content-type"]
    assert body.endswith(b"# EOF\n")


def test_the_logs_own_figures(open_log: Any) -> None:
    metrics = Metrics()
    log = open_log()
    metrics.watch_log(log)
    log.write(request())
    assert value(metrics, "mcpsec_log_sequence") == log.sequence
    assert value(metrics, "mcpsec_log_buffered_bytes") > 0
    assert value(metrics, "mcpsec_log_available") == 1


def test_figures_are_settled_before_they_are_read_and_other_kinds_change_no_state() -> None:
    metrics = Metrics()
    settled: list[int] = []
    metrics.before_scrape(lambda: settled.append(1))
    metrics.observe(Event("upstream", upstream="files", state="up"))
    metrics.observe(Event("session", upstream="files", state="ended"))
    metrics.observe(Event("breaker", upstream="files"))
    assert metrics.exposition()[0] == 200 and settled == [1]
    assert value(metrics, "mcpsec_upstream_up", upstream="files") == 1
