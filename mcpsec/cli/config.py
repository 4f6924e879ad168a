"""``mcpsec config``: check, show and describe the deployment file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcpsec.cli.output import examples, out
from mcpsec.errors import ExitCode

if TYPE_CHECKING:
    from mcpsec.deployment import Problem

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "mcpsec config check", "mcpsec config show --format json", "mcpsec config schema > mcpsec.schema.json"
    ),
)


class Format(StrEnum):
    """How a result is written."""

    CONSOLE = "console"
    JSON = "json"


ConfigFile = Annotated[
    Path, typer.Option("-c", "--config", metavar="FILE", envvar="MCPSEC_CONFIG", help="The deployment file.")
]
FormatOption = Annotated[Format, typer.Option("--format", help="console, or one JSON document.")]


@app.callback()
def config() -> None:
    """Check, show and describe the deployment file."""


@app.command(epilog=examples("mcpsec config check", "mcpsec config check -c staging/mcpsec.toml --format json"))
def check(config: ConfigFile = Path("mcpsec.toml"), format: FormatOption = Format.CONSOLE) -> None:
    """Find every mistake in the file, and every file it names that is missing or unsafe.

    Exit code 0 when there is none, 2 otherwise.
    """
    from mcpsec.deployment import examine, files

    deployment, problems = examine(config)
    if deployment:
        problems = files.check(deployment)
    if format is Format.JSON:
        out.json(
            {
                "schema": "mcpsec.config-check/1",
                "file": str(config.absolute()),
                "ok": not problems,
                "problems": [_document(problem) for problem in problems],
            }
        )
    elif problems:
        for problem in problems:
            out.result(f"{problem.where}: {problem.message}")
            if problem.hint:
                out.result(f"    {problem.hint}")
        out.note(f"{len(problems)} problem{'s' * (len(problems) > 1)}")
    else:
        assert deployment is not None
        upstreams, clients = len(deployment.upstreams), len(deployment.clients)
        out.result(f"{config}: no problems (upstreams: {upstreams}, clients: {clients})")
    if problems:
        raise typer.Exit(ExitCode.USAGE)


@app.command(epilog=examples("mcpsec config show", "mcpsec config show --format json | jq .clients"))
def show(config: ConfigFile = Path("mcpsec.toml"), format: FormatOption = Format.CONSOLE) -> None:
    """Show the resolved configuration: defaults filled in, paths absolute, secrets as references.

    No secret is read, and arguments of commands that fetch one are left out.
    """
    from mcpsec.deployment import load
    from mcpsec.deployment.keys import DEPLOYMENT

    shown: dict[str, Any] = DEPLOYMENT.show(load(config))
    if format is Format.JSON:
        out.json({"schema": "mcpsec.config/1", **shown})
        return
    import tomli_w

    out.result(tomli_w.dumps(shown))


@app.command(epilog=examples("mcpsec config schema > mcpsec.schema.json"))
def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of the deployment file, for editors and CI."""
    import json

    from mcpsec.deployment.keys import json_schema

    out.result(json.dumps(json_schema(), indent=2, ensure_ascii=False))


@app.command(epilog=examples("mcpsec config reference | less"))
def reference() -> None:
    """Print the reference of every key, as Markdown."""
    from mcpsec.deployment.reference import reference_page

    out.result(reference_page())


def _document(problem: Problem) -> dict[str, Any]:
    return {
        "path": None if problem.path is None else str(problem.path),
        "line": problem.line,
        "column": problem.column,
        "key": problem.key,
        "message": problem.message,
        "hint": problem.hint,
    }
