"""Where each key and value of a TOML document stands.

``tomllib`` says what a document means, not where. ``locate`` walks the same text and answers for every key path, so
that an error can name a line and an edit can touch one value and keep every comment. The grammar is TOML 1.0
(https://toml.io/en/v1.0.0); what 1.1 adds (line breaks and a trailing comma in inline tables) is read as well.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from dataclasses import dataclass

__all__ = ["KeyPath", "Location", "Span", "locate"]

KeyPath = tuple[str | int, ...]
"""Keys of tables and indexes of arrays, from the root: ``("clients", 0, "id")``."""

_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\r\n]*")
_STRINGS = (
    # A multi-line string may end in up to two quotes of its own before the closing three (TOML 1.0, "String").
    re.compile(r'"""(?:[^"\\]++|\\.|"{1,2}(?!"))*"{3,5}', re.DOTALL),
    re.compile(r"'''(?:[^']++|'{1,2}(?!'))*'{3,5}"),
    re.compile(r'"(?:[^"\\\n]++|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the text: ``text[start:end]``; ``line`` and ``column`` (in characters) of its start count from 1."""

    start: int
    end: int
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Location:
    """Where a key path is written.

    ``key`` is the last key of the path where it is defined (in its own header if it has one, else where it is first
    mentioned); for an element of an array it is the element, for one of an array of tables its header's key.
    ``value`` is the value; for a table written as a header or only implied by longer keys it equals ``key``.
    """

    key: Span
    value: Span

    @property
    def line(self) -> int:
        """Line of the key."""
        return self.key.line

    @property
    def column(self) -> int:
        """Column of the key."""
        return self.key.column


def locate(text: str) -> dict[KeyPath, Location]:
    """Return the location of every key path of a document that ``tomllib.loads`` accepts.

    For any other text the result is unspecified; a ValueError or RecursionError is possible.
    """
    return _Walk(text).document()


class _Walk:
    """One pass over a valid document."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines = [0, *(match.end() for match in re.finditer("\n", text))]
        self.found: dict[KeyPath, Location] = {}
        self.elements: dict[KeyPath, int] = {}
        """How many elements each array of tables has so far."""

    def document(self) -> dict[KeyPath, Location]:
        table: KeyPath = ()
        self.skip(_BLANK)
        while self.at < len(self.text):
            if self.text.startswith("[[", self.at):
                table = self.header(2)
            elif self.text[self.at] == "[":
                table = self.header(1)
            else:
                self.pair(table)
            self.skip(_BLANK)
        return self.found

    def header(self, brackets: int) -> KeyPath:
        """Read ``[a.b]`` or ``[[a.b]]`` and return the path that the pairs below it belong to."""
        self.at += brackets
        keys = self.dotted_key()
        self.at += brackets
        path = self.imply((), keys[:-1])
        name, span = keys[-1]
        path = (*path, name)
        here = Location(span, span)
        if brackets == 1:
            self.found[path] = here
            return path
        self.found.setdefault(path, here)
        path = (*path, self.elements.setdefault(path, 0))
        self.elements[path[:-1]] += 1
        self.found[path] = here
        return path

    def pair(self, table: KeyPath) -> None:
        """Read ``key = value``."""
        keys = self.dotted_key()
        self.skip(_SPACE)
        self.at += 1  # =
        self.skip(_SPACE)
        name, span = keys[-1]
        self.value((*self.imply(table, keys[:-1]), name), span)

    def imply(self, path: KeyPath, keys: list[tuple[str, Span]]) -> KeyPath:
        """Walk down ``keys``, noting the tables they imply; a key of an array of tables means its last element."""
        for name, span in keys:
            path = (*path, name)
            self.found.setdefault(path, Location(span, span))
            if path in self.elements:
                path = (*path, self.elements[path] - 1)
        return path

    def value(self, path: KeyPath, key: Span | None) -> None:
        """Read one value; ``key`` is None for an element of an array."""
        start = self.at
        # Placed before what is inside it, so that paths come in the order of the text.
        self.found[path] = Location(self.span(start, start), self.span(start, start))
        opening = self.text[start]
        if opening == "[":
            self.array(path)
        elif opening == "{":
            self.inline_table(path)
        elif opening in "\"'":
            self.at = self.string_end()
        else:
            found = _SCALAR.match(self.text, start)
            self.at += len(found[0].rstrip(" \t")) if found else 0
        span = self.span(start, self.at)
        self.found[path] = Location(key or span, span)

    def array(self, path: KeyPath) -> None:
        self.at += 1
        self.skip(_BLANK)
        index = 0
        while self.text[self.at] != "]":
            self.value((*path, index), None)
            index += 1
            self.next_item()
        self.at += 1

    def inline_table(self, path: KeyPath) -> None:
        self.at += 1
        self.skip(_BLANK)
        while self.text[self.at] != "}":
            self.pair(path)
            self.next_item()
        self.at += 1

    def next_item(self) -> None:
        self.skip(_BLANK)
        if self.text[self.at] == ",":
            self.at += 1
            self.skip(_BLANK)

    def dotted_key(self) -> list[tuple[str, Span]]:
        """Read ``a."b c".d`` with the spaces that may stand around each part."""
        keys: list[tuple[str, Span]] = []
        while True:
            self.skip(_SPACE)
            start = self.at
            if bare := _BARE_KEY.match(self.text, start):
                self.at = bare.end()
                name = bare[0]
            else:
                self.at = self.string_end()
                name = self.unquote(self.text[start : self.at])
            keys.append((name, self.span(start, self.at)))
            self.skip(_SPACE)
            if self.text[self.at] != ".":
                return keys
            self.at += 1

    def string_end(self) -> int:
        for pattern in _STRINGS:
            if match := pattern.match(self.text, self.at):
                return match.end()
        raise ValueError(f"not TOML at line {self.span(self.at, self.at).line}")

    @staticmethod
    def unquote(quoted: str) -> str:
        if quoted[0] == "'" or "\\" not in quoted:
            return quoted[1:-1]
        value: str = tomllib.loads(f"key = {quoted}")["key"]
        return value

    def skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        assert match is not None  # both patterns match the empty string
        self.at = match.end()

    def span(self, start: int, end: int) -> Span:
        line = bisect_right(self.lines, start)
        return Span(start, end, line, start - self.lines[line - 1] + 1)
