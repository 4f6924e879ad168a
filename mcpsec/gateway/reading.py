"""What arrives is read into a buffer of ours.

A protocol that takes bytes gets them from uvloop's TLS in a new block of 256 KiB each time, shrunk to what came: the
system maps, shrinks and unmaps it for every request, which is a fifth of all that a request costs (asyncio's TLS does
the same). TLS fills a buffer and has it read at once, so the connections of one owner share one.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod

__all__ = ["Reading", "read_buffer"]

_BYTES = 64 * 1024


def read_buffer() -> memoryview:
    """Room for one read."""
    return memoryview(bytearray(_BYTES))


class Reading(asyncio.BufferedProtocol):
    """A protocol that has ``data_received`` called with what was read into ``_buffer``."""

    __slots__ = ("_buffer",)

    _buffer: memoryview

    def use_buffer(self, shared: memoryview, *, tls: bool) -> None:
        """Read into ``shared``. A bare socket, which may fill its buffer while others read (Windows), has its own."""
        self._buffer = shared if tls else read_buffer()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """They have come."""
        self.data_received(self._buffer[:nbytes].tobytes())

    @abstractmethod
    def data_received(self, data: bytes) -> None:
        """Take what arrived."""
