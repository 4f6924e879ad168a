"""``mcpsec completions``: shell completion scripts, generated from the commands themselves.

The scripts are static: pressing TAB starts no Python. The files in ``completions/`` are what this command prints.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

from mcpsec.cli.output import examples, out

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FILES", "Shell", "app", "script"]

app = typer.Typer(
    add_completion=False, rich_markup_mode="rich", context_settings={"help_option_names": ["-h", "--help"]}
)


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
        "mcpsec completions bash > ~/.local/share/bash-completion/completions/mcpsec",
        'mcpsec completions zsh > "${fpath[1]}/_mcpsec"',
        "mcpsec completions fish > ~/.config/fish/completions/mcpsec.fish",
        "mcpsec completions powershell | Out-String | Invoke-Expression",
    )
)
def completions(shell: Shell = typer.Argument(..., help="The shell to print a script for.")) -> None:
    """Print the completion script of a shell."""
    out.result(script(shell))


@dataclass
class _Node:
    """One command: its subcommands and options with their help."""

    path: str
    commands: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)


def script(shell: Shell) -> str:
    """The completion script of a shell."""
    from mcpsec.cli.root import COMMANDS, app, load

    root = typer.main.get_command(app)
    top = _Node("mcpsec", {name: _line(text) for name, text in COMMANDS.items()}, _options(root))
    nodes = [top]
    for name in COMMANDS:
        _walk(load(name), f"mcpsec {name}", nodes)
    writers: dict[Shell, Callable[[list[_Node]], str]] = {
        Shell.BASH: _bash,
        Shell.ZSH: _zsh,
        Shell.FISH: _fish,
        Shell.POWERSHELL: _powershell,
    }
    return writers[shell](nodes)


def _walk(command: Any, path: str, nodes: list[_Node]) -> None:
    below = {name: each for name, each in getattr(command, "commands", {}).items() if not each.hidden}
    nodes.append(_Node(path, {name: _line(each.help) for name, each in below.items()}, _options(command)))
    for name, each in below.items():
        _walk(each, f"{path} {name}", nodes)


def _options(command: Any) -> dict[str, str]:
    found = {"--help": "Show this message and exit."}
    for parameter in command.params:
        for name in parameter.opts + parameter.secondary_opts:
            if name.startswith("--") and not getattr(parameter, "hidden", False):
                found[name] = _line(getattr(parameter, "help", ""))
    return dict(sorted(found.items()))


def _line(text: str | None) -> str:
    """The first sentence of a help text, without markup and what shells would read."""
    first = (text or "").strip().split("\n\n")[0].replace("\n", " ")
    plain = first.partition(". ")[0].rstrip(".")
    return "".join(char for char in plain if char not in "'\"`$\\[]:|")[:80].strip()


def _bash(nodes: list[_Node]) -> str:
    known = "|".join(f'"{node.path}"' for node in nodes[1:])
    cases = "\n".join(
        f'        "{node.path}") commands="{" ".join(node.commands)}" options="{" ".join(node.options)}" ;;'
        for node in nodes
    )
    return f"""# bash completion for mcpsec; printed by `mcpsec completions bash`
_mcpsec() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" path="mcpsec" commands="" options="" word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        [[ $word == -- ]] && return
        case "$path $word" in
            {known}) path="$path $word" ;;
        esac
    done
    case "$path" in
{cases}
    esac
    if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current")
    fi
}}
complete -o default -F _mcpsec mcpsec
"""


def _zsh(nodes: list[_Node]) -> str:
    known = "|".join(f"'{node.path}'" for node in nodes[1:])

    def words(entries: dict[str, str]) -> str:
        return " ".join(f"'{name}:{text}'" for name, text in entries.items())

    cases = "\n".join(
        f"        '{node.path}') commands=({words(node.commands)}); options=({words(node.options)}) ;;"
        for node in nodes
    )
    return f"""#compdef mcpsec
# zsh completion for mcpsec; printed by `mcpsec completions zsh`
_mcpsec() {{
    local where=mcpsec word
    local -a commands options
    for word in "${{(@)words[2,CURRENT-1]}}"; do
        [[ $word == -- ]] && {{ _normal; return }}
        case "$where $word" in
            {known}) where="$where $word" ;;
        esac
    done
    case "$where" in
{cases}
    esac
    if [[ $PREFIX == -* ]]; then
        _describe -o option options
    elif (( $#commands )); then
        _describe command commands
    else
        _files
    fi
}}
if [[ $funcstack[1] == _mcpsec ]]; then
    _mcpsec "$@"
else
    compdef _mcpsec mcpsec
fi
"""


def _fish(nodes: list[_Node]) -> str:
    known = " ".join(f"'{node.path}'" for node in nodes[1:])
    lines = [
        "# fish completion for mcpsec; printed by `mcpsec completions fish`",
        "function __mcpsec_at",
        "    set -l path mcpsec",
        "    for word in (commandline -opc)[2..-1]",
        "        test $word = --; and return 1",
        f'        contains -- "$path $word" {known}; and set path "$path $word"',
        "    end",
        '    test "$path" = "$argv"',
        "end",
    ]
    for node in nodes:
        at = f"complete -c mcpsec -n '__mcpsec_at {node.path}'"
        if node.commands:
            lines.append(f"{at} -f")
        lines += [f"{at} -a {name} -d '{text}'" for name, text in node.commands.items()]
        lines += [f"{at} -l {name[2:]} -d '{text}'" for name, text in node.options.items()]
    return "\n".join(lines) + "\n"


def _powershell(nodes: list[_Node]) -> str:
    def words(entries: dict[str, str]) -> str:
        return "@(" + ", ".join(f"'{name}'" for name in entries) + ")"

    table = "\n".join(
        f"        '{node.path}' = @{{ Commands = {words(node.commands)}; Options = {words(node.options)} }}"
        for node in nodes
    )
    return f"""# PowerShell completion for mcpsec; printed by `mcpsec completions powershell`
Register-ArgumentCompleter -Native -CommandName mcpsec -ScriptBlock {{
    param($wordToComplete, $commandAst, $cursorPosition)
    $nodes = @{{
{table}
    }}
    $path = 'mcpsec'
    foreach ($element in $commandAst.CommandElements | Select-Object -Skip 1) {{
        $next = "$path $element"
        if ($nodes.ContainsKey($next)) {{ $path = $next }}
    }}
    $words = if ($wordToComplete.StartsWith('-')) {{ $nodes[$path].Options }} else {{ $nodes[$path].Commands }}
    $words | Where-Object {{ $_.StartsWith($wordToComplete) }} | ForEach-Object {{
        [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
    }}
}}
"""
