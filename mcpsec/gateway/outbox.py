"""What is written in one turn of the event loop is sent together, at its end.

A write wakes whoever waits for it. Sent one by one, between requests that each take their time, every write finds its
reader asleep again, and waking it costs as much as sending; sent in one go, the first write wakes it and the rest find
it awake. Under load that was a sixth of all that a request costs (benchmarks/gateway.py).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Outbox"]

_MOST = 32
"""Writes that wait for each other: a turn with a thousand requests must not keep the first answer to its end."""


class Outbox:
    """Writes of many transports in the order in which they were put here.

    Whoever writes to one of them past it calls ``flush`` before, so that nothing overtakes what waits.
    """

    __slots__ = ("_call_soon", "_held", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []
        self._held = False
        self._call_soon: Callable[[Callable[[], None]], object] | None = None

    def put(self, transport: asyncio.Transport, data: bytes) -> None:
        """Send ``data`` by the end of this turn of the event loop, unless the transport is closed by then."""
        waiting = self._waiting
        waiting.append((transport, data))
        if len(waiting) == 1 and not self._held:
            call_soon = self._call_soon
            if call_soon is None:
                call_soon = self._call_soon = asyncio.get_running_loop().call_soon
            call_soon(self.flush)
        elif len(waiting) >= _MOST:
            self.flush()

    def hold(self) -> None:
        """Let whatever is put here wait for ``flush``, which whoever calls this is sure to call."""
        self._held = True

    def flush(self) -> None:
        """Send what waits, now. A transport that fails at it ends alone."""
        self._held = False
        waiting, self._waiting = self._waiting, []
        for transport, data in waiting:
            try:
                if not transport.is_closing():
                    transport.write(data)
            except Exception as error:
                transport.abort()
                told = {"message": "a write failed", "exception": error, "transport": transport}
                asyncio.get_running_loop().call_exception_handler(told)
