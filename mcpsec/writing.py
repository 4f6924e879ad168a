"""Files that are wholly there or not at all, whatever instant the process dies at.

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
from typing import TYPE_CHECKING

from mcpsec.errors import ConfigurationError, advice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "PRIVATE",
    "PUBLIC",
    "inherit_owner",
    "readable_errors",
    "resolved",
    "sync_directory",
    "sync_file",
    "write_atomic",
    "write_new",
    "write_output",
]

PRIVATE = 0o600
"""Mode of a file that holds a key, a passphrase or the ledger."""
PUBLIC = 0o644
"""Mode of a certificate, a chain or a CRL: anyone may read it (its directory may still say no)."""

_BINARY = getattr(os, "O_BINARY", 0)
"""Windows would change line ends otherwise."""
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_IN_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY)
"""The directory takes no new name, though the file in it may be writable: a container mounts single files."""


@contextlib.contextmanager
def readable_errors(path: Path, *, instead_of: Path | None = None) -> Iterator[None]:
    """Turn an ``OSError`` on ``path`` into one clear sentence, which names ``path`` also for what is built beside it.

    Raises:
        ConfigurationError: always in place of the ``OSError``.
    """
    try:
        yield
    except OSError as error:
        place = error.filename if isinstance(error.filename, str) else str(path)
        if instead_of is not None:
            place = place.replace(str(instead_of), str(path), 1)
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise ConfigurationError(reason, path=place, hint=advice(error)) from error


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


def write_new(path: Path | str, data: bytes, mode: int | None, *, flush: bool = True, inherit: bool = False) -> None:
    """Create ``path`` with ``data``, on the disk unless the caller flushes; never follows or reuses what is there.

    Without a ``mode`` the account's umask says who may read it.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY | _NOFOLLOW
    descriptor = os.open(path, flags, 0o666 if mode is None else mode)
    try:
        if mode is not None and hasattr(os, "fchmod"):
            os.fchmod(descriptor, mode)  # the umask may have taken bits away
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        if inherit:
            inherit_owner(path)
        if flush:
            _sync(descriptor)
    except BaseException:  # half of a key would be in the way of the next attempt
        os.unlink(path)  # noqa: PTH108 # in every file of a fleet
        raise
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes, mode: int = PUBLIC, *, inherit: bool = False) -> None:
    """Replace ``path`` by ``data``: readers see the old bytes or the new ones, also after a power cut.

    With ``inherit`` root gives it to the owner of the directory. Public data is written to a device or pipe that is
    there (``/dev/stdout``) and never replaces it; private data does: who put a pipe in its place must not read it.
    A link is replaced, never followed.

    Raises:
        ConfigurationError: the disk is full, the directory can't be written, …; the old file is then untouched.
    """
    with readable_errors(path):
        if mode == PUBLIC and _is_stream(path):
            _write_in_place(path, data)
        else:
            _replace(path, data, mode, inherit=inherit)


def write_output(path: Path, data: bytes, mode: int | None = None) -> None:
    """Write what a command has to say to the place that its user named (``-o``), as ``write_atomic`` does.

    A file that is there keeps its mode and owner, and a link to it stays; a new one gets ``mode``, or what the umask
    leaves. Where the directory takes no new name, the file itself is written.

    Raises:
        ConfigurationError: the disk is full, the place can't be written, …
    """
    with readable_errors(path):
        if _is_stream(path):
            _write_in_place(path, data)
            return
        target = resolved(path)
        there = target.stat() if target.exists() else None
        if there is not None and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, "", str(path))
        try:
            _replace(target, data, mode if there is None else stat.S_IMODE(there.st_mode), there)
        except OSError as error:
            if there is None or error.errno not in _IN_PLACE:
                raise
            _write_in_place(target, data)


def resolved(path: Path) -> Path:
    """The file that a path leads to. Raises OSError when its links lead in a circle."""
    circle = OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    try:
        target = path.resolve()
    except RuntimeError as error:  # Python 3.11 and 3.12 have no better word for it
        raise circle from error
    if target.is_symlink():  # Python 3.13 leaves it as it is, and it would be replaced
        raise circle
    return target


def _replace(
    path: Path, data: bytes, mode: int | None, like: os.stat_result | None = None, *, inherit: bool = False
) -> None:
    """The one way in which a file is replaced; what root writes over a file ``like`` stays its owner's."""
    if not path.name:  # "/" and ".", which have no name to be built beside
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{time.monotonic_ns():x}")
    try:
        write_new(temporary, data, mode, inherit=inherit)
        if like is not None and hasattr(os, "geteuid") and os.geteuid() == 0:
            os.chown(temporary, like.st_uid, like.st_gid)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # nor can it be removed from a place that takes nothing
            temporary.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error  # the scratch file's name says nothing
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def _write_in_place(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)


def _is_stream(path: Path) -> bool:
    """Whether something is there that is neither file nor directory."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
