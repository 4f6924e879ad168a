"""What a child has said and nobody has fetched yet: bounded in number and in bytes, whatever the child writes."""

from __future__ import annotations

from collections import deque
from typing import Any

__all__ = ["Backlog"]

_MOST = 256
_MOST_BYTES = 1024 * 1024
"""As written by the child. What is read takes several times as much, and a client may have many calls that wait."""


class Backlog:
    """Frames in the order in which they came. One that is larger than all may be is taken while nothing else waits."""

    __slots__ = ("_bytes", "_frames")

    def __init__(self) -> None:
        self._frames: deque[tuple[dict[str, Any], int]] = deque()
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._frames)

    def add(self, frame: dict[str, Any], size: int, *, always: bool = False) -> bool:
        """Keep a frame of so many bytes; False when there is no room for it and it need not be there ``always``."""
        if not always and self._frames and (len(self._frames) >= _MOST or self._bytes + size > _MOST_BYTES):
            return False
        self._frames.append((frame, size))
        self._bytes += size
        return True

    def take(self) -> dict[str, Any]:
        """The oldest frame. Raises IndexError when there is none."""
        frame, size = self._frames.popleft()
        self._bytes -= size
        return frame

    def clear(self) -> None:
        """Forget them all."""
        self._frames.clear()
        self._bytes = 0
