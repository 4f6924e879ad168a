"""What the service manager tells the gateway and hears from it (sd_notify(3), sd_listen_fds(3)).

Everything here does nothing where the environment says nothing about it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time

__all__ = ["inherited_sockets", "notify", "notify_reloading", "watchdog_seconds"]

_FIRST = 3


def notify(*lines: str) -> None:
    """Tell the service manager, as ``READY=1``, ``STOPPING=1``, ``WATCHDOG=1``, ``STATUS=…``."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    target = "\0" + address[1:] if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        channel.sendto("\n".join(lines).encode(), target)


def notify_reloading() -> None:
    """The configuration is being read again; READY=1 ends it."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_seconds() -> float | None:
    """How often to say WATCHDOG=1: half of what the service manager waits; None when it does not."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not microseconds.isdecimal() or int(microseconds) == 0 or pid != str(os.getpid()):
        return None
    return int(microseconds) / 2_000_000


def inherited_sockets() -> dict[str, socket.socket]:
    """The listening sockets that this process was started with, by name (``FileDescriptorName=``), once.

    The first one without a name of ours is ``public``; ``admin`` is the operators'.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    count = int(os.environ.get("LISTEN_FDS", "0"))
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    sockets: dict[str, socket.socket] = {}
    for index in range(count):
        listening = socket.socket(fileno=_FIRST + index)
        listening.set_inheritable(False)
        listening.setblocking(False)
        name = "admin" if index < len(names) and names[index] == "admin" else "public"
        if name in sockets:
            listening.close()
        else:
            sockets[name] = listening
    return sockets
