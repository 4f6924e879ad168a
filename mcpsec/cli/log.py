"""``mcpsec log``: read, verify, summarise and export the audit log."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcpsec.cli.output import examples, out
from mcpsec.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mcpsec.telemetry.query import Query
    from mcpsec.telemetry.stats import Statistics
    from mcpsec.telemetry.verify import Verification

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Read, verify and export the audit log.",
)


class ListFormat(StrEnum):
    """How events are shown."""

    text = "text"
    json = "json"
    jsonl = "jsonl"


class Format(StrEnum):
    """How a result is shown."""

    text = "text"
    json = "json"


class ExportFormat(StrEnum):
    """Whose form events are exported in."""

    jsonl = "jsonl"
    ocsf = "ocsf"
    syslog = "syslog"
    otlp = "otlp"


LogFile = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="The log; default: the one that the deployment file names.")
]
ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", metavar="FILE", envvar="MCPSEC_CONFIG", help="The deployment file.")
]
ClientOption = Annotated[list[str] | None, typer.Option("--client", help="Only these clients (glob; repeatable).")]
ResourceOption = Annotated[
    list[str] | None, typer.Option("--resource", help="Only these resources (glob; repeatable).")
]
UpstreamOption = Annotated[
    list[str] | None, typer.Option("--upstream", help="Only these upstreams (glob; repeatable).")
]
DecisionOption = Annotated[
    list[str] | None, typer.Option("--decision", help="allowed, refused or failed (repeatable).")
]
KindOption = Annotated[list[str] | None, typer.Option("--kind", help="Only these kinds of event (repeatable).")]
RuleOption = Annotated[
    list[str] | None, typer.Option("--rule", help="Only what these rules decided (glob; repeatable).")
]
StatusOption = Annotated[
    list[int] | None, typer.Option("--status", help="Only answers with this HTTP status (repeatable).")
]
RequestOption = Annotated[str | None, typer.Option("--request-id", help="Only this request.")]
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="From then on: 15m, 2h, 7d (ago) or 2026-11-23T08:00:00Z.")
]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before then.")]
TextOption = Annotated[str | None, typer.Option("--text", help="Only events in which this text stands (any case).")]
OwnOption = Annotated[bool, typer.Option("--all", help="Also the log's own lines (checkpoints).")]
_DEFAULT_CONFIG = Path("mcpsec.toml")


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
    config: ConfigOption = _DEFAULT_CONFIG,
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
    format: Annotated[Format, typer.Option("--format", help="text or json.")] = Format.text,
) -> None:
    """Check that nothing in the log was changed, cut, reordered, repeated or added.

    Needs no deployment file. Exit code 1 for any damage, with the file and line. A tail cut away after the last
    checkpoint shows only with --expect or --checkpoint.
    """
    from mcpsec.telemetry.verify import verify as verify_log

    result = verify_log(_log(file, config), key=key, expect=expect, checkpoint=checkpoint, only_this_file=part)
    if format is Format.json:
        out.json(_verification(result))
    else:
        _show_verification(result)
    if not result.intact:
        raise typer.Exit(ExitCode.NO)


@app.command(epilog=examples("mcpsec log head", "mcpsec log head log/events.jsonl --export /mnt/worm/head.json"))
def head(
    file: LogFile = None,
    config: ConfigOption = _DEFAULT_CONFIG,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write the last signed checkpoint there.")
    ] = None,
    format: Annotated[Format, typer.Option("--format", help="text or json.")] = Format.text,
) -> None:
    """Print the log's head, to be kept where nobody who can write the log can write.

    `log verify --expect HEAD` (or `--checkpoint FILE`) later shows whether everything up to it is still there.
    """
    from mcpsec.telemetry.query import Query, last
    from mcpsec.telemetry.verify import verify as verify_log

    path = _log(file, config)
    result = verify_log(path)
    if not result.intact:
        _show_verification(result)
        raise typer.Exit(ExitCode.NO)
    if export is not None:
        newest = last(path, Query(kinds=("log-checkpoint", "log-start", "log-part", "log-retention")), 1)
        _write_checkpoint(path, int(newest[0]["seq"]), export)
        out.note(f"checkpoint of event {newest[0]['seq']} written to {export}")
    if format is Format.json:
        out.json({"schema": "mcpsec.log-head/1", "head": result.head, "event": result.last, "chain": result.chain})
    else:
        out.result(result.head)


@app.command(
    epilog=examples("mcpsec log tail", "mcpsec log tail -f --decision refused", "mcpsec log tail -n 100 --format jsonl")
)
def tail(
    *,
    file: LogFile = None,
    config: ConfigOption = _DEFAULT_CONFIG,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the newest events.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    client: ClientOption = None,
    resource: ResourceOption = None,
    upstream: UpstreamOption = None,
    decision: DecisionOption = None,
    kind: KindOption = None,
    rule: RuleOption = None,
    status: StatusOption = None,
    request_id: RequestOption = None,
    text: TextOption = None,
    own: OwnOption = False,
    format: Annotated[ListFormat, typer.Option("--format", help="text, json or jsonl.")] = ListFormat.text,
) -> None:
    """Show the newest events, and with --follow those to come."""
    from mcpsec.telemetry import query as reading

    path = _log(file, config)
    query = _query(
        clients=client,
        resources=resource,
        upstreams=upstream,
        decisions=decision,
        kinds=kind,
        rules=rule,
        statuses=status,
        request_id=request_id,
        text=text,
        own=own,
    )
    if follow and format is ListFormat.json:
        raise UsageError("one JSON document never ends while following", hint="use --format jsonl")
    coming = reading.follow(path, query) if follow else iter(())
    newest = reading.last(path, query, lines) if lines else []
    _show_events(newest, format)
    for event in coming:
        if event is not None:
            _show_events([event], format)


@app.command(
    epilog=examples(
        "mcpsec log query --client reporting-agent --since 2h",
        "mcpsec log query --decision refused --since 7d --format jsonl",
        "mcpsec log query --resource 'tickets/delete_*' --status 403",
    )
)
def query(
    *,
    file: LogFile = None,
    config: ConfigOption = _DEFAULT_CONFIG,
    client: ClientOption = None,
    resource: ResourceOption = None,
    upstream: UpstreamOption = None,
    decision: DecisionOption = None,
    kind: KindOption = None,
    rule: RuleOption = None,
    status: StatusOption = None,
    request_id: RequestOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    text: TextOption = None,
    own: OwnOption = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Stop after so many.")] = None,
    format: Annotated[ListFormat, typer.Option("--format", help="text, json or jsonl.")] = ListFormat.text,
) -> None:
    """Find events, oldest first, rotated and compressed parts included."""
    from itertools import islice

    from mcpsec.telemetry.query import read

    wanted = _query(
        clients=client,
        resources=resource,
        upstreams=upstream,
        decisions=decision,
        kinds=kind,
        rules=rule,
        statuses=status,
        request_id=request_id,
        since=since,
        until=until,
        text=text,
        own=own,
    )
    _show_events(islice(read(_log(file, config), wanted), limit), format)


@app.command(epilog=examples("mcpsec log stats --since 24h", "mcpsec log stats --client reporting-agent --format json"))
def stats(
    *,
    file: LogFile = None,
    config: ConfigOption = _DEFAULT_CONFIG,
    client: ClientOption = None,
    resource: ResourceOption = None,
    upstream: UpstreamOption = None,
    decision: DecisionOption = None,
    kind: KindOption = None,
    rule: RuleOption = None,
    status: StatusOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many names of each.")] = 8,
    format: Annotated[Format, typer.Option("--format", help="text or json.")] = Format.text,
) -> None:
    """Summarise the log: traffic over time, decisions, latencies, who and what."""
    from mcpsec.telemetry.query import read
    from mcpsec.telemetry.stats import collect

    wanted = _query(
        clients=client,
        resources=resource,
        upstreams=upstream,
        decisions=decision,
        kinds=kind,
        rules=rule,
        statuses=status,
        since=since,
        until=until,
    )
    result = collect(read(_log(file, config), wanted))
    if format is Format.json:
        out.json(result.document(top))
    else:
        _show_statistics(result, top)


@app.command(
    epilog=examples(
        "mcpsec log export --to-format ocsf --since 24h > events.ocsf.jsonl",
        "mcpsec log export --to-format syslog --to tls://siem.example.com:6514",
        "mcpsec log export --to-format otlp --to http://127.0.0.1:4318",
    )
)
def export(
    *,
    file: LogFile = None,
    config: ConfigOption = _DEFAULT_CONFIG,
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
    client: ClientOption = None,
    resource: ResourceOption = None,
    upstream: UpstreamOption = None,
    decision: DecisionOption = None,
    kind: KindOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    own: OwnOption = False,
) -> None:
    """Write events in another form, or send them to a collector."""
    from mcpsec.telemetry.query import read

    wanted = _query(
        clients=client,
        resources=resource,
        upstreams=upstream,
        decisions=decision,
        kinds=kind,
        since=since,
        until=until,
        own=own,
    )
    events = read(_log(file, config), wanted)
    if to is None:
        _print_exported(events, to_format)
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


def _log(file: Path | None, config: Path) -> Path:
    """The log asked for: the file named, else the one in the deployment file."""
    if file is not None:
        return file
    from mcpsec.deployment import load

    return load(config).log.file


def _query(
    *,
    clients: list[str] | None,
    resources: list[str] | None,
    upstreams: list[str] | None,
    decisions: list[str] | None,
    kinds: list[str] | None,
    rules: list[str] | None = None,
    statuses: list[int] | None = None,
    request_id: str | None = None,
    since: str | None = None,
    until: str | None = None,
    text: str | None = None,
    own: bool = False,
) -> Query:
    from mcpsec.telemetry.events import KINDS, LOG_KINDS
    from mcpsec.telemetry.query import Query, parse_time

    _one_of("--decision", decisions, ("allowed", "refused", "failed"))
    _one_of("--kind", kinds, (*KINDS, *LOG_KINDS))
    return Query(
        clients=tuple(clients or ()),
        resources=tuple(resources or ()),
        upstreams=tuple(upstreams or ()),
        decisions=tuple(decisions or ()),
        kinds=tuple(kinds or ()),
        rules=tuple(rules or ()),
        statuses=tuple(statuses or ()),
        request_id=request_id,
        since=None if since is None else parse_time(since),
        until=None if until is None else parse_time(until),
        text=text,
        own=own,
    )


def _one_of(option: str, values: list[str] | None, known: tuple[str, ...]) -> None:
    for value in values or ():
        if value not in known:
            raise UsageError(f"{option}: {value!r} is none of them", hint=", ".join(known))


def _show_events(events: Iterable[dict[str, Any]], format: ListFormat) -> None:
    if format is ListFormat.json:
        out.json({"schema": "mcpsec.log-events/1", "events": list(events)})
        return
    import orjson

    for event in events:
        out.result(_line(event) if format is ListFormat.text else orjson.dumps(event).decode())


def _line(event: dict[str, Any]) -> str:
    """One event for people; nothing that a peer sent can move the cursor or change colours."""
    mark, sgr = {"allowed": ("✓", "32"), "refused": ("✗", "31"), "failed": ("!", "33")}.get(
        str(event.get("decision")), ("·", "36")
    )
    who = event.get("client") or event.get("claimed") or event.get("address")
    what = event.get("resource") or event.get("name") or event.get("upstream")
    timing = f"{event['duration_ms']:.1f} ms" if isinstance(event.get("duration_ms"), int | float) else None
    parts = (event.get("kind"), who, event.get("method"), what, event.get("status"), timing)
    why = " ".join(str(each) for each in (event.get("rule"), event.get("reason"), event.get("detail")) if each)
    text = "  ".join(str(part) for part in (*parts, why if event.get("decision") != "allowed" else None) if part)
    if out.colored(sys.stdout):
        mark = f"\x1b[{sgr}m{mark}\x1b[0m"
    return f"{_plain(event['time'][:23])}Z {mark} {_plain(text)}"


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in text)


def _print_exported(events: Iterator[dict[str, Any]], to_format: ExportFormat) -> None:
    import orjson

    from mcpsec.telemetry import export as forms

    if to_format is ExportFormat.otlp:
        out.result(orjson.dumps(forms.otlp(events)).decode())
        return
    for event in events:
        if to_format is ExportFormat.syslog:
            out.result(forms.syslog(event).decode())
        else:
            out.result(orjson.dumps(forms.ocsf(event) if to_format is ExportFormat.ocsf else event).decode())


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


def _show_verification(result: Verification) -> None:
    for finding in result.findings:
        out.result(f"{'damaged':9}{_plain(str(finding))}")
    if not result.intact:
        return
    files = f"{len(result.files)} files" if len(result.files) > 1 else str(result.files[0])
    out.result(f"{'intact':9}{files}: events {result.first} to {result.last}, {result.checkpoints} signatures")
    out.result(f"{'head':9}{result.head}")
    out.result(f"{'key':9}{result.key}")
    if result.unsigned:
        out.note(f"the last {result.unsigned} lines stand after the last checkpoint: only the chain protects them")


def _write_checkpoint(path: Path, seq: int, target: Path) -> None:
    from mcpsec.telemetry.verify import raw_line

    target.write_bytes(raw_line(path, seq) + b"\n")


def _show_statistics(result: Statistics, top: int) -> None:
    from rich.table import Table
    from rich.text import Text

    console = out.console()
    if not result.events:
        out.result("no events")
        return
    between = f"{_plain((result.first or '')[:19])} to {_plain((result.last or '')[:19])} UTC"
    console.print(Text(f"{result.events} events, {result.requests} requests, {between}"))
    series = result.series(60)
    if series:
        console.print(Text.assemble("requests  ", (_sparkline([each[1] for each in series]), "cyan")))
        if any(each[2] for each in series):
            console.print(Text.assemble("refusals  ", (_sparkline([each[2] for each in series]), "red")))
    if result.durations:
        p50, p95, p99 = (result.percentile(share) or 0.0 for share in (0.5, 0.95, 0.99))
        console.print(Text(f"latency   p50 {p50:.1f} ms   p95 {p95:.1f} ms   p99 {p99:.1f} ms"))
    counters = (
        ("decision", result.decisions),
        ("client", result.clients),
        ("resource", result.resources),
        ("refused", result.refused_clients),
        ("by rule", result.rules),
        ("why", result.reasons),
    )
    for title, counter in counters:
        if not counter:
            continue
        table = Table(box=None, pad_edge=False, show_header=False)
        most = max(counter.values())
        for position, (name, count) in enumerate(counter.most_common(top)):
            bar = Text("█" * max(1, round(24 * count / most)), style="red" if title in {"refused", "why"} else "cyan")
            table.add_row(Text(title if position == 0 else "", style="bold"), Text(_plain(name)), Text(str(count)), bar)
        console.print(table)


def _sparkline(values: list[int]) -> str:
    blocks = " ▁▂▃▄▅▆▇█"
    most = max(values) or 1
    return "".join(blocks[-(-value * 8 // most)] for value in values)
