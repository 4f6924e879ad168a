"""One audit: collect, read, judge, waive, add up."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mcpsec import __version__
from mcpsec.audit import catalogue, registry
from mcpsec.audit.collection import Collected, collect
from mcpsec.audit.inline import ignored_lines
from mcpsec.audit.model import PERSONAS, SEVERITIES, Finding, Location, Result, State, at_least
from mcpsec.audit.subjects import Context, Subject
from mcpsec.audit.summary import ItemResult, judge_items
from mcpsec.audit.waivers import Waivers, apply_waivers
from mcpsec.clientfiles.positions import Malformed

__all__ = ["Audit", "Request", "audit"]

SCHEMA = "mcpsec.audit/1"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What one audit is asked for. Paths of ``targets`` are relative to the working directory."""

    targets: Sequence[str] = (".",)
    root: Path = field(default_factory=Path.cwd)
    kind: str = ""
    exclude: Sequence[str] = ()
    select: Sequence[str] = ()
    ignore: Sequence[str] = ()
    profile: str = "static"
    persona: str = "regular"
    fail_on: str = "high"
    waivers: Waivers | None = None
    baseline: frozenset[str] = frozenset()
    now: datetime | None = None
    discover: bool = False
    inline: bool = True
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Audit:
    """The outcome of one audit."""

    results: list[Result]
    items: list[ItemResult]
    subjects: list[Subject]
    unreadable: list[tuple[str, str]]
    request: Request
    started: datetime
    seconds: float
    files: int = 0
    baselined: int = 0

    def failures(self, floor: str | None = None) -> list[Result]:
        """What fails at or above a severity (``--fail-on`` by default)."""
        floor = floor or self.request.fail_on
        if floor == "never":
            return []
        return [r for r in self.results if r.state is State.FAIL and at_least(r.severity, floor)]

    @property
    def incomplete(self) -> list[Result]:
        """What was required and could not be assessed."""
        return [r for r in self.results if r.state is State.NOT_ASSESSED and r.required]

    @property
    def exit_code(self) -> int:
        """1 for a failure at or above the floor, else 3 when something required was not assessed, else 0."""
        if self.failures():
            return 1
        return 3 if self.incomplete or not self.subjects else 0

    def document(self) -> dict[str, Any]:
        """The JSON contract ``mcpsec.audit/1``."""
        counts = {str(state): sum(r.state is state for r in self.results) for state in State}
        severities = {
            name: sum(r.state is State.FAIL and r.severity == name for r in self.results) for name in SEVERITIES
        }
        return {
            "schema": SCHEMA,
            "tool": {"name": "mcpsec", "version": __version__},
            "started": self.started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "seconds": round(self.seconds, 3),
            "profile": self.request.profile,
            "persona": self.request.persona,
            "fail_on": self.request.fail_on,
            "targets": list(self.request.targets),
            "checklist": [item.document() for item in self.items],
            "results": [result.document() for result in self.results],
            "subjects": [{"path": each.label, "kind": each.kind} for each in self.subjects],
            "unreadable": [{"path": path, "reason": reason} for path, reason in self.unreadable],
            "summary": {
                **counts,
                "failing": severities,
                "files": self.files,
                "baselined": self.baselined,
                "exit_code": self.exit_code,
            },
        }


def audit(request: Request) -> Audit:
    """Judge what a request names.

    Raises:
        UsageError: a target does not exist, an option names what there is not, or nobody agreed to the profile.
        ConfigurationError: waivers that are wrong.
    """
    begun = time.monotonic()
    now = request.now or datetime.now(UTC)
    chosen = catalogue.selected(list(request.select), list(request.ignore))
    found = collect(request.targets, request.root, exclude=request.exclude, kind=request.kind)
    if request.discover:
        _discover(found, request.root)
    context = Context(found.subjects, request.root, now, request.profile, request.options, frozenset(chosen))
    _companions(found, request.root)
    if request.profile == "drill":
        from mcpsec.audit.drill.profile import add_drill

        add_drill(found, request.options)
    if context.of_kind("endpoint"):
        from mcpsec.audit.probes.consent import require

        require(context)
    findings = [*_unreadable(found), *_examine(context)]
    results = _complete(findings, chosen, request.persona, {each.label: each for each in found.subjects})
    if request.inline:
        results = _without_ignored(results, found.subjects)
    waivers = request.waivers
    if waivers is not None:
        results = apply_waivers(results, waivers, now.date())
        results += _complete(waivers.findings(now.date()), chosen, request.persona, {})
    kept = [r for r in results if r.fingerprint not in request.baseline or r.severity == "critical"]
    order = {State.FAIL: 0, State.NOT_ASSESSED: 1, State.MANUAL: 2, State.WAIVED: 3, State.PASS: 4}
    kept.sort(key=lambda r: (order.get(r.state, 5), -SEVERITIES.index(r.severity), r.check, str(r.location), r.subject))
    return Audit(
        results=kept,
        items=judge_items(kept),
        subjects=found.subjects,
        unreadable=found.unreadable,
        request=request,
        started=now,
        seconds=time.monotonic() - begun,
        files=found.files or len(found.subjects),
        baselined=len(results) - len(kept),
    )


