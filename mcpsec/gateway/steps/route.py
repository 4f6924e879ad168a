"""Which endpoint a request is for: ``/mcp/NAME``, or ``/mcp`` for the only upstream or the aggregate of several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.gateway.message import Exchange, Refusal
from mcpsec.protocol import codes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpsec.gateway.steps import Repeated
    from mcpsec.gateway.upstreams.base import Upstream

__all__ = ["Router"]


class Router:
    """Finds the endpoint. An unknown path is a plain 404: it is no answer of the policy and no session has ended."""

    def __init__(self, upstreams: Mapping[str, Upstream], aggregate: Upstream | None) -> None:
        self._paths: dict[bytes, Upstream] = {f"/mcp/{name}".encode(): each for name, each in upstreams.items()}
        only = next(iter(upstreams.values())) if len(upstreams) == 1 else aggregate
        if only is not None:
            self._paths[b"/mcp"] = only

    def __call__(self, exchange: Exchange) -> Refusal | None:
        """Set the exchange's endpoint."""
        endpoint = self._paths.get(exchange.request.path)
        if endpoint is None:
            return Refusal(404, codes.INVALID_REQUEST, "there is nothing at this path", "path")
        exchange.endpoint = endpoint
        exchange.upstream = endpoint.name
        return None

    def again(self, exchange: Exchange) -> Repeated:
        """To name it: a head that is repeated has the same path."""
        endpoint, name = exchange.endpoint, exchange.upstream

        def repeated(exchange: Exchange) -> None:
            exchange.endpoint, exchange.upstream = endpoint, name

        return repeated
