"""The arguments that a deployment wants to see in its audit log: ``[log] arguments``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcpsec.gateway.policy.globs import Glob

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["NamedArguments"]


class NamedArguments:
    """Picks named argument fields out of a call. ``wanted`` maps globs over ``upstream/tool`` to names with dots."""

    def __init__(self, wanted: Mapping[str, Sequence[str]]) -> None:
        self._wanted = tuple(
            (Glob(pattern), tuple((name, name.split(".")) for name in names)) for pattern, names in wanted.items()
        )

    def __bool__(self) -> bool:
        """Whether any are wanted."""
        return bool(self._wanted)

    def of(self, resource: str, arguments: Any) -> dict[str, Any] | None:
        """The fields of this call that are written in clear, None when there are none."""
        if not self._wanted or not isinstance(arguments, dict):
            return None
        found: dict[str, Any] = {}
        for glob, names in self._wanted:
            if glob.matches(resource):
                for name, path in names:
                    value: Any = arguments
                    for step in path:
                        value = value.get(step) if isinstance(value, dict) else None
                    if value is not None:
                        found[name] = value
        return found or None
