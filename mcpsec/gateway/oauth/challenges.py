"""What callers without a good token are told: challenges and protected-resource metadata.

A challenge (RFC 6750 section 3, RFC 9449 section 7.1) says what is wrong, the metadata (RFC 9728) where to get a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcpsec.deployment.model import OAuth
    from mcpsec.gateway.message import Headers

__all__ = ["WELL_KNOWN", "Resource", "scopes_of"]

WELL_KNOWN = "/.well-known/oauth-protected-resource"
"""Where metadata is: this, then the resource's own path (RFC 9728 section 3.1)."""

_CHALLENGE = b"www-authenticate"


def scopes_of(config: OAuth) -> list[str]:
    """Every scope that this deployment knows, each once."""
    return list(dict.fromkeys([*config.scopes, *config.method_scopes.values()]))


class Resource:
    """The gateway as a protected resource. ``url`` is the one that clients use for ``/mcp``."""

    def __init__(self, config: OAuth, url: str) -> None:
        self._config = config
        self._audience = config.audience or url
        self._identifier = self._audience if urlsplit(self._audience).scheme == "https" else url
        self._origin = url.removesuffix(urlsplit(url).path)

    def audiences(self, name: str | None) -> set[str]:
        """The audiences of tokens that are good at ``/mcp`` (no name) or ``/mcp/NAME``.

        A token for the whole is good for each part, a token for one part only there.
        """
        return {self._audience} if name is None else {self._audience, f"{self._audience}/{name}"}

    def metadata(self, name: str | None) -> dict[str, Any]:
        """The metadata document of one endpoint (RFC 9728 section 2)."""
        config = self._config
        document: dict[str, Any] = {
            "resource": self._identifier if name is None else f"{self._identifier}/{name}",
            "authorization_servers": [config.issuer],
            "bearer_methods_supported": ["header"],
        }
        if scopes := scopes_of(config):
            document["scopes_supported"] = scopes
        document["dpop_signing_alg_values_supported"] = _dpop_algorithms()
        document["tls_client_certificate_bound_access_tokens"] = True
        return document

    def challenge(
        self, name: str | None, *, error: str | None = None, scopes: Iterable[str] = (), dpop: bool = False
    ) -> Headers:
        """The challenge headers. ``dpop`` puts the error, if any, on the DPoP challenge instead of the Bearer one."""
        place = f"{self._origin}{WELL_KNOWN}/mcp{'' if name is None else f'/{name}'}"
        words = [f'resource_metadata="{place}"']
        wanted = " ".join(scopes or self._config.scopes)
        if wanted:
            words.append(f'scope="{wanted}"')
        said = [] if error is None else [f'error="{error}"']
        bearer = ", ".join([*words, *([] if dpop else said)])
        proof = ", ".join([f'algs="{" ".join(_dpop_algorithms())}"', *words, *(said if dpop else [])])
        lines = [(_CHALLENGE, b"Bearer " + bearer.encode()), (_CHALLENGE, b"DPoP " + proof.encode())]
        return lines[::-1] if dpop else lines


def _dpop_algorithms() -> list[str]:
    from mcpsec.gateway.oauth.compact import ALGORITHMS

    return list(ALGORITHMS)
