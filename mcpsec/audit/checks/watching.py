"""Dashboards, alert rules and scheduled audits."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mcpsec.audit.model import Finding
from mcpsec.audit.registry import across, examines
from mcpsec.audit.subjects import Context, Subject

__all__ = ["FAILURES", "LIMITS"]

FAILURES = re.compile(
    r"""auth\w*[_ -]?(?:fail|denied|refus|error|reject) | (?:fail|denied|refus|reject)\w*[_ -]?auth
      | outcome=~?\\?["'][^"']*(?:refused|denied|unauth) | status=~?\\?["'][^"']*40[13]
      | mcpsec_(?:auth|handshake|refus|denied)\w*""",
    re.I | re.X,
)
LIMITS = re.compile(r"(?i)rate[_ -]?limit|throttl|limit\w*_(?:hits|exceeded|total)|status=~?\\?[\"'][^\"']*429")


@across
def dashboards(context: Context) -> Iterator[Finding]:
    """MON002: both counters, in any of the files."""
    subjects = context.of_kind("prometheus", "grafana")
    relevant = [each for each in subjects if re.search(r"(?i)mcp", each.text)]
    if not relevant:
        return
    both = {"authentication failures": FAILURES, "rate limit hits": LIMITS}
    missing = [what for what, pattern in both.items() if not any(pattern.search(each.text) for each in relevant)]
    if missing:
        yield relevant[0].fail("MON002", None, f"nothing watches {' and '.join(missing)}", key="missing")
    else:
        yield relevant[0].ok("MON002", None, "authentication failures and rate limit hits are watched")


@examines("workflow")
def schedule(subject: Subject, context: Context) -> Iterator[Finding]:
    """AUD002."""
    if not re.search(r"mcpsec[\"']?\s+audit|\bmcpsec/.*audit|uses:\s*\S*mcpsec", subject.text):
        return
    document = subject.document.data
    triggers = (document.get("on") or document.get(True)) if isinstance(document, dict) else None
    gitlab = subject.path.name.startswith(".gitlab-ci")
    scheduled = isinstance(triggers, dict) and "schedule" in triggers
    scheduled = (
        scheduled or (isinstance(triggers, list) and "schedule" in triggers) or (gitlab and "schedule" in subject.text)
    )
    if not scheduled:
        yield subject.fail("AUD002", None, "the audit runs on no schedule", key="schedule")
    line = next(
        (
            n
            for n, text in enumerate(subject.text.splitlines(), 1)
            if re.search(r"continue-on-error:\s*true|allow_failure:\s*true", text)
        ),
        0,
    )
    if line:
        yield subject.fail("AUD002", line, "its failure is let pass", key="continue")
    if scheduled and not line:
        yield subject.ok("AUD002", None, "scheduled, and its failure counts")
