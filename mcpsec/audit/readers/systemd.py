"""systemd units: sections with keys that may come more than once (systemd.syntax(7))."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mcpsec.clientfiles.positions import Malformed

if TYPE_CHECKING:
    from mcpsec.audit.subjects import Subject

__all__ = ["Unit", "read"]

_SECTION = re.compile(r"\[([^\]]+)\]\s*")
_PAIR = re.compile(r"([A-Za-z0-9-]+)\s*=\s*(.*)")


@dataclass
class Unit:
    """``values`` holds each key of a section with its values and their lines, in order."""

    values: dict[tuple[str, str], list[tuple[str, int]]] = field(default_factory=dict)

    def last(self, section: str, key: str) -> str:
        """The value that counts where the last one does; empty when there is none."""
        found = self.values.get((section, key))
        return found[-1][0] if found else ""

    def line(self, section: str, key: str) -> int:
        """The line of that value; 1 when there is none."""
        found = self.values.get((section, key))
        return found[-1][1] if found else 1

    def all(self, section: str, key: str) -> list[tuple[str, int]]:
        """All its values; an empty one clears those before it."""
        kept: list[tuple[str, int]] = []
        for value, line in self.values.get((section, key), []):
            kept = [*kept, (value, line)] if value else []
        return kept


def read(subject: Subject) -> Unit:
    """Read a unit. Raises Malformed."""
    unit, section = Unit(), ""
    lines = subject.text.splitlines()
    number = 0
    while number < len(lines):
        line, at = lines[number].strip(), number + 1
        number += 1
        while line.endswith("\\") and number < len(lines):
            line = line[:-1].rstrip() + " " + lines[number].strip()
            number += 1
        if not line or line[0] in "#;":
            continue
        if (header := _SECTION.fullmatch(line)) is not None:
            section = header[1]
        elif (pair := _PAIR.fullmatch(line)) is not None and section:
            unit.values.setdefault((section, pair[1]), []).append((pair[2].strip(), at))
        else:
            raise Malformed("neither a section nor a key with a value", at)
    return unit
