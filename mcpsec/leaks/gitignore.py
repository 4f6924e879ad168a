"""Which files git would ignore (https://git-scm.com/docs/gitignore), without asking git."""

from __future__ import annotations

import re
from itertools import chain, product
from math import prod

from mcpsec.leaks.linear import NotLinearError, TextExpression, any_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    _Test = tuple[Callable[..., bool], tuple[str, ...], Callable[[str], bool]]

__all__ = ["NOTHING", "Ignore", "translate"]

ANYWHERE = "(?:.*/)?"
"""How the expression of a pattern without a directory begins: the last part of a path decides."""
NOTHING = r"[^\x00-\xff]"
"""Matches no name."""
_SET_MARKS = re.compile(r"[\\\[&~|]")
"""What means more in a character class of Python than in one of git."""
_SET = re.compile(r"\[([A-Za-z0-9]{1,4})\]")
_MOST_SPELLINGS = 16
_SPECIAL = re.compile(r"[*?\[\]\\]")
_PLAIN = re.compile(r"(?P<any>\*)?(?P<name>[\w.@+~-]+)(?P<directory>/)?")


def translate(pattern: str) -> str | None:  # noqa: PLR0912
    """Turn one line of a .gitignore into an expression (RE2) over the path relative to its directory.

    Directories are given with a trailing ``/``. None for blank lines and comments.
    """
    pattern = re.sub(r"(?<!\\) +$", "", pattern.rstrip("\r\n"))
    if not pattern or pattern.startswith("#"):
        return None
    directory = pattern.endswith("/")
    pattern = pattern.rstrip("/")
    anchored = "/" in pattern
    pattern = pattern.lstrip("/")
    if not pattern:
        return None
    text = "" if anchored else ANYWHERE
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if pattern.startswith("**/", at) and (at == 0 or pattern[at - 1] == "/"):
            text, at = text + "(?:.*/)?", at + 3
            continue
        if pattern.startswith("/**", at) and at + 3 == len(pattern):
            text, at = text + "/.+", at + 3
            continue
        if char == "*":
            begins = at == 0 or pattern[at - 1] == "/"
            while pattern[at + 1 : at + 2] == "*":
                at += 1
            # a whole part of a path is never empty, or ``doc/*`` would be ``doc/`` itself
            text += "[^/]+" if begins and pattern[at + 1 : at + 2] in ("", "/") else "[^/]*"
        elif char == "?":
            text += "[^/]"
        elif char == "[":
            end = pattern.find("]", at + 2 if pattern[at + 1 : at + 2] in ("!", "^", "]") else at + 1)
            if end < 0:
                text += r"\["
            else:
                body = _SET_MARKS.sub(r"\\\g<0>", pattern[at + 1 : end]).replace("--", r"-\-")
                text += "[^" + body[1:] + "]" if body[:1] in ("!", "^") else "[" + body + "]"
                at = end
        elif char == "\\" and at + 1 < len(pattern):
            at += 1
            text += re.escape(pattern[at])
        else:
            text += re.escape(char)
        at += 1
    return text + ("/" if directory else "/?") + r"\z"


class Ignore:
    """The rules of one directory's ignore file, the last matching one wins."""

    def __init__(self, text: str) -> None:
        groups: list[tuple[bool, _Group]] = []
        for line in text.splitlines():
            ignored = not line.startswith("!")
            if not groups or groups[-1][0] != ignored:
                groups.append((ignored, _Group()))
            for spelling in _spellings(line if ignored else line[1:]):
                groups[-1][1].add(spelling)
        self._groups = [
            (ignored, frozenset(group.names), tuple(group.suffixes), group.loose.tests(), group.anchored.tests())
            for ignored, group in reversed(groups)
        ]

    def judge(self, relative: str, name: str) -> bool | None:
        """True to ignore, False to keep in spite of an earlier rule, None when no line speaks of it.

        ``name`` is the last part of the path; both end with ``/`` for a directory.
        """
        for ignored, names, ends, by_name, by_path in self._groups:
            if (
                name in names
                or name.endswith(ends)
                or (by_name and _meets(name, by_name))
                or (by_path and _meets(relative, by_path))
            ):
                return ignored
        return None


def _meets(text: str, tests: list[_Test]) -> bool:
    """True when one of the expressions means the text: a loop, since a generator would cost more than the tests."""
    for meets, literals, test in tests:  # noqa: SIM110
        if meets(text, literals) and test(text):
            return True
    return False


class _Group:
    """Lines that stand together and mean the same: most are plain names or ``*.suffix``, which need no expression."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.suffixes: list[str] = []
        self.loose = _Expressions()
        """Over the last part of a path."""
        self.anchored = _Expressions()
        """Over the whole path."""

    def add(self, line: str) -> None:
        plain = _PLAIN.fullmatch(line.rstrip("\r\n"))
        if plain is None:
            source = translate(line)
            if source is not None and _is_good(source):
                place = self.loose if source.startswith(ANYWHERE) else self.anchored
                place.add(line, source.removeprefix(ANYWHERE))
            return
        name, directory = plain["name"], f"{plain['name']}/"
        if plain["any"]:
            self.suffixes += [directory] if plain["directory"] else [name, directory]
        else:
            self.names.update((directory,) if plain["directory"] else (name, directory))


class _Expressions:
    """Expressions, each behind what a name that it matches begins or ends with: few names get as far as to them."""

    def __init__(self) -> None:
        self._begin: list[tuple[str, str]] = []
        self._end: list[tuple[str, str]] = []
        self._free: list[tuple[str, str]] = []

    def add(self, line: str, source: str) -> None:
        begin, end = _fixed(line)
        kind = self._begin if begin else self._end if end else self._free
        kind.append((begin or end, source))

    def tests(self) -> list[_Test]:
        """How a name is compared with which literals, and the expression behind them."""
        ends = (*(end for end, _ in self._end), *(f"{end}/" for end, _ in self._end))
        kinds: tuple[tuple[Callable[..., bool], tuple[str, ...], list[tuple[str, str]]], ...] = (
            (str.startswith, tuple(begin for begin, _ in self._begin), self._begin),
            (str.endswith, ends, self._end),
            (str.startswith, ("",), self._free),
        )
        return [
            (meets, literals, each.match) for meets, literals, pairs in kinds for each in any_of([s for _, s in pairs])
        ]


def _fixed(line: str) -> tuple[str, str]:
    """What every name that a line means begins with, and what it ends with but for a ``/``; ``""`` when unknown."""
    parts = _SPECIAL.split(line.rstrip(" \r\n").strip("/"))
    return parts[0], parts[-1].lstrip("/")  # ``**/x`` is ``x``, too


def _spellings(line: str) -> list[str]:
    """The lines that one with small sets (``*.py[cod]``) stands for: simpler ones. Itself where they would be many."""
    sets = _SET.findall(line)
    if not sets or "\\" in line or line.startswith("#") or line.count("[") != len(sets):
        return [line]
    if prod(map(len, sets)) > _MOST_SPELLINGS:
        return [line]
    pieces = _SET.split(line)[::2]
    return ["".join(chain.from_iterable(zip(pieces, (*chars, ""), strict=True))) for chars in product(*sets)]


def _is_good(source: str) -> bool:
    """Whether an expression can be used; a line that git would make nothing of either is none."""
    try:
        TextExpression(source, names=True)
    except NotLinearError:
        return False
    return True
