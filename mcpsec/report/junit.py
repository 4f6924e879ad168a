"""JUnit XML: one test case a finding (failed) or one passing case, so that CI servers show findings as tests."""

from __future__ import annotations

import re
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

from mcpsec.terminal import STEERING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpsec.report.entry import Entry

__all__ = ["Case", "render", "render_cases"]

_REFERENCES = {code: f"&#x{code:x};" for code in STEERING if code > 0x20}
"""A document may be shown in a terminal; to a parser these are the characters themselves."""
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(entries: Sequence[Entry], *, suite: str, seconds: float, problems: Sequence[tuple[str, str]] = ()) -> str:
    """The whole document; ``problems`` (path, reason) become errors."""
    total = len(entries) + len(problems) or 1
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites tests="{total}" failures="{len(entries)}" errors="{len(problems)}" time="{seconds:.3f}">',
        f'  <testsuite name={_attribute(suite)} tests="{total}" failures="{len(entries)}" errors="{len(problems)}"'
        f' skipped="0" time="{seconds:.3f}">',
    ]
    for entry in entries:
        where = f"{entry.path}:{entry.line}:{entry.column}"
        lines += [
            f'    <testcase classname={_attribute(entry.topic.id)} name={_attribute(where)} time="0">',
            f"      <failure message={_attribute(entry.message)} type={_attribute(entry.severity)}>"
            f"{_text(where)}\n{_text(entry.message)}\n{_text(entry.topic.help)}</failure>",
            "    </testcase>",
        ]
    for path, reason in problems:
        lines += [
            f'    <testcase classname="not-assessed" name={_attribute(path)} time="0">',
            f"      <error message={_attribute(reason)}/>",
            "    </testcase>",
        ]
    if not entries and not problems:
        lines.append(f'    <testcase classname={_attribute(suite)} name="nothing found" time="{seconds:.3f}"/>')
    lines += ["  </testsuite>", "</testsuites>"]
    return "\n".join(lines) + "\n"


class Case(NamedTuple):
    """One test case; ``outcome`` is empty (passed), failure, error or skipped."""

    classname: str
    name: str
    outcome: str = ""
    message: str = ""
    kind: str = ""
    text: str = ""


def render_cases(cases: Sequence[Case], *, suite: str, seconds: float) -> str:
    """A document of cases that also pass or are skipped."""
    counts = {name: sum(case.outcome == name for case in cases) for name in ("failure", "error", "skipped")}
    numbers = (
        f'tests="{len(cases)}" failures="{counts["failure"]}" errors="{counts["error"]}" '
        f'skipped="{counts["skipped"]}" time="{seconds:.3f}"'
    )
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f"<testsuites {numbers}>",
        f"  <testsuite name={_attribute(suite)} {numbers}>",
    ]
    for case in cases:
        head = f"    <testcase classname={_attribute(case.classname)} name={_attribute(case.name)}"
        if not case.outcome:
            lines.append(f'{head} time="0"/>')
            continue
        body = (
            "/>" if case.outcome == "skipped" else f" type={_attribute(case.kind)}>{_text(case.text)}</{case.outcome}>"
        )
        lines += [
            f'{head} time="0">',
            f"      <{case.outcome} message={_attribute(case.message)}{body}",
            "    </testcase>",
        ]
    lines += ["  </testsuite>", "</testsuites>"]
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    return escape(_FORBIDDEN.sub("\ufffd", text)).translate(_REFERENCES)


def _attribute(text: str) -> str:
    return quoteattr(_FORBIDDEN.sub("\ufffd", text)).translate(_REFERENCES)
