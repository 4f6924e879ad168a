"""Tool calls: the upstream must list the tool, and headers that its schema asks for must repeat its arguments.

A tool that the upstream does not list gets the same answer as one that is not granted. When a tool is not in the
catalogue, the upstream is asked again, through the very channel that the call would take, but not more than once in a
while.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mcpsec.gateway.message import Exchange, Refusal
from mcpsec.gateway.steps import CHANGED
from mcpsec.gateway.steps.authorise import denied
from mcpsec.gateway.upstreams.aggregate import AggregateServer, all_tools
from mcpsec.gateway.upstreams.base import RpcError, unavailable
from mcpsec.gateway.upstreams.http_client import UpstreamFault
from mcpsec.protocol import codes
from mcpsec.protocol.eras import Era
from mcpsec.protocol.jsonrpc import ProtocolError
from mcpsec.protocol.param_headers import check_param_headers, param_headers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from mcpsec.gateway.steps import Changed, Repeated
    from mcpsec.gateway.upstreams.base import Upstream

__all__ = ["KnownTool", "differs_from_pin"]

_REFRESH_SECONDS = 2.0


def differs_from_pin(exchange: Exchange, kind: str, names: Iterable[str]) -> Refusal | None:
    """The refusal of what differs from its pin, as its upstream listed it last; of a task by its tools."""
    pins = exchange.endpoint.catalogue.pins
    if pins is None:
        return None
    kind = {"tool": "tools", "task": "tools", "prompt": "prompts"}.get(kind, kind)
    rule = next(filter(None, (pins.refusal(kind, name) for name in names)), "")
    return denied(rule) if rule else None


class KnownTool:
    """Applies to ``tools/call`` only."""

    def __call__(self, exchange: Exchange) -> Refusal | Awaitable[Refusal | None] | None:
        """Pass a listed tool at once; look again for one that is not."""
        message, client = exchange.message, exchange.client
        if message is None or client is None:
            return None
        if exchange.kind != "tool":
            return self._check_pin(exchange)
        upstream, name = self._target(exchange.endpoint, message.params["name"])
        if upstream is None:
            return denied("tool-unlisted", "no upstream has this prefix")
        catalogue = upstream.catalogue
        if name in catalogue.tools and (
            catalogue.pins is None or not catalogue.is_stale(asyncio.get_running_loop().time())
        ):
            return self._check_call(exchange, upstream, name)
        return self._look_again(exchange, upstream, name)

    def again(self, exchange: Exchange) -> Repeated:
        """Whether the upstream lists the very same tool still, where there is no pin and no header to compare."""
        if exchange.kind != "tool" or exchange.message is None:
            return self
        upstream, name = self._target(exchange.endpoint, exchange.message.params["name"])
        if upstream is None or name not in upstream.catalogue.tools:
            return self
        catalogue = upstream.catalogue
        tool = catalogue.tools[name]
        if catalogue.pins is not None or (exchange.era is Era.MODERN and catalogue.declared.get(name, True)):
            return self

        def repeated(_exchange: Exchange) -> Changed | None:
            return None if catalogue.tools.get(name) is tool and catalogue.pins is None else CHANGED

        return repeated

    @staticmethod
    def _target(endpoint: Upstream, name: str) -> tuple[Upstream | None, str]:
        if not isinstance(endpoint, AggregateServer):
            return endpoint, name
        return endpoint.resolve(name) or (None, name)

    async def _look_again(self, exchange: Exchange, upstream: Upstream, name: str) -> Refusal | None:
        now = asyncio.get_running_loop().time()
        listed = upstream.catalogue.listed_at
        if exchange.client is not None and (listed == 0.0 or now - listed >= _REFRESH_SECONDS):
            session = None if upstream is not exchange.endpoint else exchange.session
            try:
                await all_tools(upstream, exchange.client, session)
            except RpcError:
                upstream.catalogue.listed_at, upstream.catalogue.refused = now, True
            except UpstreamFault as fault:
                return unavailable("upstream-unavailable", fault.reason)
        catalogue = upstream.catalogue
        if name not in catalogue.tools:
            if catalogue.refused and not catalogue.greeting:  # it only refuses: another path, another credential
                return unavailable("upstream-unavailable", "the upstream has not answered as an MCP server yet")
            return denied("tool-unlisted", "the upstream lists no such tool")
        return self._check_call(exchange, upstream, name)

    @staticmethod
    def _check_pin(exchange: Exchange) -> Refusal | None:
        """Everything but a call: the whole upstream may be blocked, a prompt or a task's tool differ from its pin."""
        if exchange.endpoint.catalogue.pins is None or not exchange.resource or exchange.message is None:
            return None
        if exchange.tools:
            return differs_from_pin(exchange, "task", exchange.tools)
        return differs_from_pin(exchange, exchange.kind, [str(exchange.message.params.get("name", ""))])

    def _check_call(self, exchange: Exchange, upstream: Upstream, name: str) -> Refusal | None:
        pins = upstream.catalogue.pins
        if pins is not None:
            if rule := pins.refusal("tools", name):
                return denied(rule)
            if faults := pins.argument_faults(name, exchange.arguments):
                return Refusal(
                    400,
                    codes.INVALID_PARAMS,
                    "the arguments do not fit the tool's schema",
                    "arguments-invalid",
                    "; ".join(faults),
                    {"faults": faults},
                )
        return self._check_headers(exchange, upstream, name)

    @staticmethod
    def _check_headers(exchange: Exchange, upstream: Upstream, name: str) -> Refusal | None:
        if exchange.era is not Era.MODERN:
            return None
        catalogue = upstream.catalogue
        declared = catalogue.declared.get(name)
        if declared is None:
            declared = catalogue.declared[name] = param_headers(catalogue.tools[name].get("inputSchema"))
        if not declared:
            return None
        try:
            check_param_headers(declared, exchange.arguments, exchange.request.mcp_headers())
        except ProtocolError as error:
            return Refusal(error.http_status, error.code, error.message, "protocol")
        return None
