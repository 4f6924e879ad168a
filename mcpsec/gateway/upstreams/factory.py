"""From what the deployment file says of an upstream to the object that speaks to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.gateway.sandbox import child_environment
from mcpsec.gateway.upstreams.builtin import BUILTIN_SERVERS, BuiltinServer
from mcpsec.gateway.upstreams.credentials import client_credentials, resolve
from mcpsec.gateway.upstreams.http import HttpUpstream
from mcpsec.gateway.upstreams.stdio import StdioUpstream

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from mcpsec.deployment.model import Deployment, Limits
    from mcpsec.deployment.model import Upstream as UpstreamConfig
    from mcpsec.gateway.answers import AnswerGuard
    from mcpsec.gateway.cleaning import AnswerCleaner
    from mcpsec.gateway.policy import Policy
    from mcpsec.gateway.sessions import SessionTable
    from mcpsec.gateway.upstreams.base import Upstream
    from mcpsec.secretrefs import SecretRef

__all__ = ["make_upstream", "renew_secrets"]


def make_upstream(
    config: UpstreamConfig,
    limits: Limits,
    sessions: SessionTable,
    guard: AnswerGuard,
    policy: Callable[[], Policy],
    cleaners: Mapping[str, AnswerCleaner] | None = None,
    of_clients: Mapping[str, dict[str, str]] | None = None,
    reveal: Callable[[SecretRef], bytes] = lambda reference: reference.resolve(),
    private: Collection[Path] = (),
) -> Upstream:
    """The upstream, not started yet, its secrets resolved by ``reveal``. Raises SecretError.

    ``of_clients`` are the headers, or the variables, of clients that have a credential of their own. ``private`` is
    kept from a sandboxed program, even where it lies among its own files.
    """
    if config.builtin is not None:
        return BuiltinServer(
            config.name, instructions=BUILTIN_SERVERS[config.builtin], policy=policy, cleaners=cleaners
        )
    if config.url is not None or config.app is not None:
        headers = resolve(config.headers, f"upstreams.{config.name}.headers", reveal)
        return HttpUpstream(config, headers, limits, sessions, guard, of_clients)
    environment = resolve(config.environment, f"upstreams.{config.name}.environment", reveal)
    return StdioUpstream(config, environment, limits, sessions, guard, of_clients, private)


def renew_secrets(
    upstream: Upstream, deployment: Deployment, config: UpstreamConfig, reveal: Callable[[SecretRef], bytes]
) -> None:
    """Let an upstream use the secrets of the moment: an HTTP one at once, a program when it starts for somebody next.

    Raises SecretError.
    """
    of_clients = client_credentials(deployment, config, reveal)
    if isinstance(upstream, HttpUpstream):
        upstream.use_headers(resolve(config.headers, f"upstreams.{config.name}.headers", reveal), of_clients)
    elif isinstance(upstream, StdioUpstream):
        environment = resolve(config.environment, f"upstreams.{config.name}.environment", reveal)
        upstream.environment = child_environment(environment)
        upstream.of_clients = {name: child_environment(values) for name, values in of_clients.items()}
