"""Files that are wholly there or not at all, whatever instant the process dies at, and the lock that orders writers.

A file is written beside its target, flushed to the disk and renamed over it. The order is always: contents to the disk,
name to the disk, then whatever depends on it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mcpsec.errors import ConfigurationError, Error, SecretError
from mcpsec.locking import try_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "PRIVATE",
    "PUBLIC",
    "discard_unfinished",
    "inherit_owner",
    "lock",
    "make_directory",
    "may_write",
    "read",
    "read_private",
    "readable_errors",
    "sync_directory",
    "sync_file",
    "write_atomic",
    "write_new",
]

PRIVATE = 0o600
"""Mode of a file that holds a key, a passphrase or the ledger."""
PUBLIC = 0o644
"""Mode of a certificate, a chain or a CRL: anyone may read it (its directory may still say no)."""

_LOCK_POLL = 0.01
_BINARY = getattr(os, "O_BINARY", 0)
"""Windows would change line ends otherwise."""
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


@contextlib.contextmanager
def readable_errors(path: Path) -> Iterator[None]:
    """Turn an ``OSError`` on ``path`` into one clear sentence.

    Raises:
        ConfigurationError: always in place of the ``OSError``.
    """
    try:
        yield
    except OSError as error:
        place = error.filename if isinstance(error.filename, str) else str(path)
        hints = {
            errno.ENOSPC: "free some space and run the command again; nothing was left half written",
            errno.EDQUOT: "free some space and run the command again; nothing was left half written",
            errno.EACCES: "run it as the account that owns the PKI, or give this account access",
            errno.EPERM: "run it as the account that owns the PKI, or give this account access",
            errno.ENOENT: "check --dir and the path",
        }
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise ConfigurationError(reason, path=place, hint=hints.get(error.errno or 0)) from error


def read(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        ConfigurationError: the file is missing, unreadable or a directory.
    """
    with readable_errors(path):
        return path.read_bytes()


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


def sync_directory(path: Path | str) -> None:
    """Flush a directory's entries to the disk (Windows has no such call and needs none)."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path | str) -> None:
    """Flush a file to the disk that was written without a flush."""
    descriptor = os.open(path, os.O_RDWR | _BINARY | _NOFOLLOW)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def _sync(descriptor: int) -> None:
    """``fsync``; on macOS that leaves the data in the drive's own cache, and only ``F_FULLFSYNC`` gets it out."""
    if sys.platform == "darwin":
        import fcntl

        try:
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        except OSError:  # a file system that can't (SMB, FUSE)
            os.fsync(descriptor)
    else:
        os.fsync(descriptor)


def inherit_owner(path: Path | str) -> None:
    """Give what root has just made to the owner of its directory, whose account has to work with it later."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    parent = os.stat(os.path.dirname(path) or ".")  # noqa: PTH116, PTH120 # in every file of a fleet
    if parent.st_uid != 0:
        os.chown(path, parent.st_uid, parent.st_gid, follow_symlinks=False)


def write_new(path: Path | str, data: bytes, mode: int, *, flush: bool = True, inherit: bool = False) -> None:
    """Create ``path`` with ``data``, on the disk unless the caller flushes; never follows or reuses what is there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY | _NOFOLLOW, mode)
    try:
        os.fchmod(descriptor, mode) if hasattr(os, "fchmod") else None  # the umask may have taken bits away
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        if inherit:
            inherit_owner(path)
        if flush:
            _sync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes, mode: int = PUBLIC, *, inherit: bool = False) -> None:
    """Replace ``path`` by ``data``: readers see the old bytes or the new ones, also after a power cut.

    With ``inherit`` root gives it to the owner of the directory. Public data is written to a device or pipe that is
    there (``/dev/stdout``) and never replaces it; private data does: who put a pipe in its place must not read it.

    Raises:
        ConfigurationError: the disk is full, the directory can't be written, …; the old file is then untouched.
    """
    if mode == PUBLIC and _is_stream(path):
        with readable_errors(path), path.open("wb") as stream:
            stream.write(data)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{time.monotonic_ns():x}")
    with readable_errors(path):
        try:
            write_new(temporary, data, mode, inherit=inherit)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def _is_stream(path: Path) -> bool:
    """Whether something is there that is neither file nor directory."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


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
