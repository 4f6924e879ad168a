"""One member set in, or taken out of, a JSON text; everything else stays: comments, order, spacing, line ends.

Editors' configuration files are JSON with comments and trailing commas, often kept by hand; to write them anew would
lose what their owner wrote.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

from mcpsec.clientfiles.editing import changed, checked, removed
from mcpsec.errors import ConfigurationError

__all__ = ["read", "remove_member", "set_member"]

_SKIP: Final = re.compile(r"(?:[ \t\r\n\ufeff]|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_SCALAR: Final = re.compile(r"[^\s,\]}/\[{\"]+")
_REMARK: Final = re.compile(r"[ \t]*(?://[^\r\n]*|/\*[^\r\n]*?\*/[ \t]*)(?=\r?\n)")
_DEEPEST: Final = 200


class _Member(NamedTuple):
    key: str
    start: int
    value: _Node


class _Node(NamedTuple):
    """One value of the text; ``members`` only for an object, ``comma`` when its last member has one behind it."""

    start: int
    end: int
    value: Any
    members: tuple[_Member, ...] | None = None
    comma: bool = False


def read(text: str) -> Any:
    """The value of a JSON text with comments and trailing commas; an empty text is an empty object.

    Raises:
        ConfigurationError: it is not JSON; ``line`` says where.
    """
    return _Reader(text).document().value if text.strip("\ufeff \t\r\n") else {}


def set_member(text: str, path: tuple[str, ...], value: Any) -> str:
    """``text`` with the member at ``path`` set; objects on the way that are missing are made.

    Raises:
        ConfigurationError: the text is not JSON, or something on the way is not an object.
    """
    if not text.strip("\ufeff \t\r\n"):
        text = "{}\n"
    node = _Reader(text).document()
    expected = changed(node.value, path, value)
    for depth, key in enumerate(path):
        if node.members is None:
            where = ".".join(path[:depth]) or "the file"
            raise ConfigurationError(f"{where} is not an object", line=text.count("\n", 0, node.start) + 1)
        found = [member for member in node.members if member.key == key]
        if not found:
            for missing in reversed(path[depth + 1 :]):
                value = {missing: value}
            edited = _insert(text, node, key, value)
            break
        node = found[-1].value
    else:
        edited = text[: node.start] + _written(value, text, _indent_at(text, node.start)) + text[node.end :]
    return checked(read, edited, expected)


def remove_member(text: str, path: tuple[str, ...]) -> str:
    """``text`` without the member at ``path``; as it was when there is none.

    Raises:
        ConfigurationError: the text is not JSON, or has a shape that can't be edited safely.
    """
    if not text.strip("\ufeff \t\r\n"):
        return text
    root = node = _Reader(text).document()
    for key in path[:-1]:
        below = [member for member in node.members or () if member.key == key]
        if not below:
            return text
        node = below[-1].value
    members = node.members or ()
    at = next((at for at in reversed(range(len(members))) if members[at].key == path[-1]), None)
    if at is None:
        return text
    start, end = members[at].start, members[at].value.end
    comma = _comma_after(text, end)
    if comma is not None:
        end = comma + 1
    elif at > 0:
        before = _comma_after(text, members[at - 1].value.end)
        assert before is not None  # another member follows it
        text, start, end = text[:before] + text[before + 1 :], start - 1, end - 1
    start, end = _whole_lines(text, start, end)
    return checked(read, text[:start] + text[end:], removed(root.value, path))


def _comma_after(text: str, at: int) -> int | None:
    at = _skipped(text, at)
    return at if text[at : at + 1] == "," else None


def _whole_lines(text: str, start: int, end: int) -> tuple[int, int]:
    """A stretch that has its lines to itself, with them; any other as it is."""
    line = text.rfind("\n", 0, start) + 1
    after = re.compile(r"[ \t]*(?:\r?\n|$)").match(text, end)
    if text[line:start].strip(" \t") or after is None:
        return start, end
    return line, after.end()


def _insert(text: str, node: _Node, key: str, value: Any) -> str:
    """Add a member at the end of an object."""
    newline = "\r\n" if "\r\n" in text else "\n"
    outer = _indent_at(text, node.start)
    members = node.members or ()
    if not members:
        inner = outer + _unit(text)
        member = f"{json.dumps(key)}: {_written(value, text, inner)}"
        at = node.start + 1
        closing = "" if "\n" in text[at : node.end - 1] else newline + outer
        return f"{text[:at]}{newline}{inner}{member}{closing}{text[at:]}"
    last = members[-1]
    inner = _indent_at(text, last.start)
    member = f"{json.dumps(key)}: {_written(value, text, inner)}"
    at = last.value.end
    if node.comma:
        at = _skipped(text, at) + 1  # behind the trailing comma, which stays in use
        member += ","
    remark = _REMARK.match(text, at)
    behind = at if remark is None else remark.end()  # a remark on the last member's line stays with it
    comma = "" if node.comma else ","
    return f"{text[:at]}{comma}{text[at:behind]}{newline}{inner}{member}{text[behind:]}"


def _written(value: Any, text: str, indent: str) -> str:
    """A value in the file's own style, its further lines indented like the place where it stands."""
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = json.dumps(value, indent=_unit(text), ensure_ascii=False).split("\n")
    return (newline + indent).join(lines)


