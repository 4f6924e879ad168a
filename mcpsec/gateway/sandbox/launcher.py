"""Takes privileges away from this process, then becomes the program it was given.

Run by path, in isolated mode: ``launcher.py SPEC COMMAND…``. It imports the standard library only and nothing of
mcpsec, because it runs once for every child. A step that fails ends the process before the program starts.
"""

from __future__ import annotations

import json
import os
import signal
import sys

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def _prctl(option: int, value: int) -> None:
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _limit_resources() -> None:
    import resource

    for name, wanted in (
        ("RLIMIT_CORE", 0),
        ("RLIMIT_NOFILE", 1024),
        ("RLIMIT_FSIZE", 4 << 30),
        ("RLIMIT_NPROC", 4096),
    ):
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (limit, limit))


def main() -> None:
    """Confine, then exec."""
    spec, command = json.loads(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != spec["parent"]:
            sys.exit(1)  # the gateway died before the kernel was told to take us along
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _limit_resources()
    try:
        os.execvp(command[0], command)  # noqa: S606 # becoming the operator's program is the point
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(127)


main()
