"""The audit's report for a terminal: first the ten points, then what to do next."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from mcpsec.cli.output import out
from mcpsec.terminal import plain

if TYPE_CHECKING:
    from mcpsec.audit.model import Result
    from mcpsec.audit.runner import Audit

__all__ = ["show"]

_STYLES = {
    "pass": "green",
    "fail": "bold red",
    "manual": "yellow",
    "not-assessed": "yellow",
    "waived": "cyan",
    "not-applicable": "dim",
}
_SEVERITIES = {"critical": "bold white on red", "high": "bold red", "medium": "yellow", "low": "cyan", "info": "dim"}
_MARKS = {"pass": "✓", "fail": "✗", "manual": "?", "not-assessed": "-", "waived": "~", "not-applicable": " "}


def show(found: Audit, *, show_all: bool = False) -> None:
    """Write the report to standard output."""
    from rich.table import Table
    from rich.text import Text

    from mcpsec.audit.summary import WORDS, score

    console = out.console()
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(justify="right")
    table.add_column()
    table.add_column(overflow="fold")
    for item in found.items:
        style = _STYLES[str(item.state)]
        text = Text(f"{_MARKS[str(item.state)]} {WORDS[item.state]}", style=style)
        table.add_row(str(item.number), text, Text(item.title))
    console.print(table)
    console.print()
    failing = [r for r in found.results if r.state == "fail"]
    if failing:
        console.print(Text("What to do next", style="bold"))
        _actions(console, failing)
    rest = [r for r in found.results if r.state in ("manual", "not-assessed", "waived")]
    if show_all:
        rest += [r for r in found.results if r.state in ("pass", "not-applicable")]
    for state, rows in groupby(rest, key=lambda r: str(r.state)):
        console.print(Text(f"\n{state}", style="bold"))
        for result in rows:
            where = f"{result.location}" if result.location else ""
            told = Text.assemble(f"  {result.check}  ", (result.subject, "bold"), f"  {result.observed}")
            if where and where.rpartition(":")[0] != result.subject and where != result.subject:
                told.append(f"  {where}", "dim")
            if result.waiver:
                end = f", until {result.waiver['expires']}" if result.waiver["expires"] else ""
                told.append(f"  ({result.waiver['reason']}{end})", "italic")
            console.print(told)
    console.print(Text(f"\n{score(found.items)}.", style="bold"))
    severities = [f"{sum(r.severity == name for r in failing)} {name}" for name in _SEVERITIES]
    counts = ", ".join(text for text in severities if not text.startswith("0 "))
    passed = sum(r.state == "pass" for r in found.results)
    console.print(
        f"{_judged(len(found.subjects))}, {passed} check{'s' * (passed != 1)} passed, "
        f"{len(failing)} failed{' (' + counts + ')' if counts else ''} in {found.seconds:.1f} s."
    )
    if not found.subjects:
        out.warn("nothing here is of a kind that an audit judges: name a file, a directory or a URL")


def _judged(number: int) -> str:
    return "1 file or endpoint" if number == 1 else f"{number} files and endpoints"


def _actions(console: object, failing: list[Result]) -> None:
    from rich.console import Console
    from rich.text import Text

    assert isinstance(console, Console)
    for _, rows in groupby(failing, key=lambda r: (r.check, r.severity, r.fix)):
        group = list(rows)
        first = group[0]
        console.print(
            Text.assemble(
                (f" {first.severity} ", _SEVERITIES[first.severity]), f" {first.check}  ", (first.title, "bold")
            )
        )
        for result in group[:8]:
            where = str(result.location) if result.location else ""
            named = where == result.subject or where.rpartition(":")[0] == result.subject
            where = plain(where)
            subject = "" if named else f"{result.subject}: "
            console.print(Text.assemble("    ", (where, "cyan"), f"  {plain(subject)}{plain(result.observed)}"))
        if len(group) > 8:
            console.print(Text(f"    … and {len(group) - 8} more", style="dim"))
        if first.fix:
            console.print(Text.assemble("    → ", (first.fix, "italic")))
