"""From a deployment to its resource server, and what the operator hears of the issuer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcpsec.gateway.oauth.resource_server import ResourceServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.deployment.model import Deployment
    from mcpsec.secretrefs import SecretRef

__all__ = ["resource_server"]


def resource_server(
    deployment: Deployment,
    *,
    say: Callable[[str], None],
    record: Callable[..., Any],
    reveal: Callable[[SecretRef], bytes],
) -> ResourceServer | None:
    """Make the judge of access tokens; None where no client has any.

    Raises ConfigurationError for an unusable ``ca``, SecretError for an introspection secret that can't be had.
    """
    oauth = deployment.auth.oauth
    if oauth is None or "bearer" not in deployment.possible_factors:
        return None
    asked = oauth.introspection

    def secret() -> str:
        return "" if asked is None else reveal(asked.client_secret).decode("utf-8", "replace")

    secret()

    def told(trouble: str | None) -> None:
        if trouble is None:
            say(f"the keys of {oauth.issuer} can be fetched again")
            record("configuration", name="issuer", state="up", detail="the issuer's keys can be fetched again")
        else:
            say(f"the keys of {oauth.issuer} can't be fetched, so its tokens can't be verified: {trouble}")
            record("configuration", name="issuer", state="down", detail="the issuer's keys can't be fetched")

    key = deployment.state.handle_key
    shared = None if key is None else reveal(key)
    return ResourceServer(oauth, deployment.clients, told=told, secret=secret, shared=shared)
