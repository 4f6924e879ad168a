"""The stdio transport's framing: one JSON message a line (basic/transports/stdio), with a cap on the line.

Memory is bounded by the cap whatever the other side writes, and time is linear in the bytes fed.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["LineFramer", "Oversize", "frame"]


class Oversize(NamedTuple):
    """Stands for a line longer than the cap; the rest of that line is thrown away. ``limit`` is the cap in bytes."""

    limit: int


class LineFramer:
    """Cuts a byte stream into lines of at most ``max_line_bytes`` (without their line end); blank lines are dropped."""

    def __init__(self, max_line_bytes: int) -> None:
        self._max = max_line_bytes
        self._partial = bytearray()
        self._skipping = False

    def feed(self, chunk: bytes) -> list[bytes | Oversize]:
        """Take the next bytes of the stream and return the lines that they complete, in order.

        An oversize line is reported once, when it crosses the cap, not when it ends.
        """
        found: list[bytes | Oversize] = []
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            line = self._take(piece, found)
            if line is not None and (line := line.removesuffix(b"\r")):
                found.append(line)
            self._partial.clear()
            self._skipping = False
        if rest and self._take(rest, found, keep=True) is None:
            self._partial.clear()
        return found

    def close(self) -> bytes:
        """The unfinished line at the end of the stream: not a message, but worth a word in a log."""
        rest = bytes(self._partial)
        self._partial.clear()
        return rest

    def _take(self, piece: bytes, found: list[bytes | Oversize], *, keep: bool = False) -> bytes | None:
        """The line so far with ``piece`` at its end; None when it is too long, which is reported the first time."""
        if self._skipping:
            return None
        if len(self._partial) + len(piece) > self._max:
            self._skipping = True
            found.append(Oversize(self._max))
            return None
        if keep:
            self._partial += piece
            return b""
        return bytes(self._partial) + piece if self._partial else piece


def frame(payload: bytes) -> bytes:
    """One JSON message as one line; a line break inside can only be white space between tokens."""
    if b"\n" in payload or b"\r" in payload:
        payload = payload.replace(b"\r", b" ").replace(b"\n", b" ")
    return payload + b"\n"
