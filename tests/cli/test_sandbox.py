"""What the machine is said to enforce is what a program meets there: on this kernel, and on ones that lack a part."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.deployments import fixture_command
from tests.fixtures.gateway import Gateway
from tests.fixtures.processes import PATIENCE, wait_until
from tests.fixtures.raw import RawClient, call
from tests.fixtures.without_calls import ENOSYS, EPERM, LANDLOCK_CREATE_RULESET, UNSHARE, under

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"}, reason="the sandbox is Linux only"
)

NO_LANDLOCK = under((LANDLOCK_CREATE_RULESET, ENOSYS))
NO_NAMESPACES = under((UNSHARE, EPERM))
FENCES = {"files", "network", "calls", "view", "sockets"}
ALWAYS = {"privileges", "account", "memory", "processes", "end"}


def check(*arguments: str, before: tuple[str, ...] = ()) -> tuple[int, str, str]:
    command = [*before, sys.executable, "-m", "mcpsec", "sandbox", "check", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert "Traceback" not in run.stderr
    return run.returncode, run.stdout, run.stderr


def judged(*arguments: str, before: tuple[str, ...] = ()) -> tuple[int, dict[str, Any], dict[str, str]]:
    code, out, _ = check(*arguments, "--format", "json", before=before)
    document = json.loads(out)
    assert document["schema"] == "mcpsec.sandbox/1"
    return code, document, {measure["name"]: measure["state"] for measure in document["measures"]}


@pytest.fixture
def file(deployment: Any) -> Path:
    made = deployment(
        {
            "fenced": {"command": fixture_command(), "sandbox": {"network": False}},
            "open": {"command": fixture_command(), "sandbox": {}},
            "free": {"command": fixture_command()},
            "demo": {"builtin": "demo"},
        }
    )
    path: Path = made.config
    return path


def test_a_whole_kernel_enforces_everything(file: Path) -> None:
    code, document, states = judged("-c", str(file))
    assert set(states) == FENCES | ALWAYS | {"named paths"}
    # Without root nobody can change accounts, and without a group of its own the bounds are those of each process.
    weaker = set() if os.geteuid() == 0 else {"account", "memory", "processes"}
    assert {name for name, state in states.items() if state != "enforced"} <= weaker
    assert code == 0 and document["ok"] and document["fault"] is None
    assert document["facts"]["landlock"] >= 1 and document["facts"]["seccomp"]
    upstreams = {each["name"]: each for each in document["upstreams"]}
    assert set(upstreams["fenced"]["in_force"]) | weaker == FENCES | ALWAYS
    assert upstreams["open"]["not_asked"] == ["network"]
    assert set(upstreams["free"]["not_asked"]) == FENCES
    assert not upstreams["fenced"]["every_file"] and "privileges" in upstreams["fenced"]["in_force"]
    assert upstreams["free"]["every_file"] == ("privileges" in upstreams["free"]["weaker"]) == (os.geteuid() == 0)
    assert upstreams["demo"]["kind"] == "builtin" and not upstreams["demo"]["in_force"]
    assert not any(each["missing"] for each in upstreams.values())


def test_without_landlock_nothing_with_a_sandbox_starts(file: Path) -> None:
    code, document, states = judged("-c", str(file), before=NO_LANDLOCK)
    assert code == 1 and not document["ok"]
    assert "Landlock" in document["fault"] and document["facts"]["landlock"] == 0
    assert {states[name] for name in FENCES} == {"absent"}
    assert states["privileges"] == "enforced"
    upstreams = {each["name"]: each for each in document["upstreams"]}
    assert not upstreams["fenced"]["starts"] and set(upstreams["fenced"]["missing"]) >= FENCES
    assert upstreams["free"]["starts"] and not upstreams["free"]["missing"]


def test_without_namespaces_what_landlock_keeps_is_kept_and_the_rest_is_named(file: Path) -> None:
    code, out, _ = check("-c", str(file), before=NO_NAMESPACES)
    assert code == 1
    assert "enforced  only the named files" in out
    assert "weaker    no sight of other processes" in out
    assert "MISSING: no sockets of other services" in out
    assert "[upstreams.free] without a sandbox" in out


def test_a_file_that_asks_for_no_fence_misses_none(deployment: Any) -> None:
    made = deployment({"demo": {"builtin": "demo"}, "web": {"url": "http://127.0.0.1:9/mcp"}})
    code, document, _ = judged("-c", str(made.config), before=NO_LANDLOCK)
    assert code == 0 and document["ok"]
    assert judged(before=NO_LANDLOCK)[0] == 1


def test_a_file_that_is_wrong_is_one_clear_error(tmp_path: Path) -> None:
    code, out, err = check("-c", str(tmp_path / "missing.toml"))
    assert code == 2 and not out and "missing.toml" in err


def test_serve_says_loudly_what_it_cannot_keep(deployment: Any, gateway: Any, tmp_path: Path) -> None:
    made = deployment(
        {"fenced": {"command": fixture_command(), "sandbox": {"network": False, "write": [str(tmp_path)]}}}
    )
    running: Gateway = gateway(
        made, under=NO_NAMESPACES, expected=(r"gateway: the sandbox of 'fenced' is not whole.*",)
    )
    wait_until(lambda: "missing: sockets" in running.stderr(), "the warning")
    told = wait_until(lambda: [each for each in made.events() if each.get("state") == "unconfined"], "the event")
    assert told[0]["upstream"] == "fenced" and told[0]["severity"] == "high"
    with RawClient(running) as client:
        assert client.post(call("echo", {"text": "served all the same"})).status == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="a child of a plain account never had more: run the tests as root")
def test_serve_says_loudly_that_a_program_of_root_without_a_sandbox_reaches_every_file(
    deployment: Any, gateway: Any
) -> None:
    made = deployment(
        {"free": {"command": fixture_command()}, "fenced": {"command": fixture_command(), "sandbox": {}}},
    )
    running: Gateway = gateway(made)
    wait_until(lambda: "'free' has no sandbox and is started by root" in running.stderr(), "the warning")
    told = wait_until(lambda: [each for each in made.events() if each.get("state") == "unconfined"], "the event")
    assert [each["upstream"] for each in told] == ["free"] and told[0]["severity"] == "high"
    assert "'fenced'" not in running.stderr()


@pytest.mark.parametrize(("user", "fine"), [("root", False), ("daemon", True)])
def test_a_program_never_stays_root_by_the_file_either(deployment: Any, user: str, fine: bool) -> None:
    made = deployment({"fenced": {"command": fixture_command(), "sandbox": {"user": user}}})
    command = [sys.executable, "-m", "mcpsec", "config", "check", "-c", str(made.config)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (run.returncode == 0) == fine, run.stderr
    assert ("root is root" in run.stdout + run.stderr) == (not fine)
