"""What an audit says: results with state, severity, evidence and place, and the checklist that they add up to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["PERSONAS", "SEVERITIES", "Edit", "Finding", "Location", "Result", "State", "at_least", "worst"]

SEVERITIES = ("info", "low", "medium", "high", "critical")
"""From least to most; ``--fail-on`` names one of them."""

PERSONAS = ("regular", "pedantic", "auditor")
"""Who is asking: each sees what the ones before see, and more."""


def at_least(severity: str, floor: str) -> bool:
    """True when a severity is as bad as ``floor``, or worse."""
    return SEVERITIES.index(severity) >= SEVERITIES.index(floor)


def worst(severities: list[str]) -> str:
    """The most severe of several; ``info`` of none."""
    return max(severities, key=SEVERITIES.index, default="info")


class State(StrEnum):
    """What became of one check of one subject."""

    PASS = "pass"  # noqa: S105 # a state, no password
    FAIL = "fail"
    MANUAL = "manual"
    """A person has to look, or to show something that no file here shows."""
    NOT_APPLICABLE = "not-applicable"
    NOT_ASSESSED = "not-assessed"
    """It should have been judged and could not be: never to be read as good."""
    WAIVED = "waived"


@dataclass(frozen=True, slots=True)
class Location:
    """Where a result stands. ``pointer`` is a JSON pointer (RFC 6901) in structured files; lines count from 1."""

    path: str
    pointer: str = ""
    line: int | None = None
    column: int | None = None

    def document(self) -> dict[str, Any]:
        """The location as JSON has it."""
        return {"path": self.path, "pointer": self.pointer, "line": self.line, "column": self.column}

    def __str__(self) -> str:
        return self.path if self.line is None else f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Edit:
    """A repair: the text between two offsets of a file replaced, or (``mode``) the file's permissions."""

    path: str
    start: int = 0
    end: int = 0
    text: str = ""
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What an examiner says about one check; the runner completes it to a :class:`Result`.

    ``observed`` and ``expected`` are for people and hold no secret; ``key`` tells two findings of one check and
    subject apart when lines move. ``required`` makes a missing assessment count (exit code 3).
    """

    check: str
    state: State
    observed: str
    subject: str
    location: Location | None = None
    expected: str = ""
    severity: str = ""
    key: str = ""
    fix: str = ""
    how: str = ""
    edit: Edit | None = None
    required: bool = False
    confidence: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """One check of one subject, judged."""

    check: str
    title: str
    subject: str
    state: State
    severity: str
    confidence: str
    persona: str
    items: tuple[int, ...]
    observed: str
    expected: str
    how: str
    fix: str
    kind: str
    location: Location | None = None
    key: str = ""
    edit: Edit | None = None
    required: bool = False
    waiver: dict[str, str] | None = None
    references: dict[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Stable identity: check, subject, file and evidence key; no line, so that it survives edits elsewhere."""
        path = self.location.path if self.location else ""
        pointer = self.location.pointer if self.location else ""
        text = "\0".join((self.check, self.subject, path, self.key or pointer))
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]

    def document(self) -> dict[str, Any]:
        """The result as the JSON contract has it."""
        return {
            "check": self.check,
            "title": self.title,
            "subject": self.subject,
            "kind": self.kind,
            "state": str(self.state),
            "severity": self.severity,
            "confidence": self.confidence,
            "persona": self.persona,
            "items": list(self.items),
            "evidence": {"observed": self.observed, "expected": self.expected, "how": self.how},
            "location": (self.location or Location("")).document(),
            "fix": self.fix,
            "fingerprint": self.fingerprint,
            "fixable": self.edit is not None,
            "waiver": self.waiver,
            **self.references,
        }
