"""One table set in, or taken out of, a TOML text; everything else stays as it stands: comments, order, line ends."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

from mcpsec.clientfiles.editing import changed, checked, removed, unsafe
from mcpsec.clientfiles.toml import locate
from mcpsec.errors import ConfigurationError

if TYPE_CHECKING:
    from mcpsec.clientfiles.toml import KeyPath, Location

__all__ = ["read", "remove_member", "set_member", "written"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def read(text: str) -> dict[str, Any]:
    """The value of a TOML text.

    Raises:
        ConfigurationError: it is not TOML; ``line`` says where.
    """
    try:
        return tomllib.loads(text.removeprefix("\ufeff").replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        raise ConfigurationError("not valid TOML", line=int(found[1]) if found else None) from None


def set_member(text: str, path: tuple[str, ...], value: dict[str, Any]) -> str:
    """``text`` with the table at ``path`` set, in the place of the one that was there or at the end.

    Raises:
        ConfigurationError: the text is not TOML, or has a shape that can't be edited safely.
    """
    before = read(text)
    if _at(before, path) == value:
        return text
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = written(path, value).replace("\n", newline)
    here = locate(text).get(path)
    if here is None:
        gap = "" if not text.strip() else newline if text.endswith("\n") else 2 * newline
        return checked(read, text + gap + lines, changed(before, path, value))
    start, end = _block(text, path, here)
    return checked(read, text[:start] + lines + text[end:], changed(before, path, value))


def remove_member(text: str, path: tuple[str, ...]) -> str:
    """``text`` without the table at ``path``; as it was when there is none.

    Raises:
        ConfigurationError: the text is not TOML, or has a shape that can't be edited safely.
    """
    before = read(text)
    here = locate(text).get(path)
    if here is None:
        return text
    start, end = _block(text, path, here)
    head, tail = text[:start], text[end:].lstrip("\r\n")
    if not tail:
        head = head.rstrip() + ("\r\n" if "\r\n" in text else "\n") if head.strip() else ""
    expected = removed(before, path)
    try:
        return checked(read, head + tail, expected)
    except ConfigurationError:
        return checked(read, head + tail, _without_empty(expected, path[:-1]))


def written(path: tuple[str, ...], value: dict[str, Any]) -> str:
    """A table under its header, with a line for each pair; nested tables have headers of their own."""
    lines = [f"[{'.'.join(_key(part) for part in path)}]"]
    lines += [f"{_key(name)} = {_scalar(item)}" for name, item in value.items() if not isinstance(item, dict)]
    text = "\n".join(lines) + "\n"
    for name, item in value.items():
        if isinstance(item, dict):
            text += "\n" + written((*path, name), item)
    return text


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _scalar(name)


def _scalar(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_scalar(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _at(value: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _without_empty(value: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """A table that had no header of its own is gone with the last one below it."""
    for depth in range(len(path), 0, -1):
        if _at(value, path[:depth]) == {}:
            value = removed(value, path[:depth])
    return value


def _block(text: str, path: KeyPath, here: Location) -> tuple[int, int]:
    """The lines of a table that has a header of its own, up to its last pair or nested table."""
    start = text.rfind("\n", 0, here.key.start) + 1
    if not text.startswith("[", start):
        raise unsafe()
    below = [place for key, place in locate(text).items() if key[: len(path)] == path]
    last = max(max(place.value.end, place.key.end) for place in below)
    end = text.find("\n", last)
    return start, len(text) if end < 0 else end + 1
