"""Where an upstream that speaks HTTP is: a server at a URL, or an application inside this process."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from mcpsec.errors import ConfigurationError
from mcpsec.gateway.upstreams.http_client import HttpPool
from mcpsec.gateway.upstreams.lanes import ClientLanes, Lanes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpsec.deployment.model import Limits
    from mcpsec.deployment.model import Upstream as UpstreamConfig
    from mcpsec.gateway.upstreams.asgi import AppPool

__all__ = ["Origin", "origin_of"]


class Origin(Protocol):
    """``host`` is what requests name in Host, ``target`` what they ask for."""

    host: str
    target: bytes

    def lanes(self, headers: dict[str, str], by_client: Mapping[str, Mapping[str, str]]) -> Lanes:
        """The ways to it, by these credentials."""

    async def start(self) -> None:
        """Get ready. Raises UpstreamStartError when it can't work at all."""

    async def close(self) -> None:
        """Stop what belongs to it."""


def origin_of(config: UpstreamConfig, limits: Limits) -> Origin:
    """Where this upstream is. Raises ConfigurationError for a CA file that can't be read."""
    return _App(config, limits) if config.app is not None else _Web(config, limits)


class _Web:
    def __init__(self, config: UpstreamConfig, limits: Limits) -> None:
        if config.url is None:
            raise ValueError("an HTTP upstream needs a URL")
        url = urlsplit(config.url)
        self.host = url.netloc.rpartition("@")[2]
        self.target = ((url.path or "/") + (f"?{url.query}" if url.query else "")).encode()
        secure = url.scheme == "https"
        self._name, self._port = url.hostname or "", url.port or (443 if secure else 80)
        self._tls = _client_context(config) if secure else None
        self._connect_timeout, self._response_bytes = config.connect_timeout, limits.response_bytes

    def lanes(self, headers: dict[str, str], by_client: Mapping[str, Mapping[str, str]]) -> Lanes:
        return Lanes(self.host, headers, by_client, self._pool)

    def _pool(self) -> HttpPool:
        return HttpPool(
            self._name,
            self._port,
            tls=self._tls,
            connect_timeout=self._connect_timeout,
            response_bytes=self._response_bytes,
        )

    async def start(self) -> None:
        """Nothing to do: it runs, or may come up later."""

    async def close(self) -> None:
        """Its connections belong to the pools."""


class _App:
    host = "localhost:80"
    target = b"/mcp"

    def __init__(self, config: UpstreamConfig, limits: Limits) -> None:
        from mcpsec.gateway.upstreams.python_app import AppServer

        self._server = AppServer(config.name, config.app or "", config.app_dir)
        self._response_bytes = limits.response_bytes

    def lanes(self, headers: dict[str, str], by_client: Mapping[str, Mapping[str, str]]) -> Lanes:
        return ClientLanes(self.host, headers, by_client, self._pool)

    def _pool(self) -> AppPool:
        from mcpsec.gateway.upstreams.asgi import AppPool

        return AppPool(self._server.get, response_bytes=self._response_bytes)

    async def start(self) -> None:
        await self._server.start()

    async def close(self) -> None:
        await self._server.close()


def _client_context(config: UpstreamConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=config.ca)
    except (ssl.SSLError, OSError):
        raise ConfigurationError("no CA can be read from this file", path=config.ca) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
