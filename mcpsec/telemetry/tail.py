"""Where an existing log ends: what its writer must know to go on, found without reading the whole file."""

from __future__ import annotations

import os
import time
from datetime import datetime
from typing import TYPE_CHECKING

from mcpsec.errors import ConfigurationError
from mcpsec.frozen import dataclass
from mcpsec.telemetry.chain import MAX_LINE, Damage, Line, parse
from mcpsec.telemetry.parts import open_part

if TYPE_CHECKING:
    from pathlib import Path

    from mcpsec.telemetry.keys import PublicKey

__all__ = ["Tail", "read_tail"]

_WINDOW = 1 << 20


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a log file. ``torn`` are the bytes after the last newline: a line that a crash cut short.

    ``began`` is the Unix time of the file's first line.
    """

    chain: str
    part: int
    seq: int
    head: str
    signed_seq: int
    checkpoint_every: int
    size: int
    torn: bytes
    began: float


def read_tail(path: Path, key: PublicKey) -> Tail | None:
    """Verify the end of a log (the last MiB, and back to the last signed line); None when it has no whole line.

    Raises:
        ConfigurationError: the end is damaged, or the log was signed with another key.
    """
    with open_part(path) as file:
        first = file.readline(MAX_LINE + 1)
        if not first.endswith(b"\n"):
            return None
        start = _first_line(path, first[:-1], key)
        size = file.seek(0, os.SEEK_END)
        window = _WINDOW
        while True:
            file.seek(max(0, size - window))
            lines, torn = _split(file.read(window), whole=size <= window)
            found = _verify_back(path, lines, key)
            if found is not None:
                break
            if size <= window:
                raise _damaged(path, "no signed line is left in it")
            window *= 4
    last, signed_seq = found
    return Tail(
        start.fields["chain"],
        start.fields["part"],
        last.seq,
        last.hash,
        signed_seq,
        start.fields["checkpoint_every"],
        size - len(torn),
        torn,
        _time(start),
    )


def _first_line(path: Path, raw: bytes, key: PublicKey) -> Line:
    try:
        line = parse(raw)
    except Damage as damage:
        raise _damaged(path, f"of line 1: {damage}") from None
    if line.kind not in {"log-start", "log-part"} or not line.signature_is_good(key):
        raise _damaged(path, "its first line is not one that this log's key signed")
    return line


def _time(line: Line) -> float:
    try:
        return datetime.fromisoformat(line.fields["time"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return time.time()


def _split(block: bytes, *, whole: bool) -> tuple[list[bytes], bytes]:
    lines = block.split(b"\n")
    return lines[0 if whole else 1 : -1], lines[-1]


def _verify_back(path: Path, lines: list[bytes], key: PublicKey) -> tuple[Line, int] | None:
    """The last line and the number of the last signed one, once the chain through ``lines`` holds."""
    newer: Line | None = None
    last: Line | None = None
    signed: Line | None = None
    for raw in reversed(lines):
        try:
            line = parse(raw)
        except Damage as damage:
            place = "its last line" if newer is None else f"the line before event {newer.seq}"
            raise _damaged(path, f"of {place}: {damage}") from None
        if newer is not None and (line.seq != newer.seq - 1 or line.hash != newer.prev):
            raise _damaged(path, f"event {newer.seq} does not follow the line before it")
        last = last or line
        if line.signed:
            if not line.signature_is_good(key):
                raise _damaged(path, f"the signature of event {line.seq} is not good")
            signed = signed or line
        newer = line
    return None if last is None or signed is None else (last, signed.seq)


def _damaged(path: Path, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"the audit log is damaged: {what}",
        path=path,
        hint=f"look with `mcpsec log verify {path}`, keep the file as evidence under another name, and start again: "
        "a new chain is begun",
    )
