"""The file that is being written, with the lines that wait for it: bounded by its owner, never out of order.

Nothing here raises for a disk that does not take what is written: ``trouble`` says what is wrong, and the lines wait.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

__all__ = ["Spool"]


class Spool:
    """An append-only file and its buffer. ``size`` counts the file's bytes, ``buffered`` those that wait."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.buffered = 0
        self.trouble: OSError | None = None
        self._descriptor = -1
        self._lines: list[bytes] = []
        self._oldest = 0.0
        self._unsynced = False

    def open(self, size: int = 0) -> None:
        """Open the file for appending; ``size`` is what it holds already.

        Raises:
            OSError: it can't be opened.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(self.path, flags, 0o600)
        self.size = size

    @property
    def is_open(self) -> bool:
        """True between ``open`` and ``close``."""
        return self._descriptor >= 0

    @property
    def lag(self) -> float:
        """Seconds that the oldest waiting line has waited."""
        return time.monotonic() - self._oldest if self._lines else 0.0

    def append(self, line: bytes) -> None:
        """Let a line (without its newline) wait for the next ``flush``."""
        self.extend([line, b"\n"], len(line) + 1)

    def extend(self, pieces: list[bytes], size: int) -> None:
        """Let whole lines, newlines among the pieces, wait for the next ``flush``; ``size`` is the bytes of all."""
        if not self._lines:
            self._oldest = time.monotonic()
        self._lines += pieces
        self.buffered += size

    def flush(self) -> None:
        """Hand what waits to the operating system."""
        if not self._lines:
            return
        data = b"".join(self._lines)
        done = 0
        try:
            if self._descriptor < 0:  # a rotation could not open the next file: try again
                self.open(self.path.stat().st_size if self.path.exists() else 0)
            while done < len(data):
                done += os.write(self._descriptor, data[done:] if done else data)
        except OSError as error:
            self.trouble = error
        else:
            self.trouble = None
        self.size += done
        self.buffered -= done
        self._lines = [data[done:]] if done < len(data) else []
        self._unsynced = self._unsynced or done > 0

    def sync(self) -> None:
        """Force what was written to the disk."""
        if self._unsynced and self.trouble is None:
            try:
                os.fsync(self._descriptor)
                self._unsynced = False
            except OSError as error:
                self.trouble = error

    def forgive(self, *, again: bool) -> None:
        """Forget trouble that is over; ``again`` when forcing to the disk has to succeed first."""
        self.trouble = None
        if again:
            self.sync()

    def duplicate(self) -> int:
        """A second descriptor of the file, for another thread to sync and close."""
        return os.dup(self._descriptor)

    def is_gone(self) -> bool:
        """True when the file that is written is no longer the one at its path, or was cut: somebody touched it."""
        if self._descriptor < 0:
            return False
        here = os.fstat(self._descriptor)
        if here.st_size < self.size:
            return True
        try:
            there = self.path.stat()
        except OSError:
            return True
        return (there.st_ino, there.st_dev) != (here.st_ino, here.st_dev)

    def close(self) -> None:
        """Close the file; what waits goes on waiting."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
