"""Globs of the policy: ``*`` stands for any characters, everything else for itself.

Matching covers the whole text, compares code point by code point, and takes time linear in the text for each ``*``;
there is nothing to escape and nothing to backtrack into. A glob with ``*`` beside other characters never matches a text
with a ``.`` or ``..`` path segment in it: ``/data/*`` must not grant ``/data/../etc/passwd``.
"""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

__all__ = ["Glob", "ResourceGlob", "covers", "has_dot_segment", "overlap", "plain_form"]

_ENCODED = re.compile(r"%([0-7][0-9A-Fa-f])")
_DOT_SEGMENT = re.compile(r"(?:^|[/\\])\.[. ]*(?:$|[/\\?#;\x00-\x1f])")
_SLASHES = re.compile(r"[/\\]+")
_QUERY = re.compile(r"[?#]")
_ROUNDS = 8
_LONGEST_ENCODED = 8192


def has_dot_segment(text: str) -> bool:
    r"""Whether a path segment of ``text`` is ``.`` or ``..``, as strict and as lax servers see it.

    ``/`` and ``\`` part segments; ``?``, ``#``, ``;`` and control characters end one; dots and spaces behind the first
    dot count as nothing, as on Windows. Percent-encoding is undone until there is none; a text that hides behind more
    rounds or characters of it than anyone needs is taken to have such a segment.
    """
    if "%" in text:
        if len(text) > _LONGEST_ENCODED:
            return True
        for _ in range(_ROUNDS):
            encoded, text = text, _ENCODED.sub(_character, text)
            if text == encoded:
                break
        else:
            return True
    return "." in text and _DOT_SEGMENT.search(text) is not None


def _character(match: re.Match[str]) -> str:
    return chr(int(match[1], 16))


def plain_form(what: str) -> str:
    r"""What a lax server may take the name of a resource or prompt for; empty for a tool, whose name must be listed.

    Percent-encoding is undone until there is none, letters are folded (NFKC, case), ``\`` is ``/``, many of these in a
    row are one, and white space and slashes at the end are nothing.
    """
    if not what.startswith(("resource:", "prompt:")):
        return ""
    for _ in range(_ROUNDS):
        encoded, what = what, unquote(what)
        if what == encoded:
            break
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", what).casefold())
    return _SLASHES.sub("/", folded).rstrip().rstrip("/")


class Glob:
    """One compiled pattern. ``weight`` is the number of characters that stand for themselves."""

    __slots__ = ("_parts", "_plain", "exact", "pattern", "weight")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._parts = pattern.split("*")
        self.exact = len(self._parts) == 1
        self.weight = sum(map(len, self._parts))
        self._plain: tuple[list[str], bool] | None = None

    def concerns(self, text: str, plain: str) -> bool:
        """Whether what only narrows is to apply: ``text`` fits, or its ``plain_form`` fits that of the pattern.

        Where the pattern has no ``?`` and no ``#``, what follows them in the plain form counts for nothing too.
        """
        if self.matches(text):
            return True
        if not plain:
            return False
        if self._plain is None:
            pattern = plain_form(self.pattern) or self.pattern
            self._plain = pattern.split("*"), not _QUERY.search(pattern)
        parts, cut = self._plain
        return _fits(parts, plain) or (cut and _fits(parts, _QUERY.split(plain, maxsplit=1)[0].rstrip("/")))

    def matches(self, text: str) -> bool:
        """Whether the whole of ``text`` fits."""
        if self.exact:
            return text == self.pattern
        return not self.weight or (_fits(self._parts, text) and not has_dot_segment(text))

    def __repr__(self) -> str:
        return f"Glob({self.pattern!r})"


class ResourceGlob:
    """``upstream/what``: the part before the first ``/`` is for the upstream's name, the rest for what it offers."""

    __slots__ = ("pattern", "upstream", "what")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        upstream, _, what = pattern.partition("/")
        self.upstream, self.what = Glob(upstream), Glob(what)

    def matches(self, upstream: str, what: str) -> bool:
        """Whether it names ``what`` (a tool's name, ``resource:URI`` or ``prompt:NAME``) of ``upstream``."""
        return self.upstream.matches(upstream) and self.what.matches(what)

    def concerns(self, upstream: str, what: str, plain: str) -> bool:
        """The same for what only narrows (see ``Glob.concerns``); ``plain`` is the plain form of ``what``."""
        return self.upstream.matches(upstream) and self.what.concerns(what, plain)

    def __repr__(self) -> str:
        return f"ResourceGlob({self.pattern!r})"


def overlap(one: str, other: str) -> bool:
    """Whether some text fits both globs (dot segments left aside)."""
    reach = {0}  # offsets of ``other`` that can stand where ``one`` stands
    for char in one:
        reach = _closure(reach, other)
        if char == "*":
            reach = set(range(min(reach), len(other) + 1)) if reach else set()
        else:
            stay = {at for at in reach if at < len(other) and other[at] == "*"}
            reach = stay | {at + 1 for at in reach if at < len(other) and other[at] == char}
        if not reach:
            return False
    return len(other) in _closure(reach, other)


def _closure(reach: set[int], pattern: str) -> set[int]:
    """The offsets together with those behind stars that stand for nothing."""
    found = set(reach)
    for start in reach:
        stars = len(pattern) - start - len(pattern[start:].lstrip("*"))
        found.update(range(start, start + stars + 1))
    return found


def covers(wide: str, narrow: str) -> bool:
    """Whether every text that fits ``narrow`` fits ``wide`` (dot segments left aside).

    A star of ``narrow`` can stand for a character that ``wide`` doesn't have, so only a star of ``wide`` covers it.
    """
    stand_in = "\0"
    return _fits(wide.split("*"), narrow.replace("*", stand_in))


def _fits(parts: list[str], text: str) -> bool:
    if len(parts) == 1:
        return parts[0] == text
    start, end = len(parts[0]), len(text) - len(parts[-1])
    if start > end or not text.startswith(parts[0]) or not text.endswith(parts[-1]):
        return False
    for part in parts[1:-1]:
        start = text.find(part, start, end)
        if start < 0:
            return False
        start += len(part)
    return True
