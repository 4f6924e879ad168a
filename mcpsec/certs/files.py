"""The PKI's files: who may read and write them, and the lock that orders writers."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mcpsec.errors import ConfigurationError, Error, SecretError
from mcpsec.locking import try_lock
from mcpsec.reading import LARGE, read_file
from mcpsec.writing import PRIVATE, inherit_owner, readable_errors, sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["discard_unfinished", "lock", "make_directory", "may_write", "read", "read_private"]

_LOCK_POLL = 0.01


def read(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        ConfigurationError: the file is missing, unreadable, a directory, or has no end.
    """
    with readable_errors(path):
        return read_file(path, LARGE)


def read_private(path: Path, what: str) -> bytes:
    """Return a secret file's bytes, unless other accounts may read or change it (where modes mean something).

    The permissions are those of the very file that is read: it is opened once.

    Raises:
        SecretError: group or others have any permission on it.
        ConfigurationError: the file is missing, unreadable or no regular file.
    """
    with readable_errors(path), path.open("rb") as file:
        status = os.fstat(file.fileno())
        mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError(f"{what} has to be a file", path=path)
        if os.name == "posix" and mode & 0o077:
            raise SecretError(
                f"{what} is open to other accounts (mode {mode:04o})",
                path=path,
                hint=f"chmod 600 {path}, and replace the key if someone else may have read it",
            )
        return file.read()


def may_write(path: Path) -> bool:
    """Tell whether this process, as the account it acts for, may write a file or into a directory."""
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def make_directory(path: Path) -> None:
    """Make ``path`` and its missing parents, for this account only."""
    with readable_errors(path):
        if not path.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
            inherit_owner(path)
            sync_directory(path.parent)


def discard_unfinished(path: Path) -> None:
    """Remove what ``write_atomic`` of a killed process left beside ``path``. Only under the lock that writers hold."""
    for left in path.parent.glob(f".{path.name}.*"):
        with contextlib.suppress(OSError):  # of another account: it may, this one need not
            left.unlink()


@contextlib.contextmanager
def lock(path: Path, *, timeout: float = 60.0) -> Iterator[None]:
    """Hold the exclusive lock on ``path``. The kernel lets go of it when the process dies, however it dies.

    Raises:
        Error: someone else held it for ``timeout`` seconds.
    """
    with readable_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), PRIVATE)
        inherit_owner(path)
    try:
        deadline = time.monotonic() + timeout
        while not _taken(descriptor, path):
            if time.monotonic() > deadline:
                raise Error(f"another process has held the lock for {timeout:.0f} seconds", path=path)
            time.sleep(_LOCK_POLL)
        yield
    finally:
        os.close(descriptor)


def _taken(descriptor: int, path: Path) -> bool:
    with readable_errors(path):
        return try_lock(descriptor)
