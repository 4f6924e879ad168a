"""What the editors of the three formats share: the meaning that an edit must have, and the word for giving up.

An editor changes text, then reads it again and compares: rather nothing than a file of another meaning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcpsec.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["changed", "checked", "removed", "unsafe"]


def changed(old: Any, path: tuple[str, ...], value: Any) -> Any:
    """``old`` with the member at ``path`` set, and mappings made on the way."""
    if not path:
        return value
    base = old if isinstance(old, dict) else {}
    return {**base, path[0]: changed(base.get(path[0]), path[1:], value)}


def removed(old: Any, path: tuple[str, ...]) -> Any:
    """``old`` without the member at ``path``; what held it stays, even empty."""
    if not isinstance(old, dict) or path[0] not in old:
        return old
    if len(path) == 1:
        return {name: value for name, value in old.items() if name != path[0]}
    return {**old, path[0]: removed(old[path[0]], path[1:])}


def unsafe() -> ConfigurationError:
    """The refusal to edit what might come out with another meaning."""
    return ConfigurationError("the file has a shape that can't be edited safely", hint="use --print and paste")


def checked(read: Callable[[str], object], edited: str, expected: object) -> str:
    """``edited``, when it is read as what was meant.

    Raises:
        ConfigurationError: it is read as something else, or as nothing.
    """
    try:
        if read(edited) == expected:
            return edited
    except ConfigurationError:
        pass
    raise unsafe()
