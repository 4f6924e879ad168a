"""JSON as people write it: comments, trailing commas, single quotes, missing braces. Where each scalar stands.

No tree and no verdict on validity: a scan must also read the fragment in a README that no parser takes. Strict readers
are elsewhere.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Leaf", "leaves"]

MAX_DEPTH = 64
_TOKEN = re.compile(
    r"""[ \t\r\n]* (?: (?P<space>[\s,]+|//[^\n]*|/\*[\s\S]*?\*/|(?<![\w"'])\#[^\n]*)
      | "(?P<double>[^"\\\n]*(?:\\.[^"\\\n]*)*)" | '(?P<single>[^'\\\n]*(?:\\.[^'\\\n]*)*)'
      | (?P<mark>[{}\[\]:]) | (?P<bare>[^\s,{}\[\]:"'#]+) | (?P<junk>.))""",
    re.X,
)
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))")
_PLAIN = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


class Leaf:
    """A scalar: the keys and indexes that lead to it, its text unescaped, and where that stands (without quotes)."""

    __slots__ = ("end", "path", "quoted", "start", "value")

    def __init__(self, path: tuple[str | int, ...], value: str, start: int, end: int, quoted: bool) -> None:
        self.path = path
        self.value = value
        self.start = start
        self.end = end
        self.quoted = quoted

    def __repr__(self) -> str:
        return f"<Leaf {'/'.join(map(str, self.path))} at {self.start}>"


def unescape(text: str) -> str:
    """Resolve JSON's escapes; unknown ones lose their backslash."""
    if "\\" not in text:
        return text
    return _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else _PLAIN.get(m[2], m[2]), text)


def leaves(text: str, start: int = 0, end: int | None = None) -> Iterator[Leaf]:  # noqa: PLR0912
    """Every scalar of the text between two offsets, in order. Nothing is raised; what makes no sense is passed over."""
    stack: list[tuple[bool, str | int]] = []  # (is an object, current key or index)
    pending: tuple[str, int, int, bool] | None = None
    at, size = start, len(text) if end is None else end
    while at < size:
        token = _TOKEN.match(text, at, size)
        if token is None:
            return
        at = token.end()
        how = token.lastgroup
        if how == "space":
            if "," in token.group() and not token.group().lstrip().startswith(("//", "/*", "#")):
                if pending is not None:
                    yield _leaf(stack, pending)
                    pending = None
                if stack and not stack[-1][0]:
                    stack[-1] = (False, int(stack[-1][1]) + 1)
            continue
        if how in ("double", "single", "bare"):
            if pending is not None:
                yield _leaf(stack, pending)
            begin, stop = token.span(how)
            raw = token.group(how)
            pending = (raw if how == "bare" else unescape(raw), begin, stop, how != "bare")
        elif how == "mark":
            mark = token["mark"]
            if mark == ":":
                if pending is not None:
                    if stack and stack[-1][0]:
                        stack[-1] = (True, pending[0])
                    elif not stack:
                        stack.append((True, pending[0]))
                    pending = None
            elif mark in "{[":
                pending = None
                if len(stack) >= MAX_DEPTH:
                    return
                stack.append((mark == "{", "" if mark == "{" else 0))
            else:
                if pending is not None:
                    yield _leaf(stack, pending)
                    pending = None
                if stack:
                    stack.pop()
    if pending is not None:
        yield _leaf(stack, pending)


def _leaf(stack: list[tuple[bool, str | int]], pending: tuple[str, int, int, bool]) -> Leaf:
    return Leaf(tuple([key for _, key in stack]), *pending)
