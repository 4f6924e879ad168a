"""The ten points, each met or not, from the results of their checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mcpsec.audit.catalogue import checklist
from mcpsec.audit.model import SEVERITIES, Result, State, at_least

__all__ = ["WORDS", "ItemResult", "judge_items", "score"]

BREAKS = "medium"
"""From this severity on, one failing check leaves its point not met; what is below is a remark."""

WORDS = {
    State.PASS: "met",
    State.FAIL: "not met",
    State.MANUAL: "to be shown",
    State.NOT_APPLICABLE: "not applicable",
    State.NOT_ASSESSED: "not assessed",
    State.WAIVED: "waived",
}
"""How reports say the state of a point."""


@dataclass(frozen=True, slots=True)
class ItemResult:
    """One of the ten points, judged; ``reasons`` say in short why it is so."""

    number: int
    title: str
    advice: str
    state: State
    counts: dict[str, int]
    reasons: tuple[str, ...]
    checks: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """The point as the JSON contract has it."""
        return {
            "item": self.number,
            "title": self.title,
            "state": str(self.state),
            "reasons": list(self.reasons),
            "checks": list(self.checks),
            "counts": self.counts,
        }


def judge_items(results: list[Result]) -> list[ItemResult]:
    """Judge every point of the checklist."""
    judged = []
    for item in checklist():
        own = [r for r in results if item.number in r.items]
        failing = [r for r in own if r.state is State.FAIL and at_least(r.severity, BREAKS)]
        failing.sort(key=lambda r: -SEVERITIES.index(r.severity))
        deciding = [r for r in own if r.check in item.deciding]
        state, because = _state(failing, own, deciding)
        if state is State.PASS and item.every and {r.check for r in because} < set(item.deciding):
            state = State.MANUAL  # a part of it was shown, the rest by nothing here
        counts = {str(each): sum(r.state is each for r in own) for each in State}
        reasons = tuple(dict.fromkeys(f"{r.check} {r.subject}: {r.observed}" for r in because))[:3]
        names = tuple(sorted({r.check for r in own}))
        judged.append(ItemResult(item.number, item.title, item.advice, state, counts, reasons, names))
    return judged


def _state(failing: list[Result], own: list[Result], deciding: list[Result]) -> tuple[State, list[Result]]:
    if failing:
        return State.FAIL, failing
    for state in (State.WAIVED,):
        if found := [r for r in own if r.state is state and at_least(r.severity, BREAKS)]:
            return state, found
    unknown = [r for r in deciding if r.state is State.NOT_ASSESSED]
    if unknown:
        return State.NOT_ASSESSED, unknown
    passed = [r for r in deciding if r.state is State.PASS or (r.state is State.FAIL and r.severity in ("info", "low"))]
    if passed:
        return State.PASS, passed
    for state in (State.MANUAL, State.NOT_APPLICABLE):
        if found := [r for r in deciding if r.state is state]:
            return state, found
    return State.NOT_ASSESSED, []


def score(items: list[ItemResult]) -> str:
    """``7 of 10 met, 1 not met, 2 not assessed``."""
    met = sum(item.state is State.PASS for item in items)
    parts = [f"{met} of {len(items)} met"]
    for state, word in WORDS.items():
        count = sum(item.state is state for item in items)
        if count and state is not State.PASS:
            parts.append(f"{count} {word}")
    return ", ".join(parts)
