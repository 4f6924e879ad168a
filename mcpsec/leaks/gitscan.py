"""Scanning what git holds: the index, a range of commits, the whole history."""

from __future__ import annotations

import os

from mcpsec.leaks.files import Problem, is_binary
from mcpsec.leaks.gitrun import GitFailed, output
from mcpsec.leaks.patches import added

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mcpsec.leaks.findings import Finding
    from mcpsec.leaks.options import Request
    from mcpsec.leaks.runner import Scanner

__all__ = ["scan"]

DIFF = (
    "-U0",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--text",  # an attribute of the repository can call any file binary; what is one is seen by its content
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--diff-filter=ACMRT",
)

PARTIAL = "a partial clone lacks objects, and scanning fetches none: git fetch --refetch --no-filter"


def scan(request: Request, scanner: Scanner) -> None:
    """Run the git sources that the request names. Raises NotAssessedError when there is no usable repository."""
    directory, below = _repository(request.paths)
    try:
        if request.staged:
            _patch(scanner, directory, output("diff", "--cached", *DIFF, "--", *below, cwd=directory))
        if request.since is not None:
            _since(scanner, directory, request.since, below)
        if request.history:
            _history(request, scanner, directory)
    except GitFailed as error:
        from mcpsec.errors import NotAssessedError

        error = _cause(error, directory)
        raise NotAssessedError(f"git could not be read: {error.message}", path=directory, hint=_hint(error)) from error


def _cause(error: GitFailed, directory: str) -> GitFailed:
    """What is wrong: outside a repository ``git diff`` complains of its options instead of saying so."""
    try:
        output("rev-parse", "--git-dir", cwd=directory)
    except GitFailed as cause:
        return cause
    return error


def _hint(error: GitFailed) -> str:
    if "not installed" in error.message:
        return "install git, or name files and directories to scan them as they are"
    if "not a git repository" in error.message:
        return "run it inside a repository, or name files and directories to scan them as they are"
    if "dubious ownership" in error.message:
        return "git config --global --add safe.directory DIRECTORY, if you trust its owner"
    if "not allowed" in error.message or "lazy fetching" in error.message:
        return PARTIAL
    return "check the repository with: git fsck"


def _repository(paths: list[str]) -> tuple[str, list[str]]:
    """The directory to run git in, and the paths below it that were asked for."""
    if len(paths) == 1 and os.path.isdir(paths[0]):  # noqa: PTH112
        return paths[0], []
    return ".", paths


def _patch(scanner: Scanner, directory: str, patch: bytes) -> list[tuple[str, Finding]]:
    """Scan the added lines of a patch; line numbers are those of the new files."""
    if len(patch) > 256 << 10:
        scanner.prepare(len(patch))
    hits = []
    for part in added(patch):
        if is_binary(part.text):
            continue
        findings = scanner.text(part.text, part.path)
        scanner.result.files += 1
        for finding in findings:
            finding.line = part.line_of(finding.line)
            hits.append((part.commit, finding))
    return hits


def _since(scanner: Scanner, directory: str, revision: str, below: list[str]) -> None:
    from mcpsec.errors import UsageError

    old, _, new = revision.partition("..")
    new = new or "HEAD"
    unknown = len(old) >= 40 and not old.strip("0")  # how git names, in its hooks, what a new ref was before
    for name in (new,) if unknown else (old, new):
        if not name or name.startswith(("-", ".")):
            raise UsageError(f"not a revision or range of revisions: {revision}")
        try:
            output("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", cwd=directory)
        except GitFailed as error:
            if error.message == "git failed":
                raise UsageError(
                    f"no commit {name}", hint="a shallow clone may lack it: git fetch --unshallow"
                ) from error
            raise
    commits = _unknown(new) if unknown else (f"{old}..{new}",)
    log = output("log", "-p", "--format=commit %H", *DIFF, *commits, "--", *below, cwd=directory)
    hits = _patch(scanner, directory, log)
    who: dict[str, list[str]] = {}
    for commit, finding in hits:
        if commit not in who:
            shown = output("show", "-s", "--format=%aI%x00%ae%x00%an", commit, cwd=directory)
            who[commit] = shown.decode("utf-8", "replace").strip().split("\0", 2)
        finding.commit = commit
        finding.date, finding.email, finding.author = who[commit]


def _unknown(new: str) -> tuple[str, ...]:
    """The commits of a new ref that nobody has yet.

    While git receives a push they are in quarantine and no ref has them; before a push the local refs do.
    """
    return (new, "--not", "--all" if os.environ.get("GIT_QUARANTINE_PATH") else "--remotes")


def _history(request: Request, scanner: Scanner, directory: str) -> None:
    from mcpsec.leaks import history, parallel

    groups, missing = history.blobs(directory)
    if missing:
        scanner.result.problems.append(Problem(directory, f"{missing} objects are missing: {PARTIAL}"))
    if output("rev-parse", "--is-shallow-repository", cwd=directory).strip() == b"true":
        scanner.result.problems.append(Problem(directory, "the clone is shallow: older history is not there"))
    versions = sum(len(names) for _, names in groups)
    scanner.prepare(versions * 8192)
    jobs = request.jobs or parallel.cores()
    if versions < 200 or not parallel.can_fork():
        jobs = 1
    shares: list[list[tuple[str, list[str]]]] = [[] for _ in range(jobs)]
    loads = [0] * jobs
    for path, names in groups:
        lightest = loads.index(min(loads))
        shares[lightest].append((path, names))
        loads[lightest] += len(names)
    limit = request.max_size << 20

    def work(number: int) -> object:
        if jobs > 1:
            scanner.result = type(scanner.result)()  # what was found before the fork is the parent's to report
        return _versions(scanner, directory, shares[number], limit)

    rows: list[tuple[str, Any]] = []
    from mcpsec.leaks.findings import Finding

    for hits, packed in parallel.share(work, jobs):
        if jobs > 1:
            scanner.result.add(packed, scanner.book)
        rows += hits
    found = [(name, Finding.unpack(row, scanner.book)) for name, row in rows]
    scanner.result.findings += _attributed(directory, found)


def _versions(scanner: Scanner, directory: str, groups: list[tuple[str, list[str]]], limit: int) -> object:
    """Scan the versions of some paths; answers with hits by object name, and the counts."""
    from mcpsec.leaks import history

    result = scanner.result

    def skip(reason: str) -> None:
        if reason:
            result.problems.append(Problem(directory, reason))
        else:
            result.skipped.add(f"larger than {limit >> 20} MB")

    hits = []
    kept = result.findings
    for path, name, text, offset, whole in history.slices(history.contents(directory, groups, limit, skip)):
        result.findings = []
        result.files += 1
        for finding in scanner.text(text, path):
            finding.line += whole.count(b"\n", 0, offset)
            hits.append((name, finding.pack()))
    result.findings = kept
    return hits, result.pack()


def _attributed(directory: str, found: list[tuple[str, Finding]]) -> list[Finding]:
    """Give each finding its first commit; one finding for each value and path."""
    if not found:
        return []
    from mcpsec.leaks import history

    origins = history.attribute(directory, {name for name, _ in found})
    first: dict[tuple[str, str], tuple[int, Finding]] = {}
    for name, finding in found:
        age = -1
        if name in origins:
            finding.commit, finding.author, finding.email, finding.date, finding.path, age = origins[name]
        key = (finding.fingerprint, finding.path)
        known = first.get(key)
        if known is None or age > known[0]:
            first[key] = (age, finding)
    return [finding for _, finding in first.values()]
