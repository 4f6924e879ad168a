"""One writer a log: an advisory lock on a file, held for as long as the process lives."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from mcpsec.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Lock", "is_held"]


class Lock:
    """A taken lock; the operating system gives it back when the process ends, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path, *, what: str) -> Lock:
        """Lock the existing file ``path``.

        Raises:
            ConfigurationError: somebody else holds it.
            OSError: the file can't be opened.
        """
        descriptor = os.open(path, os.O_RDWR)
        if not _lock(descriptor):
            os.close(descriptor)
            raise ConfigurationError(
                f"another process is writing {what}",
                hint="one gateway writes one log: stop the other one, or give this one a [log] file of its own",
            )
        return cls(descriptor)

    def release(self) -> None:
        """Give the lock back. Harmless when repeated."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def is_held(path: Path) -> bool:
    """True when some process holds the lock on ``path`` right now."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _lock(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
