"""Sharing work between processes: fork, a pipe each, answers as :mod:`marshal` data.

Used only where the platform forks; elsewhere everything runs in this process.
"""

from __future__ import annotations

import marshal
import os
import sys
from contextlib import suppress

from mcpsec.leaks.expressions import keep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

__all__ = ["can_fork", "cores", "hand_out", "share"]

NAMES = 32
"""File names handed out at once."""
MESSAGE = 16 << 10
"""The most bytes of a message, a last long name not counted."""


def cores() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def can_fork() -> bool:
    """True where forking is safe and cheap."""
    return hasattr(os, "fork") and sys.platform != "darwin"


def share(work: Callable[[int], Any], jobs: int, begun: Callable[[], None] | None = None) -> Iterator[Any]:
    """Run ``work(0)`` … ``work(jobs - 1)``, each in its own process, and yield their answers in order.

    ``work`` answers with plain values (numbers, text, bytes, lists, tuples, dictionaries). ``begun`` is called here
    when all of them run. A child that dies raises RuntimeError here, since what it was to look at has not been looked
    at.
    """
    if jobs <= 1 or not can_fork():
        for number in range(max(jobs, 1)):
            yield work(number)
        return
    children: list[tuple[int, int]] = []
    try:
        for number in range(jobs):
            reader, writer = os.pipe()
            sys.stdout.flush()
            sys.stderr.flush()
            pid = os.fork()
            if not pid:
                os.close(reader)
                _child(work, number, writer)
            os.close(writer)
            children.append((pid, reader))
        if begun is not None:
            begun()
        while children:
            pid, reader = children[0]
            with os.fdopen(reader, "rb") as stream:
                content = stream.read()
            children.pop(0)
            _, status = os.waitpid(pid, 0)
            if status or not content:
                raise RuntimeError("a scanning process ended before its work was done")
            yield marshal.loads(content)  # our own child's answer  # noqa: S302
    finally:
        import signal

        for pid, reader in children:
            os.kill(pid, signal.SIGTERM)
            os.waitpid(pid, 0)
            try:
                os.close(reader)
            except OSError:
                continue


def hand_out(
    names: Iterable[str], work: Callable[[Iterator[str]], Any], jobs: int, at_once: int = NAMES
) -> Iterator[Any]:
    """Run ``work`` in so many processes, each with the file names it takes as it gets to them; yield their answers.

    The names are still being looked for here while the first are worked on. Needs :func:`can_fork`.
    """
    import socket

    # every message goes whole to one of those who wait
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def taken() -> Iterator[str]:
        while message := reader.recv(2 * MESSAGE):
            yield from os.fsdecode(message).split("\0")

    def child(number: int) -> Any:
        writer.close()
        return work(taken())

    def deal() -> None:
        reader.close()
        with writer, suppress(BrokenPipeError, ConnectionResetError):  # all have died: their missing answers say so
            for message in _messages(names, at_once):
                writer.send(message)

    with reader, writer:
        yield from share(child, jobs, deal)


def _messages(names: Iterable[str], at_once: int) -> Iterator[bytes]:
    parts: list[str] = []
    size = 0
    for name in names:
        parts.append(name)
        size += len(name)
        if len(parts) == at_once or size > MESSAGE // 4:  # a character has four bytes at most
            yield os.fsencode("\0".join(parts))
            parts, size = [], 0
    if parts:
        yield os.fsencode("\0".join(parts))


def _child(work: Callable[[int], Any], number: int, writer: int) -> None:
    status = 1
    try:
        with os.fdopen(writer, "wb") as stream:
            stream.write(marshal.dumps(work(number)))
        keep()
        status = 0
    except BaseException as error:  # noqa: BLE001,RUF100 # a child must never return into its parent's code
        if not isinstance(error, KeyboardInterrupt):
            sys.stderr.write(f"scanning process: {type(error).__name__}\n")
    finally:
        os._exit(status)
