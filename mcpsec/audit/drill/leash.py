"""A program that does not outlive the drill: ``leash.py PID PROGRAM…`` becomes the program, and dies with PID.

Run with the standard library only. Linux keeps the promise (prctl(2), PR_SET_PDEATHSIG), also when the drill is killed
with SIGKILL and can clean nothing up; elsewhere the drill's own cleaning up is all there is.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

__all__ = ["end", "leashed"]

_PR_SET_PDEATHSIG = 1


def leashed(command: list[str]) -> list[str]:
    """The command line that starts ``command`` so that it dies with this process.

    What the kernel watches is the thread that starts it: start it from the main one.
    """
    if not sys.platform.startswith("linux"):
        return command
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]


def end(process: subprocess.Popen[bytes] | None) -> int | None:
    """Kill a program and wait for it; its exit status, None when there is none."""
    if process is None:
        return None
    process.kill()
    return process.wait()


def main() -> None:
    """Ask the kernel for the signal, see that the drill is still there, and become the program."""
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)  # it died before we asked
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 # the program is the drill's own


if __name__ == "__main__":
    main()
