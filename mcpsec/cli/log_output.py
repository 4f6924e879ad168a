"""How ``mcpsec log`` shows events, statistics and verifications in a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from mcpsec.cli.output import out
from mcpsec.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mcpsec.telemetry.stats import Statistics
    from mcpsec.telemetry.verify import Verification

__all__ = ["export_lines", "show_events", "show_statistics", "show_verification", "sparkline"]


def show_events(events: Iterable[dict[str, Any]], *, json: bool, text: bool) -> None:
    """Print events: as one JSON document, as a line of text each, or as JSON Lines."""
    if json:
        out.json({"schema": "mcpsec.log-events/1", "events": list(events)})
        return
    import orjson

    for event in events:
        if text:
            out.painted(_line(event))
        else:
            out.result(orjson.dumps(event).decode())


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
    return f"{plain(event['time'][:23])}Z {mark} {plain(text)}"


def export_lines(events: Iterable[dict[str, Any]], form: str) -> Iterator[str]:
    """Events in another form, one line each; OTLP is one document."""
    import orjson

    from mcpsec.telemetry import export as forms

    if form == "otlp":
        yield orjson.dumps(forms.otlp(events)).decode()
        return
    for event in events:
        if form == "syslog":
            yield forms.syslog(event).decode()
        else:
            yield orjson.dumps(forms.ocsf(event) if form == "ocsf" else event).decode()


def show_verification(result: Verification) -> None:
    """Print what is wrong with a log, or its head."""
    for finding in result.findings:
        out.result(f"{'damaged':9}{plain(str(finding))}")
    if not result.intact:
        return
    files = f"{len(result.files)} files" if len(result.files) > 1 else str(result.files[0])
    out.result(f"{'intact':9}{files}: events {result.first} to {result.last}, {result.checkpoints} signatures")
    out.result(f"{'head':9}{result.head}")
    out.result(f"{'key':9}{result.key}")
    if result.unsigned:
        out.note(f"the last {result.unsigned} lines stand after the last checkpoint: only the chain protects them")


def show_statistics(result: Statistics, top: int) -> None:
    """Print a log's figures with pictures: traffic over time, latencies, who and what."""
    from rich.table import Table
    from rich.text import Text

    console = out.console()
    if not result.events:
        out.result("no events")
        return
    between = f"{plain((result.first or '')[:19])} to {plain((result.last or '')[:19])} UTC"
    console.print(Text(f"{result.events} events, {result.requests} requests, {between}"))
    series = result.series(60)
    if series:
        console.print(Text.assemble("requests  ", (sparkline([each[1] for each in series]), "cyan")))
        if any(each[2] for each in series):
            console.print(Text.assemble("refusals  ", (sparkline([each[2] for each in series]), "red")))
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
            table.add_row(Text(title if position == 0 else "", style="bold"), Text(plain(name)), Text(str(count)), bar)
        console.print(table)


def sparkline(values: list[int]) -> str:
    """Numbers as a row of blocks."""
    blocks = " ▁▂▃▄▅▆▇█"
    most = max(values) or 1
    return "".join(blocks[-(-value * 8 // most)] for value in values)
