"""The entry for the bridge in an MCP client's own configuration file."""

from __future__ import annotations

import datetime
import difflib
import os
import shutil
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from mcpsec.connect import jsonc
from mcpsec.errors import ConfigurationError, UsageError

__all__ = ["McpClient", "Plan", "client_names", "entry_of", "find_client", "plan"]


@dataclass(frozen=True)
class McpClient:
    """A client that starts stdio servers: where its file is, and which keys lead to its servers."""

    name: str
    title: str
    file: Path
    keys: tuple[str, ...]
    extra: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """A change to a client's file that has not been made yet."""

    client: McpClient
    file: Path
    before: str
    after: str

    @property
    def diff(self) -> str:
        """The change in unified form; empty when there is none."""
        lines = difflib.unified_diff(
            self.before.splitlines(), self.after.splitlines(), str(self.file), str(self.file), n=1, lineterm=""
        )
        return "\n".join(lines)

    def apply(self) -> Path | None:
        """Write the file, whole or not at all; returns the copy of what was there before, None when nothing was.

        Raises:
            ConfigurationError: it can't be written, or has changed since the plan was made.
        """
        try:
            if _content(self.file) != self.before:
                raise ConfigurationError("the file has changed in the meantime", path=self.file, hint="try again")
            self.file.parent.mkdir(parents=True, exist_ok=True)
            backup = _backup(self.file) if self.file.exists() else None
            _replace(self.file, self.after)
        except OSError as error:
            raise ConfigurationError(f"can't be written: {error.strerror}", path=self.file) from None
        return backup


def client_names() -> list[str]:
    """The names that ``--install`` knows."""
    return list(_table())


def find_client(name: str, home: Path | None = None) -> McpClient:
    """The client of that name, with its file for the current user.

    Raises:
        UsageError: the name is not known.
    """
    row = _table().get(name)
    if row is None:
        raise UsageError(f"no MCP client is known as {name}", hint=f"one of {', '.join(client_names())}")
    home = home or Path.home()
    file = row["file"].format(home=home, config=_application_directory(home))
    return McpClient(name, row["title"], Path(file), tuple(row["keys"]), row.get("entry", {}))


def entry_of(client: McpClient, arguments: list[str]) -> dict[str, Any]:
    """What stands under the server's name: this very mcpsec with ``arguments``, by its absolute path.

    Clients with a window do not search the shell's PATH.
    """
    program = shutil.which("mcpsec", path=str(Path(sys.executable).parent)) or shutil.which("mcpsec")
    words = [str(Path(program).absolute())] if program else [sys.executable, "-m", "mcpsec"]
    return {**client.extra, "command": words[0], "args": [*words[1:], "connect", *arguments]}


def plan(client: McpClient, name: str, entry: dict[str, Any]) -> Plan:
    """What the client's file would become with ``entry`` under ``name``; an entry of that name is replaced.

    Raises:
        ConfigurationError: the file is not what such a file must be.
    """
    file = client.file.resolve()  # the file itself, where a link to it is kept with other dotfiles
    before = _content(file)
    try:
        after = jsonc.set_member(before, (*client.keys, name), entry)
    except ConfigurationError as error:
        raise ConfigurationError(error.message, path=file, line=error.line, hint=error.hint) from None
    return Plan(client, file, before, after)


@cache
def _table() -> dict[str, dict[str, Any]]:
    return tomllib.loads((files("mcpsec.connect") / "data" / "clients.toml").read_text("utf-8"))


def _application_directory(home: Path) -> Path:
    if sys.platform == "darwin":
        return home / "Library" / "Application Support"
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or home / "AppData" / "Roaming")
    return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")


def _content(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"can't be read: {reason}", path=file) from None


def _backup(file: Path) -> Path:
    """A copy beside the file, with the time in its name and the same mode."""
    stamp = datetime.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S-%f")
    copy = file.with_name(f"{file.name}.{stamp}.bak")
    shutil.copy2(file, copy)
    return copy


def _replace(file: Path, content: str) -> None:
    """Put the new content in the file's place in one step, with the mode that it had."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if file.exists():
            shutil.copymode(file, temporary)
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
