"""``mcpsec log``: read, verify, summarise and export the audit log."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcpsec.cli.log_output import export_lines, show_events, show_statistics, show_verification
from mcpsec.cli.options import CONFIG, ConfigOption, Format, FormatOption, LogFile, application, filtered, log_of
from mcpsec.cli.output import examples, out
from mcpsec.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from mcpsec.telemetry.query import Query
    from mcpsec.telemetry.verify import Verification

app = application("Read, verify and export the audit log.")


class ListFormat(StrEnum):
    """How events are shown."""

    text = "text"
    json = "json"
    jsonl = "jsonl"


class ExportFormat(StrEnum):
    """Whose form events are exported in."""

    jsonl = "jsonl"
    ocsf = "ocsf"
    syslog = "syslog"
    otlp = "otlp"


ListOption = Annotated[ListFormat, typer.Option("--format", help="text, json or jsonl.")]


@app.command(
    epilog=examples(
        "mcpsec log verify log/events.jsonl",
        "mcpsec log verify log/events.jsonl --expect 5b0c0f2f…",
        "mcpsec log verify shipped.jsonl --key events.jsonl.pub",
    )
)
def verify(
    *,
    file: LogFile = None,
    config: ConfigOption = CONFIG,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="Public key to trust instead of the one beside the log."),
    ] = None,
    expect: Annotated[
        str | None,
        typer.Option("--expect", metavar="HEAD", help="A head noted earlier: finds a tail that was cut away since."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", metavar="FILE", help="A checkpoint exported with `mcpsec log head`.")
    ] = None,
    part: Annotated[bool, typer.Option("--part", help="Only this file, not the parts rotated before it.")] = False,
    format: FormatOption = Format.text,
) -> None:
    """Check that nothing in the log was changed, cut, reordered, repeated or added.

    Needs no deployment file. Exit code 1 for any damage, with the file and line. A tail cut away after the last
    checkpoint shows only with --expect or --checkpoint.
    """
    from mcpsec.telemetry.verify import verify as verify_log

    result = verify_log(log_of(file, config), key=key, expect=expect, checkpoint=checkpoint, only_this_file=part)
    if format is Format.json:
        out.json(_verification(result))
    else:
        show_verification(result)
    if not result.intact:
        raise typer.Exit(ExitCode.NO)


@app.command(epilog=examples("mcpsec log head", "mcpsec log head log/events.jsonl --export /mnt/worm/head.json"))
def head(
    file: LogFile = None,
    config: ConfigOption = CONFIG,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write the last signed checkpoint there.")
    ] = None,
    format: FormatOption = Format.text,
) -> None:
    """Print the log's head, to be kept where nobody who can write the log can write.

    `log verify --expect HEAD` (or `--checkpoint FILE`) later shows whether everything up to it is still there.
    """
    from mcpsec.telemetry.query import Query, last
    from mcpsec.telemetry.verify import verify as verify_log

    path = log_of(file, config)
    result = verify_log(path)
    if not result.intact:
        show_verification(result)
        raise typer.Exit(ExitCode.NO)
    if export is not None:
        newest = last(path, Query(kinds=("log-checkpoint", "log-start", "log-part", "log-retention")), 1)
        _write_checkpoint(path, int(newest[0]["seq"]), export)
        out.note(f"checkpoint of event {newest[0]['seq']} written to {export}")
    if format is Format.json:
        out.json({"schema": "mcpsec.log-head/1", "head": result.head, "event": result.last, "chain": result.chain})
    else:
        out.result(result.head)


@app.command(epilog=examples("mcpsec log schema", "mcpsec log schema > mcpsec-event.schema.json"))
def schema() -> None:
    """Print the JSON Schema (2020-12) of one line of the log."""
    import json

    from mcpsec.telemetry.events import event_schema

    out.result(json.dumps(event_schema(), indent=2))


@app.command(
    epilog=examples("mcpsec log tail", "mcpsec log tail -f --decision refused", "mcpsec log tail -n 100 --format jsonl")
)
@filtered(times=False)
def tail(
    *,
    file: LogFile = None,
    config: ConfigOption = CONFIG,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the newest events.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    format: ListOption = ListFormat.text,
    query: Query,
) -> None:
    """Show the newest events, and with --follow those to come."""
    from mcpsec.telemetry import query as reading

    path = log_of(file, config)
    if follow and format is ListFormat.json:
        raise UsageError("one JSON document never ends while following", hint="use --format jsonl")
    coming = reading.follow(path, query) if follow else iter(())
    newest = reading.last(path, query, lines) if lines else []
    show_events(newest, json=format is ListFormat.json, text=format is ListFormat.text)
    for event in coming:
        if event is not None:
            show_events([event], json=False, text=format is ListFormat.text)


@app.command(
    epilog=examples(
        "mcpsec log query --client reporting-agent --since 2h",
        "mcpsec log query --decision refused --since 7d --format jsonl",
        "mcpsec log query --resource 'tickets/delete_*' --status 403",
    )
)
@filtered()
def query(
    *,
    file: LogFile = None,
    config: ConfigOption = CONFIG,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Stop after so many.")] = None,
    format: ListOption = ListFormat.text,
    query: Query,
) -> None:
    """Find events, oldest first, rotated and compressed parts included."""
    from itertools import islice

    from mcpsec.telemetry.query import read

    found = islice(read(log_of(file, config), query), None if limit is None else min(limit, sys.maxsize))
    show_events(found, json=format is ListFormat.json, text=format is ListFormat.text)


@app.command(epilog=examples("mcpsec log stats --since 24h", "mcpsec log stats --client reporting-agent --format json"))
@filtered()
def stats(
    *,
    file: LogFile = None,
    config: ConfigOption = CONFIG,
    top: Annotated[int, typer.Option("--top", min=1, help="How many names of each.")] = 8,
    format: FormatOption = Format.text,
    query: Query,
) -> None:
    """Summarise the log: traffic over time, decisions, latencies, who and what."""
    from mcpsec.telemetry.query import read
    from mcpsec.telemetry.stats import collect

    result = collect(read(log_of(file, config), query))
    if format is Format.json:
        out.json(result.document(top))
    else:
        show_statistics(result, top)


@app.command(
    epilog=examples(
        "mcpsec log export --to-format ocsf --since 24h > events.ocsf.jsonl",
        "mcpsec log export --to-format syslog --to tls://siem.example.com:6514",
        "mcpsec log export --to-format otlp --to http://127.0.0.1:4318",
    )
)
@filtered()
def export(
    *,
    file: LogFile = None,
    config: ConfigOption = CONFIG,
    to_format: Annotated[
        ExportFormat, typer.Option("--to-format", "--format", help="jsonl, ocsf, syslog or otlp.")
    ] = ExportFormat.jsonl,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="TARGET",
            help="Send instead of print: udp://, tcp://, tls://HOST:PORT or unix:/dev/log (syslog), http(s):// (otlp).",
        ),
    ] = None,
    ca: Annotated[
        Path | None, typer.Option("--ca", metavar="FILE", help="Authority that signed the collector's certificate.")
    ] = None,
    query: Query,
) -> None:
    """Write events in another form, or send them to a collector."""
    from mcpsec.telemetry.query import read

    events = read(log_of(file, config), query)
    if ca is not None and to is None:
        raise UsageError("--ca is for a collector", hint="name that with --to TARGET")
    if to is None:
        for line in export_lines(events, to_format):
            out.result(line)
        return
    from mcpsec.telemetry.shipping import ship_otlp, ship_syslog

    authority = None if ca is None else str(ca)
    if to_format is ExportFormat.syslog:
        count = ship_syslog(events, to, ca=authority)
    elif to_format is ExportFormat.otlp:
        count = ship_otlp(events, to, ca=authority)
    else:
        raise UsageError(f"{to_format} is not sent, only printed", hint="--to goes with --to-format syslog or otlp")
    out.note(f"{count} events sent")


def _verification(result: Verification) -> dict[str, Any]:
    return {
        "schema": "mcpsec.log-verify/1",
        "intact": result.intact,
        "files": [str(path) for path in result.files],
        "chain": result.chain,
        "key": result.key,
        "events": result.events,
        "first": result.first,
        "last": result.last,
        "head": result.head,
        "checkpoints": result.checkpoints,
        "unsigned": result.unsigned,
        "findings": [{"path": str(each.path), "line": each.line, "what": each.what} for each in result.findings],
    }


def _write_checkpoint(path: Path, seq: int, target: Path) -> None:
    from mcpsec.telemetry.verify import raw_line
    from mcpsec.writing import write_output

    write_output(target, raw_line(path, seq) + b"\n")
