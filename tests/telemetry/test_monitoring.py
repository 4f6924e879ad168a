from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mcpsec.telemetry import Event
from mcpsec.telemetry.metrics import Metrics
from mcpsec.telemetry.monitoring import FILES, monitoring_file
from tests.telemetry.conftest import request


def exposed() -> set[str]:
    """Every sample name that the gateway exposes once everything happened."""
    metrics = Metrics()
    metrics.set_certificate("server", 1.0)
    metrics.set_revocation_list("client", 1.0, 2.0)
    for kind in (
        "handshake-refused",
        "authentication-failed",
        "authorization",
        "rate-limited",
        "timeout",
        "pin",
        "alert",
    ):
        metrics.observe(request(kind=kind, upstream_ms=1.0, reason="x", name="x"))
    metrics.observe(Event("breaker", upstream="x", state="open"))
    metrics.observe(Event("breaker", upstream="x", state="open", client="y"))
    return set(re.findall(r"^(mcpsec_\w+)", metrics.exposition()[2].decode(), re.MULTILINE))


@pytest.mark.parametrize("name", FILES)
def test_every_metric_named_is_one_that_exists(name: str) -> None:
    text = monitoring_file(name).decode()
    named = set(re.findall(r"\bmcpsec_\w+", text))
    assert named - exposed() == set()


def test_the_page_names_every_metric() -> None:
    page = (Path(__file__).parents[2] / "docs/monitoring.md").read_text()
    listed = re.findall(r"`(mcpsec_\w+|…_\w+)`", "".join(re.findall(r"(?m)^\| `mcpsec_.*\n", page)))
    stems = {name.replace("…_", "mcpsec_log_") for name in listed}
    assert {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in exposed()} <= stems
    assert {"mcpsec_reloads_total", "mcpsec_last_reload_successful"} <= stems  # of the gateway, not of telemetry


def test_the_grafana_dashboard_is_whole() -> None:
    dashboard = json.loads(monitoring_file("mcpsec-grafana-dashboard.json"))
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identifiers)) == len(identifiers) > 10
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert panel["targets"]


def test_promtool_accepts_the_rules(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool; install with: apt-get install prometheus")
    rules = tmp_path / "rules.yml"
    rules.write_bytes(monitoring_file("mcpsec-prometheus-rules.yml"))
    done = subprocess.run([promtool, "check", "rules", str(rules)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_promtool_accepts_the_metrics() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool; install with: apt-get install prometheus")
    metrics = Metrics()
    metrics.observe(request(upstream_ms=1.0))
    done = subprocess.run([promtool, "check", "metrics"], input=metrics.exposition()[2], capture_output=True)
    problems = [line for line in done.stderr.decode().splitlines() if line.startswith("mcpsec_")]
    assert [line for line in problems if "_created" not in line] == []