def _unit(text: str) -> str:
    """One step of the file's indentation, two spaces where it shows none."""
    match = re.search(r"^([ \t]+)\S", text, re.MULTILINE)
    return match[1] if match else "  "


def _indent_at(text: str, at: int) -> str:
    """The indentation of the line that holds ``at``."""
    line = text.rfind("\n", 0, at) + 1
    before = text[line:at].lstrip("\ufeff")
    return before[: len(before) - len(before.lstrip(" \t"))]


def _skipped(text: str, at: int) -> int:
    """The place behind the blanks and comments at ``at``."""
    found = _SKIP.match(text, at)
    return at if found is None else found.end()


class _Reader:
    """Reads one text, with the place of each object's members."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def document(self) -> _Node:
        node = self._value()
        self._skip()
        if self._at != len(self._text):
            raise self._wrong()
        return node

    def _skip(self) -> str:
        """Pass over blanks and comments; the next character, empty at the end."""
        self._at = _skipped(self._text, self._at)
        return self._text[self._at : self._at + 1]

    def _wrong(self) -> ConfigurationError:
        return ConfigurationError("not valid JSON", line=self._text.count("\n", 0, self._at) + 1)

    def _value(self) -> _Node:
        character, start = self._skip(), self._at
        if character == "{":
            return self._object()
        if character == "[":
            return self._array()
        if character == '"':
            text = self._string()
            return _Node(start, self._at, text)
        match = _SCALAR.match(self._text, self._at)
        if match is None:
            raise self._wrong()
        try:
            value = json.loads(match[0])
        except ValueError:
            raise self._wrong() from None
        self._at = match.end()
        return _Node(start, self._at, value)

    def _string(self) -> str:
        match = _STRING.match(self._text, self._at)
        if match is None:
            raise self._wrong()
        try:
            value: str = json.loads(match[0])
        except ValueError:
            raise self._wrong() from None
        self._at = match.end()
        return value

    def _object(self) -> _Node:
        start, comma = self._at, self._open()
        members: list[_Member] = []
        while self._skip() != "}":
            if members and not comma:
                raise self._wrong()
            at, key = self._at, self._string()
            if self._skip() != ":":
                raise self._wrong()
            self._at += 1
            members.append(_Member(key, at, self._value()))
            comma = self._comma()
        self._close()
        value = {member.key: member.value.value for member in members}
        return _Node(start, self._at, value, tuple(members), comma and bool(members))

    def _array(self) -> _Node:
        start, comma = self._at, self._open()
        items: list[Any] = []
        while self._skip() != "]":
            if items and not comma:
                raise self._wrong()
            items.append(self._value().value)
            comma = self._comma()
        self._close()
        return _Node(start, self._at, items)

    def _comma(self) -> bool:
        if self._skip() != ",":
            return False
        self._at += 1
        return True

    def _open(self) -> bool:
        self._at += 1
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong()
        return False

    def _close(self) -> None:
        self._at += 1
        self._depth -= 1
