"""Each client's request rate. It is spent before the body is read, so refused and malformed requests count too."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mcpsec.gateway.limits import BucketTable
from mcpsec.gateway.message import Exchange, Refusal
from mcpsec.protocol import codes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcpsec.deployment.model import Client, Rate

__all__ = ["RateLimit"]


class RateLimit:
    """One bucket a client, of its own rate or the deployment's."""

    def __init__(self, clients: Iterable[Client], default: Rate | None) -> None:
        rates = {client.id: client.rate_limit or default for client in clients}
        self._buckets = {id: BucketTable(rate, size=1) for id, rate in rates.items() if rate is not None}

    def __call__(self, exchange: Exchange) -> Refusal | None:
        """Spend one token of the caller's bucket."""
        client = exchange.client
        bucket = None if client is None else self._buckets.get(client.id)
        if client is None or bucket is None:
            return None
        wait = bucket.take(client.id)
        if wait == 0.0:
            return None
        seconds = max(1, math.ceil(wait))
        return Refusal(
            429, codes.RATE_LIMITED, "rate limit exceeded", "client-rate",
            data={"retryAfter": seconds}, headers=[(b"retry-after", str(seconds).encode())],
        )  # fmt: skip
