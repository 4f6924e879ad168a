"""One stdio child together with what the gateway knows about talking to it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mcpsec import __version__
from mcpsec.protocol.eras import LATEST_MODERN

if TYPE_CHECKING:
    from mcpsec.gateway.upstreams.channel import Channel, Frame
    from mcpsec.gateway.upstreams.child import Child

__all__ = ["CLIENT_INFO", "Conversation", "modern_meta"]

CLIENT_INFO = {"name": "mcpsec", "version": __version__}


class Conversation:
    """A child, the channel to it, and what has to be said again to a new child should this one die."""

    def __init__(self, channel: Channel, environment: dict[str, str]) -> None:
        self.channel = channel
        self.environment = environment
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
