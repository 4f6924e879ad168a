"""Configurations of words and braces: nginx's directives, and Caddy's lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from mcpsec.clientfiles.positions import Malformed

__all__ = ["Directive", "parse"]

MAXIMUM_DEPTH = 50
MAXIMUM_DIRECTIVES = 50_000
_TOKEN = re.compile(
    r"""(?P<space>[ \t\r]+|\\\r?\n)|(?P<line>\n)|(?P<comment>\#[^\n]*)
      | (?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
      | (?P<open>\{(?=[\s#]|$))|(?P<close>\}(?=[\s#;]|$))|(?P<semicolon>;)
      | (?P<word>(?:\$\{[^}\n]*\}|\{[^\s{}]*\}|[^\s;{}"'`]|(?<=[^\s;{}])["'`]|[{}](?![\s#]|$))+)
      | (?P<junk>.)""",
    re.X | re.S,
)
_BRACE = re.compile(
    r"(?P<word>(?!\\\r?\n)(?:\\.|\$\{[^}\n]*\}|[^\s;{}\"'#\\])(?:\\.|\$\{[^}\n]*\}|[^\s;{\\])*)|(?P<open>\{)|(?P<close>\})"
)
"""nginx: an opening brace ends a word, a closing one begins none (ngx_conf_read_token)."""
_LUA = re.compile(
    r"--\[\[.*?\]\]|--[^\n]*|\[\[.*?\]\]|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|(?P<brace>[{}])|.", re.S
)


def _after_lua(text: str, at: int) -> int:
    """Where a Lua program that begins behind its brace has its closing one."""
    depth = 1
    while depth and at < len(text):
        token = _LUA.match(text, at)
        assert token is not None
        depth += {"{": 1, "}": -1}.get(token["brace"] or "", 0)
        at = token.end()
    return at - 1 if depth == 0 else at


@dataclass
class Directive:
    """One directive: its words (quotes taken off), where it begins and ends, and its block."""

    name: str
    args: list[str]
    line: int
    column: int
    start: int
    end: int = 0
    children: list[Directive] = field(default_factory=list)
    block: bool = False
    parent: Directive | None = field(default=None, repr=False)

    def find(self, *names: str) -> list[Directive]:
        """Its own directives of these names."""
        return [child for child in self.children if child.name in names]

    def walk(self) -> Iterator[Directive]:
        """Every directive below, in order."""
        for child in self.children:
            yield child
            yield from child.walk()

    def inherited(self, *names: str) -> list[Directive]:
        """Directives of these names in the nearest block around, its own first: what nginx inherits."""
        scope: Directive | None = self
        while scope is not None:
            if found := scope.find(*names):
                return found
            scope = scope.parent
        return []

    @property
    def value(self) -> str:
        """Its first argument, empty without one."""
        return self.args[0] if self.args else ""


def parse(text: str, *, lines: bool) -> Directive:  # noqa: PLR0912, PLR0915
    """Read a text; ``lines`` when a line's end ends a directive (Caddy) and not a semicolon (nginx).

    Raises:
        Malformed: braces that do not pair, a directive without its end, too much of anything.
    """
    root = Directive("", [], 1, 1, 0, block=True)
    scope, depth, count = root, 0, 0
    words: list[tuple[str, int]] = []
    begins = [0, *(match.end() for match in re.finditer("\n", text))]
    line_number = 0
    at, size = 0, len(text)

    def made(end: int) -> Directive:
        nonlocal count
        count += 1
        if count > MAXIMUM_DIRECTIVES:
            raise Malformed("too many directives", line_number + 1)
        (name, start), rest = words[0], words[1:]
        number = line_of(start)
        made_one = Directive(name, [word for word, _ in rest], number, start - begins[number - 1] + 1, start, end)
        made_one.parent = scope
        scope.children.append(made_one)
        words.clear()
        return made_one

    def line_of(offset: int) -> int:
        from bisect import bisect_right

        return bisect_right(begins, offset)

    while at < size:
        token = (None if lines else _BRACE.match(text, at)) or _TOKEN.match(text, at)
        assert token is not None  # the last alternative takes any character
        begin, at = at, token.end()
        kind = token.lastgroup
        if kind == "line":
            line_number += 1
            if lines and words:
                made(begin)
        elif kind in ("word", "junk"):
            words.append((token.group(), begin))
        elif kind == "quoted":
            words.append((token.group()[1:-1], begin))
        elif kind == "semicolon":
            if words:
                made(begin)
        elif kind == "open":
            depth += 1
            if depth > MAXIMUM_DEPTH:
                raise Malformed("nested too deep", line_of(begin))
            if not words:
                words.append(("", begin))
            scope = made(begin)
            scope.block = True
            if not lines and scope.name.endswith("_by_lua_block"):
                at = _after_lua(text, at)
        elif kind == "close":
            if words:
                if not lines:
                    raise Malformed(f"a directive without its end: {words[0][0][:40]}", line_of(words[0][1]))
                made(begin)
            if scope.parent is None:
                raise Malformed("a closing brace too many", line_of(begin))
            scope.end = at
            depth -= 1
            scope = scope.parent
    if words and lines:
        made(size)
    if words:
        raise Malformed(f"a directive without its end: {words[0][0][:40]}", line_of(words[0][1]))
    if scope is not root:
        raise Malformed(f"a block without its end: {scope.name[:40]}", scope.line)
    return root
