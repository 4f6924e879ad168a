"""MCP spoken by the gateway itself, in both eras: the part that built-in tools and the aggregate have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import orjson

from mcpsec import __version__
from mcpsec.gateway.catalogue import Catalogue
from mcpsec.gateway.message import Answer, Refusal, json_answer
from mcpsec.gateway.upstreams.base import RpcError, unavailable, upstream_timeout
from mcpsec.gateway.upstreams.http_client import UpstreamFault, UpstreamTimeout
from mcpsec.protocol import codes
from mcpsec.protocol.eras import LATEST_LEGACY, LEGACY_VERSIONS, MODERN_VERSIONS, Era
from mcpsec.protocol.exact import exact_bytes, exact_value
from mcpsec.protocol.jsonrpc import Kind, encode_result, request_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpsec.deployment.model import Client
    from mcpsec.gateway.cleaning import AnswerCleaner
    from mcpsec.gateway.message import Exchange
    from mcpsec.gateway.sessions import Session

__all__ = ["LocalServer", "json_text", "text_result"]

_CACHEABLE = {"ttlMs": 0, "cacheScope": "private"}


class LocalServer(ABC):
    """A server without sessions that lists and calls tools. Subclasses say which, and what calling one does.

    What ``list_tools`` gives goes to the client as it is: a subclass lists what that client may use, and nothing else.
    """

    def __init__(self, name: str, *, instructions: str, cleaners: Mapping[str, AnswerCleaner] | None = None) -> None:
        self.name = name
        self.catalogue = Catalogue()
        self._instructions = instructions
        self._cleaners = cleaners or {}

    async def start(self) -> None:
        """Nothing to get ready."""
        return

    async def close(self) -> None:
        """Nothing to stop."""
        return

    @abstractmethod
    async def list_tools(self, client: Client) -> list[dict[str, Any]]:
        """The definitions of all tools. Raises UpstreamFault."""

    @abstractmethod
    async def call_tool(
        self, client: Client, name: str, arguments: dict[str, Any], trace: Mapping[str, str]
    ) -> dict[str, Any]:
        """The result of one call; ``trace`` is the caller's, as ``_meta`` says it. Raises RpcError or UpstreamFault."""

    async def call(self, exchange: Exchange) -> Answer | Refusal:
        """Answer one authorised message."""
        message, client = exchange.message, exchange.client
        if message is None:  # GET and DELETE: this server opens no stream and keeps no session
            return Refusal(
                405, codes.INVALID_REQUEST, "only POST is offered here", "method", headers=[(b"allow", b"POST")]
            )
        if message.kind is not Kind.REQUEST or client is None or message.id is None:
            return Answer(202, [])
        try:
            result = await self._result(client, message.method, message.params, exchange.era, _trace_of(exchange))
        except RpcError as error:
            frame = exact_value(request_error(message.id, error.code, str(error), error.data))
            self._clean(exchange, frame)
            body = exact_bytes(frame)
            status = codes.http_status(error.code) if exchange.era is Era.MODERN else 200
            return json_answer(status, body)
        except UpstreamTimeout as fault:
            return upstream_timeout(fault.reason)
        except UpstreamFault as fault:
            return unavailable("upstream-unavailable", fault.reason)
        answered: dict[str, Any] = {"result": result}
        self._clean(exchange, answered)
        if "error" in answered:
            return json_answer(200, exact_bytes({"jsonrpc": "2.0", "id": message.id, **answered}))
        result = answered["result"]
        if exchange.era is Era.MODERN:
            info = {"name": f"mcpsec/{self.name}", "version": __version__}
            result = {"resultType": "complete", **result}
            meta = result.get("_meta")
            result["_meta"] = {**(meta if isinstance(meta, dict) else {}), "io.modelcontextprotocol/serverInfo": info}
        return json_answer(200, encode_result(message.id, result))

    def _clean(self, exchange: Exchange, frame: dict[str, Any]) -> None:
        """By the settings of the upstream that a call was for."""
        cleaner = self._cleaners.get(exchange.resource.partition("/")[0] or exchange.upstream)
        if cleaner is not None:
            cleaner.clean(exchange, frame)

    async def _result(
        self, client: Client, method: str, params: dict[str, Any], era: Era | None, trace: Mapping[str, str]
    ) -> dict[str, Any]:
        if method == "tools/list":
            tools = await self.list_tools(client)
            return {"tools": tools, **_CACHEABLE} if era is Era.MODERN else {"tools": tools}
        if method == "tools/call":
            name, arguments = params.get("name"), params.get("arguments", {})
            if not isinstance(name, str) or not isinstance(arguments, dict):
                raise RpcError(codes.INVALID_PARAMS, "a tool call needs a name and arguments")
            return await self.call_tool(client, name, arguments, trace)
        if method == "initialize":
            offered = params.get("protocolVersion")
            return {
                "protocolVersion": offered if offered in LEGACY_VERSIONS else LATEST_LEGACY,
                "capabilities": {"tools": {}},
                "serverInfo": {"name": f"mcpsec/{self.name}", "version": __version__},
                "instructions": self._instructions,
            }
        if method == "server/discover":
            return {
                "supportedVersions": list(MODERN_VERSIONS),
                "capabilities": {"tools": {}},
                "instructions": self._instructions,
                **_CACHEABLE,
            }
        if method == "ping":
            return {}
        raise RpcError(codes.METHOD_NOT_FOUND, "Method not found")

    async def ask(
        self, client: Client, method: str, params: dict[str, Any], session: Session | None = None
    ) -> dict[str, Any]:
        """One request of the gateway's own. Raises RpcError or UpstreamFault."""
        return await self._result(client, method, params, Era.MODERN, {})


def _trace_of(exchange: Exchange) -> dict[str, str]:
    """The members of ``_meta`` that name the trace of a request, when it has one."""
    if exchange.trace is None:
        return {}
    named = {"traceparent": exchange.trace.traceparent}
    return {**named, "tracestate": exchange.trace.state} if exchange.trace.state else named


def text_result(text: str, *, is_error: bool = False) -> dict[str, Any]:
    """A tool result of one piece of text."""
    return {"content": [{"type": "text", "text": text}], "isError": is_error}


def json_text(value: Any) -> str:
    """A value as readable JSON text."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
