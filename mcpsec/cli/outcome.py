"""How a command ends: every failure becomes text and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mcpsec.cli.output import out
from mcpsec.errors import ADVICE, Error, ExitCode, nowhere

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["hoist", "outcome"]

_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)
_ANYWHERE = {"--quiet": "--quiet", "-q": "--quiet", "--no-color": "--no-color"}


def hoist(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The root's flags, which people type anywhere before ``--``, and the other words."""
    end = argv.index("--") if "--" in argv else len(argv)
    flags = [_ANYWHERE[word] for word in argv[:end] if word in _ANYWHERE]
    return flags, [*(word for word in argv[:end] if word not in _ANYWHERE), *argv[end:]]


def outcome(work: Callable[[], object], arguments: Sequence[str]) -> int:
    """Do it and return the exit code: the one it returns, or that of what it raised; nothing is raised."""
    try:
        result = work()
        sys.stdout.flush()
        return int(result) if isinstance(result, int) else ExitCode.OK
    except Error as error:
        out.error(error)
        _stdout_failure()  # what can't be written now can't be at the end of Python either
        return error.exit_code
    except KeyboardInterrupt:
        out.note("interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return ExitCode.UNREAD
    except Exception as error:
        if isinstance(error, OSError) and (reason := _stdout_failure(error)) is not None:
            out.error(Error(f"standard output can't be written: {reason}"))
            return ExitCode.USAGE
        if isinstance(error, OSError) and error.errno in ADVICE:
            out.error(_of_the_system(error))
            return ExitCode.USAGE
        if isinstance(error, FileNotFoundError) and nowhere():
            out.error(Error("the working directory is not there any more", hint="cd to one that is"))
            return ExitCode.USAGE
        if isinstance(error, UnicodeEncodeError) and not all(map(_is_text, arguments)):
            out.error(Error("the command line holds something that is not UTF-8"))
            return ExitCode.USAGE
        from mcpsec.cli.crash import write_report

        return write_report(error, arguments)


def _of_the_system(error: OSError) -> Error:
    """What the system refused, wherever it was that nobody had thought of it."""
    path = error.filename if isinstance(error.filename, str | Path) else None
    return Error((error.strerror or type(error).__name__).lower(), path=path, hint=ADVICE[error.errno or 0])


def _is_text(word: str) -> bool:
    """False for a word with bytes that are no UTF-8, which Python hands over as surrogates (PEP 383)."""
    return not any("\ud800" <= letter <= "\udfff" for letter in word)


def _stdout_failure(told: OSError | None = None) -> str | None:
    """Why standard output takes no more (a full disk, say); None when it does. What is left of it is given up.

    Long output goes past Python's buffers, so a flush knows nothing of it. What names no file was written somewhere:
    one more line end, after output that has failed anyway, shows whether it was there.
    """
    try:
        sys.stdout.flush()
        if told is not None and told.filename is None and told.errno in _OF_DISKS:
            os.write(sys.stdout.fileno(), b"\n")
    except OSError as error:
        _silence_stdout()
        return error.strerror
    return None


def _silence_stdout() -> None:
    """Nobody reads our output any more (`| head`): stop Python from complaining about it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
