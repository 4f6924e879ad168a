"""One member set in a JSON text, everything else left as it stands: comments, order, spacing, line ends.

Editors' configuration files are JSON with comments and trailing commas, often kept by hand; to write them anew would
lose what their owner wrote.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

from mcpsec.errors import ConfigurationError

__all__ = ["read", "set_member"]

_SKIP: Final = re.compile(r"(?:[ \t\r\n\ufeff]|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING: Final = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_SCALAR: Final = re.compile(r"[^\s,\]}/\[{\"]+")
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
    expected = _changed(node.value, path, value)
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
    if read(edited) != expected:  # an editor must not guess: rather nothing than another meaning
        raise ConfigurationError("the file has a shape that can't be edited safely", hint="use --print and paste")
    return edited


def _changed(old: Any, path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return value
    base = old if isinstance(old, dict) else {}
    return {**base, path[0]: _changed(base.get(path[0]), path[1:], value)}


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
    if not node.comma:
        return f"{text[:at]},{newline}{inner}{member}{text[at:]}"
    at = _SKIP.match(text, at).end() + 1  # type: ignore[union-attr] # behind the trailing comma, which stays in use
    return f"{text[:at]}{newline}{inner}{member},{text[at:]}"


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
    return re.match(r"[ \t]*", text[line:at].lstrip("\ufeff"))[0]  # type: ignore[index]


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
        self._at = _SKIP.match(self._text, self._at).end()  # type: ignore[union-attr]
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
