"""Results for machines: our JSON, and the formats of other programs through :mod:`mcpsec.report`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mcpsec.leaks.findings import Finding
    from mcpsec.leaks.runner import Result
    from mcpsec.report.entry import Entry

__all__ = ["document", "render"]

TOOL = "mcpsec scan-secrets"


def render(name: str, result: Result) -> str:
    """The whole document in the format of that name."""
    if name == "json":
        import json

        return json.dumps(document(result), indent=2, ensure_ascii=False).encode("utf-8", "replace").decode() + "\n"
    from mcpsec import __version__

    entries = [_entry(finding) for finding in result.findings]
    problems = [(problem.path, problem.reason) for problem in result.problems]
    if name == "sarif":
        from mcpsec.report import sarif

        return sarif.render(entries, tool=TOOL, version=__version__, problems=problems)
    if name == "junit":
        from mcpsec.report import junit

        return junit.render(entries, suite=TOOL, seconds=result.seconds, problems=problems)
    if name == "gitlab":
        from time import gmtime, strftime, time

        from mcpsec.report import gitlab

        now = time()
        started, ended = (strftime("%Y-%m-%dT%H:%M:%S", gmtime(t)) for t in (now - result.seconds, now))
        return gitlab.render(
            entries, tool=TOOL, version=__version__, started=started, ended=ended, complete=not problems
        )
    from mcpsec.report import csvfile

    return csvfile.render(entries)


def _entry(finding: Finding) -> Entry:
    from mcpsec.report.entry import Entry, Topic

    rule = finding.rule
    inside = f" (inside {finding.origin})" if finding.origin else ""
    return Entry(
        topic=Topic(rule.id, rule.title, f"{rule.risk} {rule.rotate}", rule.source, ("secret",)),
        message=f"{rule.title}: {finding.redacted}{inside}",
        severity={"high": "critical", "medium": "high", "low": "low"}[finding.confidence],
        path=finding.path,
        line=finding.line,
        column=finding.column,
        fingerprint=finding.fingerprint,
        commit=finding.commit,
        author=finding.author,
        date=finding.date,
        confidence=finding.confidence,
    )


def document(result: Result) -> dict[str, object]:
    """``mcpsec.secrets/1`` (DESIGN section 5)."""
    return {
        "schema": "mcpsec.secrets/1",
        "findings": [finding.as_dict() for finding in result.findings],
        "summary": {
            "files": result.files,
            "bytes": result.bytes,
            "seconds": round(result.seconds, 6),
            "findings": len(result.findings),
            "suppressed": result.suppressed,
            "skipped": result.skipped.counts,
            "problems": [{"path": p.path, "reason": p.reason} for p in result.problems],
        },
    }
