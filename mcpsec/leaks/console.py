"""Findings for a person: where, what, masked, and what to do."""

from __future__ import annotations

from mcpsec.terminal import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mcpsec.leaks.runner import Result

__all__ = ["render"]

_SGR = {"high": "1;31", "medium": "33", "low": "36"}


def render(result: Result, *, color: bool) -> str:
    """One paragraph a finding; the advice once a rule."""
    lines = []
    advised: set[str] = set()
    for finding in result.findings:
        where = f"{plain(finding.path)}:{finding.line}:{finding.column}"
        tier = f"\x1b[{_SGR[finding.confidence]}m{finding.confidence}\x1b[0m" if color else finding.confidence
        lines.append(f"{where}: {tier} {finding.rule.title} {plain(finding.redacted)} [{finding.rule.id}]")
        if finding.commit:
            lines.append(f"    in commit {finding.commit[:12]} by {plain(finding.author)}, {plain(finding.date)}")
        if finding.origin:
            lines.append(f"    inside {plain(finding.origin)}")
        if finding.rule.id not in advised:
            advised.add(finding.rule.id)
            lines += [f"    risk: {finding.rule.risk}", f"    do:   {finding.rule.rotate}"]
    return "\n".join(lines) + "\n" if lines else ""
