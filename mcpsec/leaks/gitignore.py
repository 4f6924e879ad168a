"""Which files git would ignore (https://git-scm.com/docs/gitignore), without asking git."""

from __future__ import annotations

import re

from mcpsec.leaks.linear import NotLinearError, TextExpression, any_of

__all__ = ["NOTHING", "Ignore", "translate"]

ANYWHERE = "(?:.*/)?"
"""How the expression of a pattern without a directory begins: the last part of a path decides."""
NOTHING = r"[^\x00-\xff]"
"""Matches no name."""
_SET_MARKS = re.compile(r"[\\\[&~|]")
"""What means more in a character class of Python than in one of git."""
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
            groups[-1][1].add(line if ignored else line[1:])
        self._groups = [(ignored, *group.tests()) for ignored, group in reversed(groups)]

    def judge(self, relative: str, name: str) -> bool | None:
        """True to ignore, False to keep in spite of an earlier rule, None when no line speaks of it.

        ``name`` is the last part of the path; both end with ``/`` for a directory.
        """
        for ignored, names, ends, by_name, by_path in self._groups:
            if (
                name in names
                or name.endswith(ends)
                or any(each.match(name) for each in by_name)
                or any(each.match(relative) for each in by_path)
            ):
                return ignored
        return None


class _Group:
    """Lines that stand together and mean the same: most are plain names or ``*.suffix``, which need no expression."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._suffixes: list[str] = []
        self._loose: list[str] = []
        self._anchored: list[str] = []

    def add(self, line: str) -> None:
        source = translate(line)
        if source is None:
            return
        plain = _PLAIN.fullmatch(line.rstrip("\r\n"))
        if plain is None:
            if _is_good(source):
                unbound = source.startswith(ANYWHERE)
                place = self._loose if unbound else self._anchored
                place.append(source.removeprefix(ANYWHERE) if unbound else source)
            return
        name, directory = plain["name"], f"{plain['name']}/"
        if plain["any"]:
            self._suffixes += [directory] if plain["directory"] else [name, directory]
        else:
            self._names.update((directory,) if plain["directory"] else (name, directory))

    def tests(self) -> tuple[frozenset[str], tuple[str, ...], list[TextExpression], list[TextExpression]]:
        """Names, endings, expressions over the name, others over the path."""
        return frozenset(self._names), tuple(self._suffixes), any_of(self._loose), any_of(self._anchored)


def _is_good(source: str) -> bool:
    """Whether an expression can be used; a line that git would make nothing of either is none."""
    try:
        TextExpression(source, names=True)
    except NotLinearError:
        return False
    return True
