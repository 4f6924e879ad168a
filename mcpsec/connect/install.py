"""The entry for the bridge in an MCP client's own configuration file."""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import glob
import json
import re
import shutil
import sys
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpsec.connect.places import home_directory, named_directory
from mcpsec.errors import ConfigurationError, UsageError, advice
from mcpsec.reading import LARGE, read_file
from mcpsec.writing import PRIVATE, resolved, write_output

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "McpClient",
    "Plan",
    "client_names",
    "entry_of",
    "find_client",
    "name_for",
    "plan",
    "plan_removal",
    "printed",
]


@dataclass(frozen=True)
class McpClient:
    """A client that starts stdio servers: where its file is, which keys lead to its servers, how it writes one.

    ``format`` is json (with comments), toml or yaml. ``program`` and ``arguments`` are the members of an entry that
    hold the command; without ``arguments`` the first one holds all of its words. ``named`` is the member that repeats
    the server's name; with ``items`` the servers are a list that is told apart by it. ``names`` is what a name may look
    like, and ``new_file`` what a file must begin with that does not exist yet.
    """

    name: str
    title: str
    file: Path
    keys: tuple[str, ...]
    extra: dict[str, Any] = field(default_factory=dict)
    format: str = "json"
    program: str = "command"
    arguments: str | None = "args"
    named: str | None = None
    items: bool = False
    names: str | None = None
    new_file: str = ""


@dataclass(frozen=True)
class Plan:
    """A change to a client's file that has not been made yet."""

    client: McpClient
    file: Path
    before: str
    after: str
    copy: Path | None = None
    """The copy whose content ``after`` is: once it is back, nobody needs the copy."""
    spent: tuple[Path, ...] = ()
    """Copies that later installations made of the file with an older entry in it: they go with the entry."""
    deletes: bool = False
    """Whether the file goes: an installation made it, and nothing else is in it."""

    @property
    def diff(self) -> str:
        """The change in unified form, secrets of the neighbourhood taken out; empty when there is none."""
        from mcpsec.leaks.redaction import redact

        lines = list(
            difflib.unified_diff(
                self.before.splitlines(), self.after.splitlines(), str(self.file), str(self.file), n=0, lineterm=""
            )
        )
        gone, come = ({_bare(line) for line in lines[2:] if line[0] == sign} for sign in "-+")
        theirs = {text for text in gone & come if '"' in text}  # a neighbour that only gained or lost its comma
        return redact("\n".join(line for line in lines if _bare(line) not in theirs))

    def apply(self) -> Path | None:
        """Write the file, whole or not at all; returns the copy of what was there, None when none is needed.

        Raises:
            ConfigurationError: it can't be written, or has changed since the plan was made.
        """
        try:
            if _content(self.file) != self.before:
                raise ConfigurationError("the file has changed in the meantime", path=self.file, hint="try again")
            if self.deletes or self.copy is not None:
                if self.deletes:
                    self.file.unlink()
                else:
                    write_output(self.file, self.after.encode(), PRIVATE)
                for copy in (self.copy, *self.spent):
                    if copy is not None:
                        copy.unlink(missing_ok=True)
                return None
            self.file.parent.mkdir(parents=True, exist_ok=True)
            backup = _backup(self.file) if self.file.exists() else None
            write_output(self.file, self.after.encode(), PRIVATE)
        except OSError as error:
            raise ConfigurationError(
                f"can't be written: {error.strerror}", path=self.file, hint=advice(error)
            ) from None
        return backup


def _bare(line: str) -> str:
    """A line of a diff without its sign and without what joins it to the next."""
    return line[1:].rstrip(" ,")


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
    home = home or home_directory()
    place = row.get("file_windows", row["file"]) if sys.platform == "win32" else row["file"]
    file = usual = Path(place.format(home=home, config=_application_directory(home)))
    if "directory_variable" in row:
        file = named_directory(row["directory_variable"], lambda: usual.parent) / usual.name
    known = {key: row[key] for key in ("format", "program", "named", "items", "names", "new_file") if key in row}
    arguments = row.get("arguments", "args") or None
    return McpClient(name, row["title"], file, tuple(row["keys"]), row.get("entry", {}), arguments=arguments, **known)


