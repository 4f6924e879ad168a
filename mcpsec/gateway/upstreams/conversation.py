"""One stdio child together with what the gateway knows about talking to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcpsec.gateway.upstreams.channel import Channel, Frame
    from mcpsec.gateway.upstreams.child import Child

__all__ = ["Conversation"]


class Conversation:
    """A child, the channel to it, and what has to be said again to a new child should this one die."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.child: Child | None = None
        self.handshake: Frame | None = None
        self.last_used = 0.0
        self.over = False
        self.starting = asyncio.Lock()
