"""A key that changes while what was made with it is still out: for a while the old one is good beside the new."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OverlappingKeys"]

K = TypeVar("K")
_MOST = 8
"""Keys that are good at one time; a manager that brings more within one overlap ends the oldest early."""


class _Term(NamedTuple, Generic[K]):
    """A key, when things are first made with it and when what it made is good no more (Unix seconds)."""

    key: K
    makes_from: float
    ends: float


class OverlappingKeys(Generic[K]):
    """The keys that things are made with and read with at the moment. Keys are compared with ``==``."""

    def __init__(self, key: K, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._terms = [_Term(key, -math.inf, math.inf)]

    @property
    def making(self) -> K:
        """What new things are made with."""
        if len(self._terms) == 1:
            return self._terms[0].key
        now = self._clock()
        begun = (term for term in reversed(self._terms) if term.makes_from <= now)
        return next(begun, self._terms[0]).key

    @property
    def reading(self) -> tuple[K, ...]:
        """What brought things are read with, newest first."""
        if len(self._terms) == 1:
            return (self._terms[0].key,)
        now = self._clock()
        return tuple(term.key for term in reversed(self._terms) if now < term.ends)

    def replace(self, key: K, *, overlap: float, delay: float = 0.0) -> bool:
        """Take another key: read with it at once, make with it in ``delay`` seconds, when others know it too.

        The keys of until now are good for ``overlap`` seconds from then on. False when the key is the same.
        """
        if key == self._terms[-1].key:
            return False
        now = self._clock()
        makes_from, ends = now + delay, now + delay + overlap
        former = [
            term._replace(ends=min(term.ends, ends)) for term in self._terms if term.ends > now and term.key != key
        ]
        self._terms = [*former[-(_MOST - 1) :], _Term(key, makes_from, math.inf)]
        return True

    def copy(self, change: Callable[[K], K]) -> OverlappingKeys[K]:
        """The same terms with every key changed."""
        made = OverlappingKeys(change(self._terms[-1].key), clock=self._clock)
        made._terms = [term._replace(key=change(term.key)) for term in self._terms]
        return made
