"""What `mcpsec drill` says of a report, and the exit code it makes of it; the drill itself is tests/audit/drill."""

from __future__ import annotations

import json
import signal
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime

import pytest

from mcpsec.audit.drill import runner
from mcpsec.audit.drill.faults import FAULTS
from mcpsec.audit.drill.row import Row
from mcpsec.cli.root import main


def row(state):
    made = Row("timeout", state, injected="the call was taken", seen="504 after 2 s")
    if state == "not-applicable":
        return made.leave("the deployment has no such server", applicable=False)
    if state == "not-assessed":
        return made.leave("there is no Redis here")
    made.proof.append({"event": "call taken"})
    made.expect("504 within the deadline", True, "504")
    if state == "fail":
        made.expect("the log is whole", False, "a line is cut off")
    return made


@pytest.fixture
def drilled(monkeypatch):
    """Runs the command with rows in place of a drill; ``drilled.asked`` is what the drill was asked for."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def run(*states, arguments=()):
        def drill(config, faults, *, bounds, only_upstreams, ended):
            run.asked = (config, [each.name for each in faults], bounds, only_upstreams)
            report = runner.Report(config, "ab" * 32, bounds, ["[telemetry]"] * bool(states), datetime.now(UTC))
            for state in states:
                report.rows.append(row(state))
                ended(report.rows[-1])
            return report

        monkeypatch.setattr(runner, "drill", drill)
        return main(["drill", *arguments])

    return run


@pytest.mark.parametrize(
    ("states", "arguments", "code"),
    [
        (["pass", "not-applicable"], (), 0),
        (["pass", "not-assessed"], (), 0),
        (["pass", "not-assessed"], ("--only", "timeout"), 3),
        (["not-assessed"], (), 3),
        (["not-applicable"], (), 3),
        (["pass", "not-assessed", "fail"], (), 1),
    ],
)
def test_the_exit_code_is_the_worst_that_was_seen(states, arguments, code, drilled, capsys):
    assert drilled(*states, arguments=arguments) == code
    shown = capsys.readouterr()
    assert (
        f"1 {'failed' if 'fail' in states else 'passed' if 'pass' in states else 'not ass'}" in shown.out or code == 3
    )
    assert "not part of a drill: [telemetry]" in shown.err
    if "fail" in states:
        assert "expected the log is whole; seen: a line is cut off" in shown.out
        assert "expected 504 within" not in shown.out


def test_the_report_is_kept_for_the_audit(drilled, tmp_path, capsys):
    kept = tmp_path / "deep" / "evidence"
    assert drilled("pass", "fail", "not-assessed", arguments=["--out", str(kept), "--format", "json"]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert json.loads((kept / "drill.json").read_text()) == shown
    assert [each["state"] for each in shown["drills"]] == ["pass", "fail", "not-assessed"]
    suite = ElementTree.parse(kept / "drill.xml").getroot()
    assert (suite.get("failures"), suite.get("errors")) == ("1", "1")
    assert kept.stat().st_mode & 0o077 == 0
    assert drilled("pass", arguments=["--format", "junit"]) == 0
    assert ElementTree.fromstring(capsys.readouterr().out).get("tests") == "1"
    (tmp_path / "file").write_text("")
    assert drilled("pass", arguments=["--out", str(tmp_path / "file")]) == 2
    assert "is not a directory" in capsys.readouterr().err


def test_words_and_times_of_the_command_line(drilled, capsys):
    options = ["--only", "timeout,reset", "--only", "slow", "--skip", "reset", "--upstream", "a,b", "--longest", "2m"]
    assert drilled("pass", arguments=[*options, "--slack", "500ms"]) == 0
    _, faults, bounds, upstreams = drilled.asked
    assert (faults, upstreams) == (["timeout", "slow"], ["a", "b"])
    assert (bounds.longest, bounds.slack, bounds.within) == (120.0, 0.5, 30.0)
    for wrong, text in (
        (["--longest", "soon"], "--longest"),
        (["--only", "fire"], "there is no fault fire"),
        (["--only", "slow", "--skip", "slow"], "--skip leaves nothing"),
    ):
        assert drilled("pass", arguments=wrong) == 2
        assert text in capsys.readouterr().err


def test_the_faults_are_named_without_a_drill(capsys):
    assert main(["drill", "--list"]) == 0
    text = capsys.readouterr().out
    assert all(f"{fault.name:20} {fault.title}" in text for fault in FAULTS.values())
    assert main(["drill", "--list", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["faults"]
    assert [each["name"] for each in rows] == list(FAULTS)
