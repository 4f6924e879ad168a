"""Watching a growing log file: each new stretch of whole lines is scanned as it arrives, as ``tail -F`` does."""

from __future__ import annotations

import os
import sys
from time import sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from mcpsec.leaks.options import Request
    from mcpsec.leaks.runner import Result, Scanner

__all__ = ["follow"]

PAUSE = 0.5
CHUNK = 1 << 20


def follow(request: Request, scanner: Scanner) -> Result:
    """Report findings line by line until interrupted. Starts at the file's end; a rotated file is read from its start."""  # noqa: E501
    from mcpsec.errors import UsageError

    if len(request.paths) != 1:
        raise UsageError("--follow needs exactly one file")
    path = request.paths[0]
    try:
        with open(path, "rb") as stream:  # noqa: PTH123
            inode = os.fstat(stream.fileno()).st_ino
            position, lines = _read_so_far(stream)
    except OSError as error:
        raise UsageError(f"can't follow {path}: {error.strerror}") from error
    rest = b""
    try:
        while True:
            position, inode, lines, rest = _step(scanner, path, position, inode, lines, rest)
            sleep(PAUSE)
    except KeyboardInterrupt:
        return scanner.result


def _read_so_far(stream: BinaryIO) -> tuple[int, int]:
    """How many bytes and lines there are now; both of what was read, as the log may grow meanwhile."""
    size = lines = 0
    while chunk := stream.read(CHUNK):
        size += len(chunk)
        lines += chunk.count(b"\n")
    return size, lines


def _step(
    scanner: Scanner, path: str, position: int, inode: int, lines: int, rest: bytes
) -> tuple[int, int, int, bytes]:
    try:
        info = os.stat(path)  # noqa: PTH116
        if info.st_ino != inode or info.st_size < position:
            position, inode, lines, rest = 0, info.st_ino, 0, b""
        with open(path, "rb") as stream:  # noqa: PTH123
            stream.seek(position)
            fresh = stream.read(CHUNK)
    except OSError:
        return position, inode, lines, rest
    whole, mark, tail = (rest + fresh).rpartition(b"\n")
    if mark or len(tail) > CHUNK:
        text = whole + mark if mark else tail
        for finding in scanner.text(text, path):
            finding.line += lines
            sys.stdout.write(
                f"{finding.path}:{finding.line}:{finding.column}: {finding.confidence} {finding.rule.title} "
                f"{finding.redacted} [{finding.rule.id}]\n"
            )
            sys.stdout.flush()
        lines += text.count(b"\n")
        tail = tail if mark else b""
    return position + len(fresh), inode, lines, tail
