"""One run of ``scan-secrets``: from a request to findings, counts and problems."""

from __future__ import annotations

import os
import sys
from itertools import chain
from time import perf_counter

from mcpsec.leaks.detection import find, locate
from mcpsec.leaks.expressions import keep
from mcpsec.leaks.files import BLOCK, COPIED, OVERLAP, Buffer, Copies, Problem, Skipped, TooLarge, is_binary, read, walk
from mcpsec.leaks.findings import Finding, level
from mcpsec.leaks.rulebook import FIELDS, Rulebook, pack, packaged
from mcpsec.leaks.surroundings import surroundings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from mcpsec.leaks.allow import Allowed
    from mcpsec.leaks.baseline import Baseline
    from mcpsec.leaks.bulk import Bulk
    from mcpsec.leaks.configuration import Configuration
    from mcpsec.leaks.findings import Match
    from mcpsec.leaks.options import Request

__all__ = ["Result", "Scanner", "execute"]

BASELINE = ".mcpsec-secrets-baseline"
OWN_BASELINE = b"# mcpsec secrets baseline"
"""How a file begins that holds the fingerprints of known findings."""
SMALL = 256 << 10
"""Up to here keywords and single patterns are quicker than loading the database."""
PARALLEL = 2 << 20
COMPILE = 2 << 20
"""From here on making the database, once, pays."""


class Result:
    """What one run found, how much it read, and what it could not read."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.files = 0
        self.bytes = 0
        self.seconds = 0.0
        self.problems: list[Problem] = []
        self.skipped = Skipped()
        self.suppressed = 0
        self.warnings: list[str] = []
        self.for_baseline: list[tuple[str, str, str, str]] = []
        self.from_git = False
        """Paths are those of commits, which begin at the repository's top; else where the run was started."""

    def pack(self) -> object:
        """Plain values for another process."""
        return (
            [f.pack() for f in self.findings],
            self.files,
            self.bytes,
            [(p.path, p.reason) for p in self.problems],
            self.skipped.counts,
            self.suppressed,
            self.warnings,
            self.for_baseline,
        )

    def add(self, packed: Any, book: Rulebook) -> None:
        """Take in what another process packed."""
        findings, files, size, problems, skipped, suppressed, warnings, for_baseline = packed
        self.warnings += [text for text in warnings if text not in self.warnings]
        self.for_baseline += for_baseline
        self.findings += [Finding.unpack(row, book) for row in findings]
        self.files += files
        self.bytes += size
        self.problems += [Problem(*row) for row in problems]
        for reason, count in skipped.items():
            self.skipped.add(reason, count)
        self.suppressed += suppressed

    @property
    def exit_code(self) -> int:
        """1 for findings, else 3 when something asked for could not be scanned, else 0 (DESIGN section 5)."""
        return 1 if self.findings else 3 if self.problems else 0


def execute(request: Request) -> Result:
    """Scan what the request names. Raises mcpsec.errors.Error for what can't be asked."""
    started = perf_counter()
    result = Result()
    configuration = _configuration(request)
    book = packaged()
    if configuration is not None:
        book = configuration.book(book)
        result.warnings += configuration.warnings
    if request.rule:
        book = _only(book, request.rule)
    scanner = Scanner(book, level(request.confidence), request, result, configuration)
    in_git = request.staged or request.since is not None or request.history
    if request.discover and (request.paths or request.stdin or request.follow or in_git):
        from mcpsec.errors import UsageError

        raise UsageError("--discover looks in the home directory only", hint="leave out the paths and other sources")
    if request.baseline and not request.update_baseline:
        from mcpsec.leaks.baseline import load

        load(request.baseline)  # what is wrong with it is said even when nothing is found
    if request.follow:
        from mcpsec.leaks.following import follow

        return follow(request, scanner)
    if request.stdin or "-" in request.paths:
        scanner.text(sys.stdin.buffer.read(), "<stdin>")
    if in_git:
        from mcpsec.leaks import gitscan

        result.from_git = True
        gitscan.scan(request, scanner)
    elif request.discover:
        _discovered(request, scanner)
    elif not request.stdin or request.paths:
        _paths(request, scanner)
    result.findings.sort(key=lambda f: (f.path, f.line, f.column, f.rule.id))
    if request.update_baseline:
        _update_baseline(request, result)
    result.seconds = perf_counter() - started
    keep()
    return result


def _discovered(request: Request, scanner: Scanner) -> None:
    """What was asked for is the clients' configurations: where there is none, nothing of it was scanned."""
    from mcpsec.clientfiles.clients import configurations

    found = list(configurations())
    for _client, path in found:
        _paths_of(request, scanner, [path])
    if not found:
        home = os.path.expanduser("~")  # noqa: PTH111 # pathlib costs a hook 4 ms
        scanner.result.problems.append(Problem(home, "no MCP client's configuration is there"))


