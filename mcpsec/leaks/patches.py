"""Reading a unified diff: which lines were added, to which file, at which line (git's own format, -U0)."""

from __future__ import annotations

from mcpsec.leaks.expressions import expression

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Added", "added"]

_HUNK = expression(rb"@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_ESCAPED = expression(r"\\([0-7]{3}|.)")
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class Added:
    """The added lines of one file: ``text`` holds the hunks one after the other, ``lines`` where each begins."""

    __slots__ = ("commit", "lines", "path", "text")

    def __init__(self, path: str, commit: str, text: bytes, lines: list[tuple[int, int, int]]) -> None:
        self.path = path
        self.commit = commit
        self.text = text
        self.lines = lines

    def line_of(self, number: int) -> int:
        """The line in the file for a 1-based line of ``text``."""
        for first, start, count in self.lines:
            if first <= number < first + count:
                return start + number - first
        return number


def added(patch: bytes) -> Iterator[Added]:
    """Each file of a ``git diff -U0``/``git log -p -U0`` output with the lines it gained.

    Consecutive hunks are joined only by a line feed, so that a value split over two hunks is not made up.
    """
    path, commit = "", ""
    chunks: list[bytes] = []
    lines: list[tuple[int, int, int]] = []
    total = 0
    at, size = 0, len(patch)
    while at < size:
        end = patch.find(b"\n", at)
        end = size if end < 0 else end
        line = patch[at:end]
        at = end + 1
        if line.startswith(b"@@ ") and (hunk := _HUNK.match(line)):
            gone, start, count = int(hunk.group(1) or 1), int(hunk.group(2)), int(hunk.group(3) or 1)
            body: list[bytes] = []
            while at < size and (gone or count or patch[at : at + 1] == b"\\"):
                end = patch.find(b"\n", at)
                end = size if end < 0 else end
                mark = patch[at : at + 1]
                if mark == b"+" and count:
                    body.append(patch[at + 1 : end])
                    count -= 1
                elif mark == b"-" and gone:
                    gone -= 1
                elif mark != b"\\":
                    break
                at = end + 1
            if body:
                chunks.append(b"\n".join(body))
                lines.append((total + 1, start, len(body)))
                total += len(body)
        elif line.startswith((b"diff --git ", b"commit ")):
            if chunks:
                yield Added(path, commit, b"\n".join(chunks) + b"\n", lines)
            chunks, lines, total, path = [], [], 0, ""
            if line.startswith(b"commit "):
                commit = line[7:].decode("ascii", "replace")
        elif line.startswith(b"+++ "):
            path = _name(line[4:])
    if chunks:
        yield Added(path, commit, b"\n".join(chunks) + b"\n", lines)


def _name(raw: bytes) -> str:
    text = raw.decode("utf-8", "surrogateescape").rstrip("\t")
    if text.startswith('"') and text.endswith('"'):
        text = _ESCAPED.sub(
            lambda m: _ESCAPES.get(m.group(1)) or (chr(int(m.group(1), 8)) if m.group(1).isdigit() else m.group(1)),
            text[1:-1],
        )
    return "" if text == "/dev/null" else text.removeprefix("b/")
