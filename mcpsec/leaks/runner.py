"""One run of ``scan-secrets``: from a request to findings, counts and problems."""

from __future__ import annotations

import os
import sys
from time import perf_counter

from mcpsec.leaks.detection import find, locate
from mcpsec.leaks.files import Problem, Skipped, is_binary, read, walk
from mcpsec.leaks.findings import level
from mcpsec.leaks.rulebook import Rulebook, packaged

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mcpsec.leaks.findings import Finding
    from mcpsec.leaks.options import Request

__all__ = ["Result", "execute"]


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

    @property
    def exit_code(self) -> int:
        """1 for findings, else 3 when something asked for could not be scanned, else 0 (DESIGN section 5)."""
        return 1 if self.findings else 3 if self.problems else 0


def execute(request: Request) -> Result:
    """Scan what the request names. Raises mcpsec.errors.Error for what can't be asked."""
    started = perf_counter()
    result = Result()
    book = packaged()
    scanner = Scanner(book, level(request.confidence), full=request.redact == "full", result=result)
    if request.stdin or "-" in request.paths:
        scanner.text(sys.stdin.buffer.read(), "<stdin>")
    for path in request.paths or ([] if request.stdin else ["."]):
        if path == "-":
            continue
        if os.path.isdir(path):  # noqa: PTH112
            for name, size in walk(
                path, skipped=result.skipped, problems=result.problems, ignore=not request.no_ignore
            ):
                if size > request.max_size << 20:
                    result.skipped.add(f"larger than {request.max_size} MB")
                else:
                    scanner.file(name)
        else:
            scanner.file(path)
    result.seconds = perf_counter() - started
    book.keep()
    return result


class Scanner:
    """Scans files and texts into one result."""

    def __init__(self, book: Rulebook, floor: int, *, full: bool, result: Result) -> None:
        self.book = book
        self.floor = floor
        self.full = full
        self.result = result

    def file(self, path: str) -> None:
        """Scan one file; what can't be read becomes a problem."""
        result = self.result
        try:
            for data, offset in read(path):
                self.text(data, path, offset)
        except OSError as error:
            result.problems.append(Problem(path, error.strerror or str(error)))
            return
        result.files += 1

    def text(self, data: bytes, path: str, offset: int = 0) -> None:
        """Scan one buffer."""
        self.result.bytes += len(data)
        if is_binary(data):
            return
        matches = find(data, path=path, floor=self.floor, book=self.book)
        if matches:
            self.result.findings += locate(data, matches, path, full=self.full)
