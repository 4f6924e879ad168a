"""Text for a terminal: what a peer, a file or its name brought along neither steers it nor looks like another line.

The characters that terminals obey are the C0 and C1 controls (ECMA-48: U+009B begins a command as ESC [ does), those
that change the direction of writing (Unicode TR36, section 3.2) and the separators of lines and paragraphs.
"""

from __future__ import annotations

__all__ = ["STEERING", "one_saying", "plain", "tame"]

_CONTROLS = (*range(9), *range(11, 32), *range(0x7F, 0xA0))
_DIRECTIONS_AND_LINES = (0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))


STEERING = frozenset((*_CONTROLS, *_DIRECTIONS_AND_LINES))
"""The code points that :func:`tame` escapes."""
_JOINERS = "\u200c\u200d"
"""What parts or joins two letters (Persian, Hindi) or emojis; beside ASCII it only makes two names look alike."""
_SPACES = frozenset("\xa0\u1680\u202f\u205f\u3000") | frozenset(map(chr, range(0x2000, 0x200B)))
"""Blanks of other widths (category Zs)."""


def _escape(code: int) -> str:
    """As Python writes it, and, where a C0 control can't stand anyway, JSON and TOML too."""
    return f"\\x{code:02x}" if code < 0x7F else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_ESCAPES = {code: _escape(code) for code in STEERING}


def tame(text: str) -> str:
    """Lines with an escape for each character that steers a terminal; tabs and ends of lines stay.

    A JSON document means the same as before.
    """
    return text.replace("\r\n", "\n").translate(_ESCAPES)


def one_saying(text: str) -> str:
    """The same for a sentence: where it goes on in another line, that stands apart from lines that begin one."""
    return tame(text).replace("\n", "\n  ")


def plain(value: object) -> str:
    """A value in one line: an escape for each character that has no shape, ends of lines included."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in _SPACES or _joins(text, place) else _escape(ord(each))
        for place, each in enumerate(text)
    )


def _joins(text: str, place: int) -> bool:
    return text[place] in _JOINERS and text[place - 1 : place] > "\x7f" and text[place + 1 : place + 2] > "\x7f"
