"""The places a secret can be kept in: an environment variable, a file, the output of a command.

Each is one small class behind the ``Source`` protocol and one entry of ``reference.SOURCES``. What they raise is always
a ``SecretError`` that says which place failed and why, and holds neither the secret nor anything a program printed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import stat
import subprocess
import threading
import time
from pathlib import Path
from typing import IO, Any, ClassVar, Protocol, Self

from mcpsec.errors import SecretError
from mcpsec.frozen import dataclass

__all__ = ["COMMAND_TIMEOUT", "MAXIMUM_BYTES", "CommandSource", "EnvSource", "FileSource", "Source"]

MAXIMUM_BYTES = 64 * 1024
"""No secret is larger; what is, is the wrong file or a program gone wild."""

COMMAND_TIMEOUT = 10.0
"""Seconds that a command may take to print its secret."""


class Source(Protocol):
    """One place that a secret is kept in. A frozen value: two references to one place are equal."""

    kind: ClassVar[str]
    """The key that names this kind in a reference."""
    doc: ClassVar[str]
    """One line for the reference documentation."""
    schema: ClassVar[dict[str, Any]]
    """JSON Schema of the key's value."""

    @classmethod
    def parse(cls, value: object, base: Path) -> Self:
        """Build one from the key's value; relative paths start at ``base``. Raises SecretError."""
        ...

    def describe(self) -> str:
        """Name the place in a few words, without anything that could itself be secret."""
        ...

    def written(self) -> object:
        """Return the key's value as it may be shown to anybody: arguments of a command are left out."""
        ...

    def check(self) -> None:
        """Raise SecretError when it can be told without reading the secret that this place is missing or unsafe."""
        ...

    def read(self) -> bytes:
        """Fetch the raw bytes, at most ``MAXIMUM_BYTES``. Raises SecretError."""
        ...


