"""``mcpsec connect --install``, ``--uninstall`` and ``--print``: the entry in an MCP client's configuration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mcpsec.cli.output import out
from mcpsec.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpsec.connect.install import Plan

__all__ = ["command_line", "install", "show", "uninstall"]

_PRINTED = "claude-desktop"
"""The client whose format ``--print`` shows when none is named: the one that most others copy."""


def command_line(url: str | None, options: Mapping[str, object]) -> list[str]:
    """The arguments of the entry: what was given, files by their absolute path, defaults left out."""
    words = [] if url is None else [url]
    for option, value in options.items():
        if value is True:
            words.append(option)
        elif isinstance(value, Path):
            words += [option, str(value.absolute())]
        elif value not in {None, False, "auto"}:
            words += [option, str(value)]
    return words


def show(client_name: str | None, name: str | None, suggested: str, arguments: list[str]) -> None:
    """Print the entry in the client's own format; write nothing."""
    from mcpsec.connect.install import entry_of, find_client, name_for, printed

    client = find_client(client_name or _PRINTED)
    called = name_for(client, name, suggested)
    out.result(printed(client, called, entry_of(client, called, arguments)))


def install(client_name: str, name: str | None, suggested: str, arguments: list[str], *, yes: bool) -> None:
    """Write the entry into the client's file."""
    from mcpsec.connect.install import entry_of, find_client, name_for, plan

    client = find_client(client_name)
    called = name_for(client, name, suggested)
    change = plan(client, called, entry_of(client, called, arguments))
    _make(change, nothing=f"{change.file} has this entry already", yes=yes)


def uninstall(client_name: str, name: str | None, suggested: str, *, yes: bool) -> None:
    """Take the entry out of the client's file."""
    from mcpsec.connect.install import find_client, name_for, plan_removal

    client = find_client(client_name)
    called = name_for(client, name, suggested)
    change = plan_removal(client, called)
    _make(change, nothing=f"{change.file} has no entry called {called}; --name says another name", yes=yes)


def _make(change: Plan, *, nothing: str, yes: bool) -> None:
    if change.before == change.after:
        out.note(nothing)
        return
    out.result(change.diff)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nothing was written: there is nobody to ask", hint="add --yes")
        question = f"Remove {change.file}?" if change.deletes else f"Write this to {change.file}?"
        typer.confirm(question, abort=True, err=True)
    backup = change.apply()
    restart = f"restart {change.client.title} to see it"
    if change.deletes:
        out.note(f"removed {change.file}, which held nothing else; {restart}")
    elif change.copy is not None:
        out.note(f"{change.file} is as it was before; {restart}")
    else:
        kept = f"; what was there is in {backup.name}" if backup is not None else ""
        out.note(f"wrote {change.file}{kept}; {restart}")
