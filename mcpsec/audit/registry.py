"""Which functions judge which kinds of subjects. The modules of ``checks`` register theirs when they are imported."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mcpsec.audit.model import Finding
    from mcpsec.audit.subjects import Context, Subject

__all__ = ["across", "examiners", "examines", "overall"]

Examiner = Callable[["Subject", "Context"], "Iterable[Finding]"]
Overall = Callable[["Context"], "Iterable[Finding]"]
_E = TypeVar("_E", bound=Examiner)
_O = TypeVar("_O", bound=Overall)

_EXAMINERS: dict[str, list[Examiner]] = {}
_OVERALL: list[Overall] = []


def examines(*kinds: str) -> Callable[[_E], _E]:
    """Register a function that judges one subject of these kinds."""

    def register(function: _E) -> _E:
        for kind in kinds:
            _EXAMINERS.setdefault(kind, []).append(function)
        return function

    return register


def across(function: _O) -> _O:
    """Register a function that judges all subjects together."""
    _OVERALL.append(function)
    return function


@cache
def _load() -> None:
    from mcpsec.audit import checks

    for module in sorted(pkgutil.iter_modules(checks.__path__), key=lambda each: each.name):
        importlib.import_module(f"{checks.__name__}.{module.name}")


def examiners(kind: str) -> list[Examiner]:
    """What judges subjects of a kind."""
    _load()
    return _EXAMINERS.get(kind, [])


def overall() -> list[Overall]:
    """What judges all subjects together."""
    _load()
    return _OVERALL
