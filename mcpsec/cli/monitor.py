"""``mcpsec monitor``: the dashboard at a glance, in the terminal, from the running gateway's log."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcpsec.cli.options import CONFIG, ConfigOption, LogFile, application, log_of
from mcpsec.cli.output import examples, out
from mcpsec.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from mcpsec.telemetry.dashboard import Aggregate

    _Logged = tuple[Path, dict[str, Any]]

_HISTORY = 50_000
"""Events of the log that the first picture is made of, at most."""

_PRESSING = 0.3
"""What is due is worth a look, and needs one when this share of that time is left."""

app = application(group=False)


@app.command(epilog=examples("mcpsec monitor", "mcpsec monitor log/events.jsonl --once"))
def monitor(
    *,
    file: LogFile = None,
    config: ConfigOption = CONFIG,
    once: Annotated[bool, typer.Option("--once", help="Print one picture and end.")] = False,
) -> None:
    """Watch traffic, decisions, denials, alerts, upstreams and certificates live. Reads the audit log; Ctrl-C ends it.

    Of a gateway with workers (serve --workers) it reads the log of each, and shows them as one. Certificates are those
    of the deployment file, where there is one.
    """
    from mcpsec.telemetry.query import Query, follow_all, last, logs_of, parse_time

    paths = logs_of(log_of(file, config))
    now = [time.time()]
    aggregate = _aggregate(now)
    _watch_certificates(aggregate, config)
    # Opened before the past is read: nothing is lost in between.
    coming = iter(()) if once else follow_all(paths, Query(own=True))
    day = Query(since=parse_time("24h"), own=True)
    past = [(path, event) for path in paths for event in last(path, day, _HISTORY)]
    for path, event in sorted(past, key=lambda each: str(each[1]["time"])):
        _feed(aggregate, path, event, now)
    now[0] = time.time()
    if once:
        out.console().print(_picture(aggregate.snapshot()))
        return
    from rich.live import Live

    console = out.console()
    drawn = 0.0
    with Live(_picture(aggregate.snapshot()), console=console, screen=console.is_terminal, auto_refresh=False) as live:
        for new in _unseen(past, coming):
            if new is not None:
                _feed(aggregate, *new, now)
            now[0] = time.time()
            if now[0] - drawn >= 1.0:
                drawn = now[0]
                live.update(_picture(aggregate.snapshot()), refresh=True)


def _unseen(past: list[_Logged], coming: Iterator[_Logged | None]) -> Iterator[_Logged | None]:
    """What comes without what was read of the past already: an event may have been written in between."""
    known = {_mark(*each) for each in past}
    for new in coming:
        if new is None or _mark(*new) not in known:
            yield new


def _mark(path: Path, event: dict[str, Any]) -> tuple[Any, ...]:
    """What no two events share."""
    return path, event.get("prev"), event.get("seq"), event.get("time")


def _aggregate(now: list[float]) -> Aggregate:
    from mcpsec.telemetry.dashboard import Aggregate

    begin = time.time() - 86_400
    now[0] = begin
    return Aggregate(clock=lambda: now[0])


def _watch_certificates(aggregate: Aggregate, config: Path) -> None:
    """The ends of the gateway's certificate, its client CA and the revocation list, as far as they can be read here."""
    if not config.is_file() and config == CONFIG:
        return
    from mcpsec.deployment import load
    from mcpsec.errors import Error
    from mcpsec.gateway.watching import certificate_lives

    if not config.is_file():
        load(config)  # named, and not there: it says so. What is there and broken keeps nobody from looking
    with suppress(Error):
        deployment = load(config)
        aggregate.set_upstreams(deployment.upstreams)
        for name, begins, ends in certificate_lives(deployment.server.tls):
            aggregate.set_certificate(name, begins, ends)


def _feed(aggregate: Aggregate, path: Path, event: dict[str, Any], now: list[float]) -> None:
    from mcpsec.telemetry.alerts import parse_record_time

    now[0] = max(now[0], parse_record_time(event))
    aggregate.feed(event, log=str(path))


