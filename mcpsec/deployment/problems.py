"""What is wrong with a deployment file, and where: collected, so that one run names every fault."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mcpsec.clientfiles.toml import KeyPath, Location
from mcpsec.deployment.literals import looks_secret
from mcpsec.errors import ConfigurationError

__all__ = ["INVALID", "Invalid", "Problem", "Report", "dotted"]


class Invalid:
    """The result of reading a value that was reported as wrong."""

    def __repr__(self) -> str:
        return "INVALID"


INVALID = Invalid()


def dotted(at: KeyPath) -> str:
    """Write a key path as people do: ``clients[0].id``; keys that are not bare are quoted, absurd ones left out."""
    text = ""
    for part in at:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + _key(part)
    return text


def _key(name: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name) and not looks_secret(name):
        return name
    return f'"{name}"' if len(name) <= 80 and name.isprintable() and not looks_secret(name) else "…"


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: what is wrong, what to do about it, and where (``line`` and ``column`` count from 1).

    A ``warning`` keeps nothing from working today.
    """

    message: str
    hint: str | None = None
    path: Path | None = None
    line: int | None = None
    column: int | None = None
    key: str = ""
    severity: Literal["error", "warning"] = "error"

    def error(self, others: int = 0) -> ConfigurationError:
        """Return the problem as an error; ``others`` is how many more the same file has."""
        hint = self.hint
        if others:
            more = f"{others} more problem{'s' * (others > 1)}: `mcpsec config check -c {self.path}` lists them all"
            hint = f"{hint} ({more})" if hint else more
        return ConfigurationError(self.message, hint=hint, path=self.path, line=self.line)

    @property
    def where(self) -> str:
        """``file:line``, ``file``, or the empty string."""
        return self.error().where or ""


@dataclass
class Report:
    """Collects the problems of one file while it is read. Relative paths in the file start at ``base``."""

    path: Path | None
    base: Path
    locations: Mapping[KeyPath, Location] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _wrong: set[KeyPath] = field(default_factory=set)
    tables: dict[KeyPath, object] = field(default_factory=dict)
    """Every table of the model that could be built, by where it stands."""
    _origins: dict[int, KeyPath] = field(default_factory=dict)

    def add(self, at: KeyPath, message: str, hint: str | None = None) -> Invalid:
        """Report a fault at a key path, or at the nearest table around it that is written in the file."""
        self._note(at, message, hint, "error")
        self._wrong.add(at)
        return INVALID

    def warn(self, at: KeyPath, message: str, hint: str | None = None) -> None:
        """Report what is no fault yet; what follows from the key is judged all the same."""
        self._note(at, message, hint, "warning")

    def _note(self, at: KeyPath, message: str, hint: str | None, severity: Literal["error", "warning"]) -> None:
        location = next((self.locations[at[:end]] for end in range(len(at), 0, -1) if at[:end] in self.locations), None)
        line = location.line if location else (1 if self.path else None)
        column = location.column if location else None
        self.problems.append(Problem(message, hint or None, self.path, line, column, dotted(at), severity))

    def touched(self, at: KeyPath) -> bool:
        """True when something at or below this key path was reported: what follows from it is not worth saying."""
        return any(wrong[: len(at)] == at for wrong in self._wrong)

    def built(self, value: object, at: KeyPath) -> None:
        """Remember where a table came from, for the checks that look across tables."""
        self.tables[at] = value  # which also keeps it alive, so that its id stays its own
        self._origins[id(value)] = at

    def origin(self, value: object) -> KeyPath:
        """Where the table that became ``value`` stands; the root for a value that is in no file."""
        return self._origins.get(id(value), ())

    def sorted(self) -> list[Problem]:
        """All problems in the order of the file."""
        return sorted(self.problems, key=lambda problem: (problem.line or 0, problem.column or 0))
