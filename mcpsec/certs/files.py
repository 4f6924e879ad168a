"""Files and directories that are wholly there or not at all, whatever instant the process dies at.

A file is written beside its target, flushed to the disk and renamed over it. The directory of a certificate (key,
certificate and chain belong together) is staged under a hidden name and exchanged with the old one in a single step,
so that no reader ever finds a key beside another key's certificate. The order is always: contents to the disk, name to
the disk, then whatever depends on it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mcpsec.certs.syscalls import exchange
from mcpsec.errors import ConfigurationError, Error, SecretError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "PRIVATE",
    "PUBLIC",
    "check_private",
    "discard_staged",
    "discard_unfinished",
    "install",
    "lock",
    "make_directory",
    "read",
    "readable_errors",
    "stage",
    "sync_directory",
    "sync_staged",
    "write_atomic",
]

PRIVATE = 0o600
"""Mode of a file that holds a key, a passphrase or the ledger."""
PUBLIC = 0o644
"""Mode of a certificate, a chain or a CRL: anyone may read it (its directory may still say no)."""

_STAGED = ".new-"
_REPLACED = ".old-"
_LOCK_POLL = 0.01


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


def check_private(path: Path, what: str) -> None:
    """Refuse a secret file that other accounts may read or change (nothing to check where modes mean nothing).

    Raises:
        SecretError: group or others have any permission on it.
        ConfigurationError: the file is missing.
    """
    if os.name != "posix":
        return
    with readable_errors(path):
        mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise SecretError(
            f"{what} is open to other accounts (mode {mode:04o})",
            path=path,
            hint=f"chmod 600 {path}, and replace the key if someone else may have read it",
        )


def make_directory(path: Path) -> None:
    """Make ``path`` and its missing parents, for this account only."""
    with readable_errors(path):
        if not path.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
            sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Flush a directory's entries to the disk (Windows has no such call and needs none)."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_new(path: Path | str, data: bytes, mode: int, *, flush: bool = True) -> None:
    """Create ``path`` with ``data``, on the disk unless the caller flushes; never follows or reuses what is there."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), mode)
    try:
        os.fchmod(descriptor, mode) if hasattr(os, "fchmod") else None
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        if flush:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes, mode: int = PUBLIC) -> None:
    """Replace ``path`` by ``data``: readers see the old bytes or the new ones, also after a power cut.

    Raises:
        ConfigurationError: the disk is full, the directory can't be written, …; the old file is then untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{time.monotonic_ns():x}")
    with readable_errors(path):
        try:
            _write_new(temporary, data, mode)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def discard_unfinished(path: Path) -> None:
    """Remove what ``write_atomic`` of a killed process left beside ``path``. Only under the lock that writers hold."""
    for left in path.parent.glob(f".{path.name}.*"):
        with contextlib.suppress(OSError):  # of another account: it may, this one need not
            left.unlink()


def stage(target: Path, files: dict[str, tuple[bytes, int]], *, flush: bool = True) -> Path:
    """Write ``files`` (name → contents, mode) into a hidden directory beside ``target`` and return it.

    It is on the disk then, unless the caller flushes many at once.

    Raises:
        ConfigurationError: it can't be written; nothing is left behind.
    """
    staged = target.with_name(f"{_STAGED}{target.name}")
    with readable_errors(target):
        try:
            _make_empty(staged)
            for name, (data, mode) in files.items():
                _write_new(f"{staged}/{name}", data, mode, flush=flush)
            if flush:
                sync_directory(staged)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
    return staged


def _make_empty(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:  # of a process that died
        shutil.rmtree(directory)
        directory.mkdir(mode=0o700)


def sync_staged(staged: Iterable[Path]) -> None:
    """Flush what was staged without a flush, where the whole file system can't be flushed at once."""
    for directory in staged:
        for path in directory.iterdir():
            descriptor = os.open(path, os.O_RDWR)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_directory(directory)


def install(staged: Path, target: Path) -> None:
    """Put a staged directory in ``target``'s place in one step. The caller flushes the parent directory.

    Where the file system can't exchange two names there is an instant with no directory at all (never a mixed one),
    which ``discard_staged`` mends.
    """
    with readable_errors(target):
        if not target.exists():
            staged.rename(target)
        elif exchange(staged, target):
            shutil.rmtree(staged)
        else:
            replaced = target.with_name(f"{_REPLACED}{target.name}")
            shutil.rmtree(replaced, ignore_errors=True)
            target.rename(replaced)
            staged.rename(target)
            shutil.rmtree(replaced)


def discard_staged(parent: Path) -> None:
    """Remove what a killed process left staged below ``parent``. Only under the lock: nobody else is staging then."""
    for left in parent.glob(f"{_REPLACED}*"):
        target = left.with_name(left.name.removeprefix(_REPLACED))
        if not target.exists():
            left.rename(target)
        else:
            shutil.rmtree(left, ignore_errors=True)
    for left in parent.glob(f"{_STAGED}*"):
        shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def lock(path: Path, *, timeout: float = 60.0) -> Iterator[None]:
    """Hold the exclusive lock on ``path``. The kernel lets go of it when the process dies, however it dies.

    Raises:
        Error: someone else held it for ``timeout`` seconds.
    """
    with readable_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), PRIVATE)
    try:
        deadline = time.monotonic() + timeout
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                raise Error(f"another process has held the lock for {timeout:.0f} seconds", path=path)
            time.sleep(_LOCK_POLL)
        yield
    finally:
        os.close(descriptor)


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
