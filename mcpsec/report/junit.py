"""JUnit XML: one test case a finding (failed) or one passing case, so that CI servers show findings as tests."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, quoteattr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpsec.report.entry import Entry

__all__ = ["render"]

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


def _text(text: str) -> str:
    return escape(_FORBIDDEN.sub("\ufffd", text))


def _attribute(text: str) -> str:
    return quoteattr(_FORBIDDEN.sub("\ufffd", text))
