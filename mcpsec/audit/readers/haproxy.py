"""HAProxy: sections and their lines; ``defaults`` are what later sections begin with."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mcpsec.clientfiles.positions import Malformed

if TYPE_CHECKING:
    from mcpsec.audit.subjects import Subject

__all__ = ["Line", "Section", "read"]

SECTIONS = frozenset(
    """
    global defaults frontend backend listen peers resolvers userlist mailers program cache ring http-errors fcgi-app
    crt-store log-forward log-profile traces acme crt-list
    """.split()  # noqa: SIM905
)
_WORD = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'([^']*)'|((?:\\.|[^\s\"'#])+)|(#.*)")
MAXIMUM_LINES = 50_000


@dataclass(frozen=True)
class Line:
    """One statement and its words."""

    words: list[str]
    number: int
    column: int

    def after(self, *names: str) -> str | None:
        """The word behind the first of some words, None when none is there."""
        for name in names:
            if name in self.words[:-1]:
                return self.words[self.words.index(name) + 1]
        return None


@dataclass
class Section:
    """One section; ``defaults`` is the section that it begins with."""

    kind: str
    name: str
    line: int
    lines: list[Line] = field(default_factory=list)
    defaults: Section | None = None

    def find(self, *names: str) -> list[Line]:
        """Its statements that begin with these words."""
        size = len(names)
        return [line for line in self.lines if tuple(line.words[:size]) == names]

    def effective(self, *names: str) -> list[Line]:
        """The same, of its defaults when it has none."""
        return self.find(*names) or (self.defaults.find(*names) if self.defaults else [])


def read(subject: Subject) -> list[Section]:
    """Read the sections. Raises Malformed."""
    sections: list[Section] = []
    defaults: dict[str, Section] = {}
    latest: Section | None = None
    for number, raw in enumerate(subject.text.splitlines(), 1):
        if number > MAXIMUM_LINES:
            raise Malformed("too many lines", number)
        words = _words(raw)
        if not words:
            continue
        if words[0] in SECTIONS:  # however far it is indented
            chosen = defaults.get(words[words.index("from") + 1]) if "from" in words[:-1] else latest
            section = Section(words[0], words[1] if len(words) > 1 else "", number, defaults=chosen)
            sections.append(section)
            if words[0] == "defaults":
                latest = section
                defaults[section.name] = section
        elif not sections:
            raise Malformed("a statement outside of every section", number)
        else:
            sections[-1].lines.append(Line(words, number, len(raw) - len(raw.lstrip()) + 1))
    if not sections:
        raise Malformed("the file holds no section")
    return sections


def _words(raw: str) -> list[str]:
    found = []
    for match in _WORD.finditer(raw):
        if match[4] is not None:
            break
        found.append(match[1] if match[1] is not None else match[2] if match[2] is not None else match[3])
    return found
