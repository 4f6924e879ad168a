"""What nobody should pin unread: characters that people don't see and models do, and text that gives orders.

Judged on every text of a definition: name, title, descriptions down to those in schemas, defaults, instructions.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import re2

from mcpsec.frozen import dataclass
from mcpsec.gateway.pins.definitions import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcpsec.gateway.pins.lock import UpstreamPins

__all__ = ["Flag", "examine", "examine_text", "visible"]

_NAME = re.compile(r"[A-Za-z0-9_.\-/]{1,128}")
_SEEN_CONTROLS = "\n\r\t"
_MOST_DEPTH = 64
_JOINER = "\u200d"
_EMOJI_STYLE = "\ufe0f"


@dataclass(frozen=True, slots=True)
class Flag:
    """One suspicion: in which definition, at which JSON pointer of it, what."""

    kind: str
    name: str
    pointer: str
    id: str
    message: str

    def __str__(self) -> str:
        where = f"{self.kind.removesuffix('s')} {self.name!a}" if self.name else self.kind
        return f"{where} at {self.pointer or '/'}: it {self.message}"


def examine(pins: UpstreamPins) -> list[Flag]:
    """Everything suspicious in what an upstream says of itself."""
    flags = [Flag("instructions", "", "", id, says) for id, says in examine_text(pins.instructions or "")]
    for kind in KINDS:
        for name, definition in sorted(pins.definitions.get(kind, {}).items()):
            flags += _examine_definition(kind, name, definition)
    return flags


def _examine_definition(kind: str, name: str, definition: Any) -> Iterator[Flag]:
    if kind == "tools" and not _NAME.fullmatch(name):
        yield Flag(kind, name, "/name", "odd-name", "has a name that no client need accept (letters, digits, _ . - /)")
    if kind == "tools" and not isinstance(definition.get("inputSchema"), dict):
        yield Flag(kind, name, "/inputSchema", "no-schema", "has no input schema, so no call of it can be checked")
    for pointer in _references(definition, "", 0):
        yield Flag(kind, name, pointer, "external-reference", "has a schema that refers to another document")
    for pointer, text in _texts(definition, "", 0):
        for id, says in examine_text(text):
            yield Flag(kind, name, pointer, id, says)


def _references(value: Any, pointer: str, depth: int) -> Iterator[str]:
    """Where a schema refers to something outside itself."""
    if depth > _MOST_DEPTH or not isinstance(value, dict | list):
        return
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
        if key in {"$ref", "$dynamicRef"} and isinstance(each, str) and not each.startswith("#"):
            yield f"{pointer}/{key}"
        yield from _references(each, f"{pointer}/{_escaped(key)}", depth + 1)


def _escaped(key: object) -> str:
    """One part of a JSON pointer (RFC 6901)."""
    return str(key).replace("~", "~0").replace("/", "~1")


def _texts(value: Any, pointer: str, depth: int) -> Iterator[tuple[str, str]]:
    """Every text inside a definition, the names of members included, with its JSON pointer."""
    if depth > _MOST_DEPTH:
        return
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _texts(each, f"{pointer}/{index}", depth + 1)
    elif isinstance(value, dict):
        for key, each in value.items():
            at = f"{pointer}/{_escaped(key)}"
            yield at, key
            yield from _texts(each, at, depth + 1)


def examine_text(text: str) -> Iterator[tuple[str, str]]:
    """The suspicions about one text, as id and the end of a sentence that begins with "it"."""
    hidden = sorted({f"U+{ord(char):04X}" for char in _hidden(text)})
    if hidden:
        yield "hidden-characters", f"has characters that nobody sees: {', '.join(hidden[:5])}"
    # What is hidden between letters must not hide the words from us as well.
    words = " ".join("".join(char for char in text if not _is_invisible(char)).split())
    for id, says, pattern in _patterns():
        if pattern.search(words):
            yield id, says


def _is_invisible(char: str) -> bool:
    if char in _SEEN_CONTROLS or " " <= char <= "~":
        return False
    code = ord(char)
    return (
        unicodedata.category(char) in {"Cc", "Cf", "Co", "Cn"}
        or 0xFE00 <= code <= 0xFE0F
        or 0xE0000 <= code <= 0xE0FFF
        or char in "\u115f\u1160\u3164\uffa0\u034f\u2800"
    )


def visible(text: str) -> str:
    """The text with a code in place of each character that a terminal would obey or hide."""
    return "".join(f"\\u{{{ord(char):X}}}" if _is_invisible(char) else char for char in text)


def _hidden(text: str) -> Iterator[str]:
    """Characters without a shape, but for those that emoji and scripts need where they need them."""
    for index, char in enumerate(text):
        if not _is_invisible(char):
            continue
        before = text[index - 1] if index else ""
        after = text[index + 1 : index + 2]
        if char == _EMOJI_STYLE and unicodedata.category(before or " ") in {"So", "Sm", "Po", "Nd", "Sk"}:
            continue
        if char == _JOINER and _joins(before) and _joins(after):
            continue
        if char == "\u200c" and before.isalpha() and after.isalpha() and not (before + after).isascii():
            continue
        yield char


def _joins(char: str) -> bool:
    return bool(char) and (unicodedata.category(char) in {"So", "Sk"} or char == _EMOJI_STYLE or _is_indic(char))


def _is_indic(char: str) -> bool:
    return 0x0900 <= ord(char) <= 0x0DFF or 0x0600 <= ord(char) <= 0x06FF


@cache
def _patterns() -> tuple[tuple[str, str, Any], ...]:
    text = Path(__file__).with_name("data").joinpath("suspicious.toml").read_text("utf-8")
    return tuple(
        (each["id"], each["says"], re2.compile(f"(?is){each['pattern']}")) for each in tomllib.loads(text)["patterns"]
    )
