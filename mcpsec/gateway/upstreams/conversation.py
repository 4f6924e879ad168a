"""One stdio child together with what the gateway knows about talking to it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from mcpsec import __version__
from mcpsec.gateway.catalogue import Listing
from mcpsec.protocol.eras import LATEST_MODERN

if TYPE_CHECKING:
    from mcpsec.gateway.upstreams.channel import Channel, Frame
    from mcpsec.gateway.upstreams.child import Child

__all__ = ["CLIENT_INFO", "Conversation", "Failures", "modern_meta"]

CLIENT_INFO = {"name": "mcpsec", "version": __version__}


_PAUSES = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class Failures:
    """How often in a row a client's program has ended before it did anything useful.

    Each client's are its own: what makes a program fail may be what that client sends, or its credential.
    """

    def __init__(self) -> None:
        self._count, self._last = 0, 0.0

    @property
    def pausing(self) -> bool:
        """Whether it is too early to start it again."""
        pause = _PAUSES[min(self._count, len(_PAUSES)) - 1] if self._count else 0.0
        return time.monotonic() < self._last + pause

    def one_more(self) -> None:
        """It has failed."""
        self._count += 1
        self._last = time.monotonic()

    def over(self) -> None:
        """It works."""
        self._count = 0


class Conversation:
    """A child, the channel to it, what it lists, and what a new child has to be told should this one die."""

    def __init__(self, channel: Channel, environment: dict[str, str], failures: Failures) -> None:
        self.channel = channel
        self.environment = environment
        self.failures = failures
        self.listing = Listing()
        self.child: Child | None = None
        self.handshake: Frame | None = None
        self.over = False
        self.starting = asyncio.Lock()


def modern_meta(params: Frame | None = None) -> Frame:
    """The members of ``_meta`` that every request of the 2026 era carries, beside those that ``params`` have."""
    return {
        **((params or {}).get("_meta") or {}),
        "io.modelcontextprotocol/protocolVersion": LATEST_MODERN,
        "io.modelcontextprotocol/clientInfo": CLIENT_INFO,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
