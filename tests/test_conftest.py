"""The rules of a run in CI: a skip is a failure, and the summary says where the time went."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

SKIPPING = """
import pytest

def test_skips():
    pytest.skip("the part is missing; install with: apt-get install part")

@pytest.mark.xfail(strict=True)
def test_expected_to_fail():
    assert False
"""


def run(directory: Path, *options: str, ci: bool) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MCPSEC_CI": "1" if ci else "0", "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""}
    environment["MCPSEC_FAILED_TESTS"] = str(directory / "failed")
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "--rootdir", ".", "-q"]
    return subprocess.run([*command, *options], cwd=directory, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_skip_fails_in_ci_only(tmp_path: Path, workers: str) -> None:
    (tmp_path / "tests" / "room").mkdir(parents=True)
    (tmp_path / "tests" / "room" / "test_it.py").write_text(SKIPPING)
    at_home, in_ci = run(tmp_path, "-n", workers, ci=False), run(tmp_path, "-n", workers, ci=True)
    assert at_home.returncode == 0, at_home.stdout
    assert "1 skipped, 1 xfailed" in at_home.stdout
    assert in_ci.returncode == 1, in_ci.stdout
    assert "1 failed, 1 xfailed" in in_ci.stdout
    assert "In CI nothing may be skipped. Skipped: the part is missing" in in_ci.stdout
    assert "2 tests  tests/room" in in_ci.stdout
    assert (tmp_path / "failed").read_text() == "tests/room/test_it.py::test_skips\n"
    reason = (tmp_path / "failed.reasons").read_text()
    assert reason.startswith("tests/room/test_it.py::test_skips: call: ")
    assert "In CI nothing may be skipped. Skipped: the part is missing" in reason


def test_a_skipped_module_fails_in_ci(tmp_path: Path) -> None:
    (tmp_path / "test_module.py").write_text("import pytest\npytest.skip('not here', allow_module_level=True)\n")
    assert run(tmp_path, "-n", "0", ci=False).returncode in (0, pytest.ExitCode.NO_TESTS_COLLECTED)
    in_ci = run(tmp_path, "-n", "0", ci=True)
    assert in_ci.returncode not in (0, pytest.ExitCode.NO_TESTS_COLLECTED), in_ci.stdout
    assert "In CI nothing may be skipped" in in_ci.stdout
    assert (tmp_path / "failed.reasons").read_text().startswith("test_module.py: collect: ")


@pytest.mark.parametrize("workers", ["0", "1"])
def test_half_a_character_ends_no_run(tmp_path: Path, workers: str) -> None:
    text = "def test_it():\n    assert False, 'never ' + chr(0xdc80)\n\n\ndef test_more():\n    assert False, 'more'\n"
    (tmp_path / "test_it.py").write_text(text)
    ran = run(tmp_path, "-n", workers, ci=False)
    assert (tmp_path / "failed").read_text().split() == ["test_it.py::test_it", "test_it.py::test_more"], ran.stdout
    assert "never \\udc80" in (tmp_path / "failed.reasons").read_text()


@pytest.mark.parametrize("workers", ["0", "2"])
def test_what_a_run_that_broke_off_has_not_come_to_has_not_passed(tmp_path: Path, workers: str) -> None:
    (tmp_path / "conftest.py").write_text(
        "def pytest_runtest_logreport(report):\n    assert 'breaks' not in report.nodeid or report.when != 'teardown'\n"
    )
    names = ["first", "second", "breaks", "fourth", "fifth"]
    (tmp_path / "test_it.py").write_text("".join(f"def test_{name}(): pass\n" for name in names))
    ran = run(tmp_path, "-n", workers, ci=False)
    assert "INTERNALERROR>" in ran.stdout + ran.stderr
    left = (tmp_path / "failed").read_text().split()
    assert left if workers == "2" else left == ["test_it.py::test_fourth", "test_it.py::test_fifth"]
