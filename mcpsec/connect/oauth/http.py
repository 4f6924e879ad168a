"""The calls of OAuth: JSON from well-known places, forms to endpoints. Small answers, no redirects, no surprises."""

from __future__ import annotations

import asyncio
import json
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

import httpx

from mcpsec import __version__
from mcpsec.connect.trust import client_context, explain
from mcpsec.errors import NotAssessedError, RefusedError
from mcpsec.urls import is_confidential

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from pathlib import Path

    from mcpsec.connect.credentials import Credentials

__all__ = ["Callers", "Reply", "checked_link", "checked_url", "is_here", "origin_of"]

_MOST_BYTES: Final = 512 * 1024
_SECONDS: Final = 30.0
"""How long one call may take, from its beginning to the answer's end."""


class Reply(NamedTuple):
    """An answer of an endpoint: its status, its JSON object (empty when it is none), its headers by lower-case name."""

    status: int
    document: dict[str, Any]
    headers: dict[str, str]


def checked_url(url: object, what: str) -> str:
    """A URL that OAuth may use: https, or http on this machine; without credentials and fragment.

    Raises:
        RefusedError: it is another thing, such as ``javascript:`` or http to another machine.
    """
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
        raise RefusedError(f"{what} is not a URL")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise RefusedError(f"{what} is not a URL: {url}") from None
    if not is_confidential(parts) or not parts.hostname or "@" in parts.netloc or parts.fragment:
        raise RefusedError(f"{what} is not an https:// URL: {url}")
    return url


def checked_link(url: object, what: str, *, by: str) -> str:
    """A URL that a document of ``by`` names: it leads to this machine only where ``by`` is on it too.

    Otherwise whoever writes the document would have this client call what listens here for nobody else.

    Raises:
        RefusedError: it is no URL that OAuth may use, or leads to this machine from elsewhere.
    """
    checked = checked_url(url, what)
    if is_here(checked) and not is_here(by):
        raise RefusedError(f"{what} is said to be on this machine: {checked}")
    return checked


def is_here(url: str) -> bool:
    """Whether a URL leads to this machine by its own name or address, in any way in which one can write them."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, section 6.3
        return True
    address = _address(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that the system takes a host for; ``127.1`` and ``2130706433`` are some too."""
    try:
        address = ip_address(host)
    except ValueError:
        try:
            return IPv4Address(socket.inet_aton(host))
        except (OSError, ValueError):
            return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a URL (RFC 6454)."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


class Callers:
    """Whom these calls are made as: the client certificate is shown to the resource, and where tokens are bound to it.

    ``ca`` is the authority of the authorization server's certificate (None: the system's).
    """

    def __init__(self, credentials: Credentials, ca: Path | None) -> None:
        self._credentials = credentials
        self._ca = ca

    def _context(self, url: str, *, resource: bool, certificate: bool) -> ssl.SSLContext | bool:
        if urlsplit(url).scheme != "https":
            return True
        if resource:
            return self._credentials.ssl_context()
        own = self._credentials
        return client_context(
            ca=self._ca, certificate=own.certificate if certificate else None, key=own.key if certificate else None
        )

    async def get(self, url: str, *, resource: bool = False) -> Reply:
        """Fetch a JSON document, from the ``resource`` itself or from an authorization server."""
        return await self._call("GET", url, resource=resource, certificate=False)

    async def post(
        self,
        url: str,
        *,
        form: Mapping[str, str] | None = None,
        document: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        certificate: bool = False,
    ) -> Reply:
        """Post a form, or a JSON document, to an authorization server; with ``certificate`` over mutual TLS."""
        content: dict[str, Any] = {"data": dict(form)} if form is not None else {"json": dict(document or {})}
        return await self._call("POST", url, resource=False, certificate=certificate, headers=headers, **content)

    async def _call(
        self,
        method: str,
        url: str,
        *,
        resource: bool,
        certificate: bool,
        headers: Mapping[str, str] | None = None,
        **content: Any,
    ) -> Reply:
        own = {"user-agent": f"mcpsec/{__version__}", "accept": "application/json", **(headers or {})}
        context = self._context(url, resource=resource, certificate=certificate)
        proxied = not resource and not is_here(url)  # what may be said in plain HTTP on this machine must stay here
        try:
            async with (
                asyncio.timeout(_SECONDS),
                httpx.AsyncClient(verify=context, timeout=_SECONDS, trust_env=proxied) as client,
                client.stream(method, url, headers=own, **content) as response,
            ):
                raw = b""
                async for chunk in response.aiter_bytes():
                    raw += chunk
                    if len(raw) > _MOST_BYTES:
                        raise NotAssessedError(f"the answer of {url} is too large")
        except (TimeoutError, httpx.TimeoutException):
            raise NotAssessedError(f"{urlsplit(url).netloc} did not answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            host = urlsplit(url).netloc
            known = explain(error)
            if known is not None:
                raise NotAssessedError(f"{host}: {known.message}", hint=_hint(known.hint, resource)) from None
            raise NotAssessedError(f"{host} can't be reached: {str(error) or type(error).__name__}") from None
        return Reply(
            response.status_code, _object(raw), {name.lower(): value for name, value in response.headers.items()}
        )


def _hint(hint: str, resource: bool) -> str:
    return hint if resource else hint.replace("--ca", "--oauth-ca")


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