def _update_baseline(request: Request, result: Result) -> None:
    from mcpsec.leaks import baseline

    first = request.paths[0] if request.paths and request.paths[0] != "-" else "."
    path = request.baseline or os.path.join(_top(first), BASELINE)  # noqa: PTH118
    known = baseline.load(path) if os.path.exists(path) else None  # noqa: PTH110
    count = baseline.write(path, result.for_baseline, known)
    result.warnings.append(f"{path}: {count} known findings written; rotate them, the baseline only hides them")


def _configuration(request: Request) -> Configuration | None:
    if request.config:
        from mcpsec.leaks.configuration import load

        return load(request.config)
    if request.no_config:
        return None
    first = request.paths[0] if request.paths and request.paths[0] != "-" else "."
    directory = first if os.path.isdir(first) else os.path.dirname(first) or "."  # noqa: PTH112, PTH120
    from mcpsec.leaks.configuration import find as find_configuration

    path = find_configuration(directory)
    if path is None:
        return None
    from mcpsec.leaks.configuration import load

    return load(path)


def _only(book: Rulebook, names: list[str]) -> Rulebook:
    from mcpsec.errors import UsageError

    unknown = [name for name in names if name not in book.ids]
    if unknown:
        raise UsageError(f"no such rule: {', '.join(unknown)}", hint="mcpsec scan-secrets rules list")
    return Rulebook(
        pack([[getattr(book.rule(book.ids[name]), field) for field in FIELDS] for name in names], book.public),
        book.own,
    )


def _top(path: str) -> str:
    """The repository's top above a path, else the directory itself: where ignore files and baselines stand."""
    start = os.path.abspath(path)  # noqa: PTH100
    start = start if os.path.isdir(start) else os.path.dirname(start)  # noqa: PTH112, PTH120
    from mcpsec.report.repository import top

    return top(start) or start


def _paths(request: Request, scanner: Scanner) -> None:
    _paths_of(request, scanner, request.paths or ["."])


def _paths_of(request: Request, scanner: Scanner, paths: list[str]) -> None:
    trees = []
    for path in paths:
        if path == "-":
            continue
        if os.path.isdir(path):  # noqa: PTH112
            trees.append(path)
        else:
            scanner.file(path)
    if trees:
        result = scanner.result
        walks = (walk(t, skipped=result.skipped, problems=result.problems, ignore=not request.no_ignore) for t in trees)
        _many(request, scanner, chain.from_iterable(walks))


def _many(request: Request, scanner: Scanner, entries: Iterator[os.DirEntry[str]]) -> None:
    """Scan a tree's files, in several processes when there is enough to do."""
    limit = request.max_size << 20
    first, total = [], 0
    for entry in entries:  # how much there is decides how it is looked at
        first.append(entry.path)
        total += _size(entry, limit)
        if total > COMPILE:
            break
    if total > SMALL:
        scanner.prepare(total)
    names = chain(first, (entry.path for entry in entries))
    from mcpsec.leaks import parallel

    jobs = request.jobs or parallel.cores()
    if jobs <= 1 or total < PARALLEL or not parallel.can_fork():
        for name in names:
            scanner.file(name, limit)
        return

    def work(taken: Iterator[str]) -> object:
        scanner.result = Result()  # what was found before the fork is the parent's to report
        for name in taken:
            scanner.file(name, limit)
        return scanner.result.pack()

    for answer in parallel.hand_out(names, work, jobs):
        scanner.result.add(answer, scanner.book)
    scanner.result.problems.sort(key=lambda problem: (problem.path, problem.reason))  # who met them is chance


def _size(entry: os.DirEntry[str], limit: int) -> int:
    try:
        size = entry.stat(follow_symlinks=False).st_size
    except OSError:
        return 0  # reading it will say why
    return size if size <= limit else 0


