"""The command line of ``serve``, read without Typer, which costs half of a gateway's start and 14 MiB.

Only what is surely right is read here. Help, mistakes and every rare form are left to ``mcpsec.cli.serve``, which
declares the same options (a test compares them), so that there is one place that explains and one that refuses.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpsec.cli.serving import MOST_WORKERS, ServeOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["OPTIONS", "serve_options"]

OPTIONS: dict[str, tuple[str, type]] = {
    "--config": ("config", Path),
    "-c": ("config", Path),
    "--quickstart": ("quickstart", bool),
    "--upstream": ("upstream", str),
    "--app": ("python_app", str),
    "--grant": ("grant", str),
    "--listen": ("listen", str),
    "--admin-listen": ("admin_listen", str),
    "--ready-file": ("ready_file", Path),
    "--auth": ("auth", str),
    "--rate-limit": ("rate_limit", str),
    "--workers": ("workers", int),
}
"""What can be typed: the field of ServeOptions and the kind of its value."""

_ELSEWHERE = ("MCPSEC_SERVE_", "MCPSEC_QUIET", "MCPSEC_NO_COLOR", "MCPSEC_VERSION", "_MCPSEC")
"""Environment variables that stand for options (or ask for completions): the full command knows them."""


class _NotSurely(Exception):
    """The full command has to look at this."""


def serve_options(arguments: Sequence[str]) -> ServeOptions | None:
    """What the words behind ``serve`` say; None when the full command has to read them."""
    if any(name.startswith(_ELSEWHERE) for name in os.environ):
        return None
    values: dict[str, Any] = {}
    words = iter(arguments)
    try:
        for word in words:
            if word == "--":
                values["command"] = tuple(words)
            else:
                _read(word, words, values)
        if "config" not in values and "MCPSEC_CONFIG" in os.environ:
            values["config"] = Path(_text(os.environ["MCPSEC_CONFIG"]))
    except _NotSurely:
        return None
    return ServeOptions(**values)


def _read(word: str, words: Iterator[str], values: dict[str, Any]) -> None:
    name, equals, value = word.partition("=")
    if name not in OPTIONS or (equals and not name.startswith("--")):
        raise _NotSurely
    field, kind = OPTIONS[name]
    if field in values or (kind is bool and equals):
        raise _NotSurely
    if kind is bool:
        values[field] = True
        return
    text = _text(value if equals else next(words, ""))
    values[field] = _number(text) if kind is int else kind(text)


def _text(value: str) -> str:
    """A value that is there and can't be taken for an option."""
    if not value or value.startswith("-"):
        raise _NotSurely
    return value


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST_WORKERS):
        raise _NotSurely
    return int(text)
