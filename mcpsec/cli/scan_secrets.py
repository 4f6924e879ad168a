"""``mcpsec scan-secrets``: find leaked secrets in files, git history and client configurations."""

from __future__ import annotations

import inspect
from typing import Any, Literal, cast

import typer
from typer.core import TyperGroup

from mcpsec.cli.output import examples, out
from mcpsec.leaks.command import perform
from mcpsec.leaks.options import OPTIONS, Option, Request

__all__ = ["app"]


class DefaultsToScan(TyperGroup):
    """``scan-secrets PATH…`` scans; only a first word that names a subcommand is one (``./rules`` is a directory)."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the hidden subcommand ``scan`` in front of everything else."""
        if not args or args[0] not in self.commands:
            args = ["scan", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=DefaultsToScan,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "MCPSEC_SCAN_SECRETS"},
)


def _annotation(option: Option) -> Any:
    if option.kind == "flag":
        return bool
    if option.kind == "many":
        return list[str]
    if option.kind == "number":
        return int
    if option.kind == "choice":
        return Literal.__getitem__(option.choices)
    return str | None


def _parameter(option: Option) -> inspect.Parameter:
    settings: dict[str, Any] = {"help": option.help, "rich_help_panel": option.panel}
    if option.metavar:
        settings["metavar"] = option.metavar
    declared = typer.Option(option.default, *option.names, **settings)
    return inspect.Parameter(
        option.attribute, inspect.Parameter.KEYWORD_ONLY, default=declared, annotation=_annotation(option)
    )


def scan(**values: Any) -> None:
    """Find leaked secrets in files, git history, logs and MCP client configurations.

    Exit codes: 0 nothing found, 1 findings, 2 usage, 3 something asked for could not be scanned. Nothing is ever sent
    anywhere: no credential is tried against its service. [bold]scan-secrets rules[/bold] lists and tests the rules,
    [bold]scan-secrets install-hook[/bold] puts the scan into git.
    """
    request = Request(list(values.pop("paths") or []), values)
    request.quiet, request.no_color = out.quiet, out.no_color
    raise typer.Exit(perform(request))


_PATHS = inspect.Parameter(
    "paths",
    inspect.Parameter.KEYWORD_ONLY,
    default=typer.Argument(
        None, metavar="PATH…", help="Files and directories; the current one by default.", show_default=False
    ),
    annotation=list[str] | None,
)
_parameters = [_PATHS, *map(_parameter, OPTIONS)]
cast(Any, scan).__signature__ = inspect.Signature(_parameters)
scan.__annotations__ = {parameter.name: parameter.annotation for parameter in _parameters}

app.command(
    "scan",
    hidden=True,
    epilog=examples(
        "mcpsec scan-secrets .",
        "mcpsec scan-secrets --staged",
        "mcpsec scan-secrets --history --format sarif -o secrets.sarif",
        "mcpsec scan-secrets --discover",
    ),
)(scan)
