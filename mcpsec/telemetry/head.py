"""The head file: the log's last signed line, kept beside it, so that a tail that was cut away shows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mcpsec.errors import ConfigurationError
from mcpsec.reading import read_file
from mcpsec.telemetry.chain import Damage, parse
from mcpsec.writing import PUBLIC

__all__ = ["head_path", "read_head", "write_head"]


def head_path(log: Path) -> Path:
    """Where the last signed line of ``log`` is kept."""
    return log.with_name(log.name + ".head")


def read_head(log: Path) -> dict[str, Any] | None:
    """The last signed line's fields as kept beside the log; None when there is none or it is not readable."""
    try:
        line = parse(read_file(head_path(log)).rstrip(b"\n"))
    except (OSError, ConfigurationError, Damage):
        return None
    return line.fields if isinstance(line.fields.get("chain"), str) else None


def write_head(log: Path, signed: bytes) -> bool:
    """Keep ``signed``, whole or not at all; False when the disk does not take it."""
    target = head_path(log)
    partial = target.with_name(target.name + ".tmp")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PUBLIC)  # whatever the umask lets through
        with os.fdopen(descriptor, "wb") as file:
            file.write(signed + b"\n")
        partial.replace(target)
    except OSError:
        return False
    return True
