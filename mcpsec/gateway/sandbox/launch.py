"""How a stdio child is started: through the launcher, with an environment of named variables only."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpsec.deployment.model import Sandbox
from mcpsec.gateway.sandbox.paths import program_paths

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

__all__ = ["child_account", "child_environment", "launch_command", "reaches_every_file"]

_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_MOST_OF_ACCOUNT = 4096
_NOBODY = 65534
"""The kernel's own number for an account that it can't name (overflowuid, user_namespaces(7))."""

_LAUNCHER = Path(__file__).with_name("launcher.py")
_INHERITED = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")


def child_environment(named: Mapping[str, str]) -> dict[str, str]:
    """The variables of every process plus those that the deployment file names; nothing else of ours is inherited."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | dict(named)


def launch_command(
    command: Sequence[str], sandbox: Sandbox | None, cwd: Path | None = None, private: Collection[Path] = ()
) -> list[str]:
    """The command line that starts ``command`` with its privileges taken away.

    Without a sandbox: no new privileges, resource limits, an end with the gateway, and another user when the gateway is
    root. With one, in addition: only the program's own files, the system's, and the named paths can be read; only the
    named ones written. What is ``private`` is not the program's own, even where it lies among that.
    """
    bounds = sandbox or Sandbox()
    spec: dict[str, Any] = {
        "parent": os.getpid(),
        "memory": bounds.memory,
        "processes": bounds.processes,
        "limits": {"RLIMIT_DATA": bounds.memory},
    }
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        spec["user"] = child_account(bounds.user)
        writes = sandbox is None or bool(sandbox.write)
        spec["capabilities"] = [_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE] if writes else [_CAP_DAC_READ_SEARCH]
        spec["limits"]["RLIMIT_NPROC"] = bounds.processes
    else:
        # What the account runs besides counts as well, so this is a bound on disasters, not on one child.
        spec["limits"]["RLIMIT_NPROC"] = max(_MOST_OF_ACCOUNT, bounds.processes)
    if sandbox is not None:
        own, listed = program_paths(command, cwd, private)
        spec["sandbox"] = {
            "read": sorted({str(path) for path in (*own, *sandbox.read)}),
            "list": sorted({str(path) for path in listed}),
            "write": sorted({str(path) for path in sandbox.write}),
            "network": sandbox.network,
        }
    return [sys.executable, "-I", "-S", str(_LAUNCHER), json.dumps(spec), *command]


def child_account(name: str | None) -> tuple[int, int]:
    """The user and group that children of a root gateway run under: the named account's, else those of ``nobody``.

    Where there is no ``nobody`` (a bare container) they get its usual numbers all the same: a process needs no entry in
    /etc/passwd to be somebody else than root. Raises KeyError for an unknown name.
    """
    import pwd as accounts

    try:
        account = accounts.getpwnam("nobody" if name is None else name)
    except KeyError:
        if name is not None:
            raise
        return _NOBODY, _NOBODY
    return account.pw_uid, account.pw_gid


def reaches_every_file() -> bool:
    """Whether a child without a sandbox reads and writes every file, whoever owns it: root's keeps that power."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    status = Path("/proc/self/status").read_text()
    return bool(int(status.partition("CapPrm:")[2].split()[0], 16) >> _CAP_DAC_OVERRIDE & 1)
