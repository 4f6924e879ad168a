"""Freed memory goes back to the system, so that a gateway's size says what it holds and not what it once held.

Each TLS connection has a read buffer of 256 KiB (uvloop's). When the first of them is freed, glibc raises its threshold
for separate mappings above that size (mallopt(3), M_MMAP_THRESHOLD): the next ones come from the heap, where any small
block that outlives them pins all that was freed below it. Measured with a connection for each of 8,000 malformed
requests: 19 MiB in use, 143 MiB held. A threshold that is set stays where it is; malloc_trim(3) gives back the rest.

A connection that is gone is a cycle of few objects with large buffers, and Python's collector, which counts objects,
lets it lie for minutes. So it is called before memory is given back. What the start has made is frozen first: to look
through that (65,000 objects) would hold up requests for 30 ms each time.
"""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpsec.leaks.expressions import let_go

if TYPE_CHECKING:
    import ctypes

__all__ = ["give_back"]

_STATISTICS = Path("/proc/self/statm")

_M_MMAP_THRESHOLD = -3
_THRESHOLD_BYTES = 128 * 1024  # glibc's own, before it adapts
_FIRST_SECONDS = 1.0  # the start has better things to do
_LOOK_SECONDS = 10.0
_GROWN_BYTES = 8 * 1024 * 1024  # less is not worth the few milliseconds that it takes


async def give_back() -> None:
    """Return freed memory to the system whenever the process has grown, until cancelled.

    First it frees what the start alone needed of the secret rules.
    Ends at once where there is no glibc or no /proc to look at.
    """
    await asyncio.sleep(_FIRST_SECONDS)
    libc = _glibc()
    if libc is None:
        return
    libc.mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES)
    gc.collect()
    gc.freeze()
    least = 0
    while True:
        if let_go() or _resident() > least + _GROWN_BYTES:
            gc.collect()
            libc.malloc_trim(0)
            least = _resident()
        await asyncio.sleep(_LOOK_SECONDS)


def _glibc() -> ctypes.CDLL | None:
    import ctypes

    libc: Any = ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") and _STATISTICS.is_file() else None


def _resident() -> int:
    """How many bytes of this process are in memory (proc(5), statm)."""
    return int(_STATISTICS.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
