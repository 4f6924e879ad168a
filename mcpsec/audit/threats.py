"""The threat model of a deployment: each threat, what answers it here, what does not, with the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcpsec.audit.catalogue import checks, table
from mcpsec.audit.model import SEVERITIES, Result, State

if TYPE_CHECKING:
    from mcpsec.audit.runner import Audit

__all__ = ["Threat", "document", "model", "text"]


@dataclass(frozen=True, slots=True)
class Threat:
    """One threat, and the results that speak for and against it."""

    id: str
    title: str
    scenario: str
    answered: tuple[Result, ...]
    unanswered: tuple[Result, ...]
    unknown: tuple[str, ...]
    """Checks that could answer it and that judged nothing here."""

    @property
    def verdict(self) -> str:
        """``answered``, ``open``, ``partly`` (remarks, or parts not judged) or ``not assessed``."""
        if any(r.severity in ("medium", "high", "critical") for r in self.unanswered):
            return "open"
        if not self.answered:
            return "not assessed"
        return "partly" if self.unanswered else "answered"


def model(found: Audit) -> list[Threat]:
    """The five threats of the deployment guide, then the OWASP MCP Top 10."""
    rows = table("threats.toml")["threats"]
    threats = [
        _threat(found, row["id"], row["title"], row["scenario"], checks().keys() & row["checks"]) for row in rows
    ]
    for name, title in table("owasp.toml").items():
        mapped = {check.id for check in checks().values() if name in check.owasp}
        threats.append(_threat(found, name, title, "", mapped))
    return threats


def _threat(found: Audit, name: str, title: str, scenario: str, mapped: set[str]) -> Threat:
    own = [r for r in found.results if r.check in mapped]
    answered = tuple(r for r in own if r.state is State.PASS)
    failing = sorted((r for r in own if r.state is State.FAIL), key=lambda r: -SEVERITIES.index(r.severity))
    judged = {r.check for r in own if r.state in (State.PASS, State.FAIL, State.WAIVED)}
    static = {name for name in mapped if checks()[name].probe == "static" and checks()[name].persona == "regular"}
    return Threat(name, title, scenario, answered, tuple(failing), tuple(sorted((mapped & static) - judged)))


def document(found: Audit) -> dict[str, Any]:
    """The threat model as JSON (``mcpsec.threat-model/1``)."""
    return {
        "schema": "mcpsec.threat-model/1",
        "started": found.started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "threats": [
            {
                "id": threat.id,
                "title": threat.title,
                "scenario": threat.scenario,
                "verdict": threat.verdict,
                "answered": [_row(r) for r in threat.answered],
                "unanswered": [_row(r) for r in threat.unanswered],
                "not_judged": list(threat.unknown),
            }
            for threat in model(found)
        ],
    }


def _row(result: Result) -> dict[str, Any]:
    return {
        "check": result.check,
        "subject": result.subject,
        "severity": result.severity,
        "observed": result.observed,
        "location": result.location.document() if result.location else None,
    }


def text(found: Audit) -> str:
    """The threat model in Markdown."""
    lines = ["# Threat model", ""]
    for threat in model(found):
        lines += [
            f"## {threat.id}: {threat.title}",
            "",
            f"**{threat.verdict}**" + (f". {threat.scenario}" if threat.scenario else ""),
        ]
        for heading, rows in (("What answers it here", threat.answered), ("What does not", threat.unanswered)):
            if rows:
                lines += ["", f"{heading}:"]
                shown: dict[tuple[str, str], Result] = {}
                for r in rows:
                    shown.setdefault((r.check, r.observed), r)
                for r in list(shown.values())[:12]:
                    where = f" ({r.location})" if r.location else ""
                    severity = f"{r.severity}: " if r.state is State.FAIL else ""
                    lines.append(f"- {severity}{r.check} {r.subject}: {r.observed}{where}")
        if threat.unknown:
            lines += ["", f"Not judged here: {', '.join(threat.unknown)}"]
        lines.append("")
    return "\n".join(lines)
