"""Two system calls that Python's ``os`` lacks: swapping two names in a single step, and flushing one file system.

A plain ``rename`` can't replace a directory that holds files; ``renameat2`` (Linux) and ``renamex_np`` (macOS) swap it
with another. ``syncfs`` (Linux) flushes a thousand new files at the price of a few single flushes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["exchange", "sync_filesystem"]

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h
_RENAME_SWAP = 2  # sys/stdio.h of macOS
_UNABLE = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EXDEV, errno.EPERM}


@cache
def _rename_call() -> Callable[[bytes, bytes], int] | None:
    """The C library's call on this platform, None when it has none."""
    if sys.platform not in ("linux", "darwin"):
        return None
    library: Any = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "linux" and hasattr(library, "renameat2"):
        return lambda one, other: int(library.renameat2(_AT_FDCWD, one, _AT_FDCWD, other, _RENAME_EXCHANGE))
    if hasattr(library, "renamex_np"):
        return lambda one, other: int(library.renamex_np(one, other, _RENAME_SWAP))
    return None


def exchange(one: Path | str, other: Path | str) -> bool:
    """Swap two existing names atomically; False when this platform or file system can't.

    Raises:
        OSError: anything else went wrong (no permission, one of them is gone).
    """
    call = _rename_call()
    if call is None:
        return False
    if call(os.fsencode(one), os.fsencode(other)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNABLE:
        return False
    raise OSError(number, os.strerror(number), str(other))


def sync_filesystem(directory: Path) -> bool:
    """Flush everything written to the file system that ``directory`` is on; False when this platform can't.

    Raises:
        OSError: something could not be written (Linux 5.8 and later report that here).
    """
    if sys.platform != "linux":
        return False
    library: Any = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "syncfs"):
        return False
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if library.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(directory))
    finally:
        os.close(descriptor)
    return True
