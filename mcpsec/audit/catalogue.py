"""The checks and the checklist, as data: ``data/checks/*.toml``, ``data/checklist.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from mcpsec.errors import UsageError

__all__ = ["Check", "Item", "checklist", "checks", "find", "selected", "table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one check is about. ``fix`` holds a text for each kind of file, ``any`` for the rest."""

    id: str
    title: str
    severity: str
    passes: str
    why: str
    area: str
    items: tuple[int, ...] = ()
    kinds: tuple[str, ...] = ()
    probe: str = "static"
    confidence: str = "high"
    persona: str = "regular"
    owasp: tuple[str, ...] = ()
    cwe: tuple[int, ...] = ()
    spec: str = ""
    cosai: str = ""
    fixable: bool = False
    fix: dict[str, str] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def fix_for(self, kind: str) -> str:
        """What to do about it in a file of this kind."""
        return self.fix.get(kind) or self.fix.get("any", "")

    def references(self) -> dict[str, Any]:
        """Its mappings, as reports carry them."""
        return {
            "owasp": list(self.owasp),
            "cwe": [f"CWE-{number}" for number in self.cwe],
            "spec": self.spec,
            "cosai": self.cosai,
        }


@dataclass(frozen=True, slots=True)
class Item:
    """One of the ten points; ``deciding`` are the checks that can meet it: any of them, or only all (``every``)."""

    number: int
    title: str
    advice: str
    deciding: tuple[str, ...]
    every: bool = False


def table(name: str) -> dict[str, Any]:
    """A packaged TOML file of ``data/``."""
    return tomllib.loads((files("mcpsec.audit") / "data" / name).read_text(encoding="utf-8"))


@cache
def checks() -> dict[str, Check]:
    """Every check by its id, areas in the order of the checklist.

    An entry that is ``planned`` has its text and no code yet: it is no check, and nothing speaks of it.
    """
    folder = files("mcpsec.audit") / "data" / "checks"
    found: dict[str, Check] = {}
    for entry in sorted(folder.iterdir(), key=lambda each: each.name):
        if not entry.name.endswith(".toml"):
            continue
        document = tomllib.loads(entry.read_text(encoding="utf-8"))
        for row in document["checks"]:
            if row.get("planned"):
                continue
            tuples = {name: tuple(row[name]) for name in ("items", "kinds", "owasp", "cwe") if name in row}
            fix = row.get("fix", {})
            fix = {"any": fix} if isinstance(fix, str) else fix
            found[row["id"]] = Check(**{**row, **tuples, "fix": fix, "area": document["title"]})
    return found


@cache
def checklist() -> tuple[Item, ...]:
    """The ten points."""
    return tuple(
        Item(
            row["item"],
            row["title"],
            row["advice"],
            tuple(name for name in row["deciding"] if name in checks()),
            row.get("every", False),
        )
        for row in table("checklist.toml")["items"]
    )


def find(name: str) -> Check:
    """One check by its id. UsageError names the nearest ones."""
    from difflib import get_close_matches

    known = checks()
    if name.upper() in known:
        return known[name.upper()]
    near = get_close_matches(name.upper(), known, n=3, cutoff=0.5)
    raise UsageError(
        f"there is no check {name}", hint=f"did you mean {', '.join(near)}?" if near else "see: mcpsec audit list"
    )


def selected(select: list[str], ignore: list[str]) -> set[str]:
    """The ids that ``--select`` and ``--ignore`` leave: ids or prefixes, several in one word by commas."""
    known = set(checks())
    chosen = _expand(select, known, "--select") if select else known
    return chosen - _expand(ignore, known, "--ignore")


def _expand(words: list[str], known: set[str], option: str) -> set[str]:
    found: set[str] = set()
    for word in (part.strip().upper() for each in words for part in each.split(",")):
        matching = {name for name in known if word and name.startswith(word)}
        if not matching:
            raise UsageError(f"{option} names no check: {word}", hint="an id or its beginning: see mcpsec audit list")
        found |= matching
    return found
