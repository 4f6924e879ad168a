"""One writer a log: an advisory lock on a file, held for as long as the process lives."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mcpsec.errors import ConfigurationError
from mcpsec.locking import try_lock

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Lock"]


class Lock:
    """A taken lock; the operating system gives it back when the process ends, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path, *, what: str) -> Lock:
        """Lock the existing file ``path``.

        Raises:
            ConfigurationError: somebody else holds it.
            OSError: the file can't be opened, or can't be locked.
        """
        descriptor = os.open(path, os.O_RDWR)
        try:
            taken = try_lock(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        if not taken:
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
