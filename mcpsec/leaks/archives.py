"""Files inside zip, tar and gzip archives (wheels, jars, office documents), in memory and within bounds.

Nothing is extracted to disk, so names inside can't reach anywhere. A bomb meets limits on members, depth, bytes in
all and the ratio to the archive's own size.
"""

from __future__ import annotations

import io
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ArchiveProblem", "is_archive", "members"]

MEMBERS = 10_000
TOTAL = 256 << 20
ONE = 32 << 20
DEPTH = 3
RATIO = 200
FREE = 16 << 20
"""The ratio counts only beyond so many bytes: small archives may compress well."""


class ArchiveProblem(Exception):
    """Why an archive could not be read to its end."""


class _Budget:
    def __init__(self, size: int) -> None:
        self.members = 0
        self.bytes = 0
        self.limit = min(TOTAL, max(FREE, size * RATIO))

    def spend(self, size: int) -> None:
        self.members += 1
        self.bytes += size
        if self.members > MEMBERS:
            raise ArchiveProblem(f"more than {MEMBERS} members")
        if self.bytes > self.limit:
            raise ArchiveProblem("unpacks to more than its size allows (a bomb?)")


def is_archive(head: bytes) -> bool:
    """True for the signatures of zip, gzip, bzip2, xz and tar."""
    return (
        head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")) or head[257:262] == b"ustar"
    )


def members(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """Path inside (``a.zip!b/c.env``) and content of every file. Raises ArchiveProblem when it can't go on."""
    yield from _open(data, name, DEPTH, _Budget(len(data)))


def _open(data: bytes, name: str, depth: int, budget: _Budget) -> Iterator[tuple[str, bytes]]:
    if not is_archive(data[:262]):
        yield name, data
        return
    if not depth:
        raise ArchiveProblem(f"archives nested deeper than {DEPTH}")
    if data.startswith(b"PK"):
        inner = _zip(data, budget)
    elif data[257:262] == b"ustar":
        inner = _tar(data, budget)
    else:
        plain = _inflate(data, budget)
        yield from _open(plain, f"{name}!content" if plain[257:262] != b"ustar" else name, depth - 1, budget)
        return
    for path, content in inner:
        yield from _open(content, f"{name}!{path}", depth - 1, budget)


def _zip(data: bytes, budget: _Budget) -> Iterator[tuple[str, bytes]]:
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for entry in archive.infolist():
                if entry.is_dir() or entry.file_size > ONE:
                    continue
                if entry.flag_bits & 1:
                    raise ArchiveProblem("encrypted")
                with archive.open(entry) as stream:
                    content = stream.read(ONE + 1)
                budget.spend(len(content))
                yield entry.filename, content
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError, zlib.error, EOFError) as error:
        raise ArchiveProblem(f"broken zip: {error}") from error


def _tar(data: bytes, budget: _Budget) -> Iterator[tuple[str, bytes]]:
    import tarfile

    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for entry in archive:
                if not entry.isreg() or entry.size > ONE:
                    continue
                stream = archive.extractfile(entry)
                content = stream.read(ONE + 1) if stream else b""
                budget.spend(len(content))
                yield entry.name, content
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise ArchiveProblem(f"broken tar: {error}") from error


def _inflate(data: bytes, budget: _Budget) -> bytes:
    """One gzip, bzip2 or xz stream, never more than the budget."""
    import bz2
    import lzma

    limit = budget.limit - budget.bytes + 1
    try:
        if data.startswith(b"\x1f\x8b"):
            plain = zlib.decompressobj(wbits=31).decompress(data, limit)
        elif data.startswith(b"BZh"):
            plain = bz2.BZ2Decompressor().decompress(data, limit)
        else:
            plain = lzma.LZMADecompressor(memlimit=128 << 20).decompress(data, limit)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
        raise ArchiveProblem(f"broken archive: {error}") from error
    budget.spend(len(plain))
    return plain
