"""The root command: finds a subcommand and imports only that one."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from mcpsec import __version__
from mcpsec.cli.outcome import hoist, outcome
from mcpsec.cli.output import examples, out
from mcpsec.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, str] = {
    "init": "Write a whole deployment: configuration, private CA, certificates, signing key.",
    "serve": "Put a hardened gateway in front of MCP servers.",
    "sandbox": "See what this machine keeps stdio servers from.",
    "config": "Check, show and describe the deployment file.",
    "certs": "Run the private CA: issue, renew, revoke, check.",
    "sign": "Sign a request, send it, or verify one.",
    "connect": "Let an MCP client that knows no mutual TLS reach a gateway.",
    "scan-secrets": "Find leaked secrets in files, git history and client configurations.",
    "audit": "Judge a deployment against the ten-point checklist.",
    "drill": "See what a deployment does when everything around it fails.",
    "policy": "Explain, test and document who may do what.",
    "pin": "Record what MCP servers say of themselves, and see what changed.",
    "approve": "Confirm one call that a rule holds back for an operator.",
    "log": "Read and verify the audit log.",
    "alerts": "Alert rules: list them, try a channel, replay a log.",
    "monitor": "A gateway at a glance, in the terminal.",
    "monitoring": "Dashboards and alert rules for Grafana and Prometheus.",
    "completions": "Print a shell's completion script.",
}
"""Each subcommand and its one-line help; its module is ``mcpsec.cli.<name>`` and holds a Typer ``app``."""


class LazyGroup(TyperGroup):
    """A group whose subcommands are stubs until one of them runs, so that help and typos import nothing."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for name, text in COMMANDS.items():
            self.add_command(TyperGroup(name=name, help=text))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Replace the stub by the command of its module, imported now."""
        name, stub, rest = super().resolve_command(ctx, args)
        if name is None or stub is None:
            return name, stub, rest
        return name, load(name), rest


def load(name: str) -> Any:
    """Import a subcommand's module and return its command object."""
    module = importlib.import_module(f"mcpsec.cli.{name.replace('-', '_')}")
    command = typer.main.get_command(module.app)
    command.name = name
    _flow(command)
    return command


def _flow(command: Any) -> None:
    """Join the lines of each paragraph of the help: they are broken where the terminal ends, not the source."""
    if command.help:
        command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in command.help.split("\n\n"))
    for inner in getattr(command, "commands", {}).values():
        _flow(inner)


app = typer.Typer(
    cls=LazyGroup,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "MCPSEC"},
    epilog=examples("mcpsec serve --quickstart", "mcpsec init my-deployment", "mcpsec scan-secrets ."),
)


def _version(wanted: bool) -> None:
    if wanted:
        out.result(f"mcpsec {__version__}")
        raise typer.Exit


@app.callback()
def root(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only results and errors.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="Plain text (NO_COLOR does the same).")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Security toolkit for Model Context Protocol servers.

    Exit codes: 0 all well, 1 the answer is no, 2 usage or configuration, 3 not assessed, 4 internal error,
    130 interrupted, 141 nobody read the output to its end.
    """
    out.quiet, out.no_color = quiet, no_color


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; nothing is raised."""
    flags, words = hoist(sys.argv[1:] if argv is None else argv)
    arguments = [*flags, *words]
    return outcome(lambda: _run(arguments), arguments)


def _run(arguments: list[str]) -> object:
    try:
        command = typer.main.get_command(app)
        _flow(command)
        return command.main(args=arguments, prog_name="mcpsec", standalone_mode=False)
    except typer.TyperException as error:
        return _show_usage_error(error)
    except typer.Abort:
        raise KeyboardInterrupt from None
    except SystemExit as end:  # what the framework makes of output that nobody reads, with the code of a no
        if isinstance(end.__context__, BrokenPipeError):
            raise BrokenPipeError from None
        raise


def _show_usage_error(error: typer.TyperException) -> int:
    from typer import rich_utils

    error.message = error.message.replace("Value error, ", "")  # the parser's own word for it says nothing more
    rich_utils.rich_format_error(error)  # type: ignore[arg-type] # every TyperException of a parser is a ClickException
    return ExitCode.USAGE
