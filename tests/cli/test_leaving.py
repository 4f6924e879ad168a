"""The end of a process whose tasks or threads would not end: it comes, with its own status."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

CODE = """
import sys
from mcpsec.cli import leaving
leaving._kept.append(None)
sys.stdout = open(1, "w", closefd=False)  # which keeps what it is given, whatever the environment says
print("words")
leaving.leave(3)
"""


@pytest.mark.parametrize("read", [True, False])
def test_it_ends_though_nobody_reads_what_it_said(read: bool) -> None:
    """A pipe into a program that has left: what is still to be written can't be."""
    there, here = os.pipe()
    with open(here, "wb") as written, open(there, "rb") as reader:
        if not read:
            reader.close()
        ended = subprocess.run(
            [sys.executable, "-c", CODE], stdout=written, stderr=subprocess.PIPE, timeout=60, check=False
        )
        written.close()
        if read:
            assert reader.read().strip() == b"words"
    assert (ended.returncode, ended.stderr) == (3, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="a signal of a console there")
def test_one_more_ctrl_c_changes_no_status() -> None:
    """Whoever presses it again and again does so while Python is at its own end, too."""
    code = (
        "import atexit, os, signal; from mcpsec.cli import leaving;"
        "signal.signal(signal.SIGINT, signal.default_int_handler);"
        "atexit.register(os.kill, os.getpid(), signal.SIGINT); leaving.leave(3)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (3, b"")
