"""Scanning what git holds: the index, a range of commits, the whole history."""

from __future__ import annotations

import os
import sys

from mcpsec.leaks.files import Problem, is_binary
from mcpsec.leaks.gitrun import GitFailed, output, together
from mcpsec.leaks.patches import added

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
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

UNTOLD = "every file version that is stored was scanned, without who brought it in and where"
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

    log, refs, shallow, partial = together(
        (history.LOG, history.REFS, history.SHALLOW, history.PARTIAL), lambda: scanner.prepare(0), directory
    )
    if isinstance(refs, GitFailed):
        raise refs
    more, absent = b"", set[str]()
    if isinstance(log, GitFailed):  # a commit or a tree is missing or damaged: the files that are there are scanned
        scanner.result.problems.append(Problem(directory, f"{log.message}; {UNTOLD}; {_hint(log)}"))
        log, groups = b"", history.stored(directory)
    else:
        more, absent = _besides(directory, refs, partial)
        groups = history.blobs(log, more, absent)
    if shallow == b"true\n":
        scanner.result.problems.append(Problem(directory, "the clone is shallow: older history is not there"))
    versions = sum(len(names) for _, names in groups)
    scanner.prepare(versions * 8192)
    jobs = request.jobs or parallel.cores()
    limit = request.max_size << 20
    rows: list[tuple[str, Any]] = []
    missing = len(absent)
    if versions < 200 or jobs <= 1 or not parallel.can_fork():
        rows, missing_here, _ = _versions(scanner, directory, groups, limit)
        missing += missing_here
    else:
        portions = history.batches(groups)

        def work(taken: Iterator[str]) -> object:
            scanner.result = type(scanner.result)()  # what was found before the fork is the parent's to report
            return _versions(scanner, directory, (group for number in taken for group in portions[int(number)]), limit)

        numbers = map(str, range(len(portions)))
        for hits, missing_there, packed in parallel.hand_out(numbers, work, jobs, at_once=1):
            scanner.result.add(packed, scanner.book)
            rows += hits
            missing += missing_there
    if missing:
        scanner.result.problems.append(Problem(directory, f"{missing} objects are missing: {PARTIAL}"))
    from mcpsec.leaks.findings import Finding

    found = [(name, Finding.unpack(row, scanner.book)) for name, row in rows]
    scanner.result.findings += _attributed(directory, log, found)


def _besides(directory: str, refs: bytes, partial: bytes | GitFailed) -> tuple[bytes, set[str]]:
    """What the log does not tell: the files of refs that name no commit, and which objects a partial clone lacks.

    Git itself would fetch each of these when asked for it.
    """
    from mcpsec.leaks.history import listed

    kinds = (line.partition(b" ") for line in refs.splitlines())
    others = [os.fsdecode(ref) for kind, _, ref in kinds if kind not in (b"commit", b"tagcommit")]
    more = listed(directory, *others) if others else b""
    absent: set[str] = set()
    if not isinstance(partial, GitFailed):  # it ends with an error when no setting has such a name
        absent = {line[1:].decode() for line in listed(directory, "--all").splitlines() if line.startswith(b"?")}
    return more, absent


def _versions(
    scanner: Scanner, directory: str, groups: Iterable[tuple[str, list[str]]], limit: int
) -> tuple[list[tuple[str, Any]], int, Any]:
    """Scan the versions of some paths; answers with hits by object name, how many were missing, and the counts."""
    from mcpsec.leaks import history

    result = scanner.result
    missing = 0

    def skip(reason: str) -> None:
        nonlocal missing
        if reason == "missing":
            missing += 1
        else:
            result.skipped.add(reason)

    hits = []
    kept = result.findings
    for path, name, text, offset, whole in history.slices(history.contents(directory, groups, limit, skip)):
        result.findings = []
        result.files += 1
        findings = scanner.text(text, path)
        if not findings:
            continue
        lines = whole.count(b"\n", 0, offset)
        if len(text) < len(whole) and any(b"\n" in text[each.start : each.end] for each in findings):
            findings, lines = scanner.text(whole, path), 0  # a part of a version may hold half of a key
        for finding in findings:
            finding.line += lines
            hits.append((name, finding.pack()))
    result.findings = kept
    return hits, missing, result.pack()


def _attributed(directory: str, log: bytes, found: list[tuple[str, Finding]]) -> list[Finding]:
    """Give each finding its first commit; one finding for each value and path."""
    if not found:
        return []
    from mcpsec.leaks import history

    origins = history.attribute(directory, log, {name for name, _ in found})
    first: dict[tuple[str, str], tuple[int, Finding]] = {}
    for name, finding in found:
        age = sys.maxsize
        if name in origins:
            finding.commit, finding.author, finding.email, finding.date, finding.path, age = origins[name]
        key = (finding.fingerprint, finding.path)
        known = first.get(key)
        if known is None or age < known[0]:
            first[key] = (age, finding)
    return [finding for _, finding in first.values()]
