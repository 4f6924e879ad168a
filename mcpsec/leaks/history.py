"""Every version of every file in a repository's history, each blob once, and who brought a secret in.

One pass over the log, oldest commit first, says which blob came with which commit and at which path. Blobs are grouped
by path, so that of each version only what differs from its neighbour is scanned.
"""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import accumulate, islice

from mcpsec.leaks.files import is_binary, uninteresting
from mcpsec.leaks.gitrun import PREFIX, GitFailed, environment, output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import IO

__all__ = ["LOG", "PARTIAL", "REFS", "SHALLOW", "Attribution", "attribute", "batches", "blobs", "contents", "slices"]

LOG = (
    # A merge is compared with all its parents at once: what one of them already had came with a commit of its own.
    "log", "--all", "--reverse", "--raw", "--no-abbrev", "--no-renames", "--diff-merges=combined", "-z",
    "--format=%x00%H",
)  # fmt: skip
REFS = ("for-each-ref", "--format=%(objecttype)%(*objecttype) %(refname)")
SHALLOW = ("rev-parse", "--is-shallow-repository")
PARTIAL = ("config", "--name-only", "--get-regexp", r"^(remote\..*\.promisor|extensions\.partialclone)$")
STEP = 256
FAR = 8192
"""From this length on something that stands in both versions is looked for between two differences."""
MARGIN = 512
LONG = 8192
"""From this length on paragraphs are cut."""
PARAGRAPH = b"\n\n"
MOST_SEEN = 500_000
"""Paragraphs of one path that are remembered; beyond, the next version counts as new."""
BUFFER = 1 << 20
PIPE = 1 << 18
AHEAD = 64
"""Objects asked for before the answers to those before are read: fewer than a pipe's buffer holds the names of."""
BATCH = 128
"""Versions that a process takes at once."""
NOT_A_FILE = (b"000000", b"160000")
"""The modes of what was deleted, and of a submodule's commit."""
SHOWN = 500
Attribution = tuple[str, str, str, str, str, int]
"""Commit, author, e-mail address, date (ISO 8601), path, place in the log (the smaller the older)."""