def _picture(data: dict[str, Any]) -> RenderableType:
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    totals, latency = data["totals"], data["latency_ms"]
    five = [sum(row[which] for row in data["seconds"]) for which in range(3)]
    hour = [sum(row[:3]) for row in data["minutes"][-60:]]
    figures = Text.assemble(
        (f"{sum(five) / 300:.1f} req/s  ", "bold"),
        ("allowed ", "dim"),
        (f"{five[0]}  ", "cyan"),
        ("refused ", "dim"),
        (f"{five[1]}  ", "red"),
        ("failed ", "dim"),
        (f"{five[2]}  ", "yellow"),
        ("in 5 min   p95 ", "dim"),
        "-" if latency["p95"] is None else f"{latency['p95']:.1f} ms",
    )
    seen = Text(
        f"{_counted(totals['requests'], 'request')} seen, "
        f"{_counted(totals['authentication_failures'], 'failed authentication')}, "
        f"{_counted(totals['limit_hits'], 'limit hit')}",
        style="dim",
    )
    from mcpsec.cli.log_output import sparkline

    denials = [_denial(each) for each in reversed(data["denials"][-8:])] or [Text("none", style="dim")]
    alerts = [Text(f"{_at(each)} {each.get('name')}: {_clean(each.get('detail'))}") for each in data["alerts"][-5:]]
    lists = _beside(_panel("clients, 1 h", data["clients"]), _panel("resources, 1 h", data["resources"]))
    parts: list[RenderableType] = [
        Panel(Group(figures, seen, Text(sparkline(hour), style="cyan")), title="mcpsec", title_align="left"),
        lists,
        _upstreams(data["upstreams"]),
        _certificates(data["certificates"]),
        Panel(Group(*denials), title="denials", title_align="left"),
    ]
    if alerts:
        parts.insert(1, Panel(Group(*alerts), title="alerts", title_align="left", border_style="red"))
    return Group(*parts)


def _beside(left: RenderableType, right: RenderableType) -> RenderableType:
    from rich.table import Table

    row = Table.grid(expand=True)
    row.add_column(ratio=1)
    row.add_column(ratio=1)
    row.add_row(left, right)
    return row


def _panel(title: str, rows: list[dict[str, Any]]) -> RenderableType:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(ratio=1, no_wrap=True)
    table.add_column(justify="right")
    for row in rows[:6]:
        refused = Text(f" {row['refused']} refused" if row["refused"] else "", style="red")
        table.add_row(Text(_clean(row["name"])), Text(str(row["allowed"] + row["failed"])) + refused)
    return Panel(table, title=title, title_align="left")


def _upstreams(rows: list[dict[str, Any]]) -> RenderableType:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(ratio=1, no_wrap=True)
    table.add_column(justify="right")
    for row in rows[:6]:
        states = (("breaker", row["breaker"], "closed"), ("", row["state"], "up"))
        ill = [f"{what} {state}".strip() for what, state, well in states if state not in {well, "", None}]
        stopped = row.get("breaker_clients")
        if stopped:
            ill.append(f"breaker open for {stopped} client{'' if stopped == 1 else 's'}")
        latency = row["latency_ms"]["p95"]
        health = Text(", ".join(map(_clean, ill)) or "well", style="red" if ill else "green")
        figures = Text(f"{row['requests']} requests, {row['failed']} failed, p95 ", style="dim")
        figures.append("-  " if latency is None else f"{latency:.0f} ms  ")
        table.add_row(Text(_clean(row["name"])), figures + health)
    return Panel(table, title="upstreams", title_align="left")


def _certificates(rows: list[dict[str, Any]]) -> RenderableType:
    from rich.panel import Panel
    from rich.text import Text

    line = Text()
    for row in rows[:6]:
        left, due = row["not_after"] - time.time(), row["due_seconds"]
        style = "red" if left < due * _PRESSING else "yellow" if left < due else "green"
        days = left / 86_400
        line.append(f"{_clean(row['name'])} ").append("ended" if days <= 0 else f"{days:.0f}", style=style)
        line.append("   ")
    return Panel(line or Text("none known here", style="dim"), title="certificates, days left", title_align="left")


def _denial(event: dict[str, Any]) -> Any:
    from rich.text import Text

    who = event.get("client") or event.get("claimed") or event.get("address") or "?"
    what = event.get("resource") or event.get("method") or event["kind"]
    why = event.get("reason") or event.get("rule") or event["kind"]
    line = Text(f"{_at(event)}  {_clean(who)}  {_clean(what)}  ")
    return line.append(_clean(why), style="red")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _at(event: dict[str, Any]) -> str:
    return _clean(event["time"][11:19])


def _clean(text: object) -> str:
    return plain(text or "")
