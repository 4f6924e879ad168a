"""The identity steps of a deployment, in order: certificate, token, signature, and whether that is all of it.

Each factor that a request shows is verified, also where its client needs none, and all of them must stand for one
client. The token comes before the signature because its refusal tells a client how to get one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.errors import ConfigurationError
from mcpsec.gateway.failures import AuthenticationFailures
from mcpsec.gateway.steps.bearer import BearerCheck, endpoint_name
from mcpsec.gateway.steps.factors import Factors, FactorsComplete
from mcpsec.gateway.steps.identity import CertificateIdentity
from mcpsec.gateway.steps.metadata import ResourceMetadata
from mcpsec.gateway.steps.signature import SignatureCheck

if TYPE_CHECKING:
    from mcpsec.deployment.model import Client, Deployment
    from mcpsec.gateway.message import Exchange, Headers
    from mcpsec.gateway.oauth.resource_server import ResourceServer
    from mcpsec.gateway.rotating import RotatingVerifier
    from mcpsec.gateway.state import State
    from mcpsec.gateway.steps import Step
    from mcpsec.gateway.tls import ClientCertificates

__all__ = ["certificates_wanted", "identity_steps"]


def certificates_wanted(deployment: Deployment) -> ClientCertificates:
    """What TLS asks of clients: a certificate is optional where only some need one, or tokens may be bound to one."""
    if "mtls" in Factors(deployment).always:
        return "required"
    return "optional" if {"mtls", "bearer"} & deployment.possible_factors else "none"


def identity_steps(
    deployment: Deployment, verifier: RotatingVerifier | None, tokens: ResourceServer | None, state: State
) -> list[Step]:
    """The steps after which ``exchange.client`` is known and proven."""
    factors, failures = Factors(deployment), AuthenticationFailures()
    if not factors.possible:
        return [_Everyone(deployment.clients)]
    steps: list[Step] = []
    if tokens is not None:
        steps.append(ResourceMetadata(tokens.resource))
    if certificates_wanted(deployment) != "none":
        steps.append(CertificateIdentity(factors, failures))
    if tokens is not None:
        steps.append(BearerCheck(tokens, factors, failures, state))
    if verifier is not None:
        clients = {client.id: client for client in deployment.clients}
        steps.append(SignatureCheck(verifier, clients, factors, failures, state))

    def challenge(exchange: Exchange) -> Headers:
        return [] if tokens is None else tokens.resource.challenge(endpoint_name(exchange.request.path))

    return [*steps, FactorsComplete(factors, challenge)]


class _Everyone:
    """Without any factor (loopback only, said explicitly in the file) whoever calls is the file's only client."""

    def __init__(self, clients: tuple[Client, ...]) -> None:
        if len(clients) != 1:
            raise ConfigurationError("without authentication there must be exactly one client, which everybody is")
        self._client = clients[0]

    def __call__(self, exchange: Exchange) -> None:
        exchange.client = self._client
        exchange.identified_by = "none"
