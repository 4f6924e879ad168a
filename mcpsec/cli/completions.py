"""``mcpsec completions``: shell completion scripts, generated from the commands themselves.

Pressing TAB starts no Python: commands, options, check ids and rule ids stand in the scripts, and the names of clients,
upstreams and certificates are read by the shell itself. The files in ``completions/`` are what this command prints.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import typer

from mcpsec.cli.options import application
from mcpsec.cli.output import examples, out

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.cli.shells.tree import Node

__all__ = ["FILES", "Shell", "app", "script"]

app = application(group=False)


class Shell(StrEnum):
    """The shells that there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


FILES = {Shell.BASH: "mcpsec.bash", Shell.ZSH: "_mcpsec", Shell.FISH: "mcpsec.fish", Shell.POWERSHELL: "mcpsec.ps1"}
"""What each script's file in ``completions/`` is called."""


@app.command(
    epilog=examples(
        "mkdir -p ~/.local/share/bash-completion/completions ~/.config/fish/completions",
        "mcpsec completions bash > ~/.local/share/bash-completion/completions/mcpsec",
        'mcpsec completions zsh > "${fpath[1]}/_mcpsec"',
        "mcpsec completions fish > ~/.config/fish/completions/mcpsec.fish",
        "mcpsec completions powershell | Out-String | Invoke-Expression",
    )
)
def completions(shell: Shell = typer.Argument(..., help="The shell to print a script for.")) -> None:
    """Print the completion script of a shell."""
    out.result(script(shell))


def script(shell: Shell) -> str:
    """The completion script of a shell."""
    from mcpsec.cli.shells import bash, fish, powershell, tree, zsh

    writers: dict[Shell, Callable[[list[Node]], str]] = {
        Shell.BASH: bash.write,
        Shell.ZSH: zsh.write,
        Shell.FISH: fish.write,
        Shell.POWERSHELL: powershell.write,
    }
    return writers[shell](tree.commands())
