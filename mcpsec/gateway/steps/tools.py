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
from mcpsec.protocol.param_headers import check_param_headers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from mcpsec.deployment.model import Client
    from mcpsec.gateway.steps import Changed, Repeated
    from mcpsec.gateway.upstreams.base import Upstream

__all__ = ["KnownTool", "Listed", "differs_from_pin"]

_LOOKS = 2
"""At a list that changes while it is read."""


def differs_from_pin(exchange: Exchange, kind: str, names: Iterable[str]) -> Refusal | None:
    """The refusal of what differs from its pin, as its upstream listed it last; of a task by its tools."""
    pins = exchange.endpoint.catalogue.pins
    if pins is None:
        return None
    kind = {"tool": "tools", "task": "tools", "prompt": "prompts"}.get(kind, kind)
    rule = next(filter(None, (pins.refusal(kind, name) for name in names)), "")
    return denied(rule) if rule else None


class Listed:
    """One tool, and what its caller was told of it: in the session, or as the client, by which a call would go."""

    def __init__(self, exchange: Exchange, client: Client, upstream: Upstream, name: str) -> None:
        self._client, self._upstream, self._name = client, upstream, name
        self._session = None if upstream is not exchange.endpoint else exchange.session
        self._listing = upstream.catalogue.listing(client.id, self._session)

    def is_known(self) -> bool:
        """Whether it may be called without asking the upstream first."""
        now, catalogue = asyncio.get_running_loop().time(), self._upstream.catalogue
        return catalogue.has(self._listing, self._name, now) and not catalogue.is_stale(now)

    async def look(self) -> Refusal | None:
        """Ask the upstream, unless it has been asked lately, and refuse what it does not list."""
        loop, catalogue, listing = asyncio.get_running_loop(), self._upstream.catalogue, self._listing
        began = loop.time()
        async with listing.looking:
            if listing.failed_at <= began and catalogue.must_ask(listing, self._name, loop.time()):
                await self._ask(loop)
            failed = listing.failed_at >= began
        known = catalogue.has(listing, self._name, loop.time())
        if failed and (catalogue.pins is not None or not known):
            return unavailable("upstream-unavailable", listing.fault)
        if known:
            return None
        if catalogue.refused and not catalogue.greeting:  # it only refuses: another path, another credential
            return unavailable("upstream-unavailable", "the upstream has not answered as an MCP server yet")
        return denied("tool-unlisted", "the upstream lists no such tool")

    async def _ask(self, loop: asyncio.AbstractEventLoop) -> None:
        catalogue, listing = self._upstream.catalogue, self._listing
        try:
            for _ in range(_LOOKS):
                await all_tools(self._upstream, self._client, self._session)
                if not listing.is_doubted(loop.time()):
                    return
            # It announces a change with each list that it gives: the last one is as good as any.
            catalogue.listed_at = loop.time()
            listing.keep(loop.time())
        except RpcError:
            catalogue.listed_at, catalogue.refused = loop.time(), True
            listing.keep(loop.time())
        except UpstreamFault as fault:
            listing.fail(fault.reason, loop.time())


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
        listed = Listed(exchange, client, upstream, name)
        if listed.is_known():
            return self._check_call(exchange, upstream, name)
        return self._look_again(exchange, listed, upstream, name)

    def again(self, exchange: Exchange) -> Repeated:
        """Whether the upstream lists the tool still, where there is no pin and no header to compare."""
        if exchange.kind != "tool" or exchange.message is None or exchange.client is None:
            return self
        upstream, name = self._target(exchange.endpoint, exchange.message.params["name"])
        if upstream is None or name not in upstream.catalogue.tools:
            return self
        catalogue = upstream.catalogue
        tools, declared = catalogue.tools, catalogue.tools[name]
        if catalogue.pins is not None or (exchange.era is Era.MODERN and declared):
            return self
        in_session = upstream is exchange.endpoint and exchange.session is not None
        listing = catalogue.listing(exchange.client.id, exchange.session if in_session else None)
        if not listing.is_settled:
            return self
        version = listing.version

        def repeated(_exchange: Exchange) -> Changed | None:
            return None if listing.version == version and tools.get(name) is declared else CHANGED

        def repeated_in_session(exchange: Exchange) -> Changed | None:
            # The session is the same still (``FindSession``); once it is over nothing keeps what it was told.
            known = exchange.session.listing.version == version and tools.get(name) is declared
            return None if known else CHANGED

        return repeated_in_session if in_session else repeated

    @staticmethod
    def _target(endpoint: Upstream, name: str) -> tuple[Upstream | None, str]:
        if not isinstance(endpoint, AggregateServer):
            return endpoint, name
        return endpoint.resolve(name) or (None, name)

    async def _look_again(self, exchange: Exchange, listed: Listed, upstream: Upstream, name: str) -> Refusal | None:
        return await listed.look() or self._check_call(exchange, upstream, name)

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
        declared = upstream.catalogue.tools[name]
        if not declared:
            return None
        try:
            check_param_headers(declared, exchange.arguments, exchange.request.mcp_headers())
        except ProtocolError as error:
            return Refusal(error.http_status, error.code, error.message, "protocol")
        return None
