"""Where the git repository around a file begins, which is what code hosts name a file's path from."""

from __future__ import annotations

import os
from functools import lru_cache

__all__ = ["path_within", "top"]


@lru_cache(maxsize=4096)
def top(path: str) -> str | None:
    """The directory with ``.git`` in it, ``path`` (an absolute one) itself or one above it; None outside of any."""
    if os.path.exists(os.path.join(path, ".git")):  # noqa: PTH110, PTH118
        return path
    parent = os.path.dirname(path)  # noqa: PTH120
    return None if parent == path else top(parent)


def path_within(path: str) -> str:
    """``path`` from the top of its repository, with ``/`` between its parts; unchanged outside of any."""
    absolute = os.path.abspath(path)  # noqa: PTH100
    root = top(absolute)
    return path if root is None else os.path.relpath(absolute, root).replace(os.sep, "/")
