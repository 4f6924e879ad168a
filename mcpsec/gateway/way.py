"""The way of a request: what stands between the listener and the upstreams, in order.

This is the gateway's own business in a module of its own: it reads what ``server.Gateway`` keeps to itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mcpsec.gateway.identification import identity_steps
from mcpsec.gateway.steps.authorise import Authorise
from mcpsec.gateway.steps.handles import OpenHandles
from mcpsec.gateway.steps.hygiene import Hygiene
from mcpsec.gateway.steps.parse import ParseMessage
from mcpsec.gateway.steps.rate import AddressRate, RateLimit, ToolRate
from mcpsec.gateway.steps.route import Router
from mcpsec.gateway.steps.scopes import ScopeCheck
from mcpsec.gateway.steps.session import FindSession
from mcpsec.gateway.steps.tasks import FindTask
from mcpsec.gateway.steps.tools import KnownTool
from mcpsec.gateway.steps.trace import Trace

if TYPE_CHECKING:
    from mcpsec.deployment.model import Address, Server
    from mcpsec.gateway.server import Gateway
    from mcpsec.gateway.steps import Step

__all__ = ["way_of_requests"]


def way_of_requests(gateway: Gateway) -> list[Step]:
    """The steps that the deployment in use asks for, first to last."""
    deployment, tokens, state = gateway._deployment, gateway._tokens, gateway._state
    limits, oauth = deployment.server.limits, deployment.auth.oauth
    first = [] if limits.address_rate_limit is None else [AddressRate(limits.address_rate_limit, state)]
    scopes = [] if tokens is None or oauth is None else [ScopeCheck(tokens, oauth.method_scopes)]
    return [
        *first,
        Hygiene(_authorities(deployment.server, gateway._bound), deployment.server.allowed_origins),
        *identity_steps(deployment, gateway._verifier, tokens, state),
        RateLimit(deployment.clients, limits.rate_limit, state),
        Router(gateway._protected, gateway._aggregate),
        ParseMessage(limits.json_depth),
        Trace(
            own_spans=gateway._traces is not None,
            sample=1.0 if deployment.opentelemetry is None else deployment.opentelemetry.sample,
        ),
        FindSession(gateway._sessions),
        FindTask(gateway._given_tasks),
        Authorise(lambda: gateway._policy, gateway._aggregate, lambda: gateway._confirmations),
        *scopes,
        ToolRate(deployment.upstreams.values(), state),
        KnownTool(),
        OpenHandles(gateway._seal, lambda: gateway._policy, *scopes),
    ]


def _authorities(server: Server, bound: Address) -> set[str]:
    """What may stand in Host."""
    hosts = {str(bound), *server.allowed_hosts}
    if server.public_url is not None:
        hosts.add(urlsplit(server.public_url).netloc)
    if bound.host in {"127.0.0.1", "::1"}:
        hosts.add(f"localhost:{bound.port}")
    return hosts
