"""An audit in the formats of other programs and people: one entry to all of them.

The shared renderers of ``mcpsec.report`` take rows; what is an audit's own (states, waivers, the ten points) is made
into rows here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mcpsec import __version__
from mcpsec.audit import catalogue
from mcpsec.audit.model import Result, State
from mcpsec.audit.summary import WORDS, score

if TYPE_CHECKING:
    from mcpsec.audit.runner import Audit

__all__ = ["FORMATS", "render"]

FORMATS = ("json", "sarif", "junit", "markdown", "html")


def render(found: Audit, output_format: str, *, show_all: bool = False) -> str:
    """The whole report as text."""
    if output_format == "sarif":
        return _sarif(found)
    if output_format == "junit":
        return _junit(found)
    if output_format == "markdown":
        return _markdown(found, show_all=show_all)
    if output_format == "html":
        from mcpsec.audit.page import render_page

        return render_page(found)
    return _json(found.document())


def _json(document: dict[str, Any]) -> str:
    """Indented JSON; the standard encoder takes ten times as long when it indents, and is only for odd characters."""
    import orjson

    try:
        return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
    except TypeError:  # half of a surrogate pair, from a file name or a JSON escape
        return json.dumps(document, indent=2) + "\n"


def _topic(name: str) -> Any:
    from mcpsec.report.entry import Topic

    check = catalogue.checks()[name]
    tags = (
        *check.owasp,
        *(f"external/cwe/cwe-{number:03}" for number in check.cwe),
        *(f"checklist-{n}" for n in check.items),
    )
    help_text = (
        f"Passes when {check.passes}. {check.why} Fix: {check.fix_for('any') or next(iter(check.fix.values()), '')}"
    )
    return Topic(f"mcpsec/{name}", check.title, help_text, f"urn:mcpsec:audit:{name}", tags)


def _sarif(found: Audit) -> str:
    """Failures as results, waived ones with their suppression, what was not assessed as notifications.

    A file is named from the top of its repository, wherever the audit ran: code scanning knows no other name for it.
    """
    from mcpsec.report import sarif
    from mcpsec.report.entry import Entry
    from mcpsec.report.repository import path_within

    rows = [r for r in found.results if r.state in (State.FAIL, State.WAIVED)]
    topics = {r.check: _topic(r.check) for r in rows}
    entries = [
        Entry(
            topics[r.check],
            f"{r.subject}: {r.observed}. {r.fix}".strip(),
            r.severity,
            path_within(r.location.path) if r.location else "",
            (r.location.line if r.location else None) or 1,
            (r.location.column if r.location else None) or 1,
            r.fingerprint,
            confidence=r.confidence,
            logical=r.subject,
            suppression=_suppression(r),
        )
        for r in rows
    ]
    problems = [
        (path_within(r.location.path) if r.location else r.subject, f"{r.check} not assessed: {r.observed}")
        for r in found.results
        if r.state is State.NOT_ASSESSED
    ]
    return sarif.render(entries, tool="mcpsec audit", version=__version__, problems=problems)


def _suppression(result: Result) -> str:
    if result.waiver is None:
        return ""
    return f"{result.waiver['kind']}: {result.waiver['reason']} ({result.waiver['owner'] or 'inline'})"


def _junit(found: Audit) -> str:
    """One test case for each check of each subject."""
    from mcpsec.report import junit

    cases = []
    for r in found.results:
        name = f"{r.subject} ({r.location})" if r.location else r.subject
        text = f"{r.observed}\nexpected: {r.expected}\n{r.fix}"
        outcome = {
            State.FAIL: "failure",
            State.NOT_ASSESSED: "error",
            State.WAIVED: "skipped",
            State.MANUAL: "skipped",
            State.NOT_APPLICABLE: "skipped",
        }.get(r.state, "")
        message = f"{r.state}: {r.observed}" if outcome == "skipped" else r.observed
        cases.append(junit.Case(f"mcpsec.audit.{r.check}", name, outcome, message, r.severity, text))
    return junit.render_cases(cases, suite="mcpsec audit", seconds=found.seconds)


_MARKS = {
    State.PASS: "✅",
    State.FAIL: "❌",
    State.MANUAL: "❔",
    State.NOT_APPLICABLE: "▫️",
    State.NOT_ASSESSED: "⬜",
    State.WAIVED: "🟦",
}


def _markdown(found: Audit, *, show_all: bool) -> str:
    """For a comment on a pull request: the ten points, then what fails."""
    lines = [
        "## Security audit",
        "",
        f"**{score(found.items)}.**",
        "",
        "| | point | state | why |",
        "|---|---|---|---|",
    ]
    for item in found.items:
        why = _cell("; ".join(item.reasons)) if item.state is not State.PASS else ""
        lines.append(f"| {item.number} | {_cell(item.title)} | {_MARKS[item.state]} {WORDS[item.state]} | {why} |")
    failing = [r for r in found.results if r.state is State.FAIL]
    if failing:
        lines += [
            "",
            f"### {len(failing)} to mend",
            "",
            "| severity | check | where | what | what to do |",
            "|---|---|---|---|---|",
        ]
        for r in failing[:200]:
            where = _cell(str(r.location) if r.location else r.subject)
            what = _cell(f"{r.subject}: {r.observed}")
            lines.append(f"| {r.severity} | {r.check} {_cell(r.title)} | `{where}` | {what} | {_cell(r.fix)} |")
        if len(failing) > 200:
            lines.append(f"\n… and {len(failing) - 200} more.")
    for state in (State.NOT_ASSESSED, State.MANUAL, State.WAIVED, *((State.PASS,) if show_all else ())):
        rows = [r for r in found.results if r.state is state]
        if rows:
            lines += ["", f"<details><summary>{len(rows)} {state}</summary>", ""]
            lines += [f"- {r.check} {_cell(r.subject)}: {_cell(r.observed)}{_waiver(r)}" for r in rows[:200]]
            lines += ["", "</details>"]
    return "\n".join(lines) + "\n"


def _waiver(result: Result) -> str:
    if result.waiver is None:
        return ""
    until = f", until {result.waiver['expires']}" if result.waiver["expires"] else ""
    return f" ({_cell(result.waiver['reason'])}{until})"


def _cell(text: str) -> str:
    """Text that can't break a table, name a person or bring in a link or an image."""
    for character in ("\\", "|", "`", "<", "[", "]", "*", "_", "@", "!"):
        text = text.replace(
            character, "\\" + character if character not in "<@" else {"<": "&lt;", "@": "@\u200d"}[character]
        )
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