def _discover(found: Collected, root: Path) -> None:
    """Add the client configurations of this user."""
    from mcpsec.audit.collection import open_subject
    from mcpsec.clientfiles.clients import configurations

    for client, path in configurations():
        place = Path(path)
        for file in sorted(place.iterdir()) if place.is_dir() else [place]:
            subject = open_subject(file, root, found)
            if subject is not None:
                subject.facts["client"] = client


def _companions(found: Collected, root: Path) -> None:
    """Add the files that a deployment file names, its log and certificates, wherever the walk has been."""
    from mcpsec.audit.readers.deployment import companions

    for subject in [each for each in found.subjects if each.kind == "deployment"]:
        companions(subject, found, root)


def _unreadable(found: Collected) -> Iterable[Finding]:
    for path, reason in found.unreadable:
        yield Finding("FIL001", State.NOT_ASSESSED, reason, path, Location(path), required=True)


def _examine(context: Context) -> Iterable[Finding]:
    for subject in list(context.subjects):
        if subject.kind == "endpoint":
            from mcpsec.audit.probes import run

            yield from run(subject, context)
            continue
        try:
            _ = subject.model
        except Malformed as error:
            yield from _malformed(subject, error)
            continue
        yield subject.ok("FIL001", None, f"read as {subject.kind}")
        for function in registry.examiners(subject.kind):
            yield from function(subject, context)
    for across in registry.overall():
        yield from across(context)


def _malformed(subject: Subject, error: Malformed) -> Iterable[Finding]:
    if "{{" in subject.text and subject.kind in ("kubernetes", "compose", "envoy", "traefik"):
        yield subject.skip("FIL001", "a template: judge what it renders to (helm template … | mcpsec audit)")
        return
    yield subject.finding("FIL001", State.NOT_ASSESSED, error.line, error.message, required=True)
    if subject.kind == "client":
        from mcpsec.audit.checks.sec import scan_text

        yield from scan_text(subject)


def _complete(
    findings: Iterable[Finding], chosen: set[str], persona: str, subjects: dict[str, Subject]
) -> list[Result]:
    known = catalogue.checks()
    rank = PERSONAS.index(persona)
    results = []
    seen: set[tuple[str, ...]] = set()
    for finding in findings:
        check = known[finding.check]
        if check.id not in chosen or PERSONAS.index(check.persona) > rank:
            continue
        kind = subjects[finding.location.path].kind if finding.location and finding.location.path in subjects else ""
        result = Result(
            check=check.id,
            title=check.title,
            subject=finding.subject,
            state=finding.state,
            severity=finding.severity or check.severity,
            confidence=finding.confidence or check.confidence,
            persona=check.persona,
            items=check.items,
            observed=finding.observed,
            expected=finding.expected or check.passes,
            how=finding.how or (str(finding.location) if finding.location else ""),
            fix=(finding.fix or check.fix_for(kind)) if finding.state is not State.PASS else "",
            kind=kind,
            location=finding.location,
            key=finding.key,
            edit=finding.edit,
            required=finding.required,
            references=check.references(),
        )
        identity = (result.fingerprint, str(result.state), str(result.location), result.observed)
        if identity not in seen:
            seen.add(identity)
            results.append(result)
    return results


def _without_ignored(results: list[Result], subjects: list[Subject]) -> list[Result]:
    """Mark what an inline comment of the file ignores as waived."""
    comments = {each.label: lines for each in subjects if (lines := ignored_lines(each))}
    if not comments:
        return results
    kept = []
    for result in results:
        lines = comments.get(result.location.path) if result.location else None
        reason = lines.reason(result.check, result.location.line or 0) if lines and result.location else None
        if reason is None or result.state is not State.FAIL:
            kept.append(result)
        else:
            waiver = {"kind": "inline", "reason": reason, "owner": "", "expires": ""}
            kept.append(replace(result, state=State.WAIVED, waiver=waiver))
    return kept
