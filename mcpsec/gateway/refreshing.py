"""Bringing new values of secrets into use in a running gateway, between two requests.

This is the gateway's own business in a module of its own: it changes what ``server.Gateway`` keeps to itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.gateway.assembly import seal_key
from mcpsec.gateway.policy.confirmation import ConfirmationKey
from mcpsec.gateway.upstreams.factory import renew_secrets
from mcpsec.telemetry.alerting import channels_of

if TYPE_CHECKING:
    from mcpsec.gateway.server import Gateway

__all__ = ["refresh", "renew_shared"]


def refresh(gateway: Gateway) -> None:
    """Some secret has a new value. Raises SecretError when one of them can't be used."""
    deployment, reveal = gateway._deployment, gateway._secrets.reveal
    # What can't be used is found before anything is taken into use: a key that was refused must not linger.
    approval = None if deployment.approval is None else ConfirmationKey.of(deployment.approval, reveal)
    channels = channels_of(deployment.alerts, reveal)
    seal_key(deployment, reveal)
    if gateway._verifier is not None:
        gateway._verifier.reload()
    for name, upstream in gateway._upstreams.items():
        renew_secrets(upstream, deployment, deployment.upstreams[name], reveal)
    if gateway._confirmations is not None and approval is not None:
        gateway._confirmations.renew(approval, overlap=deployment.secrets.overlap)
    gateway._observers.use_channels(channels)
    renew_shared(gateway)


def renew_shared(gateway: Gateway) -> None:
    """What gateways share for handles and nonces: make with a new value when every gateway had the time to read it."""
    deployment, reveal = gateway._deployment, gateway._secrets.reveal
    key = seal_key(deployment, reveal)
    if key is None or deployment.state.handle_key is None:
        return
    delay = 2 * deployment.secrets.refresh if deployment.state.shared else 0.0
    overlap = deployment.secrets.overlap
    gateway._seal.renew(key, overlap=overlap, delay=delay)
    if gateway._tokens is not None:
        gateway._tokens.renew(reveal(deployment.state.handle_key), overlap=overlap, delay=delay)