class Scanner:
    """Scans files and texts into one result."""

    def __init__(
        self, book: Rulebook, floor: int, request: Request, result: Result, configuration: Configuration | None = None
    ) -> None:
        self.book = book
        self.floor = floor
        self.request = request
        self.full = request.redact == "full"
        self.result = result
        self._configuration = configuration
        self._allowed: Allowed | None = None
        self._baseline: Baseline | None = None
        self._bulk: Bulk | None = None
        self._buffer: Buffer | None = None
        self._copies: Copies
        self._lines_before = 0
        self._columns_before = 0

    def prepare(self, expected: int) -> None:
        """Load the database for large input, or make it when there is so much to do that it pays."""
        if self._bulk is not None or os.environ.get("MCPSEC_NO_HYPERSCAN"):
            return
        from mcpsec.leaks import bulk

        if bulk.available() and (expected > COMPILE or bulk.cached(self.book)):
            self._bulk = bulk.Bulk(self.book)
            self._buffer, self._copies = Buffer(), Copies()

    def file(self, path: str, limit: int = 0) -> None:
        """Scan one file, unless it has more bytes than a ``limit``; what can't be read becomes a problem."""
        result = self.result
        path = path.removeprefix("./")  # what is named like this in one run is named the same in every other
        try:
            small = self._buffer.text(path) if self._buffer is not None else None
            if small is not None:
                self._small(small, path)
            else:
                for data, offset in read(path, archives=not self.request.no_archives, limit=limit):
                    if offset < 0:
                        self._archive(data, path)
                    else:
                        self._block(data, path, offset)
        except OSError as error:
            result.problems.append(Problem(path, error.strerror or str(error)))
            return
        except TooLarge:
            result.skipped.add(f"larger than {limit >> 20} MB")
            return
        result.files += 1

    def _small(self, view: memoryview, path: str) -> None:
        """Scan a whole plain text that is still in the buffer: most have nothing to look at, and are not copied."""
        bulk, buffer, size = self._bulk, self._buffer, len(view)
        if bulk is None or buffer is None:
            self.text(bytes(view), path)
            return
        self.result.bytes += size
        if size >= COPIED and self._copies.knows(view, path):
            return
        hits = bulk.hits(view)
        if hits or surroundings(path) == "settings":
            data = bytes(view)
            matches = [] if data.startswith(OWN_BASELINE) else self.matches(data, path, hits)
            if matches:
                self.keep(data, matches, path)
                return
        if size >= COPIED:
            self._copies.remember(view, path, buffer.written)

    def _archive(self, data: bytes, path: str) -> None:
        from mcpsec.leaks.archives import ArchiveProblem, members

        left_out: list[tuple[str, str]] = []
        try:
            for name, content in members(data, path, left_out):
                before = len(self.result.findings)
                self.text(content, name)
                for finding in self.result.findings[before:]:
                    finding.path, _, finding.origin = finding.path.partition("!")
        except ArchiveProblem as problem:
            left_out.append((path, str(problem)))
        self.result.problems += [Problem(*entry) for entry in left_out]

    def _block(self, data: bytes, path: str, offset: int) -> None:
        """Scan one block of a file; later blocks begin with the end of the one before, which is not counted twice."""
        if not offset:
            if len(data) < BLOCK:
                self.text(data, path)
                return
            self._lines_before = self._columns_before = 0
        before = len(self.result.findings)
        findings = self.text(data, path)
        if offset:
            fresh = [f for f in findings if f.start >= OVERLAP // 2]
            del self.result.findings[before:]
            for finding in fresh:
                finding.column += self._columns_before if finding.line == 1 else 0
                finding.line += self._lines_before
            self.result.findings += fresh
        else:
            self.result.findings[before:] = [f for f in findings if f.start < len(data) - OVERLAP // 2]
        end = max(0, len(data) - OVERLAP)
        self._lines_before += data.count(b"\n", 0, end)
        newline = data.rfind(b"\n", 0, end)
        self._columns_before = self._columns_before + end if newline < 0 else end - newline - 1

    def matches(self, data: bytes, path: str, hits: list[tuple[int, int]] | None = None) -> list[Match]:
        """The engine's answer for one text, by the way that suits its size."""
        if self._bulk is None and len(data) > SMALL:
            self.prepare(len(data))
        if self._bulk is not None:
            return self._bulk.find(data, path=path, floor=self.floor, hits=hits)
        return find(data, path=path, floor=self.floor, book=self.book)

    def text(self, data: bytes, path: str) -> list[Finding]:
        """Scan one buffer and keep its findings."""
        self.result.bytes += len(data)
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            from mcpsec.leaks.decoding import utf16

            data = utf16(data) or data
        if is_binary(data) or data.startswith(OWN_BASELINE):
            return []
        matches = self.matches(data, path)
        return self.keep(data, matches, path) if matches else []

    def keep(self, data: bytes, matches: list[Match], path: str) -> list[Finding]:
        """Turn matches into findings, without those that are known or allowed."""
        if self._allowed is None:
            self._load_allowed()
        allowed, baseline = self._allowed, self._baseline
        result = self.result
        meant = []
        for match in matches:
            if allowed is not None and allowed.match(match, data, path):
                result.suppressed += 1
            elif self.request.update_baseline:
                result.for_baseline.append((match.rule.family, match.value, match.rule.id, path))
                result.suppressed += 1
            elif baseline is not None and baseline.knows(match.rule.family, match.value):
                result.suppressed += 1
            else:
                meant.append(match)
        findings = []
        for finding in locate(data, meant, path, full=self.full):
            if allowed is not None and allowed.finding(finding):
                result.suppressed += 1
            else:
                findings.append(finding)
        result.findings += findings
        return findings

    def _load_allowed(self) -> None:
        from mcpsec.leaks.allow import Allowed

        request = self.request
        first = request.paths[0] if request.paths and request.paths[0] != "-" else "."
        from time import gmtime, strftime

        root = "" if request.no_config else _top(first)
        self._allowed = Allowed(
            root, self._configuration, today=strftime("%Y-%m-%d", gmtime()), warn=self.result.warnings
        )
        usual = "" if request.no_config else os.path.join(root, BASELINE)  # noqa: PTH118
        path = request.baseline or (usual if os.path.exists(usual) else "")  # noqa: PTH110
        if path and not request.update_baseline:
            from mcpsec.leaks.baseline import load

            self._baseline = load(path)
