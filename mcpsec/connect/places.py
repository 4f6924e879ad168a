"""The directories of the account that runs this, or a word that it has none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from mcpsec.errors import UsageError

__all__ = ["home_directory", "named_directory"]


def home_directory() -> Path:
    """The account's home directory.

    Raises:
        UsageError: it has none, as a container's number without a name, or HOME is no absolute path: what is written
            "there" would land in ``/``, or wherever the program was started.
    """
    told = os.environ.get("HOME")
    try:
        home = Path.home()
    except RuntimeError:
        home = None
    if home is None or not home.is_absolute() or (told is not None and told.strip() == "" and os.name == "posix"):
        raise UsageError("this account has no home directory", hint="set HOME to the absolute path of one")
    return home


def named_directory(variable: str, otherwise: Callable[[], Path]) -> Path:
    """The directory that a variable names; what is no absolute path counts as not set (XDG Base Directory).

    ``otherwise`` is asked only then: an account without a home directory may have this one.
    """
    named = Path(os.environ.get(variable) or "")
    return named if named.is_absolute() else otherwise()
