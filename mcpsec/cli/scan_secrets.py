"""``mcpsec scan-secrets``: find leaked secrets in files, git history and client configurations."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer
from typer.core import TyperGroup

from mcpsec.cli.output import examples, out
from mcpsec.leaks.command import perform
from mcpsec.leaks.options import OPTIONS, Option, Request

__all__ = ["app"]


class DefaultsToScan(TyperGroup):
    """``scan-secrets PATH…`` scans; only a first word that names a subcommand is one (``./rules`` is a directory)."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the hidden subcommand ``scan`` in front of everything else, and of a directory that is called so."""
        if not args or args[0] not in self.commands or (args[0] == "scan" and Path("scan").exists()):
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

rules = typer.Typer(add_completion=False, no_args_is_help=True, help="List, show and test the rules.")
app.add_typer(rules, name="rules")


@rules.command(
    "list", epilog=examples("mcpsec scan-secrets rules list", "mcpsec scan-secrets rules list --format json")
)
def rules_list(
    output_format: Annotated[
        Literal["console", "json"], typer.Option("--format", "-f", help="How they are written.")
    ] = "console",
) -> None:
    """Name every rule with its confidence, provider and title."""
    from mcpsec.leaks.findings import LEVELS

    book, _ = _rulebook()
    if output_format == "json":
        rows = [_described(rule) for rule in book.rules]
        out.json({"schema": "mcpsec.secret-rules/1", "rules": rows})
        return
    for rule in sorted(book.rules, key=lambda r: r.id):
        out.result(f"{rule.id:44} {LEVELS[rule.confidence]:7} {rule.title}")
    out.note(f"{len(book.rules)} rules")


@rules.command("show", epilog=examples("mcpsec scan-secrets rules show github-personal-access-token"))
def rules_show(name: Annotated[str, typer.Argument(help="A rule's id.")]) -> None:
    """Show one rule: what a leak allows, how to rotate, what the pattern is."""
    for key, value in _described(_rule(name)).items():
        if value:
            out.result(f"{key:11} {', '.join(value) if isinstance(value, tuple) else value}")


@rules.command(
    "test", epilog=examples("mcpsec scan-secrets rules test", "mcpsec scan-secrets rules test npm-access-token")
)
def rules_test(
    name: Annotated[str | None, typer.Argument(help="A rule's id; all rules by default.", show_default=False)] = None,
) -> None:
    """Run the examples that each rule carries: those it must find, and near misses that it must not."""
    from mcpsec.leaks.examples import check

    book, own = _rulebook()
    rules = 1 if name is not None else len(book.rules)
    failures = check(name if name is None else _rule(name).id, book=book, own=own)
    for text in failures:
        out.result(text)
    out.note(f"{rules} rule{'s' * (rules != 1)}, {len(failures)} example{'s' * (len(failures) != 1)} failed")
    raise typer.Exit(1 if failures else 0)


def _rulebook() -> tuple[Any, Any]:
    """The packaged rules with what the current directory's configuration adds or leaves out, and its own examples."""
    from mcpsec.leaks.configuration import find, load
    from mcpsec.leaks.rulebook import packaged

    path = find(".")
    if path is None:
        return packaged(), ()
    configuration = load(path)
    return configuration.book(packaged()), configuration.examples


def _rule(name: str) -> Any:
    from mcpsec.errors import UsageError

    book, _ = _rulebook()
    if name not in book.ids:
        from difflib import get_close_matches

        near = get_close_matches(name, book.ids, n=3)
        raise UsageError(f"no rule {name}", hint=f"did you mean {', '.join(near)}?" if near else "see: rules list")
    return book.rule(book.ids[name])


def _described(rule: Any) -> dict[str, Any]:
    from mcpsec.leaks.findings import LEVELS
    from mcpsec.leaks.rulebook import FIELDS

    row = {field: getattr(rule, field) for field in FIELDS if field != "gate"}
    row["confidence"] = LEVELS[rule.confidence]
    row["near"] = tuple(word.decode() for word in rule.near)
    return row


@app.command(
    "install-hook", epilog=examples("mcpsec scan-secrets install-hook", "mcpsec scan-secrets install-hook --pre-push")
)
def install_hook(
    pre_push: Annotated[bool, typer.Option("--pre-push", help="Scan what a push would publish, too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a hook that is there.")] = False,
) -> None:
    """Put the scan into this repository's git hooks, so that a commit with a secret is refused."""
    from mcpsec.leaks.hooks import install

    for path in install(pre_push=pre_push, force=force):
        out.result(f"installed {path}")
