"""The deployment file's alerts: channels with their secrets, filters, thresholds."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from mcpsec.cli.root import main
from mcpsec.deployment.telemetry_model import AlertChannel, AlertLearning, Alerts, AlertThresholds
from mcpsec.errors import ConfigurationError, SecretError
from mcpsec.secretrefs import SecretRef
from mcpsec.telemetry.alerting import Selective, alert_engine, channels_of
from mcpsec.telemetry.alerts import Alert
from tests.deployment.documents import MINIMAL


class Kept:
    name = "kept"

    def __init__(self) -> None:
        self.alerts: list[str] = []

    async def send(self, alert: Alert) -> None:
        self.alerts.append(alert.rule)


def alert(rule: str, severity: str) -> Alert:
    return Alert(rule, severity, "subject", "summary", time.time())  # type: ignore[arg-type]


def test_a_channel_takes_what_it_was_made_for() -> None:
    kept = Kept()
    channel = Selective(kept, "high", ["breaker-open", "log-trouble"])

    async def send() -> None:
        for each in (
            alert("breaker-open", "high"),
            alert("breaker-open", "low"),
            alert("pin-changed", "critical"),
            alert("log-trouble", "critical"),
            alert("test", "low"),
        ):
            await channel.send(each)

    asyncio.run(send())
    assert kept.alerts == ["breaker-open", "log-trouble", "test"]


def test_channels_and_thresholds_come_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "hook").touch(mode=0o600)
    (tmp_path / "hook").write_text("x" * 40)
    (tmp_path / "slack").touch(mode=0o600)
    (tmp_path / "slack").write_text("https://hooks.slack.example/services/T/B/secret\n")
    alerts = Alerts(
        disable=("new-hour",),
        cooldown=60,
        channels=(
            AlertChannel(webhook="https://a.example/x", secret=SecretRef.parse({"file": "hook"}, tmp_path)),
            AlertChannel(slack=SecretRef.parse({"file": "slack"}, tmp_path)),
            AlertChannel(syslog="udp://127.0.0.1:514"),
            AlertChannel(command=("true",)),
        ),
        thresholds=AlertThresholds(authentication_failures=2),
        learning=AlertLearning(period=60, requests=3),
    )
    names = [channel.name for channel in channels_of(alerts)]
    assert names == [
        "webhook https://a.example/x",
        "Slack webhook at hooks.slack.example",
        "syslog udp://127.0.0.1:514",
        "command true",
    ]
    engine = alert_engine(alerts, patterns=None, record=lambda event: None)
    for _ in range(2):
        engine.feed({"kind": "authentication-failed", "client": "a", "time": "2026-11-23T08:00:00.000000Z"})
    assert [each.rule for each in engine.recent] == ["authentication-failures"]


def test_the_test_alert_goes_through_the_files_channels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = tmp_path / "taken.json"
    config = tmp_path / "mcpsec.toml"
    command = json.dumps(["sh", "-c", f"cat > {taken}"])
    config.write_text(
        MINIMAL
        + f'[[alerts.channels]]\ncommand = {command}\nrules = ["pin-changed"]\n'
        + '[[alerts.channels]]\ncommand = ["false"]\n'
    )
    assert main(["alerts", "test", "-c", str(config)]) == 1
    out = capsys.readouterr().out
    assert "sent    command sh" in out
    assert "failed  command false" in out
    assert json.loads(taken.read_text())["rule"] == "test"
    config.write_text(MINIMAL)
    assert main(["alerts", "test", "-c", str(config)]) == 2
    assert "[[alerts.channels]]" in capsys.readouterr().err


def test_a_channel_without_a_secret_or_with_a_strange_one(tmp_path: Path) -> None:
    (plainly,) = channels_of(Alerts(channels=(AlertChannel(webhook="https://a.example/x"),)))
    assert plainly.name == "webhook https://a.example/x"
    (tmp_path / "slack").touch(mode=0o600)
    (tmp_path / "slack").write_bytes(b"https://hooks.slack.example/\xff")
    slack = AlertChannel(slack=SecretRef.parse({"file": "slack"}, tmp_path))
    with pytest.raises(SecretError, match="not plain text"):
        channels_of(Alerts(channels=(slack,)))
    with pytest.raises(ConfigurationError, match="needs one of"):
        channels_of(Alerts(channels=(AlertChannel(),)))
