"""A token's scopes bound what its client may do with it: less than the policy grants, never more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.gateway.message import Exchange, Refusal
from mcpsec.gateway.steps.bearer import endpoint_name
from mcpsec.protocol import codes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpsec.deployment.model import MethodClass
    from mcpsec.gateway.oauth.resource_server import ResourceServer

__all__ = ["ScopeCheck"]


class ScopeCheck:
    """Comes after the policy, which has said what kind of use a call is. ``wanted`` maps each kind to its scope."""

    def __init__(self, server: ResourceServer, wanted: Mapping[MethodClass, str]) -> None:
        self._server = server
        self._wanted = {str(method): scope for method, scope in wanted.items()}

    def __call__(self, exchange: Exchange) -> Refusal | None:
        """Refuse with the scope that a new token would need (RFC 6750 section 3.1)."""
        token, scope = exchange.token, self._wanted.get(exchange.method_class)
        if token is None or scope is None or scope in token.scopes:
            return None
        name = endpoint_name(exchange.request.path)
        scopes = [*sorted(self._server.scopes), scope]
        headers = self._server.resource.challenge(
            name, error="insufficient_scope", scopes=scopes, dpop=token.bound_key is not None
        )
        return Refusal(403, codes.ACCESS_DENIED, "access denied", "scope-missing", f"lacks {scope}", headers=headers)
