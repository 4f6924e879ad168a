"""Probes of a live endpoint: what only the answer of a running server shows.

A probe has a class: P0 one connection without a message of MCP, P1 read-only requests. A profile admits the classes up
to its own. Nothing with side effects is ever called, no redirect is followed, no credential is guessed. The frame is
``session`` (target, credentials, pace) and ``registry``; each module registers its probes with ``probes`` when it is
imported.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mcpsec.audit.model import Finding
    from mcpsec.audit.probes.session import Session
    from mcpsec.audit.subjects import Context, Subject

__all__ = ["PROFILES", "probe", "run"]

PROFILES: dict[str, tuple[str, ...]] = {"static": (), "passive": ("P0", "P1")}
"""Which classes of probes each profile makes."""

Probe = Callable[["Session"], "Iterable[Finding]"]
_P = TypeVar("_P", bound=Probe)
_PROBES: list[tuple[str, int, Probe]] = []


def probe(kind: str, *, order: int = 50) -> Callable[[_P], _P]:
    """Register a probe of a class; lower ``order`` runs first."""

    def register(function: _P) -> _P:
        _PROBES.append((kind, order, function))
        return function

    return register


def run(subject: Subject, context: Context) -> Iterator[Finding]:
    """Probe one endpoint with what the profile admits."""
    from mcpsec.audit import probes
    from mcpsec.audit.probes.session import Session, Unreachable

    for module in sorted(pkgutil.iter_modules(probes.__path__), key=lambda each: each.name):
        importlib.import_module(f"{probes.__name__}.{module.name}")
    admitted = PROFILES.get(context.profile, ())
    if not admitted:
        yield subject.unknown("FIL001", "the static profile opens no connection: --profile passive", required=True)
        return
    session = Session(subject, context)
    try:
        session.reach()
    except Unreachable as error:
        yield subject.unknown("FIL001", str(error), required=True)
        return
    yield subject.ok("FIL001", None, f"{session.target} answers")
    for kind, _, function in sorted(_PROBES, key=lambda each: each[:2]):
        if kind in admitted:
            yield from function(session)
