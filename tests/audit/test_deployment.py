"""mcpsec's own deployment: what ``init`` writes is met, and each control turned off turns exactly its checks red."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mcpsec.audit.evidence import write as write_evidence
from mcpsec.audit.runner import Request, audit
from mcpsec.deployment.scaffold import create
from tests.audit.helpers import failing, judged

SHOWN_BY_FILES = {1, 2, 3, 4, 5, 6, 7, 8}
ALWAYS = {"SEC005"}
"""The signing secret of a new deployment is a private file: a remark (low), until a manager keeps it."""
KEY = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    """One deployment for all; each test works on a copy of its file, beside it."""
    return create(tmp_path_factory.mktemp("audited") / "d", ["agent"]).directory


def regular(directory: Path, *, now: datetime | None = None):
    return audit(Request(targets=[str(directory / "mcpsec.toml")], root=directory.parent, now=now))


def test_a_new_deployment_meets_what_files_can_show(deployment):
    found = regular(deployment)
    assert {item.number for item in found.items if item.state == "pass"} == SHOWN_BY_FILES
    assert {item.number: str(item.state) for item in found.items if item.number > 8} == {9: "manual", 10: "manual"}
    assert {(r.check, r.severity) for r in failing(found)} == {("SEC005", "low")}
    assert found.exit_code == 0


def toml(old: str, new: str):
    return lambda text: (
        re.subn(old, new, text, count=1, flags=re.M)[0] if re.search(old, text, re.M) else pytest.fail(old)
    )


UPSTREAM = '\n[upstreams.files]\ncommand = ["mcp-server-filesystem", "/srv/data"]\n{}'
CONTROLS = {
    "mutual TLS": (toml(r'^require = .*', 'require = ["signature"]'), {"TLS010"}, {1}),
    "signatures": (toml(r'^require = .*', 'require = ["mtls"]'), {"SIG001"}, set()),
    "everything": (toml(r'^require = .*', "require = []"), {"TLS010", "SIG001", "AUT001"}, {1, 3}),
    "revocation": (toml(r"^crl = .*\n", ""), {"TLS014"}, {1}),
    "client CA": (toml(r"^client_ca = .*", 'client_ca = "pki/server/gateway/cert.pem"'), {"TLS010"}, {1}),
    "rate limit": (lambda text: text + '\n[server.limits]\nrate_limit = "off"\n', {"RTE001"}, {4}),
    "a rate that is none": (lambda text: text + '\n[server.limits]\nrate_limit = "90000/minute"\n', {"RTE001"}, {4}),
    "timeout": (lambda text: text + UPSTREAM.format('timeout = "10m"\n'), {"TMO001"}, {5}),
    "slow headers": (lambda text: text + '\n[server.limits]\nheader_timeout = "2m"\n', {"TMO001"}, {5}),
    "grants": (toml(r'^allow_resources = \["demo/\*"\]', 'allow_resources = ["*/*"]'), {"PRM001"}, {3}),
    "writing all": (toml(r'^allow_methods = \["read"\]', 'allow_methods = ["read", "write"]'), {"PRM001"}, {3}),
    "metrics": (toml(r"^\[server.admin\]\nlisten = .*\n", ""), {"MON001"}, {8}),
    "public metrics": (toml(r'^listen = "127.0.0.1:9464"', 'listen = "0.0.0.0:9464"'), {"MON001", "DEP005"}, {8}),
    "age of signatures": (toml(r'^max_age = .*', 'max_age = "1h"'), {"SIG005"}, set()),
    "weak scheme": (toml(r"^schemes = .*", 'schemes = ["hmac-sha256", "article"]'), {"SIG005"}, set()),
    "plain hop": (lambda text: text + '\n[upstreams.far]\nurl = "http://10.1.2.3:9000/mcp"\n', {"TLS013"}, {1}),
    "token in a URL": (lambda text: text + f'\n[upstreams.far]\nurl = "https://far.acme.io/mcp?token={KEY}"\n', {"SEC004", "SEC001", "DEP005"}, {6, 7}),
    "unpinned": (lambda text: text + '\n[upstreams.files]\ncommand = ["npx", "-y", "mcp-x"]\n', {"SUP001"}, set()),
    "shell": (lambda text: text + '\n[upstreams.files]\ncommand = ["bash"]\n', {"PRM006"}, {3}),
    "root": (lambda text: text + '\n[upstreams.files]\ncommand = ["mcp-server-filesystem", "/"]\n', {"PRM006"}, {3}),
    "container": (lambda text: text + '\n[upstreams.files]\ncommand = ["docker", "run", "--privileged", "x:1"]\n', {"DEP002"}, {3}),
    "administrator": (lambda text: text + UPSTREAM.format('environment = { PGUSER = "postgres" }\n'), {"PRM008"}, {3}),
    "answers": (lambda text: text + UPSTREAM.format('secrets = "pass"\n'), {"SEC006"}, {7}),
    "errors": (lambda text: text + UPSTREAM.format('error_details = "pass"\n'), {"ERR001"}, set()),
    "literal secret": (toml(r'secret = \{ file = "secrets/agent.hmac" \}', f'secret = "{KEY}"'), {"SEC001", "DEP005"}, {7}),
}  # fmt: skip


@pytest.mark.parametrize("control", CONTROLS)
def test_each_control_off_turns_exactly_its_checks_red(control, deployment):
    change, checks, items = CONTROLS[control]
    path = deployment / f"{control.replace(' ', '-')}.toml"
    path.write_text(change((deployment / "mcpsec.toml").read_text()))
    try:
        found = audit(Request(targets=[str(path)], root=deployment.parent, kind="deployment"))
        assert {r.check for r in failing(found)} - ALWAYS == checks, [(r.check, r.observed) for r in failing(found)]
        broken = {item.number for item in found.items if item.state == "fail"}
        assert broken == items
        for result in failing(found, *checks):
            assert result.location.path == f"{deployment.name}/{path.name}"
            assert KEY not in str(result.document())
    finally:
        path.unlink()


def test_old_certificates_open_keys_and_leaking_logs(tmp_path):
    directory = create(tmp_path / "d", ["agent"]).directory
    later = regular(directory, now=datetime.now(UTC) + timedelta(days=85))
    assert {(r.check, r.severity) for r in failing(later)} - {("SEC005", "low")} == {
        ("CRT002", "high"),
        ("TLS014", "high"),
    }
    gone = regular(directory, now=datetime.now(UTC) + timedelta(days=91))
    assert ("CRT002", "critical") in {(r.check, r.severity) for r in failing(gone)}
    if os.name == "posix":
        key = directory / "pki" / "server" / "gateway" / "key.pem"
        key.chmod(0o644)
        found = regular(directory)
        assert {r.check for r in failing(found)} - ALWAYS == {"CRT003"}
        key.chmod(0o600)
        authority = directory / "pki" / "private" / "client" / "key-1.pem"
        authority.chmod(0o640)
        assert {r.check for r in failing(regular(directory))} - ALWAYS == {"CRT007"}
        authority.chmod(0o600)
    log = directory / "log" / "events.jsonl"
    log.write_text(f'{{"msg": "GET /x", "authorization": "Bearer {KEY}"}}\n')
    log.chmod(0o640)
    found = regular(directory)
    assert {r.check for r in failing(found)} - ALWAYS == {"LOG001"}
    assert {item.number for item in found.items if item.state == "fail"} == {6}
    assert KEY not in str(found.document())


def test_the_account_that_serves_must_not_read_the_authority(tmp_path):
    directory = create(tmp_path / "d", ["agent"]).directory
    import pwd

    owner = pwd.getpwuid(os.geteuid()).pw_name
    unit = tmp_path / "mcpsec.service"
    for user, expected in ((owner, "fail"), ("somebody-else", "pass")):
        unit.write_text(f"[Service]\nExecStart=/usr/bin/mcpsec serve -c {directory}/mcpsec.toml\nUser={user}\n")
        found = judged(tmp_path, str(directory / "mcpsec.toml"), str(unit))
        assert {str(r.state) for r in found.results if r.check == "CRT007"} == {expected}


def test_evidence_meets_item_nine_until_it_is_old_changed_or_tampered(tmp_path):
    directory = create(tmp_path / "d", ["agent"]).directory
    evidence = write_evidence(regular(directory), directory / "evidence")
    assert (directory / "evidence" / "audit.key").stat().st_mode & 0o077 == 0 or os.name == "nt"

    def item_nine(now=None):
        found = audit(Request(targets=[str(directory)], root=tmp_path, now=now))
        return str(found.items[8].state), [r.observed for r in failing(found, "AUD001")]

    assert item_nine() == ("pass", [])
    state, why = item_nine(datetime.now(UTC) + timedelta(days=93))
    assert state == "fail" and "93 days old" in why[0]
    config = directory / "mcpsec.toml"
    text = config.read_text()
    config.write_text(text.replace('allow_methods = ["read"]', 'allow_methods = ["read", "write"]', 1))
    state, why = item_nine()
    assert state == "fail" and "policy changed since" in why[0]
    config.write_text(text)
    content = evidence.read_text()
    evidence.write_text(content.replace('"fail": 1', '"fail": 0', 1))
    assert content != evidence.read_text()
    state, why = item_nine()
    assert state == "fail" and "signature" in why[0]
    assert "agent.hmac" not in content or (directory / "secrets" / "agent.hmac").read_text().strip() not in content
