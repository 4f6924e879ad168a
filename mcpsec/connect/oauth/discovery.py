"""Which authorization server a resource names, and what that server can do.

The resource's own metadata (RFC 9728) names the issuer; the issuer's metadata (RFC 8414, or OpenID Connect Discovery)
names the endpoints. Each document must say that it is about what was asked for: a document that names another resource
or another issuer is how a client is talked into sending its code to somebody else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from mcpsec.connect.oauth.http import checked_link, checked_url, origin_of
from mcpsec.errors import NotAssessedError, RefusedError

if TYPE_CHECKING:
    from mcpsec.connect.oauth.http import Callers

__all__ = ["Issuer", "Resource", "discover_issuer", "discover_resource"]


@dataclass(frozen=True)
class Resource:
    """Protected resource metadata (RFC 9728 section 2), as far as a client acts on it."""

    resource: str
    issuers: tuple[str, ...]
    scopes: tuple[str, ...] = ()
    dpop_required: bool = False


@dataclass(frozen=True)
class Issuer:
    """Authorization server metadata (RFC 8414 section 2); ``document`` is all of it."""

    issuer: str
    document: dict[str, Any] = field(repr=False)

    @classmethod
    def read(cls, issuer: str, document: dict[str, Any]) -> Self:
        """Check what the document says of itself.

        Raises:
            RefusedError: it names another issuer, or an endpoint that no client may use.
        """
        said = document.get("issuer")
        if said != issuer:
            raise RefusedError(f"the metadata of {issuer} names another issuer: {said!r}")
        made = cls(issuer, document)
        for name in ("authorization_endpoint", "token_endpoint", "registration_endpoint", "revocation_endpoint"):
            if document.get(name) is not None:
                checked_link(document[name], f"the {name} of {issuer}", by=issuer)
        return made

    def endpoint(self, name: str, *, mutual_tls: bool = False) -> str | None:
        """An endpoint's URL, its mutual-TLS alias where that is wanted and there is one (RFC 8705 section 5)."""
        aliases = self.document.get("mtls_endpoint_aliases")
        alias = aliases.get(name) if mutual_tls and isinstance(aliases, dict) else None
        url = alias if alias is not None else self.document.get(name)
        return None if url is None else checked_link(url, f"the {name} of {self.issuer}", by=self.issuer)

    def needed(self, name: str, *, mutual_tls: bool = False) -> str:
        """The same for an endpoint that there must be.

        Raises:
            RefusedError: there is none.
        """
        url = self.endpoint(name, mutual_tls=mutual_tls)
        if url is None:
            raise RefusedError(f"{self.issuer} has no {name}")
        return url

    def texts(self, name: str) -> tuple[str, ...]:
        """A member that lists texts; empty when it is missing."""
        return _texts(self.document.get(name))

    def says(self, name: str) -> bool:
        """Whether a boolean member is true."""
        return self.document.get(name) is True


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


async def discover_resource(callers: Callers, url: str, announced: str | None) -> Resource:
    """The metadata of the resource at ``url``; ``announced`` is the ``resource_metadata`` of its challenge.

    Without any such document the resource is taken as its own authorization server, as MCP 2025-03-26 had it.

    Raises:
        RefusedError: the metadata is elsewhere, or about another resource.
        NotAssessedError: it can't be reached.
    """
    if announced is not None:
        checked_url(announced, "the address of the resource's metadata")
        if origin_of(announced) != origin_of(url):
            raise RefusedError(f"the server's metadata is said to be at another place: {announced}")
    for place in [announced] if announced is not None else _resource_places(url):
        reply = await callers.get(place, resource=True)
        if reply.status == 200 and reply.document:
            return _resource(url, reply.document)
    if announced is not None:
        raise NotAssessedError(f"the server's metadata at {announced} can't be read")
    parts = urlsplit(url)
    return Resource(url, (f"{parts.scheme}://{parts.netloc}",))


def _resource_places(url: str) -> list[str]:
    parts = urlsplit(url)
    base = f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource"
    path = parts.path.rstrip("/")
    return [base + path, base] if path else [base]


def _resource(url: str, document: dict[str, Any]) -> Resource:
    said = document.get("resource")
    if not isinstance(said, str) or not _holds(said, url):
        raise RefusedError(
            f"the server's metadata is about another resource: {said!r}",
            hint="connect to the address that it names, if that is the server you mean",
        )
    issuers = tuple(
        checked_url(text, "an authorization server") for text in _texts(document.get("authorization_servers"))
    )
    if not issuers:
        raise RefusedError("the server's metadata names no authorization server")
    return Resource(
        said,
        issuers,
        _texts(document.get("scopes_supported")),
        document.get("dpop_bound_access_tokens_required") is True,
    )


def _holds(resource: str, url: str) -> bool:
    """Whether ``url`` is the resource, or a path below it on the same origin."""
    try:
        if origin_of(resource) != origin_of(url):
            return False
    except ValueError:
        return False
    above, here = urlsplit(resource).path.rstrip("/"), urlsplit(url).path.rstrip("/")
    return here == above or here.startswith(above + "/")


async def discover_issuer(callers: Callers, issuer: str) -> Issuer:
    """The metadata of an authorization server, from the first well-known place that has some.

    Raises:
        RefusedError: it is about another issuer.
        NotAssessedError: there is none.
    """
    checked_url(issuer, "the authorization server")
    parts = urlsplit(issuer)
    base, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    places = [
        f"{base}/.well-known/oauth-authorization-server{path}",
        f"{base}/.well-known/openid-configuration{path}",
    ]
    if path:
        places.append(f"{base}{path}/.well-known/openid-configuration")
    for place in places:
        reply = await callers.get(place)
        if reply.status == 200 and reply.document:
            return Issuer.read(issuer, reply.document)
    raise NotAssessedError(f"the authorization server {issuer} has no metadata that can be read")
