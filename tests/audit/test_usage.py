"""What logs, locks, ledgers and drill reports say: PRM005, TOL004, CRT006, RES002, TMO004."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from mcpsec.audit.runner import Request, audit
from mcpsec.deployment.scaffold import create
from mcpsec.gateway.pins.lock import Lock, UpstreamPins
from tests.audit.helpers import failing, judged

TOOL = {"name": "echo", "description": "Gives it back.", "inputSchema": {"type": "object"}}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    return create(tmp_path_factory.mktemp("used") / "d", ["agent"]).directory


def log_of(directory, days, *resources):
    begun = datetime.now(UTC) - timedelta(days=days)
    events = [
        {
            "schema": "mcpsec.event/1", "time": (begun + timedelta(minutes=number)).isoformat(), "client": "agent",
            "decision": "allowed", "kind": "request", "resource": resource, "method_class": "read",
        }
        for number, resource in enumerate(resources)
    ]  # fmt: skip
    path = directory / "log" / "events.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    path.chmod(0o640)
    return path


@pytest.mark.parametrize(
    ("days", "resources", "state"),
    [
        (40, ["demo/echo"], "pass"),
        (40, ["other/echo"], "fail"),
        (5, ["other/echo"], "not-applicable"),
    ],
)
def test_a_grant_that_a_long_log_does_not_show_is_unused(days, resources, state, deployment):
    log = log_of(deployment, days, *resources)
    try:
        found = judged(deployment.parent, str(deployment / "mcpsec.toml"), select=["PRM005"])
    finally:
        log.unlink()
    assert {str(r.state) for r in found.results} == {state}
    if state == "fail":
        assert "demo/*" in failing(found)[0].observed


def pinned(tmp_path, *tools):
    path = tmp_path / "mcpsec.pins.toml"
    Lock({"files": UpstreamPins({"tools": {tool["name"]: tool for tool in tools}, "prompts": {}})}).write(path)
    return path


def test_a_dump_is_held_against_the_lock(tmp_path):
    lock, dump = pinned(tmp_path, TOOL), tmp_path / "tools.json"

    def told(*tools):
        dump.write_text(json.dumps({"tools": list(tools)}))
        found = judged(tmp_path, str(lock), str(dump), select=["TOL004"])
        return [r.observed for r in failing(found)], {str(r.state) for r in found.results}

    assert told(TOOL) == ([], {"pass"})
    changed = {**TOOL, "description": "Gives it back. And more."}
    assert told(changed)[0] == ["echo is not what was reviewed: description changed"]
    assert told(TOOL, {**TOOL, "name": "more"})[0] == ["more was never reviewed"]
    assert told({**TOOL, "annotations": {"readOnlyHint": True}})[0] == [
        "echo is not what was reviewed: annotations changed"
    ]
    assert told({"name": "elsewhere", "inputSchema": {}}) == ([], {"pass"})  # another server's


def test_a_lock_that_was_changed_by_hand_is_seen(tmp_path):
    lock = pinned(tmp_path, TOOL)
    assert failing(judged(tmp_path, str(lock), select=["TOL004"])) == []
    lock.write_text(lock.read_text().replace("Gives it back.", "Gives it away.\\u200b"))
    found = judged(tmp_path, str(lock))
    (result,) = failing(found, "TOL004")
    assert "changed by hand" in result.observed
    (hidden,) = failing(found, "TOL001")
    assert hidden.location.line == result.location.line > 1


def test_renewals_are_read_from_the_ledger(deployment):
    def states(days):
        now = datetime.now(UTC) + timedelta(days=days)
        found = audit(
            Request(targets=[str(deployment / "mcpsec.toml")], root=deployment.parent, now=now, select=["CRT006"])
        )
        return {str(r.state) for r in found.results}

    assert states(10) == {"not-applicable"}
    assert states(95) == {"fail"}


def test_renewed_in_time_is_shown(tmp_path):
    from mcpsec.cli.root import main

    directory = create(tmp_path / "d", ["agent"]).directory
    assert main(["certs", "--dir", str(directory / "pki"), "renew", "gateway"]) == 0
    found = audit(Request(targets=[str(directory / "mcpsec.toml")], root=tmp_path, select=["CRT006"]))
    assert {r.subject.split("/")[-2]: str(r.state) for r in found.results} == {
        "gateway": "pass", "agent": "not-applicable",
    }  # fmt: skip


def test_a_drill_is_judged_fault_by_fault(tmp_path):
    directory = create(tmp_path / "d", ["agent"]).directory
    report = directory / "evidence" / "drill.json"
    report.parent.mkdir()

    def told(*rows):
        document = {"schema": "mcpsec.drill/1", "created": datetime.now(UTC).isoformat(), "drills": list(rows)}
        report.write_text(json.dumps(document))
        found = judged(tmp_path, str(directory), select=["RES002", "TMO004"])
        return {(r.check, str(r.state)) for r in found.results}

    good = {"name": "slow upstream", "fault": "timeout", "state": "pass"}
    assert told(good) == {("RES002", "pass"), ("TMO004", "pass")}
    assert told({**good, "state": "fail", "observed": "hung for 60 s"}) == {("RES002", "fail"), ("TMO004", "fail")}
    assert told({"name": "crash", "state": "pass"}) == {("RES002", "pass"), ("TMO004", "manual")}
    assert told({**good, "state": "not-assessed"}) == {("RES002", "not-assessed"), ("TMO004", "not-assessed")}
    report.unlink()
    found = judged(tmp_path, str(directory), select=["RES002", "TMO004"])
    assert {str(r.state) for r in found.results} == {"manual"}
