"""From what the deployment file says of an upstream to the object that speaks to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.gateway.upstreams.builtin import BUILTIN_SERVERS, BuiltinServer
from mcpsec.gateway.upstreams.credentials import resolve
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

__all__ = ["make_upstream"]


def make_upstream(
    config: UpstreamConfig,
    limits: Limits,
    sessions: SessionTable,
    guard: AnswerGuard,
    policy: Callable[[], Policy],
    cleaners: Mapping[str, AnswerCleaner] | None = None,
    of_clients: Mapping[str, dict[str, str]] | None = None,
) -> Upstream:
    """The upstream, not started yet, its secrets resolved. Raises SecretError.

    ``of_clients`` are the headers, or the variables, of clients that have a credential of their own.
    """
    if config.builtin is not None:
        return BuiltinServer(
            config.name, instructions=BUILTIN_SERVERS[config.builtin], policy=policy, cleaners=cleaners
        )
    if config.url is not None:
        headers = resolve(config.headers, f"upstreams.{config.name}.headers")
        return HttpUpstream(config, headers, limits, sessions, guard, of_clients)
    environment = resolve(config.environment, f"upstreams.{config.name}.environment")
    return StdioUpstream(config, environment, limits, sessions, guard, of_clients)
