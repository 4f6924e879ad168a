"""Gateways that share a store learn together what is normal for a client: once a minute each tells and hears."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mcpsec.gateway.state import StoreUnavailableError

if TYPE_CHECKING:
    from mcpsec.gateway.state.base import SharedPatterns
    from mcpsec.telemetry.baseline import Baselines

__all__ = ["LearningTogether"]

_EVERY_SECONDS = 60.0


class LearningTogether:
    """Keeps one gateway's patterns and the store's alike. ``most`` bounds the resources of a client."""

    def __init__(self, own: Baselines, shared: SharedPatterns, most: int, *, every: float = _EVERY_SECONDS) -> None:
        self._own = own
        self._shared = shared
        self._most = most
        self._every = every
        self._next = 0.0
        self._exchanging: asyncio.Task[None] | None = None

    def maintain(self) -> None:
        """Exchange when it is time, in the background; called about once a second."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._next or (self._exchanging is not None and not self._exchanging.done()):
            return
        self._next = loop.time() + self._every
        self._exchanging = loop.create_task(self.exchange())

    async def exchange(self) -> None:
        """Tell what is new and take in what all know; without the store it is told another time."""
        news = self._own.untold()
        for index, (client, learned) in enumerate(news):
            try:
                self._own.absorb(client, await self._shared.merge(client, learned, self._most))
            except StoreUnavailableError:  # perhaps only for what stands there of this client: others' may be well
                self._own.retell(client, learned)
            except BaseException:
                for each in news[index:]:
                    self._own.retell(*each)
                raise

    async def close(self) -> None:
        """Tell the rest, if the store takes it."""
        if self._exchanging is not None:
            await asyncio.gather(self._exchanging, return_exceptions=True)
        await self.exchange()
