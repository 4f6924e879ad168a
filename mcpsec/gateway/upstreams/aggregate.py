"""Several upstreams on one endpoint: their tools under one list, each name with its upstream's in front.

The aggregate lists and calls; what needs a session of the upstream's own (sampling, elicitation, resources,
subscriptions) is offered at ``/mcp/NAME``. Every upstream is asked in the era that it speaks itself.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson

from mcpsec.gateway.catalogue import MOST_TOOLS
from mcpsec.gateway.upstreams.base import RpcError
from mcpsec.gateway.upstreams.http_client import UpstreamFault, UpstreamTimeout
from mcpsec.gateway.upstreams.local import LocalServer
from mcpsec.protocol import codes
from mcpsec.protocol.exact import exact_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcpsec.deployment.model import Client
    from mcpsec.gateway.cleaning import AnswerCleaner
    from mcpsec.gateway.policy import Policy
    from mcpsec.gateway.sessions import Session
    from mcpsec.gateway.upstreams.base import Upstream

__all__ = ["SEPARATOR", "AggregateServer"]

SEPARATOR = "_"
_MAX_PAGES = 50
_MOST_BYTES = 32 * 1024 * 1024
"""Of a list of several pages."""
_LISTING_SECONDS = 30.0
_INSTRUCTIONS = "Tools of several MCP servers; the part of a tool's name before the first underscore names its server."


class AggregateServer(LocalServer):
    """Serves ``/mcp`` when the deployment has more than one upstream."""

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        policy: Callable[[], Policy],
        cleaners: Mapping[str, AnswerCleaner] | None = None,
    ) -> None:
        super().__init__("aggregate", instructions=_INSTRUCTIONS, cleaners=cleaners)
        self._upstreams = upstreams
        self._policy = policy

    def resolve(self, name: str) -> tuple[Upstream, str] | None:
        """The upstream and its own name for a tool of the aggregate (upstream names hold no underscore)."""
        prefix, _, tool = name.partition(SEPARATOR)
        upstream = self._upstreams.get(prefix)
        return None if upstream is None or not tool else (upstream, tool)

    async def list_tools(self, client: Client) -> list[dict[str, Any]]:
        """Every tool that this client may use; an upstream that is down contributes nothing and stops nobody."""
        lists = await asyncio.gather(*(self._tools_of(upstream, client) for upstream in self._upstreams.values()))
        return [tool for tools in lists for tool in tools]

    async def _tools_of(self, upstream: Upstream, client: Client) -> list[dict[str, Any]]:
        visible = self._policy().visible
        try:
            tools = await all_tools(upstream, client)
        except (UpstreamFault, RpcError):
            return []
        return [
            {**tool, "name": f"{upstream.name}{SEPARATOR}{tool['name']}"}
            for tool in tools
            if visible(client.id, upstream.name, "tool", tool["name"])
        ]

    async def call_tool(
        self, client: Client, name: str, arguments: dict[str, Any], trace: Mapping[str, str]
    ) -> dict[str, Any]:
        """Pass a call to the upstream that its prefix names; the chain has authorised it under that name."""
        found = self.resolve(name)
        if found is None:
            raise RpcError(codes.INVALID_PARAMS, "unknown tool")
        upstream, tool = found
        params: dict[str, Any] = {"name": tool, "arguments": arguments}
        if trace:
            params["_meta"] = dict(trace)
        result = await upstream.ask(client, "tools/call", params)
        if result.get("resultType", "complete") != "complete":
            raise RpcError(codes.INVALID_REQUEST, "this tool asks for input: call it at its own server's endpoint")
        return result


async def all_tools(upstream: Upstream, client: Client, session: Session | None = None) -> list[dict[str, Any]]:
    """The tools of every page that may be shown, all learned by the catalogue. Raises UpstreamFault or RpcError."""
    began = perf_counter()
    try:
        async with asyncio.timeout(_LISTING_SECONDS):
            tools, whole = await _pages(upstream, client, session)
    except TimeoutError:
        raise UpstreamTimeout("its tools could not be listed in time") from None
    catalogue, now = upstream.catalogue, asyncio.get_running_loop().time()
    listing = catalogue.listing(client.id, session)
    if whole:
        catalogue.replace(listing, tools, now, began)
        if catalogue.pins is not None:
            catalogue.pins.complete("tools", {tool["name"] for tool in tools})
    else:
        catalogue.extend(listing, tools, now, began)
    return catalogue.admit("tools", tools)


async def _pages(upstream: Upstream, client: Client, session: Session | None) -> tuple[list[dict[str, Any]], bool]:
    """What the pages of a list have, up to a bound, and whether that is all of it."""
    tools: list[dict[str, Any]] = []
    params: dict[str, Any] = {}
    seen, size = set[str](), 0
    while True:
        page = await upstream.ask(client, "tools/list", params, session)
        listed = page.get("tools")
        if not isinstance(listed, list):
            return tools, False
        tools += [tool for tool in listed if isinstance(tool, dict) and isinstance(tool.get("name"), str)]
        cursor = page.get("nextCursor")
        if not isinstance(cursor, str):
            return tools, True
        try:
            size += len(exact_bytes(listed))  # each page has a bound of its own, which holds for a list of one page
        except orjson.JSONEncodeError:
            return tools, False
        if cursor in seen or len(seen) >= _MAX_PAGES or len(tools) >= MOST_TOOLS or size >= _MOST_BYTES:
            return tools, False
        seen.add(cursor)
        params = {"cursor": cursor}
