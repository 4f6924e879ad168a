"""Whole drills of real deployments, and of ones that are set up wrongly: the very fault that hurts them must fail."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psutil
import pytest

from mcpsec.audit.drill import life
from mcpsec.audit.drill.faults import FAULTS, chosen
from mcpsec.audit.drill.ground import Bounds, wait
from mcpsec.audit.drill.runner import Report, drill
from mcpsec.cli.root import main
from tests.audit.helpers import judged
from tests.fixtures.processes import descendants, spawn, wait_until
from tests.fixtures.stores import find_store_program

PATIENT = Bounds(longest=30.0, slack=60.0, within=120.0)
"""A slow machine is no failed drill."""


def drilled(
    config: Path, *, only: tuple[str, ...] = (), skip: tuple[str, ...] = (), bounds: Bounds = PATIENT
) -> Report:
    """A drill, after which nothing of it is left: what is killed at its end takes a moment to go on a busy machine."""
    before = _digests(config.parent)
    report = drill(config, chosen(only, skip), bounds=bounds)
    assert _digests(config.parent) == before, "the drill changed something of the deployment"
    wait_until(lambda: not _programs(), "the end of the drill's programs")
    return report


def _programs() -> list[str]:
    """Command lines of what the drill has started and what still runs."""
    lines = []
    for each in descendants(os.getpid()):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ends just now
            lines.append(" ".join(each.cmdline()))
    return [line for line in lines if "mcpsec-drill-" in line]


def _digests(directory: Path) -> dict[str, str]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def states(report: Report) -> dict[str, str]:
    return {row.name: row.state for row in report.rows}


def short_of_pass(report: Report, *, apart_from: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """Each fault that was not passed and is not excepted, with its reasons: what an assertion has to say of itself."""
    return {
        row.name: [row.state, row.reason, *(f"{e.expected}: {e.seen}" for e in row.expectations if not e.met)]
        for row in report.rows
        if row.state != "pass" and row.name not in apart_from
    }


def needs_fake_clock() -> None:
    from mcpsec.audit.drill.trust import fake_clock

    if fake_clock() is None:
        pytest.skip("needs libfaketime: apt-get install faketime")


def test_a_new_deployment(tmp_path: Path) -> None:
    """What `mcpsec init` writes withstands all of it, and item 10 is met by the report."""
    home = tmp_path / "made"
    assert main(["init", str(home)]) == 0
    config = home / "mcpsec.toml"
    text = config.read_text().replace("[upstreams.demo]\n", '[upstreams.demo]\ntimeout = "4s"\n')
    config.write_text(text.replace("[server.tls]", '[server.limits]\nbody_timeout = "1s"\n\n[server.tls]', 1))
    report = drilled(config, skip=("clock-jump", "timeout", "slow", "partition"))
    found = states(report)
    assert short_of_pass(report, apart_from=("store-lost gateway",)) == {}
    assert found["store-lost gateway"] == "not-applicable"
    assert "error mcpsec-drill-server" in found
    shown = report.document()
    assert all(row["proof"] for row in shown["drills"] if row["state"] == "pass")


def test_servers_over_http_and_a_shared_store(deployment: Any) -> None:
    needs_fake_clock()
    find_store_program()
    made = deployment(
        {
            "tickets": {
                "url": "https://tickets.example.com/mcp",
                "timeout": "4s",
                "headers": {"authorization": {"env": "MCPSEC_DRILL_UNSET", "prefix": "Bearer "}},
            }
        },
        require=("mtls", "signature"),
        state={"url": "redis://store.example.com:6379/0", "timeout": "20s"},
        server={"limits": {"body_timeout": "1s"}},
    )
    made.document["server"]["tls"]["crl"] = "client.crl"  # the copy has a list of its own
    made.write()
    report = drilled(made.config)
    assert short_of_pass(report) == {}
    assert {row.fault for row in report.rows} == set(FAULTS)
    evidence = made.directory / "evidence"
    evidence.mkdir()
    (evidence / "drill.json").write_text(json.dumps(report.document()))
    assert [each.state for each in judged(made.directory).results if each.check == "RES001"] == ["pass"]
    root = ElementTree.fromstring(report.junit())
    assert root.get("tests") == str(len(report.rows)) and root.get("failures") == root.get("errors") == "0"


def test_servers_over_stdio(deployment: Any) -> None:
    made = deployment(
        {"files": {"command": ["no-such-program"], "timeout": "4s", "sandbox": {"read": ["log"], "network": False}}},
        server={"limits": {"body_timeout": "1s"}},
        log={"on_full": "drop"},
    )
    made.document["server"]["tls"]["crl"] = "client.crl"
    made.write()
    report = drilled(made.config, skip=("clock-jump", "store-lost"))
    without_meaning = ("partition files", "reset files")
    assert short_of_pass(report, apart_from=without_meaning) == {}
    assert {states(report)[name] for name in without_meaning} == {"not-applicable"}


def test_a_deployment_that_is_set_up_wrongly_fails_at_that_very_fault(deployment: Any) -> None:
    """Ten minutes for a call and for half a request, and no revocation list; what is right beside it passes."""
    made = deployment(
        {"slow": {"url": "http://127.0.0.1:9/mcp", "timeout": "10m"}}, server={"limits": {"body_timeout": "10m"}}
    )
    wrong = ("timeout", "client-partition", "certificate-revoked")
    bounds = Bounds(longest=1.0, slack=15.0, within=15.0)
    report = drilled(made.config, only=(*wrong, "reset"), bounds=bounds)
    assert {row.fault: row.state for row in report.rows} == {**dict.fromkeys(wrong, "fail"), "reset": "pass"}, (
        short_of_pass(report)
    )


def test_a_drill_that_is_late_itself_fails_nobody(deployment: Any, monkeypatch: Any) -> None:
    """On a busy machine ``body_timeout`` may be over before the drill sees that half of a request has arrived."""

    def late(happened: Any, patience: float) -> Any:
        found = wait(happened, patience)
        time.sleep(6.0)
        return found

    monkeypatch.setattr(life, "wait", late)
    made = deployment({"demo": {"builtin": "demo"}}, server={"limits": {"body_timeout": "1s"}})
    report = drilled(made.config, only=("client-partition",))
    assert short_of_pass(report) == {}


def test_what_cannot_be_done_is_no_pass(deployment: Any, monkeypatch: Any, capsys: Any) -> None:
    made = deployment({"demo": {"builtin": "demo"}}, state={"url": "redis://store.example.com:6379/0"})
    monkeypatch.setenv("PATH", str(made.directory))  # no Redis to be had
    out = made.directory / "evidence"
    code = main(["drill", "-c", str(made.config), "--only", "store-lost", "--out", str(out), "--format", "json"])
    assert code == 3
    shown = json.loads(capsys.readouterr().out)
    assert shown == json.loads((out / "drill.json").read_text())
    assert shown["schema"] == "mcpsec.drill/1"
    assert [row["state"] for row in shown["drills"]] == ["not-assessed"]
    assert "redis-server" in shown["drills"][0]["reason"]
    case = ElementTree.parse(out / "drill.xml").getroot().find("testsuite/testcase")
    assert case is not None and case.find("error") is not None


def test_a_deployment_that_does_not_start_says_why(deployment: Any, capsys: Any) -> None:
    made = deployment({"demo": {"builtin": "demo"}}, log={"file": "log/events.jsonl", "keep_age": "never"})
    assert main(["drill", "-c", str(made.config)]) == 2
    assert "log.keep_age" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--only", "timeouts"), "there is no fault timeouts"),
        (("--only", "timeout", "--skip", "timeout"), "nothing"),
        (("--upstream", "nobody"), "no upstream nobody"),
        (("--longest", "30"), "--longest is not a duration"),
    ],
)
def test_a_wrong_command_line(arguments: tuple[str, ...], told: str, deployment: Any, capsys: Any) -> None:
    made = deployment({"demo": {"builtin": "demo"}})
    assert main(["drill", "-c", str(made.config), *arguments]) == 2
    assert told in capsys.readouterr().err


def test_the_list_names_every_fault(capsys: Any) -> None:
    assert main(["drill", "--list"]) == 0
    shown = capsys.readouterr().out
    assert all(f"{name} " in shown for name in FAULTS)
    assert main(["drill", "--list", "--format", "json"]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["faults"]] == list(FAULTS)


def test_the_child_needs_nothing_but_python(tmp_path: Path) -> None:
    """It runs without the package, under another account, in a sandbox."""
    import subprocess

    program = shutil.copy(Path(sys.modules[drill.__module__].__file__ or "").with_name("child.py"), tmp_path)
    asked = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}) + "\n"
    ran = subprocess.run([sys.executable, "-I", "-S", program, "record"], input=asked, capture_output=True, text=True)
    assert json.loads(ran.stdout)["result"]["tools"][0]["name"] == "mcpsec_drill"


def _of(marker: str) -> list[str]:
    """Programs of this machine whose command line or environment has a word of this drill's own."""
    import psutil

    found = []
    for each in psutil.process_iter(["pid", "cmdline"]):
        if marker in " ".join(each.info["cmdline"] or ()) and each.status() != psutil.STATUS_ZOMBIE:
            found.append(" ".join(each.info["cmdline"]))
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux: prctl's PR_SET_PDEATHSIG")
def test_a_killed_drill_leaves_nothing_running(deployment: Any, tmp_path: Path) -> None:
    """Killed with SIGKILL in the middle of a fault: its gateway, its servers and its store die with it."""
    find_store_program()
    made = deployment(
        {"files": {"command": ["no-such-program"], "timeout": "25s"}},
        state={"url": "redis://store.example.com:6379/0", "timeout": "20s"},
    )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "mcpsec", "drill", "-c", str(made.config), "--only", "timeout"]
    process = spawn(command, env={**os.environ, "TMPDIR": str(scratch)})
    try:
        wait_until(
            lambda: any('"answer withheld"' in path.read_text() for path in scratch.rglob("records/*.jsonl")), "a fault"
        )
        running = _of(str(scratch.resolve()))
        assert len(running) >= 3, running  # the gateway, the server behind it, the store
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not _of(str(scratch.resolve())), "the end of all parts")


def test_the_audit_drills_when_its_profile_says_so(deployment: Any) -> None:
    """RES002 and TMO004 of a fault that was really injected: a deployment that withstands it, and one that does not."""
    for timeout, states_of in (("2s", {"pass"}), ("10m", {"fail"})):
        made = deployment({"slow": {"url": "http://127.0.0.1:9/mcp", "timeout": timeout}})
        options = {"drill only": ("timeout",), "drill bounds": Bounds(longest=5.0, slack=30.0, within=60.0)}
        found = judged(made.directory, str(made.config), profile="drill", options=options)
        for check in ("RES002", "TMO004"):
            assert {str(r.state) for r in found.results if r.check == check} == states_of, (timeout, check)


def test_the_profile_drill_touches_nothing_that_runs(deployment: Any, tmp_path: Path, capsys: Any) -> None:
    assert main(["audit", "https://mcp.example.com/mcp", "--profile", "drill"]) == 2
    assert "never into what runs" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["audit", str(tmp_path / "empty"), "--profile", "drill"]) == 2
    assert "needs one deployment file" in capsys.readouterr().err
