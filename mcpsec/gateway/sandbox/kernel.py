"""What this kernel, and whatever contains it, lets this account build a sandbox of: each part tried in a process.

Run as a program (``python -m mcpsec.gateway.sandbox.kernel``) it writes the facts as JSON: trying takes privileges
away, namespaces are entered and groups made, which no process should do that has other work.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass

from mcpsec.gateway.sandbox import launcher

__all__ = ["KernelFacts", "facts"]

_NAMESPACES = {"user": 0x10000000, "pid": 0x20000000, "network": 0x40000000}
_TRIED_MEMORY, _TRIED_PROCESSES = 256 << 20, 64


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """``landlock`` is the ABI (0: none; files from 1, TCP ports from 4, abstract sockets and signals from 6).

    ``memory_group`` and ``process_group`` name the control group that would hold a child (``""``: none may be made).
    """

    landlock: int = 0
    seccomp: bool = False
    user_namespaces: bool = False
    pid_namespaces: bool = False
    network_namespaces: bool = False
    memory_group: str = ""
    process_group: str = ""
    other_user: bool = False


def facts() -> KernelFacts:
    """Try everything; all of it is absent on another system than Linux."""
    if sys.platform != "linux":
        return KernelFacts()
    memory, processes = _groups()
    return KernelFacts(
        landlock=_landlock_abi(),
        seccomp=_works(_filter),
        user_namespaces=_works(lambda: _unshare("user")),
        pid_namespaces=_works(lambda: _unshare("pid")),
        network_namespaces=_works(lambda: _unshare("network")),
        memory_group=memory,
        process_group=processes,
        other_user=os.geteuid() == 0 and _works(_become_nobody),
    )


def _works(act: Callable[[], None]) -> bool:
    """Whether a child process gets through it."""
    child = os.fork()
    if child == 0:
        code = 1
        with suppress(BaseException):
            act()
            code = 0
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _landlock_abi() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    abi: int = libc.syscall(launcher._SYS_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    return max(0, abi)


def _filter() -> None:
    """A call that the filter names must fail with EPERM afterwards, and did not before for that reason."""
    launcher._prctl(launcher._PR_SET_NO_NEW_PRIVS, 1)
    launcher._filter_calls(network=False)
    try:
        import socket

        socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    except PermissionError:
        return
    raise OSError(0, "the filter filters nothing")


def _unshare(kind: str) -> None:
    flags = _NAMESPACES[kind] | (0 if os.geteuid() == 0 else _NAMESPACES["user"])
    libc = ctypes.CDLL(None, use_errno=True)
    launcher._check(libc.unshare(flags), "unshare")


def _become_nobody() -> None:
    import pwd

    account = pwd.getpwnam("nobody")
    launcher._become_user(account.pw_uid, account.pw_gid, [])
    if os.geteuid() == 0:
        raise OSError(0, "still root")


def _groups() -> tuple[str, str]:
    """The control groups that bound memory and processes, by making one and reading it again."""
    found = {"memory": "", "processes": ""}
    for directory in launcher._make_groups(f"try-{os.getpid()}", _TRIED_MEMORY, _TRIED_PROCESSES):
        version = "v2" if os.path.exists(f"{directory}/cgroup.controllers") else "v1"
        for what, file, wanted in (
            ("memory", "memory.max", _TRIED_MEMORY),
            ("memory", "memory.limit_in_bytes", _TRIED_MEMORY),
            ("processes", "pids.max", _TRIED_PROCESSES),
        ):
            with suppress(OSError, ValueError), open(f"{directory}/{file}") as kept:
                if int(kept.read()) == wanted:
                    found[what] = f"control group {version}"
        with suppress(OSError):
            os.rmdir(directory)
    return found["memory"], found["processes"]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(facts())))
