"""Probes of a live endpoint: what only the answer of a running server shows.

A probe has a class: P0 one connection without a message of MCP, P1 read-only requests, P2 requests that must be
refused, P3 load and slow requests with caps. A profile admits the classes up to its own. Nothing with side effects is
ever called, no redirect is followed, no credential is guessed. The frame is ``session`` (target, credentials, pace,
budget), ``consent`` (whose endpoint it is) and ``entry`` (both eras of the protocol); each module registers its
probes with ``probe`` when it is imported.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from mcpsec.audit.model import Finding
    from mcpsec.audit.probes.session import Session
    from mcpsec.audit.subjects import Context, Subject

__all__ = ["PROFILES", "probe", "run"]

PROFILES: dict[str, tuple[str, ...]] = {
    "static": (),
    "passive": ("P0", "P1"),
    "refuse": ("P0", "P1", "P2"),
    "load": ("P0", "P1", "P2", "P3"),
}
"""Which classes of probes each profile makes."""

Probe = Callable[["Session"], "Iterable[Finding]"]
_P = TypeVar("_P", bound=Probe)


class _Registered(NamedTuple):
    kind: str
    order: int
    checks: frozenset[str]
    function: Probe


_PROBES: list[_Registered] = []


def probe(kind: str, *checks: str, order: int = 50) -> Callable[[_P], _P]:
    """Register a probe of a class and the checks that it speaks of; lower ``order`` runs first in its class."""

    def register(function: _P) -> _P:
        _PROBES.append(_Registered(kind, order, frozenset(checks), function))
        return function

    return register


def run(subject: Subject, context: Context) -> Iterator[Finding]:
    """Probe one endpoint with what the profile admits; what is not selected is not sent."""
    from mcpsec.audit import probes
    from mcpsec.audit.probes.session import Session, Stopped, Unreachable

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
    told: set[str] = set()
    reason = ""
    for each in sorted(_PROBES, key=lambda each: each[:2]):
        if each.kind not in admitted or not context.wants(each.checks):
            continue
        session.refusing = each.kind in ("P2", "P3")
        try:
            for finding in each.function(session):
                told.add(finding.check)
                yield finding
        except Stopped as stop:
            reason = str(stop)
            break
    session.close()
    subject.facts["requests"] = session.requests
    yield from _untold(subject, context, told, admitted, reason)


def _untold(
    subject: Subject, context: Context, told: set[str], admitted: tuple[str, ...], reason: str
) -> Iterator[Finding]:
    """What the profile was to judge and nobody spoke of is never taken for good."""
    from mcpsec.audit.catalogue import checks

    for check in checks().values():
        if "endpoint" not in check.kinds or check.id in told or not context.wants({check.id}):
            continue
        if check.probe in admitted or (check.probe == "static" and check.id not in ("MON001",)):
            text = f"not reached: {reason}" if reason else "nothing that was seen decides it"
            yield subject.unknown(check.id, text, required=bool(reason))
