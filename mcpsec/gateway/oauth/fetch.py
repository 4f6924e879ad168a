"""JSON documents from an authorization server: within a deadline and a size, without redirects, from allowed addresses.

A name is resolved once, every address it has is judged, and the connection goes to the judged one with the name in TLS
(SNI and certificate check), so a name that resolves differently a moment later changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from typing import TYPE_CHECKING, Any

from mcpsec import __version__
from mcpsec.errors import ConfigurationError
from mcpsec.gateway.oauth.addresses import AddressRules, ForbiddenError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from urllib.parse import SplitResult

    import httpx

__all__ = ["DOCUMENT_BYTES", "FetchError", "Fetcher"]

DOCUMENT_BYTES = 256 * 1024
"""The largest document that is read; key sets and metadata are a few KiB."""

_MOST_CLIENTS = 8
_CONNECTIONS = 8


class FetchError(Exception):
    """There is no usable document; the text says why, for the operator, and repeats nothing of what was received."""


class Fetcher:
    """Fetches JSON objects, each within ``timeout`` seconds; ``ca`` replaces the system's CAs.

    Proxies of the environment are not used: an address behind a proxy can't be judged. Raises ConfigurationError when
    ``ca`` is unusable.
    """

    def __init__(self, rules: AddressRules, *, timeout: float, ca: Path | None = None) -> None:
        import httpx  # here, where nobody waits for it yet

        self._httpx = httpx
        self._rules = rules
        self._timeout = timeout
        try:
            self._context = ssl.create_default_context(cafile=ca)
        except (OSError, ValueError):
            raise ConfigurationError("no CA certificates can be read from this file", path=ca) from None
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def get(self, url: str) -> dict[str, Any]:
        """Fetch a JSON object. Raises FetchError."""
        return await self._within("GET", url, None, None)

    async def post(self, url: str, form: dict[str, str], authorization: str) -> dict[str, Any]:
        """Send a form and return the JSON object of the answer. Raises FetchError."""
        return await self._within("POST", url, form, authorization)

    async def close(self) -> None:
        """Close what is open."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()

    async def _within(
        self, method: str, url: str, form: dict[str, str] | None, authorization: str | None
    ) -> dict[str, Any]:
        try:
            parts = self._rules.check_url(url)
            async with self.deadline():
                return await self._exchange(method, parts, form, authorization)
        except ForbiddenError as error:
            raise FetchError(str(error)) from None

    @contextlib.asynccontextmanager
    async def deadline(self) -> AsyncIterator[None]:
        """One deadline around several fetches that somebody waits for. Raises FetchError when it is over."""
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError:
            raise FetchError(f"no answer within {self._timeout:g} s") from None

    async def _exchange(
        self, method: str, parts: SplitResult, form: dict[str, str] | None, authorization: str | None
    ) -> dict[str, Any]:
        httpx = self._httpx
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        headers = {"host": parts.netloc, "accept": "application/json", "accept-encoding": "identity"}
        if authorization is not None:
            headers["authorization"] = authorization
        failure: Exception | None = None
        for address in await self._resolve(host, port):
            target = httpx.URL(
                parts._replace(netloc=f"[{address}]:{port}" if ":" in address else f"{address}:{port}").geturl()
            )
            client = self._client(host)
            request = client.build_request(
                method, target, headers=headers, data=form, extensions={"sni_hostname": host}
            )
            try:
                response = await client.send(request, stream=True)
            except httpx.ConnectError as error:
                failure = error
                continue
            except (httpx.HTTPError, httpx.InvalidURL) as error:  # a redirect is read, though it is not followed
                raise FetchError(f"{type(error).__name__} at {host}") from None
            try:
                return await _document(response)
            except httpx.HTTPError as error:
                raise FetchError(f"{type(error).__name__} at {host}") from None
            finally:
                await response.aclose()
        reason = "its certificate is not valid" if "CERTIFICATE_VERIFY" in str(failure) else "it can't be connected to"
        raise FetchError(f"{host}:{port}: {reason}")

    async def _resolve(self, host: str, port: int) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise FetchError(f"{host} has no address") from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:  # one bad address among good ones is an attack too: whoever asks gets either
            self._rules.check_address(host, address)
        return addresses[:4]

    def _client(self, host: str) -> httpx.AsyncClient:
        """One for each name, so that a connection is never shared by two names at one address."""
        httpx = self._httpx
        client = self._clients.get(host)
        if client is None:
            if len(self._clients) >= _MOST_CLIENTS:
                raise FetchError("too many different hosts")
            limits = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
            client = self._clients[host] = httpx.AsyncClient(
                verify=self._context,
                follow_redirects=False,
                trust_env=False,
                limits=limits,
                timeout=self._timeout,
                headers={"user-agent": f"mcpsec/{__version__}"},
            )
        return client


async def _document(response: httpx.Response) -> dict[str, Any]:
    if response.is_redirect:
        raise FetchError("the answer is a redirect, and none is followed")
    if response.status_code != 200:
        raise FetchError(f"the answer has status {response.status_code}")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise FetchError("the answer is compressed, which was not asked for")
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if response.request.method == "POST" and media_type != "application/json":  # RFC 7662 section 2.2
        raise FetchError("the answer is not of the type application/json")
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > DOCUMENT_BYTES:
            raise FetchError(f"the answer is larger than {DOCUMENT_BYTES >> 10} KiB")
    try:
        document = json.loads(body, object_pairs_hook=_members, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise FetchError("the answer is not a JSON object")
    return document


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose members can be read in one way only."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
