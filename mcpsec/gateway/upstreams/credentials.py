"""Whose credential a call carries: the upstream's own values, a role's in their place, a client's above both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.errors import SecretError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcpsec.deployment.model import Deployment, Upstream
    from mcpsec.secretrefs import SecretRef

__all__ = ["client_credentials", "credentials_named", "resolve"]


def credentials_named(deployment: Deployment, upstream: Upstream) -> dict[str, dict[str, str | SecretRef]]:
    """By client, the headers or variables that its roles and itself set in place of the upstream's own."""
    if upstream.builtin is not None:
        return {}
    member = "upstream_headers" if upstream.command is None else "upstream_environment"
    found: dict[str, dict[str, str | SecretRef]] = {}
    for client in deployment.clients:
        values: dict[str, str | SecretRef] = {}
        for holder in (*(deployment.roles[name] for name in client.roles), client):
            values |= getattr(holder, member).get(upstream.name, {})
        if values:
            found[client.id] = values
    return found


def client_credentials(
    deployment: Deployment,
    upstream: Upstream,
    reveal: Callable[[SecretRef], bytes] = lambda reference: reference.resolve(),
) -> dict[str, dict[str, str]]:
    """The same with every value resolved, beside the upstream's own of other names.

    Raises ``SecretError`` when a reference does not resolve, or to something that no header and no variable can hold.
    """
    own = upstream.headers if upstream.command is None else upstream.environment
    return {
        client: resolve({**own, **values}, f"the credentials of {client} for {upstream.name}", reveal)
        for client, values in credentials_named(deployment, upstream).items()
    }


def resolve(
    values: Mapping[str, str | SecretRef],
    where: str,
    reveal: Callable[[SecretRef], bytes] = lambda reference: reference.resolve(),
) -> dict[str, str]:
    """The values of a table in which some are references. Raises SecretError, which never holds a value."""
    resolved = {}
    for name, value in values.items():
        try:
            text = value if isinstance(value, str) else reveal(value).decode("utf-8")
        except UnicodeDecodeError:
            raise SecretError(f"{where}.{name} is not text") from None
        if any(ord(char) < 32 or ord(char) == 127 for char in text):
            raise SecretError(f"{where}.{name} holds a control character")
        resolved[name] = text
    return resolved
