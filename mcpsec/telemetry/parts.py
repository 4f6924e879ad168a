"""The files of one log: the current one, and the parts that rotation put aside.

``events.jsonl`` is rotated to ``events.000001.jsonl`` and compressed to ``events.000001.jsonl.gz``. The chain runs
through all of them: part n+1 begins with a signed line that names part n and its last hash.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import time
from collections.abc import Mapping
from glob import escape as glob_escape
from pathlib import Path
from typing import IO, cast

from mcpsec.errors import ConfigurationError

__all__ = [
    "Compressor",
    "base_of",
    "compress",
    "expired",
    "move_aside",
    "no_log",
    "open_part",
    "part_path",
    "rotated_parts",
    "stamp",
]

_LEVEL = 2
"""Of gzip. Hashes shrink at none: 6 saves a tenth of a part for more than twice the time, which requests pay."""


def part_path(log: Path, number: int) -> Path:
    """Where part ``number`` of ``log`` lies, uncompressed."""
    return log.with_name(f"{log.stem}.{number:06d}{log.suffix}")


def rotated_parts(log: Path) -> dict[int, Path]:
    """The rotated parts beside ``log``, by number, oldest first; an uncompressed one before its compressed twin."""
    shape = re.compile(rf"{re.escape(log.stem)}\.(\d{{6,}}){re.escape(log.suffix)}(\.gz)?").fullmatch
    found: dict[int, Path] = {}
    for path in sorted(log.parent.glob("*") if log.parent.is_dir() else ()):
        match = shape(path.name)
        if match and int(match[1]) not in found:
            found[int(match[1])] = path
    return dict(sorted(found.items()))


def open_part(path: Path) -> IO[bytes]:
    """Open a part for reading, compressed or not."""
    if path.suffix == ".gz":
        import gzip

        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb")


def compress(path: Path) -> Path:
    """Replace ``path`` by its gzip form; a crash on the way leaves the original."""
    import gzip

    target = path.with_name(path.name + ".gz")
    partial = target.with_name(target.name + ".tmp")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with path.open("rb") as source, os.fdopen(descriptor, "wb") as raw:
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=_LEVEL) as packed:
            shutil.copyfileobj(source, packed, 1 << 20)
        raw.flush()
        os.fsync(raw.fileno())
    partial.replace(target)
    path.unlink()
    return target


def base_of(path: Path) -> Path:
    """The log that a file belongs to: itself, or for ``events.000001.jsonl.gz`` the log ``events.jsonl``."""
    name = path.name.removesuffix(".gz")
    match = re.fullmatch(r"(.+)\.\d{6,}(\.[^.]*)?", name)
    return path.with_name(match[1] + (match[2] or "")) if match else path


def expired(parts: Mapping[int, Path], current: int, *, keep: int | None, seconds: float | None) -> list[int]:
    """The oldest rotated parts that retention no longer keeps: beyond ``keep``, or written ``seconds`` ago."""
    doomed: list[int] = []
    for number, path in sorted(parts.items()):
        too_many = keep is not None and number <= current - 1 - keep
        too_old = seconds is not None and time.time() - path.stat().st_mtime > seconds
        if not (too_many or too_old):
            break
        doomed.append(number)
    return doomed


class Compressor:
    """Compresses parts one after the other, beside everything else; until it is done a part is whole as it is."""

    def __init__(self) -> None:
        self.busy_with: Path | None = None
        self._waiting: list[Path] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, *parts: Path) -> None:
        """Let parts wait for their turn."""
        self._waiting += parts

    def go_on(self) -> None:
        """Begin with the next part when the one before is done. Needs a running event loop."""
        if self._waiting and (self._task is None or self._task.done()):
            self.busy_with = self._waiting.pop(0)
            self._task = asyncio.get_running_loop().create_task(_compressed(self.busy_with))

    def settled(self) -> bool:
        """Whether a part was finished since this was last asked."""
        if self._task is None or not self._task.done():
            return False
        self._task = self.busy_with = None
        return True

    @staticmethod
    def remove_leftovers(log: Path) -> None:
        """Remove what a crash left of a compression."""
        for leftover in log.parent.glob(f"{glob_escape(log.stem)}.*.gz.tmp"):
            leftover.unlink(missing_ok=True)


async def _compressed(part: Path) -> None:
    with contextlib.suppress(OSError):  # no space: the next start tries what is left
        await asyncio.to_thread(compress, part)


def move_aside(log: Path, torn: bytes, keep: int) -> str:
    """Cut ``log`` off after ``keep`` bytes, ``torn`` being the rest; the name of the file that keeps these bytes."""
    aside = log.with_name(f"{log.name}.torn-{stamp()}-{keep}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(torn)
    os.truncate(log, keep)
    return aside.name


def stamp() -> str:
    """The time as it stands in names of files."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def no_log(path: Path) -> ConfigurationError:
    """What to say of a path that is no file."""
    if path.is_dir():
        inside = sorted(each for each in path.glob("*.jsonl") if each.is_file())
        hint = f"name the file: {inside[0] if inside else path / 'events.jsonl'}"
        return ConfigurationError("this is a directory", path=path, hint=hint)
    if path.exists():
        return ConfigurationError("this is no regular file, which a log is", path=path)
    hint = "mcpsec serve writes it; its path stands in mcpsec.toml under [log] file"
    return ConfigurationError("there is no such log", path=path, hint=hint)
