"""Results for machines: our JSON, and the formats of other programs through :mod:`mcpsec.report`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mcpsec.leaks.findings import Finding
    from mcpsec.leaks.runner import Result
    from mcpsec.report.entry import Entry

__all__ = ["document", "render"]

TOOL = "mcpsec scan-secrets"
STDIN = "<stdin>"


def render(name: str, result: Result) -> str:
    """The whole document in the format of that name.

    SARIF and GitLab's reports name a file from the top of its repository, wherever the run was started: code hosts know
    no other name for it.
    """
    if name == "json":
        import json

        return json.dumps(document(result), indent=2, ensure_ascii=False).encode("utf-8", "replace").decode() + "\n"
    from mcpsec import __version__

    hosted = name in ("sarif", "gitlab") and not result.from_git
    entries = [_entry(finding, _hosted(finding.path) if hosted else finding.path) for finding in result.findings]
    problems = [(_hosted(each.path) if hosted else each.path, each.reason) for each in result.problems]
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


def _hosted(path: str) -> str:
    from mcpsec.report.repository import path_within

    return path if path == STDIN else path_within(path)


def _entry(finding: Finding, path: str) -> Entry:
    from mcpsec.report.entry import Entry, Topic

    rule = finding.rule
    inside = f" (inside {finding.origin})" if finding.origin else ""
    return Entry(
        topic=Topic(rule.id, rule.title, f"{rule.risk} {rule.rotate}", rule.source, ("secret",)),
        message=f"{rule.title}: {finding.redacted}{inside}",
        severity={"high": "critical", "medium": "high", "low": "low"}[finding.confidence],
        path=path,
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
