"""``mcpsec config``: check, show and describe the deployment file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from mcpsec.cli.options import CONFIG, ConfigOption, Rendering, RenderingOption, application, load_with_managers
from mcpsec.cli.output import examples, out
from mcpsec.errors import ExitCode

if TYPE_CHECKING:
    from mcpsec.deployment import Deployment, Problem
    from mcpsec.errors import SecretError
    from mcpsec.secretrefs import SecretRef

app = application(
    epilog=examples(
        "mcpsec config check",
        "mcpsec config secrets",
        "mcpsec config show --format json",
        "mcpsec config schema > mcpsec.schema.json",
    ),
)


@app.callback()
def config() -> None:
    """Check, show and describe the deployment file."""


@app.command(epilog=examples("mcpsec config check", "mcpsec config check -c staging/mcpsec.toml --format json"))
def check(config: ConfigOption = CONFIG, format: RenderingOption = Rendering.CONSOLE) -> None:
    """Find every mistake in the file, and every file it names that is missing or unsafe.

    Certificates and keys are looked into, those in secret files too: what keeps clients away is an error, what soon
    will, or some of them, a warning. Exit code 0 when there is no error, 2 otherwise.
    """
    from mcpsec.deployment import examine

    deployment, problems = examine(config)
    if deployment:
        problems = _problems_on_disk(deployment)
    errors = sum(problem.severity == "error" for problem in problems)
    if format is Rendering.JSON:
        out.json(
            {
                "schema": "mcpsec.config-check/1",
                "file": str(config.absolute()),
                "ok": not errors,
                "problems": [_document(problem) for problem in problems],
            }
        )
    elif problems:
        for problem in problems:
            warning = "warning: " * (problem.severity == "warning")
            out.result(f"{problem.where}: {warning}{problem.message}")
            if problem.hint:
                out.result(f"    {problem.hint}")
        counts = [(errors, "problem"), (len(problems) - errors, "warning")]
        out.note(", ".join(f"{count} {what}{'s' * (count > 1)}" for count, what in counts if count))
    else:
        assert deployment is not None
        upstreams, clients = len(deployment.upstreams), len(deployment.clients)
        out.result(f"{config}: no problems (upstreams: {upstreams}, clients: {clients})")
    if errors:
        raise typer.Exit(ExitCode.USAGE)


def _problems_on_disk(deployment: Deployment) -> list[Problem]:
    from mcpsec.deployment import files
    from mcpsec.gateway.preflight import judge_certificates, judge_keys

    problems = [*files.check(deployment), *judge_keys(deployment)]
    if not any(problem.key.startswith(("server.tls", "server.admin")) for problem in problems):
        problems += judge_certificates(deployment)  # of files that can be read
    return sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0))


@app.command(epilog=examples("mcpsec config show", "mcpsec config show --format json | jq .clients"))
def show(config: ConfigOption = CONFIG, format: RenderingOption = Rendering.CONSOLE) -> None:
    """Show the resolved configuration: defaults filled in, paths absolute, secrets as references.

    No secret is read, and arguments of commands that fetch one are left out.
    """
    from mcpsec.deployment import load
    from mcpsec.deployment.keys import DEPLOYMENT

    shown: dict[str, Any] = DEPLOYMENT.show(load(config))
    if format is Rendering.JSON:
        out.json({"schema": "mcpsec.config/1", **shown})
        return
    import tomli_w

    out.result(tomli_w.dumps(shown))


@app.command(epilog=examples("mcpsec config secrets", "mcpsec config secrets --format json"))
def secrets(config: ConfigOption = CONFIG, format: RenderingOption = Rendering.CONSOLE) -> None:
    """Read every secret that the file refers to, as the gateway would, and say which can be read. No value is shown.

    Exit code 0 when all can be, 1 otherwise.
    """
    from mcpsec.deployment.problems import dotted
    from mcpsec.gateway.secrets import references_of

    deployment = load_with_managers(config)
    found = [(dotted(at), reference, _trouble(reference)) for at, reference in references_of(deployment)]
    if format is Rendering.JSON:
        rows = [
            {
                "key": key,
                "kind": reference.kind,
                "place": reference.describe(),
                "resolves": error is None,
                "error": error and str(error),
            }
            for key, reference, error in found
        ]
        out.json({"schema": "mcpsec.config-secrets/1", "file": str(config.absolute()), "secrets": rows})
    else:
        for key, reference, error in found:
            out.result(f"{'ok    ' if error is None else 'FAILS '} {key}: {reference.describe()}")
            if error is not None:
                out.result(f"       {error}" + (f"\n       {error.hint}" if error.hint else ""))
        out.note(f"{len(found)} secret references, {sum(error is not None for *_, error in found)} can't be read")
    if any(error is not None for *_, error in found):
        raise typer.Exit(ExitCode.NO)


def _trouble(reference: SecretRef) -> SecretError | None:
    from mcpsec.errors import SecretError

    try:
        reference.resolve()
    except SecretError as error:
        return error
    return None


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
        "severity": problem.severity,
        "message": problem.message,
        "hint": problem.hint,
    }
