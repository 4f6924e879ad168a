"""Comparing versions well enough for ranges of advisories: numbers by value, a pre-release before its release."""

from __future__ import annotations

import re

__all__ = ["in_range"]


def in_range(version: str, introduced: str, fixed: str) -> bool:
    """True for ``introduced <= version < fixed``; an empty ``fixed`` means that no fix is known."""
    key = _key(version)
    return _key(introduced) <= key and (not fixed or key < _key(fixed))


def _key(version: str) -> tuple[tuple[int, ...], int]:
    match = re.match(r"v?(\d+(?:\.\d+)*)(.*)", version.strip())
    if match is None:
        return (0,), 0
    numbers = [min(int(part[:9]), 10**9) for part in match[1].split(".")][:8]
    while len(numbers) > 1 and not numbers[-1]:
        numbers.pop()
    return tuple(numbers), -1 if re.match(r"-|a|b|rc|\.?dev", match[2]) else 0
