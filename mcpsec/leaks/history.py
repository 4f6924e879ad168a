"""Every version of every file in a repository's history, each blob once, and who brought a secret in.

Blobs are grouped by path, so that of each version only what differs from its neighbour is scanned; hits alone are
attributed, with one pass over the log.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import accumulate

from mcpsec.leaks.files import is_binary, uninteresting
from mcpsec.leaks.gitrun import PREFIX, GitFailed, environment, output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

__all__ = ["Attribution", "attribute", "blobs", "contents", "slices"]

STEP = 4096
MARGIN = 1024
PARAGRAPH = b"\n\n"
MOST_SEEN = 500_000
"""Paragraphs of one path that are remembered; beyond, the next version counts as new."""
BUFFER = 1 << 20
Attribution = tuple[str, str, str, str, str, int]
"""Commit, author, e-mail address, date (ISO 8601), path, place in the log (the larger the older)."""


def blobs(directory: str) -> tuple[list[tuple[str, list[str]]], int]:
    """All paths of all refs with the object names of their versions, oldest first; how many objects are missing.

    Raises GitFailed.
    """
    listing = output(
        "rev-list", "--objects", "--all", "--missing=print", "--filter=object:type=blob",
        "--filter-provided-objects", cwd=directory,
    )  # fmt: skip
    groups: dict[bytes, list[str]] = {}
    missing = 0
    for line in listing.split(b"\n"):
        name, _, path = line.partition(b" ")
        if name.startswith(b"?"):
            missing += 1
        elif path:
            groups.setdefault(path, []).append(name.decode())
    found = []
    for path, names in groups.items():
        text = path.decode("utf-8", "surrogateescape")
        if not uninteresting(text.rpartition("/")[2]):
            names.reverse()
            found.append((text, names))
    return found, missing


def contents(  # noqa: PLR0912
    directory: str, groups: list[tuple[str, list[str]]], max_size: int, skip: Callable[[str], None]
) -> Iterator[tuple[str, str, bytes]]:
    """Path, object name and content of each blob, in the order of the groups."""
    import subprocess

    command = [*PREFIX, "-C", directory, "cat-file", "--batch", "--buffer"]
    with subprocess.Popen(
        command,
        bufsize=BUFFER,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        if child.stdin is None or child.stdout is None:
            raise GitFailed("git cat-file gave no pipes")
        writer = os.fork() if hasattr(os, "fork") else -1
        if writer == 0:
            try:
                for _, names in groups:
                    child.stdin.write("".join(f"{name}\n" for name in names).encode())
                child.stdin.close()
            finally:
                os._exit(0)
        if writer < 0:
            import threading

            threading.Thread(target=_feed, args=(child.stdin, groups), daemon=True).start()
        else:
            child.stdin.close()
        stream = child.stdout
        for path, names in groups:
            for name in names:
                header = stream.readline().split()
                if len(header) != 3:
                    if not header:
                        raise GitFailed("git cat-file ended early: the repository may be damaged")
                    skip(f"{path}: object {name[:12]} is missing")
                    continue
                size = int(header[2])
                if size > max_size:
                    _pass_over(stream, size + 1)
                    skip("")
                    continue
                data = stream.read(size)
                if len(data) < size or not stream.read(1):
                    raise GitFailed("git cat-file ended early: the repository may be damaged")
                yield path, name, data
        if writer > 0:
            os.waitpid(writer, 0)


def _pass_over(stream: IO[bytes], size: int) -> None:
    """Read past an object that is too large, without keeping it."""
    while size:
        chunk = stream.read(min(size, BUFFER))
        if not chunk:
            raise GitFailed("git cat-file ended early: the repository may be damaged")
        size -= len(chunk)


def _feed(stream: IO[bytes], groups: list[tuple[str, list[str]]]) -> None:
    with suppress(BrokenPipeError):  # git has ended: whoever reads its answers says so
        for _, names in groups:
            stream.write("".join(f"{name}\n" for name in names).encode())
        stream.close()


def changed(old: bytes, new: bytes) -> tuple[int, int]:
    """The stretch of ``new`` that is not in ``old`` at the same distance from either end, with a margin, whole lines."""  # noqa: E501
    limit = min(len(old), len(new))
    head = _alike(old, new, limit)
    limit -= head
    tail = 0
    old_size, new_size = len(old), len(new)
    while (
        tail + STEP <= limit
        and old[old_size - tail - STEP : old_size - tail] == new[new_size - tail - STEP : new_size - tail]
    ):
        tail += STEP
    begin = new.rfind(b"\n", 0, max(0, head - MARGIN)) + 1 if head > MARGIN else 0
    end = new_size - tail + MARGIN
    end = new_size if end >= new_size else (new.find(b"\n", end) + 1 or new_size)
    return begin, end


def _alike(old: bytes, new: bytes, limit: int) -> int:
    """How many whole steps at the beginning are the same; the stride doubles while they are."""
    head, stride = 0, STEP
    while stride >= STEP:
        if head + stride <= limit and old.startswith(new[head : head + stride], head):
            head += stride
            stride *= 2
        else:
            stride //= 2
    return head


def fresh(seen: set[int], data: bytes, begin: int, end: int) -> list[tuple[int, int]]:
    """What of a stretch no earlier version had: paragraphs beside which another stood, with a margin, whole lines.

    A file is changed in many places over the years; between two of them most text is known.
    """
    paragraphs = data[begin:end].split(PARAGRAPH)
    marks = [*map(hash, zip((b"", *paragraphs), paragraphs, strict=False))]
    unknown = [number for number, mark in enumerate(marks) if mark not in seen]
    if len(seen) > MOST_SEEN:
        seen.clear()
    seen.update(marks)
    if not unknown:
        return []
    stops = [*accumulate(len(paragraph) + len(PARAGRAPH) for paragraph in paragraphs)]
    stretches: list[tuple[int, int]] = []
    for number in unknown:
        first = max(begin, begin + (stops[number - 1] if number else 0) - MARGIN)
        last = min(end, begin + stops[number] + MARGIN)
        if stretches and first <= stretches[-1][1]:
            stretches[-1] = (stretches[-1][0], last)
        else:
            stretches.append((first, last))
    return [(_line_start(data, first, begin), _line_end(data, last, end)) for first, last in stretches]


def _line_start(data: bytes, at: int, lowest: int) -> int:
    return max(lowest, data.rfind(b"\n", lowest, at) + 1)


def _line_end(data: bytes, at: int, highest: int) -> int:
    found = data.find(b"\n", at, highest)
    return highest if found < 0 else found + 1


def slices(versions: Iterator[tuple[str, str, bytes]]) -> Iterator[tuple[str, str, bytes, int, bytes]]:
    """Path, object name, the text to scan, its offset, and the whole version; versions of a path come oldest first."""
    last_path, last = "", b""
    seen: set[int] = set()
    for path, name, data in versions:
        if is_binary(data):
            continue
        begin, end = 0, len(data)
        if path != last_path:
            seen.clear()
        elif last:
            begin, end = changed(last, data)
        for first, stop in fresh(seen, data, begin, end):
            yield path, name, data[first:stop], first, data
        last_path, last = path, data


def attribute(directory: str, names: set[str]) -> dict[str, Attribution]:
    """The oldest commit that brought each of these objects in."""
    log = output(
        "log", "--all", "--raw", "--no-abbrev", "--no-renames", "-m", "--diff-filter=ACMRT", "-z",
        "--format=%x00%H%x00%an%x00%ae%x00%aI", cwd=directory,
    )  # fmt: skip
    found: dict[str, Attribution] = {}
    # Names and paths may hold any byte but NUL: what a field is, its place among the others says.
    fields = iter(log.split(b"\0"))
    for place, name in enumerate(filter(None, fields)):
        commit, author, email, date = (
            field.decode("utf-8", "replace") for field in (name, *(next(fields, b"") for _ in range(3)))
        )
        while (row := next(fields, b"").removeprefix(b"\n")).startswith(b":"):
            path = next(fields, b"").decode("utf-8", "surrogateescape")
            blob = row.split(b" ")[3].decode()
            if blob in names:
                found[blob] = (commit, author, email, date, path, place)
    return found
