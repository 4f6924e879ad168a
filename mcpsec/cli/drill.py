"""``mcpsec drill``: what a deployment does when everything around it fails."""

from __future__ import annotations

import os
import signal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcpsec.cli.options import CONFIG, ConfigOption, application
from mcpsec.cli.output import examples, out
from mcpsec.errors import ExitCode, UsageError, advice

if TYPE_CHECKING:
    from mcpsec.audit.drill.row import Row
    from mcpsec.audit.drill.runner import Report

__all__ = ["app"]

app = application(group=False)


class Format(StrEnum):
    """How the report is shown."""

    text = "text"
    json = "json"
    junit = "junit"


_SIGNS = {"pass": "passed", "fail": "FAILED", "not-assessed": "not assessed", "not-applicable": "not applicable"}


@app.command(
    epilog=examples(
        "mcpsec drill",
        "mcpsec drill -c my-deployment/mcpsec.toml --out my-deployment/evidence",
        "mcpsec drill --only timeout,partition --upstream tickets",
        "mcpsec drill --list",
    )
)
def drill(
    config: ConfigOption = CONFIG,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="FAULT,…", help="Only these faults (repeatable).")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option("--skip", metavar="FAULT,…", help="Not these faults (repeatable).")
    ] = None,
    upstream: Annotated[
        list[str] | None,
        typer.Option("--upstream", metavar="NAME,…", help="Faults of servers only at these upstreams (repeatable)."),
    ] = None,
    out_directory: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write drill.json and drill.xml (JUnit) there, for `mcpsec audit`."),
    ] = None,
    output_format: Annotated[Format, typer.Option("--format", "-f", help="How the report is shown.")] = Format.text,
    longest: Annotated[
        str,
        typer.Option("--longest", metavar="TIME", help="The longest that any call may take, whatever the file says."),
    ] = "30s",
    slack: Annotated[
        str, typer.Option("--slack", metavar="TIME", help="What a loaded machine gets on top of a deadline.")
    ] = "5s",
    within: Annotated[
        str, typer.Option("--recover-within", metavar="TIME", help="How soon it must serve again after a fault.")
    ] = "30s",
    list_faults: Annotated[
        bool, typer.Option("--list", help="Name the faults and what is expected, and stop.")
    ] = False,
) -> None:
    """Start a copy of the deployment on loopback, let everything around it fail, and see what it does.

    Its servers, network, store, log and certificates are stand-ins of the drill's own: nothing of the deployment is
    called or changed. Exit codes: 0 all well, 1 a fault was not withstood, 2 usage, 3 a fault that was asked for by
    name (or everything) could not be assessed.
    """
    from mcpsec.audit.drill.faults import chosen

    if list_faults:
        _list(output_format)
        return
    faults = chosen(_words("--only", only), _words("--skip", skip))
    if out_directory is not None:
        _see_that_it_can_be_written(out_directory)
    from mcpsec.audit.drill.ground import Bounds
    from mcpsec.audit.drill.runner import drill as run

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is stopped, also when we are
    report = run(
        config,
        faults,
        bounds=Bounds(_seconds("--longest", longest), _seconds("--slack", slack), _seconds("--recover-within", within)),
        only_upstreams=_words("--upstream", upstream),
        ended=_tell if output_format is Format.text else lambda _: None,
    )
    if out_directory is not None:
        _keep(report, out_directory)
    if output_format is Format.json:
        out.json(report.document())
    elif output_format is Format.junit:
        out.result(report.junit())
    else:
        _sum_up(report)
    raise typer.Exit(_exit_code(report, by_name=bool(only)))


def _words(option: str, values: list[str] | None) -> list[str]:
    words = [word for value in values or () for word in value.replace(",", " ").split()]
    if values and not words:
        raise UsageError(f"{option} names nothing", hint="a variable that is not set, perhaps")
    return words


def _see_that_it_can_be_written(directory: Path) -> None:
    """Before minutes of drilling, and without making anything yet."""
    place = directory.absolute()
    nearest = next(each for each in (place, *place.parents) if each.exists())
    if not nearest.is_dir():
        raise UsageError("is not a directory", path=nearest, hint="--out names a directory, which is made")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UsageError("can't be written to", path=nearest, hint="give a place that can be written to")


def _seconds(option: str, text: str) -> float:
    from mcpsec.deployment.kinds import Duration
    from mcpsec.deployment.shapes import Wrong

    try:
        return Duration().parse(text, None)
    except Wrong as wrong:
        raise UsageError(f"{option} {wrong.message}", hint=wrong.hint) from None


def _list(output_format: Format) -> None:
    from mcpsec.audit.drill.faults import FAULTS

    if output_format is Format.json:
        rows = [
            {"name": fault.name, "title": fault.title, "expects": fault.expects, "place": list(fault.place)}
            for fault in FAULTS.values()
        ]
        out.json({"schema": "mcpsec.drill-faults/1", "faults": rows})
        return
    for fault in FAULTS.values():
        out.result(f"{fault.name:20} {fault.title}\n{'':20} expected: {fault.expects}")


def _tell(row: Row) -> None:
    document = row.document()
    said = document.get("reason") or document["seen"]
    out.result(f"{_SIGNS[row.state]:14} {row.name:38} {said}")
    for each in row.expectations if row.state == "fail" else ():
        if not each.met:
            out.result(f"{'':14}   expected {each.expected}; seen: {each.seen}")


def _sum_up(report: Report) -> None:
    counts = ", ".join(f"{report.count(state)} {sign.lower()}" for state, sign in _SIGNS.items() if report.count(state))
    out.result(f"\n{counts} in {report.seconds:.0f} s")
    if report.left_out:
        out.note(f"not part of a drill: {', '.join(report.left_out)}")


def _keep(report: Report, directory: Path) -> None:
    import json

    from mcpsec.writing import PUBLIC, write_atomic

    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = json.dumps(report.document(), indent=2, ensure_ascii=False) + "\n"
        write_atomic(directory / "drill.xml", report.junit().encode(), PUBLIC)
        write_atomic(directory / "drill.json", text.encode(), PUBLIC)
    except OSError as error:
        raise UsageError(f"can't be written to: {error.strerror}", path=directory, hint=advice(error)) from None
    out.note(f"wrote {directory / 'drill.json'} and {directory / 'drill.xml'}")


def _exit_code(report: Report, *, by_name: bool) -> ExitCode:
    if report.count("fail"):
        return ExitCode.NO
    unknown = report.count("not-assessed")
    if report.count("pass") == 0 or (by_name and unknown):
        return ExitCode.NOT_ASSESSED
    return ExitCode.OK
