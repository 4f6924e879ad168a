"""Definitions as things to compare: their canonical text, their digest, and what differs between two sets of them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Literal

import orjson

from mcpsec.frozen import dataclass
from mcpsec.protocol.exact import exact_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["KINDS", "Change", "changes", "diff", "digest", "readable"]

KINDS = {"tools": "name", "prompts": "name", "resourceTemplates": "uriTemplate"}
"""The lists whose entries are pinned, and the member that names an entry. Resources themselves are data, not pinned."""

_CANONICAL = orjson.OPT_SORT_KEYS
_READABLE = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2


def digest(definition: Any) -> str:
    """SHA-256, hexadecimal, of a definition with sorted members: all of it, annotations and ``_meta`` included.

    Raises ValueError for a definition that is nested too deep to be written.
    """
    try:
        return hashlib.sha256(_written(definition, _CANONICAL)).hexdigest()
    except orjson.JSONEncodeError as error:
        raise ValueError(str(error)) from None


def readable(definition: Any) -> str:
    """The text that people review: JSON with sorted members, one a line."""
    return _written(definition, _READABLE).decode()


def _written(definition: Any, option: int) -> bytes:
    """With integers of more than 64 bits rounded, as they are read from a lock file and from upstreams over HTTP."""
    try:
        return orjson.dumps(definition, option=option)
    except orjson.JSONEncodeError:
        return orjson.dumps(orjson.loads(exact_bytes(definition)), option=option)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between what was pinned and what an upstream says now. ``name`` is empty for the instructions."""

    kind: str
    name: str
    state: Literal["added", "removed", "changed"]
    before: Any = None
    after: Any = None

    def __str__(self) -> str:
        what = f"{self.kind.removesuffix('s')} {self.name}" if self.name else self.kind
        return f"{self.state}: {what}"


def changes(
    before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]], kinds: tuple[str, ...] = ()
) -> Iterator[Change]:
    """What differs between two sets of definitions, ``kind → name → definition``, in a stable order."""
    for kind in kinds or tuple(KINDS):
        old, new = before.get(kind, {}), after.get(kind, {})
        for name in sorted({*old, *new}):
            if name not in new:
                yield Change(kind, name, "removed", old[name])
            elif name not in old:
                yield Change(kind, name, "added", None, new[name])
            elif digest(old[name]) != digest(new[name]):
                yield Change(kind, name, "changed", old[name], new[name])


def diff(change: Change) -> list[str]:
    """The lines of a unified diff of one change."""
    from difflib import unified_diff

    before, after = (
        [] if each is None else (each if isinstance(each, str) else readable(each)).splitlines()
        for each in (change.before, change.after)
    )
    return list(unified_diff(before, after, "pinned", "now", lineterm="", n=2))