def entry_of(client: McpClient, name: str, arguments: list[str]) -> dict[str, Any]:
    """What stands for the server ``name``: this very mcpsec with ``arguments``, by its absolute path.

    Clients with a window do not search the shell's PATH.
    """
    program = shutil.which("mcpsec", path=str(Path(sys.executable).parent)) or shutil.which("mcpsec")
    words = [str(Path(program).absolute())] if program else [sys.executable, "-m", "mcpsec"]
    words += ["connect", *arguments]
    own = {} if client.named is None else {client.named: name}
    if client.arguments is None:
        return {**own, **client.extra, client.program: words}
    return {**own, **client.extra, client.program: words[0], client.arguments: words[1:]}


def name_for(client: McpClient, name: str | None, suggested: str) -> str:
    """What the server is called there: ``name``, else ``suggested`` in the letters that the client allows.

    Raises:
        UsageError: the client does not allow ``name``.
    """
    if client.names is None:
        return name or suggested
    if name is None:
        return re.sub(r"[^A-Za-z0-9_-]", "-", suggested)
    if not re.fullmatch(client.names, name):
        raise UsageError(f"{client.title} takes no server called {name!r}", hint="letters, digits, - and _ only")
    return name


def plan(client: McpClient, name: str, entry: dict[str, Any]) -> Plan:
    """What the client's file would become with ``entry`` under ``name``; an entry of that name is replaced.

    Raises:
        ConfigurationError: the file is not what such a file must be.
    """
    return _plan(client, lambda text: _set(client, text or client.new_file, name, entry))


def plan_removal(client: McpClient, name: str) -> Plan:
    """What the client's file would become without the entry ``name``.

    A file that is as an installation left it becomes what it was before, to the byte, by the copy that was kept then;
    one that the installation made goes. Any other loses the entry and nothing else.

    Raises:
        ConfigurationError: the file is not what such a file must be, or the entry does not run ``mcpsec connect``.
    """
    change = _plan(client, lambda text: _removed(client, text, name))
    if change.after == change.before:
        return change
    entry = _entry(client, change.before, name)
    if not _runs_connect(client, entry):
        raise ConfigurationError(
            f"the entry {name} does not run mcpsec connect", path=change.file, hint="take it out by hand"
        )
    if set(entry) != set(entry_of(client, name, [])):
        return change  # its owner added to it: a copy keeps that
    spent: list[Path] = []
    original = client.new_file
    for copy in sorted(change.file.parent.glob(f"{glob.escape(change.file.name)}.*.bak"), reverse=True):
        before = _came_from(change, copy, name, entry)
        if before is not None:
            return dataclasses.replace(change, after=before, copy=copy, spent=tuple(spent))
        if _is_earlier(change, copy, name, entry):
            spent.append(copy)
        elif original == client.new_file:
            original = _without(client, copy, name)
    if _set(client, client.new_file, name, entry) == change.before:
        return dataclasses.replace(change, after="", deletes=True, spent=tuple(spent))
    return dataclasses.replace(change, after=_pruned(client, change.after, original))


def printed(client: McpClient, name: str, entry: dict[str, Any]) -> str:
    """The entry alone, with the keys that lead to it, in the client's own format."""
    if client.format == "json":
        document: Any = {name: entry}
        for key in reversed(client.keys):
            document = {key: document}
        return json.dumps(document, indent=2, ensure_ascii=False)
    return _set(client, "", name, entry)


def _plan(client: McpClient, edit: Callable[[str], str]) -> Plan:
    file = resolved(client.file)  # the file itself, where a link to it is kept with other dotfiles
    before = _content(file)
    try:
        after = edit(before)
    except ConfigurationError as error:
        raise ConfigurationError(error.message, path=file, line=error.line, hint=error.hint) from None
    return Plan(client, file, before, after)


