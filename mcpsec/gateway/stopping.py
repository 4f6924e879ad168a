"""When a gateway begins to end, and when it is to wait for nothing any more."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ONE_PRESS_SECONDS", "Stopping"]

ONE_PRESS_SECONDS = 0.5
"""A Ctrl-C within this time of the end's beginning is the one that began it.

The terminal sends it to every process in the foreground, and a program that started this one may pass it on besides.
"""


class Stopping(asyncio.Event):
    """Set once the end has begun; ``hurried`` is true once somebody wants it at once."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.hurried = False
        self._clock = clock
        self._since = 0.0

    def set(self) -> None:
        """Begin to end."""
        if not self.is_set():
            self._since = self._clock()
        super().set()

    def interrupt(self) -> None:
        """Take a SIGINT: the first begins the end, one more hurries it."""
        if self.is_set() and self._clock() - self._since >= ONE_PRESS_SECONDS:
            self.hurried = True
        self.set()

    def hurry(self) -> None:
        """End at once."""
        self.hurried = True
        self.set()
