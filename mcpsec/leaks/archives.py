"""Files inside zip, tar and gzip archives (wheels, jars, office documents), in memory and within bounds.

Nothing is extracted to disk, so names inside can't reach anywhere. A bomb meets limits on members, depth, bytes in
all and the ratio to the archive's own size.
"""

from __future__ import annotations

import io
import zlib

from mcpsec.leaks.files import BINARY_PROBE, uninteresting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["ArchiveProblem", "is_archive", "members"]

MEMBERS = 10_000
TOTAL = 256 << 20
ONE = 32 << 20
DEPTH = 3
RATIO = 200
PIECE = 64 << 10
FREE = 16 << 20
"""The ratio counts only beyond so many bytes: small archives may compress well."""


class ArchiveProblem(Exception):
    """Why an archive could not be read to its end."""


class _Exhausted(ArchiveProblem):
    """The whole archive has used up what it may; nothing more of it is looked at."""


class _Budget:
    def __init__(self, size: int) -> None:
        self.members = 0
        self.bytes = 0
        self.limit = min(TOTAL, max(FREE, size * RATIO))

    def spend(self, size: int) -> None:
        self.members += 1
        self.bytes += size
        if self.members > MEMBERS:
            raise _Exhausted(f"more than {MEMBERS} members")
        if self.bytes > self.limit:
            raise _Exhausted("unpacks to more than its size allows (a bomb?)")


def is_archive(head: bytes) -> bool:
    """True for the signatures of zip, gzip, bzip2, xz and tar."""
    return (
        head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")) or head[257:262] == b"ustar"
    )


def members(data: bytes, name: str, left_out: list[tuple[str, str]]) -> Iterator[tuple[str, bytes]]:
    """Path inside (``a.zip!b/c.env``) and content of every file.

    Members that could not be looked into go to ``left_out`` with the reason, and the others still come.
    Raises ArchiveProblem when the archive itself can't be read on.
    """
    yield from _open(data, name, DEPTH, _Budget(len(data)), left_out)


def _open(
    data: bytes, name: str, depth: int, budget: _Budget, left_out: list[tuple[str, str]]
) -> Iterator[tuple[str, bytes]]:
    if not is_archive(data[:262]):
        yield name, data
        return
    if not depth:
        raise ArchiveProblem(f"archives nested deeper than {DEPTH}")
    if data.startswith(b"PK"):
        inner = _zip(data, name, budget, left_out)
    elif data[257:262] == b"ustar":
        inner = _tar(data, name, budget, left_out)
    else:
        plain, problem = _inflate(data, budget)
        yield from _open(plain, name if plain[257:262] == b"ustar" else f"{name}!content", depth - 1, budget, left_out)
        if problem:
            raise ArchiveProblem(problem)
        return
    for path, content in inner:
        try:
            yield from _open(content, f"{name}!{path}", depth - 1, budget, left_out)
        except _Exhausted:
            raise
        except ArchiveProblem as problem:
            left_out.append((f"{name}!{path}", str(problem)))


def _too_large(name: str, head: bytes, left_out: list[tuple[str, str]]) -> None:
    """Say that a member is not looked into, unless it is one that would be passed over anyway."""
    if not uninteresting(name) and (is_archive(head[:262]) or b"\0" not in head):
        left_out.append((name, f"larger than {ONE >> 20} MB"))


def _zip(data: bytes, name: str, budget: _Budget, left_out: list[tuple[str, str]]) -> Iterator[tuple[str, bytes]]:
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith("/"):  # is_dir() ends in an IndexError for an entry without a name
                    continue
                if entry.flag_bits & 1:
                    left_out.append((f"{name}!{entry.filename}", "encrypted"))
                    continue
                with archive.open(entry) as stream:
                    large = entry.file_size > ONE
                    content = stream.read(BINARY_PROBE if large else ONE + 1)
                if large:
                    _too_large(f"{name}!{entry.filename}", content, left_out)
                    continue
                budget.spend(len(content))
                yield entry.filename, content
    # zipfile says NotImplementedError of an archive whose compression method it does not know.
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError, zlib.error, EOFError) as error:
        raise ArchiveProblem(f"broken zip: {error}") from error


def _tar(data: bytes, name: str, budget: _Budget, left_out: list[tuple[str, str]]) -> Iterator[tuple[str, bytes]]:
    import tarfile

    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for entry in archive:
                if not entry.isreg():
                    continue
                stream = archive.extractfile(entry)
                large = entry.size > ONE
                content = stream.read(BINARY_PROBE if large else ONE + 1) if stream else b""
                if large:
                    _too_large(f"{name}!{entry.name}", content, left_out)
                    continue
                budget.spend(len(content))
                yield entry.name, content
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise ArchiveProblem(f"broken tar: {error}") from error


def _inflate(data: bytes, budget: _Budget) -> tuple[bytes, str]:
    """What gzip, bzip2 or xz streams hold, never more than the budget; and what ended it early."""
    import lzma

    parts: list[bytes] = []
    problem = ""
    try:
        parts.extend(_streams(data, budget.limit - budget.bytes + 1))  # keeps what came before an error
    except (ArchiveProblem, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
        problem = f"broken archive: {error}"
    plain = b"".join(parts)
    if problem and not plain:
        raise ArchiveProblem(problem)
    budget.spend(len(plain))
    return plain, problem


def _streams(data: bytes, limit: int) -> Iterator[bytes]:
    """The content of streams that follow each other, ``limit`` bytes at most, from small pieces of the input."""
    position, magic = 0, data[:2]
    while position < len(data):
        if data[position : position + 2] != magic:
            raise ArchiveProblem("something else stands behind its end")
        stream = _decompressor(data[:3])
        while not stream.eof:
            piece = data[position : position + PIECE]
            if not piece:
                raise ArchiveProblem("it ends early")
            position += len(piece)
            part = stream.decompress(piece, limit)  # less than the limit means that the whole piece was used
            yield part
            limit -= len(part)
            if limit <= 0:
                return
        position -= len(stream.unused_data)
        if data[position : position + 1] == b"\0":  # padding
            position = len(data) - len(data[position:].lstrip(b"\0"))


def _decompressor(magic: bytes) -> Any:
    """A fresh one for the stream's signature; the three have ``decompress``, ``eof`` and ``unused_data`` in common."""
    import bz2
    import lzma

    if magic.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(wbits=31)
    return bz2.BZ2Decompressor() if magic == b"BZh" else lzma.LZMADecompressor(memlimit=128 << 20)
