"""Parts of a gateway that follow from its deployment alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mcpsec.deployment.model import Role
from mcpsec.gateway.cleaning import AnswerCleaner
from mcpsec.gateway.handles import HandleSeal, SealKey
from mcpsec.gateway.policy.confirmation import ConfirmationKey, Confirmations
from mcpsec.gateway.rotating import RotatingVerifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.deployment.model import Deployment
    from mcpsec.deployment.model import Upstream as UpstreamConfig
    from mcpsec.gateway.secrets import SecretKeeper
    from mcpsec.gateway.state import State
    from mcpsec.secretrefs import SecretRef

    Reveal = Callable[[SecretRef], bytes]

__all__ = ["make_cleaners", "make_confirmations", "make_seal", "make_verifier", "seal_key", "with_run_upstream"]

_RUN_ROLE = "(this run)"


def make_verifier(
    deployment: Deployment, secrets: SecretKeeper, before: RotatingVerifier | None = None
) -> RotatingVerifier | None:
    """The verifier over every client's active keys; None where nobody signs. Raises Error for an unusable key.

    ``before`` is the one that it replaces: what was a key of it until now stays good for the overlap.
    """
    if "signature" not in deployment.possible_factors:
        return None
    return RotatingVerifier(deployment, secrets, before=before)


def make_cleaners(deployment: Deployment) -> dict[str, AnswerCleaner]:
    """What takes secrets out of each upstream's answers."""
    return {name: AnswerCleaner(each.secrets, each.error_details) for name, each in deployment.upstreams.items()}


def make_confirmations(
    deployment: Deployment,
    state: State,
    began: float,
    reveal: Reveal,
    before: tuple[Deployment, Confirmations | None] | None = None,
) -> Confirmations | None:
    """What reads operators' confirmations; None where nobody can make one. Raises SecretError.

    ``began`` is when the gateway did (Unix seconds): its own memory knows of no use before then, a shared store does.
    ``before`` is what it replaces, and its deployment. Its keys stay good for the overlap if the file names the same
    secret still: another reference is how an operator ends a key at once.
    """
    if deployment.approval is None:
        return None
    since = began if deployment.state.url == "memory://" else 0.0
    key = ConfirmationKey.of(deployment.approval, reveal)
    former = None
    if (
        before is not None
        and before[0].approval is not None
        and before[0].approval.secret == deployment.approval.secret
    ):
        former = before[1]
    made = Confirmations(key, state, since=since, before=former)
    made.renew(key, overlap=deployment.secrets.overlap)
    return made


def make_seal(deployment: Deployment, reveal: Reveal) -> HandleSeal:
    """What seals upstreams' handles, for as long as a session may rest. Raises SecretError."""
    return HandleSeal(deployment.server.limits.session_idle_timeout, seal_key(deployment, reveal))


def seal_key(deployment: Deployment, reveal: Reveal) -> SealKey | None:
    """The key that this deployment's gateways share; None when each has its own. Raises SecretError."""
    key = deployment.state.handle_key
    return None if key is None else SealKey.of(reveal(key))


def with_run_upstream(deployment: Deployment, upstream: UpstreamConfig, client_id: str) -> Deployment:
    """The deployment for one run in which ``upstream`` is the only one and ``client_id`` may use all of it."""
    everything = Role(
        name=_RUN_ROLE, allow_resources=(f"{upstream.name}/*",), allow_methods=("read", "write", "execute")
    )
    clients = tuple(
        replace(client, roles=(*client.roles, _RUN_ROLE)) if client.id == client_id else client
        for client in deployment.clients
    )
    roles = {**deployment.roles, _RUN_ROLE: everything}
    return replace(deployment, upstreams={upstream.name: upstream}, clients=clients, roles=roles, pins=None)
