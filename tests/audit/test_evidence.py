"""Items 9 and 10 by what was kept, secrets in private files, and what could not be read."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from mcpsec.audit.evidence import write as write_evidence
from mcpsec.audit.runner import Request, audit
from mcpsec.deployment.scaffold import create
from tests.audit.helpers import failing, judged, of_text

LOCK = 'schema = "mcpsec.pins/1"\n'
CHANGES = {
    "policy": lambda made: _edit(made, 'allow_methods = ["read"]', 'allow_methods = ["read", "write"]'),
    "clients": lambda made: _edit(made, 'id = "agent"\n', 'id = "agent"\ndescription = "somebody else now"\n'),
    "pins": lambda made: (made / "mcpsec.lock").write_text(LOCK + "# tools were pinned anew\n"),
}


def _edit(made, old, new):
    file = made / "mcpsec.toml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("what", CHANGES)
def test_item_nine_fails_when_something_changed_since_the_report(what, tmp_path):
    made = create(tmp_path / "d", ["agent"]).directory
    (made / "mcpsec.lock").write_text(LOCK)

    def look():
        found = audit(Request(targets=[str(made)], root=tmp_path))
        return str(found.items[8].state), [r.observed for r in failing(found, "AUD001")]

    write_evidence(audit(Request(targets=[str(made / "mcpsec.toml")], root=tmp_path)), made / "evidence")
    assert look() == ("pass", [])
    CHANGES[what](made)
    state, why = look()
    assert state == "fail"
    assert f"{what} changed since" in why[0]


def _report(*, days=0, state="pass", leave=""):
    when = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    faults = ("partition", "timeout", "error", "certificate-expired", "restart")
    rows = [{"name": f"{fault} x", "fault": fault, "state": state} for fault in faults if fault != leave]
    return json.dumps({"schema": "mcpsec.drill/1", "created": when, "drills": rows})


def test_a_drill_is_whole_recent_and_passed(tmp_path):
    for number, (text, red) in enumerate(
        (
            (_report(), set()),
            (_report(days=93), {"RES001"}),
            (_report(state="fail"), {"RES001"}),
            (_report(leave="restart"), {"RES001"}),
        )
    ):
        found = of_text(tmp_path / str(number), "drill.json", text, select=["RES001"])
        assert {r.check for r in failing(found)} == red, text


def test_a_file_that_cannot_be_read_is_never_clean(tmp_path):
    found = of_text(tmp_path / "a", ".mcp.json", '{"mcpServers": {"a": ')
    assert [str(r.state) for r in found.results if r.check == "FIL001"] == ["not-assessed"]
    assert found.exit_code == 3
    found = of_text(tmp_path / "b", ".mcp.json", '{"mcpServers": {}}')
    assert [str(r.state) for r in found.results if r.check == "FIL001"] == ["pass"]
    assert found.exit_code == 0


@pytest.mark.skipif(os.name == "nt", reason="modes of files")
def test_a_secret_in_a_private_file_that_git_ignores_is_a_remark(tmp_path):
    """SEC005: low for 0600 and ignored, high where others read it or git would take it, a pass from a manager."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    made = create(tmp_path / "d", ["agent"]).directory
    secret = made / "secrets" / "agent.hmac"

    def look():
        found = judged(tmp_path, str(made / "mcpsec.toml"), select=["SEC005"])
        return {(str(r.state), r.severity) for r in found.results}

    (tmp_path / ".gitignore").write_text("secrets/\n")
    secret.chmod(0o600)
    assert look() == {("fail", "low")}
    secret.chmod(0o640)
    assert look() == {("fail", "high")}
    secret.chmod(0o600)
    (tmp_path / ".gitignore").write_text("")
    (made / ".gitignore").unlink(missing_ok=True)
    (made / "secrets" / ".gitignore").unlink(missing_ok=True)
    assert look() == {("fail", "high")}
    _edit(made, 'secret = { file = "secrets/agent.hmac" }', 'secret = { command = ["op", "read", "op://a/b/c"] }')
    assert {state for state, _ in look()} == {"pass"}
