"""From what the deployment file says of an upstream to the object that speaks to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.errors import SecretError
from mcpsec.gateway.upstreams.builtin import BUILTIN_SERVERS, BuiltinServer
from mcpsec.gateway.upstreams.http import HttpUpstream
from mcpsec.gateway.upstreams.stdio import StdioUpstream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcpsec.deployment.model import Limits
    from mcpsec.deployment.model import Upstream as UpstreamConfig
    from mcpsec.gateway.answers import AnswerGuard
    from mcpsec.gateway.cleaning import AnswerCleaner
    from mcpsec.gateway.policy import Policy
    from mcpsec.gateway.sessions import SessionTable
    from mcpsec.gateway.upstreams.base import Upstream
    from mcpsec.secretrefs import SecretRef

__all__ = ["make_upstream", "resolve"]


def make_upstream(
    config: UpstreamConfig,
    limits: Limits,
    sessions: SessionTable,
    guard: AnswerGuard,
    policy: Callable[[], Policy],
    cleaners: Mapping[str, AnswerCleaner] | None = None,
) -> Upstream:
    """The upstream, not started yet, its secrets resolved. Raises SecretError."""
    if config.builtin is not None:
        return BuiltinServer(
            config.name, instructions=BUILTIN_SERVERS[config.builtin], policy=policy, cleaners=cleaners
        )
    if config.url is not None:
        headers = resolve(config.headers, f"upstreams.{config.name}.headers")
        return HttpUpstream(config, headers, limits, sessions, guard)
    environment = resolve(config.environment, f"upstreams.{config.name}.environment")
    return StdioUpstream(config, environment, limits, sessions, guard)


def resolve(values: Mapping[str, str | SecretRef], where: str) -> dict[str, str]:
    """The values of a table in which some are references. Raises SecretError, which never holds a value."""
    resolved = {}
    for name, value in values.items():
        text = value if isinstance(value, str) else value.resolve().decode("utf-8", "strict")
        if any(ord(char) < 32 or ord(char) == 127 for char in text):
            raise SecretError(f"{where}.{name} holds a control character")
        resolved[name] = text
    return resolved
