from __future__ import annotations

import json
import os
import shlex
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from mcpsec.cli import root
from mcpsec.telemetry import AuditLog, Event
from mcpsec.telemetry.alerts import RULES
from tests.fixtures.processes import PATIENCE
from tests.fixtures.receiver import Receiver
from tests.fixtures.terminal import terminal
from tests.telemetry.conftest import plain


@pytest.fixture(autouse=True)
def commands(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("alerts", "monitor", "monitoring"):
        monkeypatch.setitem(root.COMMANDS, name, name)


def test_rules_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert root.main(["alerts", "rules"]) == 0
    out = capsys.readouterr().out
    assert all(rule in out for rule in RULES)


def test_a_test_alert_is_sent_and_a_failure_is_exit_code_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    script = tmp_path / "take"
    script.write_text(f"#!{sys.executable}\nimport sys\nopen({str(tmp_path / 'got')!r}, 'w').write(sys.stdin.read())\n")
    script.chmod(0o755)
    assert root.main(["alerts", "test", "--command", str(script)]) == 0
    assert json.loads((tmp_path / "got").read_text())["rule"] == "test"
    assert root.main(["alerts", "test", "--command", str(tmp_path / "missing")]) == 1
    assert root.main(["alerts", "test", "--syslog", "tcp://127.0.0.1:1"]) == 1
    assert root.main(["alerts", "test"]) == 2
    assert root.main(["alerts", "test", "--webhook", "http://example.com/"]) == 2


def test_an_authority_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ca = tmp_path / "no-ca.pem"
    assert root.main(["alerts", "test", "--webhook", "https://127.0.0.1:9/", "--ca", str(ca)]) == 2
    assert f"{ca}: no authority can be read from it" in capsys.readouterr().err


def test_named_channels_reach_real_receivers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    secret = tmp_path / "hook.secret"
    secret.touch(mode=0o600)
    secret.write_text("s" * 43)
    with Receiver() as receiver, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as syslog:
        syslog.bind(("127.0.0.1", 0))
        syslog.settimeout(PATIENCE)
        slack = tmp_path / "slack"
        slack.write_text(f"{receiver.url}/canary\n")
        words = ["--webhook", receiver.url, "--secret-file", str(secret), "--key-id", "hook"]
        words += ["--slack-file", str(slack), "--syslog", f"udp://127.0.0.1:{syslog.getsockname()[1]}"]
        assert root.main(["alerts", "test", *words]) == 0
        assert b"This is a test alert" in syslog.recv(10_000)
    said = capsys.readouterr().out
    assert said.count("sent ") == 3 and "canary" not in said
    (signed, document, _), (plainly, posted, path) = receiver.requests
    assert json.loads(document)["rule"] == "test" and "hook" in str(signed)
    assert "test alert" in json.loads(posted)["text"] and path.endswith("/canary") and "signature" not in str(plainly)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"https://[canary", b"http://hooks.example.com/canary"])
def test_a_slack_file_that_holds_no_url(
    content: bytes | None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "slack"
    if content is not None:
        file.write_bytes(content)
    assert root.main(["alerts", "test", "--slack-file", str(file)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "internal" not in said and "canary" not in said


def test_the_deployments_own_channels_are_tested(capsys: pytest.CaptureFixture[str], deployment: Any) -> None:
    made = deployment({"demo": {"builtin": "demo"}})
    assert root.main(["alerts", "test", "-c", str(made.config)]) == 2
    assert "has no alert channel" in capsys.readouterr().err
    with Receiver() as receiver:
        made.document["alerts"] = {"channels": [{"webhook": receiver.url}]}
        made.write()
        assert root.main(["alerts", "test", "-c", str(made.config)]) == 0
    assert len(receiver.requests) == 1


def test_replay_shows_what_would_have_been_alerted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    log = AuditLog.open(tmp_path / "events.jsonl", redact=plain)
    for _ in range(10):
        log.write(Event("authentication-failed", claimed="eve", status=401, decision="refused"))
    log.write(Event("breaker", upstream="files", state="open"))
    log.close()
    assert root.main(["alerts", "replay", str(log.path), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [alert["rule"] for alert in document["alerts"]] == ["authentication-failures", "breaker-open"]
    assert root.main(["alerts", "replay", str(log.path)]) == 0
    assert "eve" in capsys.readouterr().out


def test_monitoring_files_are_written_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    target = tmp_path / "m"
    assert root.main(["monitoring", "export", str(target)]) == 0
    written = capsys.readouterr().out.split()
    assert [Path(name).exists() for name in written] == [True, True]
    assert root.main(["monitoring", "export", str(target)]) == 2
    assert root.main(["monitoring", "export", str(target), "--force"]) == 0


def test_a_picture_in_the_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    log = AuditLog.open(tmp_path / "events.jsonl", redact=plain)
    for _ in range(5):
        log.write(
            Event("request", client="agent", decision="allowed", status=200, resource="files/x", upstream="files")
        )
    log.write(Event("authorization", client="bad\x1b[2J", decision="refused", status=403, rule="default-deny"))
    log.write(Event("alert", name="breaker-open", detail="it opened", severity="high"))
    log.close()
    assert root.main(["monitor", str(log.path), "--once"]) == 0
    out = capsys.readouterr().out
    assert "agent" in out
    assert "default-deny" in out
    assert "breaker-open" in out
    assert "\x1b" not in out
    assert "files 5 requests, 0 failed" in " ".join(out.split())
    assert "requests seen, 0 failed authentications, 0 limit hits" in " ".join(out.split())


def test_a_picture_of_a_deployment_says_what_ends(capsys: pytest.CaptureFixture[str], deployment: Any) -> None:
    made = deployment({"demo": {"builtin": "demo"}})
    log = AuditLog.open(made.log, redact=plain)
    log.write(Event("breaker", upstream="before", state="open", previous_state="closed"))
    log.write(Event("server-start"))
    log.write(Event("breaker", upstream="demo", state="open", previous_state="closed"))
    log.write(Event("breaker", upstream="other", state="open", previous_state="closed", client="agent"))
    log.close()
    assert root.main(["monitor", "-c", str(made.config), "--once"]) == 0
    out = capsys.readouterr().out
    assert out.count("breaker open") == 2
    assert out.count("breaker open for 1 client") == 1
    assert "client CA" in out
    assert "days left" in out


def test_the_picture_follows_the_log_until_ctrl_c(tmp_path: Path) -> None:
    log = AuditLog.open(tmp_path / "events.jsonl", redact=plain)
    log.write(Event("request", client="early-agent", decision="allowed", status=200, resource="files/x"))
    log.flush()
    command = f"trap : INT; {shlex.quote(sys.executable)} -m mcpsec monitor events.jsonl; echo ended=$?"
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    with terminal(["sh", "-c", command], tmp_path, environment) as screen:
        screen.wait_for("early-agent")
        log.write(Event("authorization", client="late-agent", decision="refused", status=403, rule="default-deny"))
        log.flush()
        screen.wait_for("late-agent")
        screen.type("\x03")
        screen.wait_for("ended=130")
    log.close()
    assert b"Traceback" not in screen.seen


def test_monitoring_files_that_cannot_be_written_are_one_clear_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("a file")
    assert root.main(["monitoring", "export", str(tmp_path / "taken" / "m")]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "cannot write there" in said.err and "Traceback" not in said.err
