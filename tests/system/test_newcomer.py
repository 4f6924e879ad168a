"""README's first command as a newcomer types it: a fresh clone, a gateway, the line that it prints, an answered call.

Without the internet the packages come from the environment that runs the tests, and only the clone's own code is
built and installed. With ``MCPSEC_TEST_ONLINE=1`` pip fetches everything, as it does for a newcomer.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.processes import leftovers, spawn, wait_until

ROOT = Path(__file__).parents[2]
ONLINE = os.environ.get("MCPSEC_TEST_ONLINE") == "1"
INSTALLING = 300.0
"""Seconds for building and installing on a busy machine."""

pytestmark = pytest.mark.timeout(2 * INSTALLING)


def readme_command(marker: str) -> str:
    """The one line that README has in the block after ``<!-- marker -->``."""
    text = (ROOT / "README.md").read_text()
    found = re.search(rf"<!-- {marker} -->\s*```\w*\n(.+?)\n```", text, re.DOTALL)
    assert found, f"README.md has no block after <!-- {marker} -->"
    command = found.group(1)
    assert "\n" not in command
    return command


def clone(target: Path) -> None:
    """What a newcomer gets: the committed files and nothing else."""
    subprocess.run(["git", "clone", "-q", "--no-local", "--depth", "1", ROOT.as_uri(), str(target)], check=True)


def newcomer_environment(home: Path) -> dict[str, str]:
    """A plain login: no virtual environment, no mcpsec, nothing of the test run."""
    names = ("LANG", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "PATH")
    environment = {name: os.environ[name] for name in names if name in os.environ}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    own = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join(part for part in environment["PATH"].split(os.pathsep) if part != own)
    return environment | {"HOME": str(home)}


def lend_packages(clone: Path) -> None:
    """Make the installed packages of this environment visible to the clone's own, so that pip has to fetch none."""
    subprocess.run([sys.executable, "-m", "venv", str(clone / ".venv")], check=True)
    site = next((clone / ".venv").glob("lib/python*/site-packages"))
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")


def test_quickstart_from_a_fresh_clone(tmp_path: Path, record_property: Any) -> None:
    began = time.monotonic()
    copy = tmp_path / "mcpsec"
    clone(copy)
    environment = newcomer_environment(tmp_path)
    if not ONLINE:
        lend_packages(copy)
        environment |= {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0"}  # 0 switches the isolation off
    command = readme_command("quickstart") + " --listen 127.0.0.1:0"
    stdout, stderr = tmp_path / "stdout", tmp_path / "stderr"
    with stdout.open("w") as out, stderr.open("w") as err:
        process = spawn(
            ["bash", "-c", command], cwd=copy, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment,
            start_new_session=True,
        )  # fmt: skip

    def said() -> str:
        return stdout.read_text() + stderr.read_text()

    def printed_line() -> str | None:
        assert process.poll() is None, said()
        ready = re.search(r"^ready https://", stderr.read_text(), re.MULTILINE)
        line = re.search(r"^\s*(\S*mcpsec sign .*--send.*)$", said(), re.MULTILINE)
        return line.group(1) if ready and line else None

    try:
        line = wait_until(printed_line, "the quickstart's line", INSTALLING)
        # Another terminal: its directory and search path are those of a fresh login.
        call = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=INSTALLING
        )
        assert call.returncode == 0, f"{line}\n{call.stdout}{call.stderr}"
        assert '"result"' in call.stdout
        record_property("newcomer", f"{time.monotonic() - began:.1f} s from clone to answer, online={ONLINE}")
        assert "Traceback" not in said()
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
    assert not leftovers([])


def test_ci_runs_readmes_test_command() -> None:
    """The gate takes the line out of README, so what it proves is what README says."""
    command = readme_command("tests")
    assert shlex.split(command)[-1] == "pytest"
    assert "README.md" in (ROOT / ".ci" / "run").read_text()
