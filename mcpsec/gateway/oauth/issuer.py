"""The issuer's metadata (RFC 8414, OpenID Connect Discovery 1.0): where its keys and its introspection endpoint are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mcpsec.gateway.oauth.addresses import is_loopback_host
from mcpsec.gateway.oauth.fetch import FetchError

if TYPE_CHECKING:
    from mcpsec.gateway.oauth.fetch import Fetcher

__all__ = ["Issuer", "metadata_urls"]


def metadata_urls(issuer: str) -> list[str]:
    """Where an issuer's metadata may be, in the order in which MCP clients look too."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    places = [f"/.well-known/oauth-authorization-server{path}", f"/.well-known/openid-configuration{path}"]
    if path:
        places.append(f"{path}/.well-known/openid-configuration")
    return [parts._replace(path=place).geturl() for place in places]


class Issuer:
    """Looks up what the deployment file does not say; the places are remembered until one of them fails."""

    def __init__(self, fetcher: Fetcher, issuer: str, *, jwks_url: str | None, introspection_url: str | None) -> None:
        self._fetcher = fetcher
        self._issuer = issuer
        self._said = {"jwks_uri": jwks_url, "introspection_endpoint": introspection_url}
        self._found: dict[str, str] = {}

    async def keys(self) -> dict[str, Any]:
        """Fetch the JWK set. Raises FetchError."""
        async with self._fetcher.deadline():
            url = await self.place("jwks_uri")
            try:
                return await self._fetcher.get(url)
            except FetchError:
                self._found.clear()  # it may have moved
                raise

    async def place(self, name: str) -> str:
        """The URL that the file, or else the metadata, gives under this name. Raises FetchError."""
        said = self._said[name] or self._found.get(name)
        if said is None:
            said = self._found[name] = self._linked(await self._metadata(), name)
        return said

    async def _metadata(self) -> dict[str, Any]:
        failure = FetchError("no metadata")
        for url in metadata_urls(self._issuer):
            try:
                document = await self._fetcher.get(url)
            except FetchError as error:
                failure = error
                continue
            if document.get("issuer") != self._issuer:  # RFC 8414 section 3.3
                raise FetchError("the metadata is another issuer's")
            return document
        raise FetchError(f"no metadata of {self._issuer}: {failure}")

    def _linked(self, document: dict[str, Any], name: str) -> str:
        """A URL that a document of the issuer names: it may not lead to this machine unless the issuer is on it."""
        url = document.get(name)
        if not isinstance(url, str):
            raise FetchError(f"the metadata of {self._issuer} has no {name}")
        try:
            host = urlsplit(url).hostname or ""
        except ValueError:
            host = ""
        if not host or (is_loopback_host(host) and not is_loopback_host(urlsplit(self._issuer).hostname or "")):
            raise FetchError(f"the metadata's {name} is not a place that is called")
        return url
