"""``# mcpsec: ignore[DEP001] reason``: one line of a file whose finding is meant to be there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcpsec.audit.subjects import Subject

__all__ = ["Ignored", "ignored_lines"]

_COMMENT = re.compile(r"(?:#|//|;)\s*mcpsec:\s*ignore\[([A-Z0-9,\s]+)\]\s*([^\n]*)")


class Ignored:
    """The ignore comments of one file: on the line itself, or on a line of their own before it."""

    def __init__(self) -> None:
        self.lines: dict[int, dict[str, str]] = {}

    def reason(self, check: str, line: int) -> str | None:
        """Why this check is ignored on this line; None when it is not."""
        return self.lines.get(line, {}).get(check)


def ignored_lines(subject: Subject) -> Ignored | None:
    """The ignore comments of a file; one without a reason counts for nothing."""
    if b"mcpsec:" not in subject.raw or subject.kind in ("log", "certificate", "key"):
        return None
    found = Ignored()
    for number, line in enumerate(subject.text.splitlines(), 1):
        match = _COMMENT.search(line)
        if match is None or not match[2].strip():
            continue
        alone = not line[: match.start()].strip()
        for name in match[1].split(","):
            found.lines.setdefault(number + alone, {})[name.strip()] = match[2].strip().removesuffix("*/").strip()
    return found if found.lines else None
