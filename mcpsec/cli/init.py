"""``mcpsec init``: write a whole deployment without a question asked."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mcpsec.cli.options import application
from mcpsec.cli.output import examples, out

app = application(group=False)


def _named(text: str | Path) -> Path:
    """A directory that was named; ``Path("")`` would be the current one, and an unset variable its only reason."""
    if not str(text).strip():
        raise typer.BadParameter("the name is empty; the current directory is .")
    return Path(text)


@app.command(
    epilog=examples(
        "mcpsec init my-deployment", "mcpsec init . --client reporting --client ci", "mcpsec serve -c mcpsec.toml"
    )
)
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", parser=_named, help="Where to write it.")] = Path(),
    client: Annotated[
        list[str] | None,
        typer.Option(
            "--client",
            metavar="NAME",
            help="A client, with certificate and signing key. Repeat for more. Default: agent.",
        ),
    ] = None,
) -> None:
    """Write a whole deployment: a commented mcpsec.toml, a private CA, certificates, signing secrets.

    Its policy grants nothing beyond the built-in tools. Nothing is overwritten, and an interrupted run leaves nothing.
    """
    from mcpsec.deployment.scaffold import create

    created = create(directory, client or ["agent"])
    shown = _relative_to_here(created.directory)
    for path in created.files:
        out.note(f"wrote {shown / path.relative_to(created.directory)}")
    keep = f"mcpsec certs --dir {shlex.quote(str(shown / 'pki'))} renew --watch"
    out.note(f"to keep its certificates and revocation list alive: {keep}")
    out.note(f"next: mcpsec serve -c {shlex.quote(str(shown / created.config.name))}")


def _relative_to_here(directory: Path) -> Path:
    here = Path.cwd()
    return directory.relative_to(here) if directory.is_relative_to(here) else directory
