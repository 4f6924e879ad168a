"""How a stdio child is started: through the launcher, with an environment of named variables only."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpsec.gateway.sandbox.paths import program_paths

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcpsec.deployment.model import Sandbox

__all__ = ["child_environment", "launch_command"]

_LAUNCHER = Path(__file__).with_name("launcher.py")
_INHERITED = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")


def child_environment(named: Mapping[str, str]) -> dict[str, str]:
    """The variables of every process plus those that the deployment file names; nothing else of ours is inherited."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | dict(named)


def launch_command(command: Sequence[str], sandbox: Sandbox | None, cwd: Path | None = None) -> list[str]:
    """The command line that starts ``command`` with its privileges taken away.

    Without a sandbox: no new privileges, resource limits, death with the gateway. With one, in addition: only the
    program's own files, the system's, and the named paths can be read; only the named ones written.
    """
    spec: dict[str, Any] = {"parent": os.getpid()}
    if sandbox is not None:
        read = [*program_paths(command, cwd), *sandbox.read]
        spec["sandbox"] = {
            "read": sorted({str(path) for path in read}),
            "write": sorted({str(path) for path in sandbox.write}),
            "network": sandbox.network,
        }
    return [sys.executable, "-I", "-S", str(_LAUNCHER), json.dumps(spec), *command]
