"""Parts of a gateway that follow from its deployment alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.gateway.cleaning import AnswerCleaner
from mcpsec.gateway.handles import HandleSeal
from mcpsec.gateway.policy.confirmation import ConfirmationKey, Confirmations
from mcpsec.signing import VerificationKey, Verifier, load_public_key

if TYPE_CHECKING:
    from mcpsec.deployment.model import Deployment
    from mcpsec.gateway.state import State

__all__ = ["make_cleaners", "make_confirmations", "make_seal", "make_verifier"]


def make_verifier(deployment: Deployment) -> Verifier | None:
    """The verifier over every client's active keys; None where nobody signs. Raises Error for an unusable key."""
    if "signature" not in deployment.possible_factors:
        return None
    keys: dict[str, VerificationKey] = {}
    for client in deployment.clients:
        for key in client.signing_keys:
            secret = None if key.secret is None else key.secret.resolve()
            public = None if key.public_key is None else load_public_key(key.public_key)
            keys[key.id] = VerificationKey(key.id, client.id, secret=secret, public_key=public)
    signature = deployment.auth.signature
    return Verifier(keys, schemes=signature.schemes, max_age=signature.max_age)


def make_cleaners(deployment: Deployment) -> dict[str, AnswerCleaner]:
    """What takes secrets out of each upstream's answers."""
    return {name: AnswerCleaner(each.secrets, each.error_details) for name, each in deployment.upstreams.items()}


def make_confirmations(deployment: Deployment, state: State, began: float) -> Confirmations | None:
    """What reads operators' confirmations; None where nobody can make one. Raises SecretError.

    ``began`` is when the gateway did (Unix seconds): its own memory knows of no use before then, a shared store does.
    """
    if deployment.approval is None:
        return None
    since = began if deployment.state.url == "memory://" else 0.0
    return Confirmations(ConfirmationKey.of(deployment.approval), state, since=since)


def make_seal(deployment: Deployment) -> HandleSeal:
    """What seals upstreams' handles, for as long as a session may rest. Raises SecretError."""
    key = deployment.state.handle_key
    return HandleSeal(deployment.server.limits.session_idle_timeout, None if key is None else key.resolve())
