"""The exceptions that mcpsec raises on purpose, and the exit code that each one means.

::

    Error                       what went wrong, where, and what to do about it
    ├── UsageError              2  the command line asks for something that can't be done
    ├── ConfigurationError      2  a file that mcpsec was told to read is wrong (names file:line)
    │   └── SecretError         2  a secret reference does not resolve, or a secret is kept unsafely
    ├── RefusedError            1  the answer is no: a bad signature, a denied call, a certificate that does not verify
    └── NotAssessedError        3  something that was asked for could not be examined

Library code raises these; ``mcpsec.cli.outcome`` is the only place that turns one into text and an exit code.
An exception outside this tree that reaches it is a defect of mcpsec (exit code 4, with a report file).
"""

from __future__ import annotations

import errno
from enum import IntEnum
from pathlib import Path

__all__ = [
    "ConfigurationError",
    "Error",
    "ExitCode",
    "NotAssessedError",
    "RefusedError",
    "SecretError",
    "UsageError",
]


ADVICE = {
    errno.EACCES: "run it as the account that owns it, or give this account access",
    errno.EPERM: "run it as the account that owns it, or give this account access",
    errno.ENOSPC: "free some space and run the command again",
    errno.EDQUOT: "free some space and run the command again",
    errno.EROFS: "give a place that can be written to",
    errno.ENAMETOOLONG: "give a shorter path",
    errno.ELOOP: "a symbolic link leads back to itself",
    errno.EMFILE: "allow more open files: ulimit -n",
    errno.ENFILE: "the whole system has too many open files",
    errno.EIO: "see what the system's own log says of the device",
}
"""What to do about what systems do to programs: none of it is a defect of ours, wherever it comes up."""


def advice(error: OSError) -> str | None:
    """What to do about a path that a user named and the system did not take."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "check the path"
    if error.errno == errno.EISDIR:
        return "give a file, not a directory"
    return ADVICE.get(error.errno or 0)


def nowhere() -> bool:
    """Whether the working directory was removed under this process: no relative path means anything then."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


class ExitCode(IntEnum):
    """What a command's exit status means; scripts rely on these numbers."""

    OK = 0
    NO = 1
    USAGE = 2
    NOT_ASSESSED = 3
    INTERNAL = 4
    INTERRUPTED = 130
    UNREAD = 141


class Error(Exception):
    """A failure that the user can understand and mend.

    ``message`` says what is wrong in one sentence, ``hint`` what to do next, ``path`` and ``line`` (1-based) where.
    None of the four may ever hold a secret.
    """

    exit_code: ExitCode = ExitCode.USAGE

    def __init__(
        self, message: str, *, hint: str | None = None, path: str | Path | None = None, line: int | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.path = None if path is None else str(path)
        self.line = line

    @property
    def where(self) -> str | None:
        """``file:line``, ``file``, or None when the fault is in no file."""
        if self.path is None:
            return None
        return self.path if self.line is None else f"{self.path}:{self.line}"

    def __str__(self) -> str:
        return self.message if self.where is None else f"{self.where}: {self.message}"


class UsageError(Error):
    """The command line asks for something that can't be done."""


class ConfigurationError(Error):
    """A file that mcpsec was told to read is wrong or missing."""


class SecretError(ConfigurationError):
    """A secret reference does not resolve, or the place it names is not kept safely."""


class RefusedError(Error):
    """The question was understood and the answer is no."""

    exit_code = ExitCode.NO


class NotAssessedError(Error):
    """Something that was asked for could not be examined, so nothing may be concluded from silence about it."""

    exit_code = ExitCode.NOT_ASSESSED
