"""A program that tries to get out of its sandbox and writes what it could do, as JSON: ``probe.py TRIAL WORDS``.

It is run by path, as a stdio server is, and imports the standard library only. ``trial.py`` starts it and judges.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

_CALLS = {
    "x86_64": {"ptrace": (101, 16), "mount": (165, 0), "unshare": (272, 0x10000000), "keyctl": (250, 0),
               "bpf": (321, 0), "io_uring_setup": (425, 1), "process_vm_readv": (310, 1)},
    "aarch64": {"ptrace": (117, 16), "mount": (40, 0), "unshare": (97, 0x10000000), "keyctl": (219, 0),
                "bpf": (280, 0), "io_uring_setup": (425, 1), "process_vm_readv": (270, 1)},
}  # fmt: skip
"""Calls that no MCP server needs: number and first argument."""
_EPERM = 1
_CHUNK = 16 << 20


def escape(told: dict[str, Any]) -> dict[str, Any]:
    """Everything that a sandbox should refuse, and at the end what it must not."""
    done: dict[str, Any] = {}

    def attempt(name: str, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError:
            done[name] = False
        else:
            done[name] = True

    attempt("read outside", lambda: _read(told["outside"]))
    attempt("write outside", lambda: _write(told["outside"] + ".new"))
    attempt("write what is readable", lambda: _write(told["readable"] + ".new"))
    attempt("connect by TCP", lambda: socket.create_connection(("127.0.0.1", told["port"]), 5).close())
    attempt("send a datagram", lambda: _datagram(told["port"]))
    attempt("listen", lambda: socket.create_server(("127.0.0.1", 0)).close())
    attempt("reach an abstract socket", lambda: _abstract(told["abstract"]))
    attempt("signal the gateway", lambda: os.kill(told["pid"], 0))
    attempt("read its environment", lambda: _read(f"/proc/{told['pid']}/environ"))
    done["calls"] = _calls()
    done["processes"] = _processes_seen()
    done["see /run"] = any(os.path.lexists(f"/run/{name}") for name in told["run"])  # Landlock hides lists, not files
    attempt("read what is named", lambda: _read(told["readable"]))
    attempt("write what is named", lambda: _write(told["writable"]))
    attempt("start a program", lambda: subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True))
    return done


def _processes_seen() -> int:
    try:
        return sum(each.isdigit() for each in os.listdir("/proc"))
    except OSError:
        return 0


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(1)


def _write(path: str) -> None:
    with open(path, "w") as file:
        file.write("x")


def _datagram(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", port))


def _abstract(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect("\0" + name)


def _calls() -> list[str]:
    """Those of the calls that the kernel looked at, instead of refusing them unseen."""
    libc = ctypes.CDLL(None, use_errno=True)
    passed = []
    for name, (number, first) in _CALLS.get(platform.machine(), {}).items():
        ctypes.set_errno(0)
        result = libc.syscall(number, ctypes.c_long(first), *(ctypes.c_long(0) for _ in range(5)))
        if result >= 0 or ctypes.get_errno() != _EPERM:
            passed.append(name)
    return passed


def account(_: dict[str, Any]) -> dict[str, Any]:
    """Who this process is, and what it may become."""
    with open("/proc/self/status") as file:
        status = dict(line.split(":", 1) for line in file if ":" in line)
    return {
        "uid": os.geteuid(),
        "no_new_privileges": status["NoNewPrivs"].strip() == "1",
        "capabilities": int(status["CapEff"], 16),
    }


def memory(told: dict[str, Any]) -> dict[str, Any]:
    """Take memory until it is refused, or until twice the bound; a control group ends the process instead."""
    held: list[bytes] = []
    try:
        while len(held) * _CHUNK < 2 * told["bound"]:
            held.append(b"x" * _CHUNK)
    except MemoryError:
        return {"refused": True}
    return {"refused": False}


def processes(told: dict[str, Any]) -> dict[str, Any]:
    """Fork until it is refused, or until twice the bound."""
    children: list[int] = []
    try:
        while len(children) < 2 * told["bound"]:
            child = os.fork()
            if child == 0:
                time.sleep(60)
                os._exit(0)
            children.append(child)
    except OSError:
        return {"refused": True}
    finally:
        for each in children:
            os.kill(each, 9)
    return {"refused": False}


def daemon(told: dict[str, Any]) -> dict[str, Any]:
    """Leave a process of another session behind, which holds a file open for as long as it lives."""
    import fcntl

    with open(told["lock"], "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for descriptor in (0, 1, 2):
                    os.close(descriptor)
                time.sleep(60)
            os._exit(0)
    return {"started": True}


if __name__ == "__main__":
    trials = {each.__name__: each for each in (escape, account, memory, processes, daemon)}
    sys.stdout.write(json.dumps(trials[sys.argv[1]](json.loads(sys.argv[2]))))