def _entry(client: McpClient, text: str, name: str) -> Any:
    """What stands under ``name`` in a file that has it."""
    from mcpsec.clientfiles import jsonc_edit, toml_edit, yaml_edit

    held: Any = {"json": jsonc_edit.read, "toml": toml_edit.read, "yaml": yaml_edit.read}[client.format](text)
    for key in client.keys:
        held = held[key]
    if client.items:
        return [item for item in held if isinstance(item, dict) and item.get("name") == name][-1]
    return held[name]


def _runs_connect(client: McpClient, entry: Any) -> bool:
    words = entry.get(client.arguments or client.program) if isinstance(entry, dict) else None
    return isinstance(words, list) and "connect" in words


def _came_from(change: Plan, copy: Path, name: str, entry: dict[str, Any]) -> str | None:
    """The content of ``copy``, when the file is that and the entry, and nothing else; None otherwise."""
    client = change.client
    try:
        text = _content(copy)
        same = _set(client, text or client.new_file, name, entry) == change.before
        return text if same and _removed(client, text, name) == text else None
    except ConfigurationError:
        return None


def _is_earlier(change: Plan, copy: Path, name: str, entry: dict[str, Any]) -> bool:
    """Whether ``copy`` is the file with another entry of ours under that name, and differs in nothing else."""
    client = change.client
    try:
        text = _content(copy)
        same = _set(client, text, name, entry) == change.before and _removed(client, text, name) != text
        return same and _runs_connect(client, _entry(client, text, name))
    except ConfigurationError:
        return False


def _without(client: McpClient, copy: Path, name: str) -> str:
    """The content of a copy from before the entry was there; what a new file begins with when it is no such copy."""
    try:
        text = _content(copy)
        return text if _removed(client, text, name) == text else client.new_file
    except ConfigurationError:
        return client.new_file


def _pruned(client: McpClient, text: str, original: str) -> str:
    """``text`` without the tables that installing made on the way to the entry and that are empty without it."""
    from mcpsec.clientfiles import jsonc_edit, toml_edit, yaml_edit

    if client.format == "yaml":
        key = client.keys[0]
        return text if key in yaml_edit.read(original) else yaml_edit.remove_empty(text, key)
    editor = jsonc_edit if client.format == "json" else toml_edit
    for depth in range(len(client.keys), 0, -1):
        keys = client.keys[:depth]
        if _at(editor.read(text), keys) != {} or _at(editor.read(original), keys) is not None:
            break
        text = editor.remove_member(text, keys)
    return text


def _at(held: Any, keys: tuple[str, ...]) -> Any:
    """What stands there, None for nothing."""
    for key in keys:
        held = held.get(key) if isinstance(held, dict) else None
    return held


def _set(client: McpClient, text: str, name: str, entry: dict[str, Any]) -> str:
    if client.format == "toml":
        from mcpsec.clientfiles import toml_edit

        return toml_edit.set_member(text, (*client.keys, name), entry)
    if client.format == "yaml":
        from mcpsec.clientfiles import yaml_edit

        return yaml_edit.set_entry(text, client.keys[0], name, entry, items=client.items)
    from mcpsec.clientfiles import jsonc_edit

    return jsonc_edit.set_member(text, (*client.keys, name), entry)


def _removed(client: McpClient, text: str, name: str) -> str:
    if client.format == "toml":
        from mcpsec.clientfiles import toml_edit

        return toml_edit.remove_member(text, (*client.keys, name))
    if client.format == "yaml":
        from mcpsec.clientfiles import yaml_edit

        return yaml_edit.remove_entry(text, client.keys[0], name, items=client.items)
    from mcpsec.clientfiles import jsonc_edit

    return jsonc_edit.remove_member(text, (*client.keys, name))


@cache
def _table() -> dict[str, dict[str, Any]]:
    return tomllib.loads((files("mcpsec.connect") / "data" / "clients.toml").read_text("utf-8"))


def _application_directory(home: Path) -> Path:
    if sys.platform == "darwin":
        return home / "Library" / "Application Support"
    if sys.platform == "win32":
        return named_directory("APPDATA", lambda: home / "AppData" / "Roaming")
    return named_directory("XDG_CONFIG_HOME", lambda: home / ".config")


def _content(file: Path) -> str:
    try:
        return read_file(file, LARGE).decode("utf-8")
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
