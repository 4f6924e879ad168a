"""What happens when mcpsec itself fails: a report file without secrets, one line on standard error, exit code 4."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from mcpsec import __version__
from mcpsec.cli.output import out
from mcpsec.errors import Error, ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["write_report"]


def _frames(error: BaseException) -> list[str]:
    """The call chain as file, line and function. Source lines and values stay out: either may hold a secret."""
    lines = []
    for frame in traceback.extract_tb(error.__traceback__):
        file = Path(frame.filename)
        name = "/".join(file.parts[-3:])
        lines.append(f"  {name}:{frame.lineno} in {frame.name}")
    return lines


def _chain(error: BaseException) -> list[str]:
    lines = [f"{type(error).__module__}.{type(error).__qualname__}", *_frames(error)]
    cause = error.__cause__ or error.__context__
    return lines if cause is None else [*lines, "caused by", *_chain(cause)]


def write_report(error: Exception, arguments: Sequence[str]) -> int:
    """Write a report (exception types, call chain, versions; no values) and say where it is."""
    options = [word.partition("=")[0] for word in arguments if word.startswith("-")]
    command = next((word for word in arguments if not word.startswith("-")), "")
    lines = [
        f"mcpsec {__version__}",
        f"python {platform.python_version()} on {platform.platform()}",
        f"command: {command} {' '.join(options)}".rstrip(),
        *_chain(error),
    ]
    try:
        descriptor, name = tempfile.mkstemp(prefix="mcpsec-crash-", suffix=".log")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        hint = f"Please report it with the file {name} (it holds no values, only the call chain)."
    except OSError:
        hint = "Please report it; the report file could not be written."
    if os.environ.get("MCPSEC_TRACEBACK"):
        traceback.print_exception(error, file=sys.stderr)
    what = f"internal error ({type(error).__name__}); this is a defect of mcpsec, not of your input"
    out.error(Error(what, hint=hint))
    return ExitCode.INTERNAL
