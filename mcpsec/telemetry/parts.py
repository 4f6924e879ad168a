"""The files of one log: the current one, and the parts that rotation put aside.

``events.jsonl`` is rotated to ``events.000001.jsonl`` and compressed to ``events.000001.jsonl.gz``. The chain runs
through all of them: part n+1 begins with a signed line that names part n and its last hash.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, cast

__all__ = ["base_of", "compress", "expired", "open_part", "part_path", "rotated_parts"]


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
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb")


def compress(path: Path) -> Path:
    """Replace ``path`` by its gzip form; a crash on the way leaves the original."""
    target = path.with_name(path.name + ".gz")
    partial = target.with_name(target.name + ".tmp")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with path.open("rb") as source, os.fdopen(descriptor, "wb") as raw:
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6) as packed:
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
