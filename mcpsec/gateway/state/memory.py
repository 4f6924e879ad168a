"""State of one process: gone when it stops, and nobody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.gateway.limits import Buckets, Taken
from mcpsec.signing import MemoryReplayStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.deployment.model import Rate
    from mcpsec.gateway.state.base import SharedPatterns, SharedSessions, SharedTasks

__all__ = ["MemoryState"]


class MemoryState:
    """``[state] url = "memory://"``."""

    def __init__(self) -> None:
        self.sessions: SharedSessions | None = None
        self.tasks: SharedTasks | None = None
        self.patterns: SharedPatterns | None = None
        self._replay = MemoryReplayStore()
        self.claim_at_once = self._replay.claim
        """``claim`` for whoever claims often."""
        self._buckets = Buckets()

    async def start(self) -> None:
        """Nothing to get ready."""
        return

    def claim(self, key_id: str, nonce: str, expires_at: float, created: float | None = None) -> bool:
        """Claim a nonce; True the first time only. Raises ReplayStoreError."""
        del created
        return self._replay.claim(key_id, nonce, expires_at)

    def take(self, kind: str, key: str, rate: Rate) -> Taken:
        """Take a token."""
        return self._buckets.take(f"{kind} {key}", rate)

    def bucket(self, kind: str, key: str, rate: Rate) -> Callable[[], tuple[float, int, float]]:
        """``take`` for one key and rate, for whoever takes often."""
        return self._buckets.bucket(f"{kind} {key}", rate)

    async def close(self) -> None:
        """Nothing to let go of."""
        return
