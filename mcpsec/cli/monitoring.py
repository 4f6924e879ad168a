"""``mcpsec monitoring``: files for Prometheus and Grafana."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcpsec.cli.options import application
from mcpsec.cli.output import examples, out
from mcpsec.errors import UsageError

app = application("Dashboards and alert rules for Prometheus and Grafana.")


@app.callback()
def monitoring() -> None:
    """Dashboards and alert rules for Prometheus and Grafana."""


@app.command(epilog=examples("mcpsec monitoring export monitoring/", "mcpsec monitoring export . --force"))
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write them; made when missing.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
) -> None:
    """Write a Grafana dashboard and Prometheus alert rules for the gateway's metrics.

    Import the dashboard in Grafana, name the rules under `rule_files` in prometheus.yml, and scrape the gateway's
    admin listener (/metrics).
    """
    from mcpsec.telemetry.monitoring import FILES, monitoring_file
    from mcpsec.writing import write_output

    taken = [name for name in FILES if (directory / name).exists()]
    if taken and not force:
        raise UsageError(f"{taken[0]} is there already", path=directory, hint="--force overwrites it")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            write_output(directory / name, monitoring_file(name))
            out.result(str(directory / name))
    except OSError as error:
        raise UsageError(f"cannot write there: {error.strerror}", path=error.filename or directory) from None
