"""Small files that a user names, read whole but never without end, as a device (``/dev/zero``) would be."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mcpsec.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LARGE", "SMALL", "is_file", "read_file"]

SMALL = 1 << 20
"""Bytes of a key, a checkpoint, a file of settings."""
LARGE = 64 << 20
"""Bytes of what grows with what it tells of: a revocation list, a baseline."""


def is_file(path: Path | str) -> bool:
    """Whether a path that somebody else chose leads to a file that we can see.

    ``Path.is_file`` raises before Python 3.14 for a name that is too long, or below a directory that may not be
    entered.
    """
    return os.path.isfile(path)  # noqa: PTH113


def read_file(path: Path | str, largest: int = SMALL, what: str = "file of this kind") -> bytes:
    """Return a file's bytes.

    Raises:
        ConfigurationError: there are more than ``largest``.
        OSError: it can't be read.
    """
    with open(path, "rb") as file:  # noqa: PTH123 # also for those who have no Path
        content = file.read(largest + 1)
    if len(content) > largest:
        raise ConfigurationError(f"is larger than {largest >> 20} MiB: no {what} is", path=path)
    return content