@dataclass(frozen=True, slots=True)
class EnvSource:
    """An environment variable of the running process."""

    kind: ClassVar[str] = "env"
    doc: ClassVar[str] = "name of an environment variable"
    schema: ClassVar[dict[str, Any]] = {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}

    name: str

    @classmethod
    def parse(cls, value: object, base: Path) -> Self:
        """Accept the variable's name."""
        del base
        if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
            # The value is not repeated: people put the secret itself here.
            raise SecretError(
                "env must be the name of an environment variable", hint='for example { env = "API_TOKEN" }'
            )
        return cls(value)

    def describe(self) -> str:
        """Name the variable."""
        return f"environment variable {self.name}"

    def written(self) -> object:
        """Return the variable's name."""
        return self.name

    def check(self) -> None:
        """Find nothing: a variable is set where the gateway runs, which may not be where its file is checked."""

    def read(self) -> bytes:
        """Return the variable's bytes."""
        value = os.environ.get(self.name)
        if value is None:
            raise SecretError(f"{self.describe()} is not set", hint="set it for the process that reads this file")
        return os.fsencode(value)


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file that only its owner may read; symbolic links are followed, the file itself is what is judged."""

    kind: ClassVar[str] = "file"
    doc: ClassVar[str] = "path of a file that nobody but its owner may read or write (chmod 600)"
    schema: ClassVar[dict[str, Any]] = {"type": "string", "minLength": 1}

    path: Path

    @classmethod
    def parse(cls, value: object, base: Path) -> Self:
        """Accept a path, relative to ``base`` or absolute."""
        if not isinstance(value, str) or not value or not value.isprintable():
            raise SecretError("file must be the path of a file", hint='for example { file = "secrets/api-token" }')
        return cls(Path(os.path.normpath(base / value)))

    def describe(self) -> str:
        """Name the file."""
        return f"file {self.path}"

    def written(self) -> object:
        """Return the absolute path."""
        return str(self.path)

    def check(self) -> None:
        """Raise SecretError when the file is missing or others can read or change it."""
        os.close(self._open())

    def read(self) -> bytes:
        """Return the file's bytes."""
        descriptor = self._open()
        with os.fdopen(descriptor, "rb") as file:
            try:
                content = file.read(MAXIMUM_BYTES + 1)
            except OSError as error:
                raise self._failure(error) from None
        if len(content) > MAXIMUM_BYTES:
            raise SecretError(f"the secret file is larger than {MAXIMUM_BYTES} bytes", path=self.path)
        return content

    def _open(self) -> int:
        """Open, then judge what was opened: between a check by name and an open the file could be another."""
        # O_NONBLOCK: opening a FIFO that nobody writes to would wait for ever.
        flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        try:
            descriptor = os.open(self.path, flags)
        except OSError as error:
            raise self._failure(error) from None
        try:
            self._judge(os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _judge(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise SecretError("the secret file is not a regular file", path=self.path)
        if os.name == "nt":  # no owner and no mode bits there
            return
        if status.st_uid not in (os.geteuid(), 0):
            raise SecretError(
                f"the secret file belongs to user {status.st_uid}, who could change it",
                hint=f"run this as that account, or: chown {os.geteuid()} {self.path}",
                path=self.path,
            )
        if status.st_mode & 0o066:
            raise SecretError(
                f"the secret file can be read or written by others (mode {stat.S_IMODE(status.st_mode):04o})",
                hint=f"chmod 600 {self.path}",
                path=self.path,
            )

    def _failure(self, error: OSError) -> SecretError:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else (error.strerror or "unreadable")
        return SecretError(f"can't read the secret file: {reason[0].lower()}{reason[1:]}", path=self.path)


@dataclass(frozen=True, slots=True)
class CommandSource:
    """What a program prints, as password managers do (``op read``, ``pass show``, ``vault kv get``); no shell."""

    kind: ClassVar[str] = "command"
    doc: ClassVar[str] = "program and arguments, run without a shell within 10 seconds; the secret is what it prints"
    schema: ClassVar[dict[str, Any]] = {
        "type": "array",
        "minItems": 1,
        "prefixItems": [{"type": "string", "minLength": 1}],
        "items": {"type": "string"},
    }

    arguments: tuple[str, ...]
    directory: Path

    @classmethod
    def parse(cls, value: object, base: Path) -> Self:
        """Accept a list of text, the program first; it runs in ``base``."""
        words = value if isinstance(value, list) else []
        if not words or not all(isinstance(word, str) and "\0" not in word for word in words) or not words[0]:
            raise SecretError(
                "command must be a list of text, the program first",
                hint='for example { command = ["op", "read", "op://vault/item/field"] }; there is no shell',
            )
        return cls(tuple(words), base)

    def describe(self) -> str:
        """Name the program; its arguments might be private."""
        return f"command {self.arguments[0]}"

    def written(self) -> object:
        """Return the program, and one ellipsis for its arguments."""
        return [self.arguments[0], "…"] if len(self.arguments) > 1 else [self.arguments[0]]

    def check(self) -> None:
        """Raise SecretError when there is no such program."""
        program = self.arguments[0]
        found = self.directory / program if os.path.dirname(program) else program  # noqa: PTH120 # "./x" keeps its dot
        if shutil.which(found) is None:
            raise SecretError(f"there is no program {program}", hint="install it, or name it by its whole path")

    def read(self) -> bytes:
        """Run the program and return what it printed on standard output; its standard error goes nowhere."""
        try:
            process = subprocess.Popen(
                self.arguments,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            reason = "there is no such program" if isinstance(error, FileNotFoundError) else error.strerror
            raise SecretError(f"{self.describe()} can't be run: {reason}") from None
        assert process.stdout is not None
        output = bytearray()
        reader = threading.Thread(target=_drain, args=(process.stdout, output), daemon=True)
        reader.start()
        try:
            self._await(process, reader, output)
        finally:
            _end(process, reader)
        return bytes(output)

    def _await(self, process: subprocess.Popen[bytes], reader: threading.Thread, output: bytearray) -> None:
        deadline = time.monotonic() + COMMAND_TIMEOUT
        reader.join(COMMAND_TIMEOUT)
        if len(output) > MAXIMUM_BYTES:
            raise SecretError(f"{self.describe()} printed more than {MAXIMUM_BYTES} bytes")
        try:
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.arguments[0], COMMAND_TIMEOUT)
            status = process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise SecretError(
                f"{self.describe()} did not finish within {COMMAND_TIMEOUT:g} seconds",
                hint="it runs without a terminal: sign in beforehand if it asks for something",
            ) from None
        if status != 0:
            raise SecretError(
                f"{self.describe()} failed with exit status {status}",
                hint="run it by hand to see why; what it printed is not shown because it may hold the secret",
            )


def _drain(pipe: IO[bytes], output: bytearray) -> None:
    """Read to the end, or until it is clear that the output is too long."""
    with pipe:
        while len(output) <= MAXIMUM_BYTES and (block := os.read(pipe.fileno(), MAXIMUM_BYTES + 1 - len(output))):
            output += block


def _end(process: subprocess.Popen[bytes], reader: threading.Thread) -> None:
    """Kill what is left of a command that did not end well; a helper that a good one started (an agent) may stay."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.name == "nt":
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)  # not waited for yet, so the number is still its own
        process.wait()
    reader.join(1.0)  # a grandchild in a session of its own may hold the pipe; the reader is a daemon and waits for it