class _Log:
    """Reads the log: which blob came, at which path, with which commit."""

    def __init__(self) -> None:
        self._dull: dict[bytes, bool] = {}

    def rows(self, log: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Commit, path and blob of each change to a file that is looked at, oldest first."""
        dull = self._dull
        commit = b""
        # Paths may hold any byte but NUL: what a field is, its place among the others says.
        fields = _fields(log)
        for field in fields:
            if field.startswith((b"\n:", b":")):
                path = next(fields, b"")
                words = field.split(b" ")
                if path not in dull:
                    dull[path] = bool(uninteresting(path.rpartition(b"/")[2].decode("utf-8", "surrogateescape")))
                if not dull[path] and words[field.count(b":")] not in NOT_A_FILE:
                    yield commit, path, words[-2]
            elif field:
                commit = field


def _fields(log: bytes) -> Iterator[bytes]:
    """What stands between the log's zero bytes, without all of it being there twice."""
    begin, size = 0, len(log)
    while begin <= size:
        end = log.find(b"\0", begin + BUFFER)
        end = size if end < 0 else end
        yield from log[begin:end].split(b"\0")
        begin = end + 1


def blobs(log: bytes, more: bytes, absent: set[str]) -> list[tuple[str, list[str]]]:
    """All paths of the log, and of objects listed besides, with the names of their versions, oldest first.

    A blob is listed once, at the path where it was first; what is absent is left out.
    """
    groups: dict[bytes, list[str]] = {}
    seen: set[bytes] = {name.encode() for name in absent}
    for _, path, blob in _Log().rows(log):
        if blob not in seen:
            seen.add(blob)
            groups.setdefault(path, []).append(blob.decode())
    for line in more.split(b"\n"):
        blob, _, path = line.partition(b" ")
        if path and blob not in seen and not uninteresting(path.rpartition(b"/")[2].decode("utf-8", "surrogateescape")):
            seen.add(blob)
            groups.setdefault(path, []).append(blob.decode())
    return [(path.decode("utf-8", "surrogateescape"), names) for path, names in groups.items()]


def listed(directory: str, *what: str) -> bytes:
    """Blobs and their paths, a line each; those that are missing begin with a question mark. Raises GitFailed."""
    return output(
        "rev-list", "--objects", "--missing=print", "--filter=object:type=blob", "--filter-provided-objects", *what,
        cwd=directory,
    )  # fmt: skip


def stored(directory: str) -> list[tuple[str, list[str]]]:
    """Every blob of a repository whose history can't be walked, each by itself by its name. Raises GitFailed."""
    told = output(
        "cat-file", "--batch-all-objects", "--unordered", "--batch-check=%(objecttype) %(objectname)", cwd=directory
    )
    kinds = (line.partition(b" ") for line in told.splitlines())
    return [(f"blob {name.decode()}", [name.decode()]) for kind, _, name in kinds if kind == b"blob"]


def batches(groups: list[tuple[str, list[str]]]) -> list[list[tuple[str, list[str]]]]:
    """The groups in portions of about the same number of versions, the largest group first; none is divided."""
    portions: list[list[tuple[str, list[str]]]] = []
    room = 0
    for path, names in sorted(groups, key=lambda group: -len(group[1])):
        if room < len(names):
            portions.append([])
            room = BATCH
        portions[-1].append((path, names))
        room -= len(names)
    return portions


def contents(
    directory: str, groups: Iterable[tuple[str, list[str]]], max_size: int, skip: Callable[[str], None]
) -> Iterator[tuple[str, str, bytes]]:
    """Path, object name and content of each blob, in the order of the groups.

    ``skip`` is called for each that is left out: with its size in words, or with "missing".
    """
    import subprocess

    command = [*PREFIX, "-C", directory, "cat-file", "--batch"]
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
        _widen(child.stdout)
        versions = ((path, name) for path, names in groups for name in names)
        stream = child.stdout
        ahead = _ask(child.stdin, versions)
        while ahead:
            current, ahead = ahead, _ask(child.stdin, versions)
            for path, name in current:
                data = _answer(stream, max_size, skip)
                if data is not None:
                    yield path, name, data


def _widen(stream: IO[bytes]) -> None:
    """Let git write on for a while when nobody reads."""
    with suppress(ImportError, AttributeError, OSError):  # neither everywhere nor beyond a user's share
        import fcntl

        fcntl.fcntl(stream.fileno(), fcntl.F_SETPIPE_SZ, PIPE)


def _ask(stream: IO[bytes], versions: Iterator[tuple[str, str]]) -> list[tuple[str, str]]:
    """Ask git for the next few objects, and say which; when there are no more, that these were all."""
    wanted = list(islice(versions, AHEAD))
    if wanted:
        with suppress(BrokenPipeError):  # git has ended; that it does not answer says so
            os.write(stream.fileno(), "".join(f"{name}\n" for _, name in wanted).encode())
    else:
        stream.close()
    return wanted


def _answer(stream: IO[bytes], max_size: int, skip: Callable[[str], None]) -> bytes | None:
    header = stream.readline().split()
    if len(header) != 3:
        if not header:
            raise GitFailed("git cat-file ended early: the repository may be damaged")
        skip("missing")
        return None
    size = int(header[2])
    if size > max_size:
        _pass_over(stream, size + 1)
        skip(f"larger than {max_size >> 20} MB")
        return None
    data = stream.read(size)
    if len(data) < size or not stream.read(1):
        raise GitFailed("git cat-file ended early: the repository may be damaged")
    return data


def _pass_over(stream: IO[bytes], size: int) -> None:
    """Read past an object that is too large, without keeping it."""
    while size:
        chunk = stream.read(min(size, BUFFER))
        if not chunk:
            raise GitFailed("git cat-file ended early: the repository may be damaged")
        size -= len(chunk)


def changed(old: bytes, new: bytes) -> list[tuple[int, int, bool]]:
    """The stretches of ``new`` that are not in ``old``, in order.

    Whole paragraphs, with a known one before them; of long ones whole lines, with a margin. True for those that begin
    with a known one.
    """
    stretches: list[tuple[int, int, bool]] = []
    for head, end in _apart(old, new):
        stop = new.find(PARAGRAPH, end, end + LONG)
        if stop < 0:
            stop = new.find(b"\n", end + MARGIN) + 1 or len(new)
        begin = _paragraph(new, _paragraph(new, head) - len(PARAGRAPH))
        known = begin > 0
        if not known and head > LONG:
            begin = new.rfind(b"\n", 0, head - MARGIN) + 1
        if stretches and begin <= stretches[-1][1]:
            begin, before, known = stretches.pop()
            stop = max(stop, before)
        stretches.append((begin, stop, known))
    return stretches


def _apart(old: bytes, new: bytes) -> Iterator[tuple[int, int]]:
    """Where ``new`` differs from ``old``, give or take a step: what is between two such places stands in both.

    What is the same at either end is left off. When something of the rest is found in both, the parts before and behind
    it are compared in the same way; a file is mostly changed in few places that are far from each other.
    """
    view = memoryview(new)  # to compare, not to copy
    pending = [(0, len(old), 0, len(new))]
    while pending:
        old_begin, old_end, begin, end = pending.pop()
        limit = min(old_end - old_begin, end - begin)
        head = _alike(old, old_begin, view, begin, limit)
        tail = _alike_from_behind(old, old_end, view, end, limit - head)
        old_begin, old_end, begin, end = old_begin + head, old_end - tail, begin + head, end - tail
        size, longer = end - begin, (old_end - old_begin) - (end - begin)
        if not longer and old.startswith(view[begin:end], old_begin):
            continue
        for at in (begin + size // 2, begin + size // 4, end - size // 4) if size > FAR else ():
            # with the differences before it, it stands about as far from the beginning or as far from the end
            near = old_begin + at - begin + min(longer, 0) - FAR
            part = new[at : at + STEP]
            place = old.find(part, max(old_begin, near), min(old_end, near + abs(longer) + STEP + 2 * FAR))
            if place >= 0:
                pending += (place, old_end, at, end), (old_begin, place, begin, at)
                break
        else:
            yield begin, end


def _paragraph(data: bytes, before: int) -> int:
    """Where the last paragraph begins that begins before an offset and not far from it; else 0."""
    # line feeds are taken in pairs from the first of a row, as when all of the text is split
    at = data.rfind(PARAGRAPH, max(0, before - LONG), before) if before > 0 else 0
    while at > 0 and data[at - 1] == 10:
        at -= 1
    return at + len(PARAGRAPH) if at > 0 else 0


def _alike(old: bytes, old_begin: int, new: memoryview, begin: int, limit: int) -> int:
    """How many whole steps from here on are the same."""
    same, stride = 0, _widest(limit)
    while stride >= STEP:
        at = begin + same
        if same + stride <= limit and old.startswith(new[at : at + stride], old_begin + same):
            same += stride
        stride //= 2
    return same


def _alike_from_behind(old: bytes, old_end: int, new: memoryview, end: int, limit: int) -> int:
    """How many are the same up to here."""
    same, stride = 0, _widest(limit)
    while stride >= STEP:
        at = end - same
        if same + stride <= limit and old.endswith(new[at - stride : at], 0, old_end - same):
            same += stride
        stride //= 2
    return same


def _widest(limit: int) -> int:
    """The longest stride, of which half and half again make up every number of steps."""
    return STEP << (limit // STEP).bit_length() >> 1


def fresh(seen: set[int], data: bytes, begin: int, end: int, known: bool = False) -> list[tuple[int, int]]:
    """What of a stretch no earlier version had: paragraphs beside which another stood, with a margin, whole lines.

    A file is changed in many places over the years; between two of them most text is known. The first paragraph may be
    known to stand where it stood.
    """
    paragraphs = data[begin:end].split(PARAGRAPH)
    marks = [*map(hash, zip((b"", *paragraphs), paragraphs, strict=False))]
    unknown = [number for number, mark in enumerate(marks) if mark not in seen and not (known and not number)]
    if len(seen) > MOST_SEEN:
        seen.clear()
    seen.update(marks)
    if not unknown:
        return []
    stops = [*accumulate(map(len, paragraphs))]
    size = len(data)
    stretches: list[tuple[int, int]] = []
    for number in unknown:
        breaks = begin + number * len(PARAGRAPH)
        first = max(0, breaks + (stops[number - 1] if number else 0) - MARGIN)
        last = min(size, breaks + stops[number] + len(PARAGRAPH) + MARGIN)
        if stretches and first <= stretches[-1][1]:
            stretches[-1] = (stretches[-1][0], last)
        else:
            stretches.append((first, last))
    return [(_line_start(data, first, 0), _line_end(data, last, size)) for first, last in stretches]


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
        stretches = [(0, len(data), False)]
        if path != last_path:
            seen.clear()
        elif last:
            stretches = changed(last, data)
        for begin, end, known in stretches:
            for first, stop in fresh(seen, data, begin, end, known):
                yield path, name, data[first:stop], first, data
        last_path, last = path, data


def attribute(directory: str, log: bytes, names: set[str]) -> dict[str, Attribution]:
    """The oldest commit that brought each of these objects in. Raises GitFailed."""
    wanted = {name.encode() for name in names}
    origins: dict[str, tuple[str, str, int]] = {}
    for place, (commit, path, blob) in enumerate(_Log().rows(log)):
        if blob in wanted:
            wanted.discard(blob)
            origins[blob.decode()] = (commit.decode(), path.decode("utf-8", "surrogateescape"), place)
            if not wanted:
                break
    who = _people(directory, sorted({commit for commit, _, _ in origins.values()}))
    return {
        blob: (commit, *who.get(commit, ("", "", "")), path, place) for blob, (commit, path, place) in origins.items()
    }


def _people(directory: str, commits: list[str]) -> dict[str, tuple[str, str, str]]:
    """Author, e-mail address and date of commits."""
    who = {}
    for first in range(0, len(commits), SHOWN):
        shown = output(
            "show", "-s", "--format=%H%x00%an%x00%ae%x00%aI%x00", *commits[first : first + SHOWN], cwd=directory
        )
        fields = iter(shown.decode("utf-8", "replace").split("\0"))
        for commit in fields:
            who[commit.strip()] = (next(fields, ""), next(fields, ""), next(fields, ""))
    return who
