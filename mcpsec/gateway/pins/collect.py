"""Asking an upstream for everything that is pinned, as its clients would see it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from mcpsec.gateway.pins.definitions import KINDS
from mcpsec.gateway.pins.lock import UpstreamPins
from mcpsec.gateway.upstreams.base import RpcError
from mcpsec.gateway.upstreams.http_client import UpstreamFault

if TYPE_CHECKING:
    from mcpsec.deployment.model import Client
    from mcpsec.gateway.upstreams.base import Upstream

__all__ = ["collect"]

_METHODS = {"tools": "tools/list", "prompts": "prompts/list", "resourceTemplates": "resources/templates/list"}
_CAPABILITIES = {"tools": "tools", "prompts": "prompts", "resourceTemplates": "resources"}
_MOST_PAGES = 200
_SECONDS = 60.0


async def collect(upstream: Upstream, client: Client) -> UpstreamPins:
    """What a started upstream says of itself to ``client``. Raises UpstreamFault when it does not answer whole."""
    definitions: dict[str, dict[str, Any]] = {}
    try:
        async with asyncio.timeout(_SECONDS):
            for kind in KINDS:
                definitions[kind] = await _every(upstream, client, kind)
    except TimeoutError:
        raise UpstreamFault("its definitions could not be listed in time") from None
    greeting = upstream.catalogue.greeting
    if not greeting:
        raise UpstreamFault("it did not say who it is")
    instructions = greeting.get("instructions")
    return UpstreamPins(definitions, instructions if isinstance(instructions, str) else None, _server(greeting))


async def _every(upstream: Upstream, client: Client, kind: str) -> dict[str, Any]:
    key, found = KINDS[kind], {}
    params: dict[str, Any] = {}
    for _ in range(_MOST_PAGES):
        try:
            page = await upstream.ask(client, _METHODS[kind], params)
        except RpcError as error:
            if not params and not _offers(upstream, kind):
                return {}  # a server without this capability says so by an error
            raise UpstreamFault(f"{_METHODS[kind]} was answered by an error ({error.code})") from None
        items = page.get(kind)
        for item in items if isinstance(items, list) else []:
            if isinstance(item, dict) and isinstance(item.get(key), str):
                found[item[key]] = item
        cursor = page.get("nextCursor")
        if not isinstance(cursor, str):
            return found
        params = {"cursor": cursor}
    raise UpstreamFault(f"{_METHODS[kind]} has more than {_MOST_PAGES} pages")


def _offers(upstream: Upstream, kind: str) -> bool:
    capabilities = upstream.catalogue.greeting.get("capabilities")
    return isinstance(capabilities, dict) and _CAPABILITIES[kind] in capabilities


def _server(greeting: dict[str, Any]) -> str:
    info = greeting.get("serverInfo")
    meta = greeting.get("_meta")
    if not isinstance(info, dict) and isinstance(meta, dict):
        info = meta.get("io.modelcontextprotocol/serverInfo")
    if not isinstance(info, dict):
        return ""
    return " ".join(str(info[part])[:100] for part in ("name", "version") if isinstance(info.get(part), str))
