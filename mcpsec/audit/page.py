"""The audit as one HTML file: nothing is loaded from anywhere, it prints well, and it needs no script."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from itertools import groupby
from typing import TYPE_CHECKING

from mcpsec import __version__
from mcpsec.audit.model import SEVERITIES, Result, State
from mcpsec.audit.summary import WORDS, score

if TYPE_CHECKING:
    from mcpsec.audit.runner import Audit

__all__ = ["render_page"]

_ICONS = {
    State.PASS: "✓",
    State.FAIL: "✗",
    State.MANUAL: "?",
    State.NOT_APPLICABLE: "-",
    State.NOT_ASSESSED: "-",
    State.WAIVED: "~",
}


def render_page(found: Audit) -> str:
    """The whole document."""
    style = (files("mcpsec.audit") / "data" / "report.css").read_text(encoding="utf-8")
    failing = [r for r in found.results if r.state is State.FAIL]
    counts = [(name, sum(r.severity == name for r in failing)) for name in reversed(SEVERITIES)]
    when = found.started.strftime("%d %B %Y, %H:%M UTC")
    names = [found.request.root.name or "/" if target == "." else str(target) for target in found.request.targets]
    targets = ", ".join(map(escape, names)) or "client configurations of this user"
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>Security audit, {escape(when)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>",
        f'<header><h1>Security audit</h1><p class="meta">{targets}<br>{escape(when)} · profile {found.request.profile}'
        f" · mcpsec {escape(__version__)} · {len(found.subjects)} subjects, {found.seconds:.1f} s</p></header>",
        f'<p class="score">{escape(score(found.items))}</p>',
        '<p class="counts">' + "".join(_count(name, number) for name, number in counts) + "</p>",
        _items(found),
        _actions(failing),
    ]
    for state, title in (
        (State.NOT_ASSESSED, "Not assessed"),
        (State.MANUAL, "For a person to look at"),
        (State.WAIVED, "Waived"),
        (State.PASS, "What passes"),
    ):
        parts.append(_list([r for r in found.results if r.state is state], title, state))
    parts += [_subjects(found), "</main>\n</body>\n</html>\n"]
    return "\n".join(part for part in parts if part)


def _count(name: str, number: int) -> str:
    return f'<span class="pill {name if number else "none"}"><b>{number}</b> {name}</span>'


def _items(found: Audit) -> str:
    rows = []
    for item in found.items:
        why = "<br>".join(escape(reason) for reason in item.reasons)
        rows.append(
            f'<tr class="{item.state}"><td class="number">{item.number}</td><td><b>{escape(item.title)}</b>'
            f'<div class="why">{why or escape(item.advice)}</div></td>'
            f'<td class="state"><span class="badge {item.state}">{_ICONS[item.state]} {WORDS[item.state]}</span></td>'
            "</tr>"
        )
    return (
        '<section><h2>The ten points</h2><table class="items"><thead class="hidden"><tr><th>Number</th><th>Point</th>'
        f"<th>State</th></tr></thead><tbody>{''.join(rows)}</tbody></table></section>"
    )


def _actions(failing: list[Result]) -> str:
    if not failing:
        return "<section><h2>What to do next</h2><p>Nothing that was judged fails.</p></section>"
    blocks = []
    for _, rows in groupby(failing, key=lambda r: (r.check, r.severity, r.fix)):
        group = list(rows)
        first = group[0]
        places = "".join(
            f"<li><code>{escape(str(r.location) if r.location else r.subject)}</code> "
            f"<b>{escape(r.subject)}</b>: {escape(r.observed)}</li>"
            for r in group
        )
        links = " · ".join([*first.references.get("owasp", ()), *first.references.get("cwe", ())])
        blocks.append(
            f'<article class="finding"><h3><span class="pill {first.severity}">{first.severity}</span> '
            f'<code class="id">{first.check}</code> {escape(first.title)}</h3><ul>{places}</ul>'
            f'<p class="fix"><b>Fix</b> {escape(first.fix)}</p><p class="refs">Passes when {escape(first.expected)}'
            f"{' · ' + escape(links) if links else ''}</p></article>"
        )
    return f"<section><h2>What to do next</h2>{''.join(blocks)}</section>"


def _list(rows: list[Result], title: str, state: State) -> str:
    if not rows:
        return ""
    body = "".join(
        f"<tr><td><code>{r.check}</code></td><td>{escape(r.subject)}</td><td>{escape(r.observed)}{_waiver(r)}</td>"
        f"<td><code>{escape(str(r.location) if r.location else '')}</code></td></tr>"
        for r in rows
    )
    shown = " open" if state in (State.NOT_ASSESSED, State.MANUAL) else ""
    return (
        f"<section><details{shown}><summary><h2>{escape(title)} <small>{len(rows)}</small></h2></summary>"
        f'<table class="rows"><thead><tr><th>Check</th><th>Subject</th><th>Seen</th><th>Where</th></tr></thead>'
        f"<tbody>{body}</tbody></table></details></section>"
    )


def _waiver(result: Result) -> str:
    if result.waiver is None:
        return ""
    parts = [result.waiver["kind"], result.waiver["reason"], result.waiver["owner"], result.waiver["expires"]]
    return f'<div class="why">{escape(" · ".join(part for part in parts if part))}</div>'


def _subjects(found: Audit) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(each.label)}</code></td><td>{each.kind}</td></tr>" for each in found.subjects
    )
    return (
        f"<section><details><summary><h2>What was judged <small>{len(found.subjects)}</small></h2></summary>"
        '<table class="rows"><thead><tr><th>Path</th><th>Kind</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></details></section>"
    )
