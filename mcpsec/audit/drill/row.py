"""What came of one fault: what was expected, what was seen, and what proves that the fault was there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Expectation", "Row"]


@dataclass(frozen=True, slots=True)
class Expectation:
    """One thing that was expected, and what was seen instead or indeed."""

    expected: str
    met: bool
    seen: str


@dataclass
class Row:
    """One fault at one place. ``reason`` says why it could not be assessed, or has no meaning here.

    ``seconds`` is how long the caller waited for its answer, ``recovered`` how long after the fault's end the next good
    one took; None when there was none.
    """

    fault: str
    target: str
    injected: str = ""
    proof: list[dict[str, Any]] = field(default_factory=list)
    seen: str = ""
    seconds: float | None = None
    recovered: float | None = None
    expectations: list[Expectation] = field(default_factory=list)
    reason: str = ""
    applicable: bool = True

    def expect(self, expected: str, met: bool, seen: str) -> None:
        """Hold an expectation against what was seen."""
        self.expectations.append(Expectation(expected, met, seen))

    def leave(self, reason: str, *, applicable: bool = True) -> Row:
        """Say why nothing is judged here."""
        self.reason, self.applicable = reason, applicable
        return self

    @property
    def state(self) -> str:
        """``pass``, ``fail``, ``not-assessed`` or ``not-applicable``; without proof of the fault nothing passes."""
        if not self.applicable:
            return "not-applicable"
        if self.reason:
            return "not-assessed"
        if not all(each.met for each in self.expectations):
            return "fail"
        return "pass" if self.proof and self.expectations else "not-assessed"

    @property
    def name(self) -> str:
        """Fault and place."""
        return f"{self.fault} {self.target}"

    def document(self) -> dict[str, Any]:
        """For the report."""
        found: dict[str, Any] = {"name": self.name, "fault": self.fault, "target": self.target, "state": self.state}
        if self.state in ("not-assessed", "not-applicable"):
            return {**found, "reason": self.reason or "the faulty part's own record does not show the fault"}
        return {
            **found,
            "injected": self.injected,
            "proof": self.proof,
            "seen": self.seen,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
            "recovered_seconds": None if self.recovered is None else round(self.recovered, 3),
            "expectations": [
                {"expected": each.expected, "met": each.met, "seen": each.seen} for each in self.expectations
            ],
        }
