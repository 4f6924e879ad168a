"""Who is calling: the verified certificate names exactly one client of the deployment, by a SAN or its fingerprint.

The subject's common name is never looked at (RFC 9525 section 6.4.4 retired it, and any CA operator can repeat one).
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mcpsec.gateway.message import Exchange, Peer, Refusal
from mcpsec.protocol import codes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcpsec.deployment.model import Client

__all__ = ["CertificateIdentity", "ClientDirectory"]


class ClientDirectory:
    """Finds the client that a certificate belongs to."""

    def __init__(self, clients: Iterable[Client]) -> None:
        self._by_san: dict[str, Client] = {}
        self._by_fingerprint: dict[str, Client] = {}
        for client in clients:
            match = client.certificate
            if match is not None and match.san is not None:
                self._by_san[match.san] = client
            if match is not None and match.sha256 is not None:
                self._by_fingerprint[match.sha256.lower().replace(":", "")] = client

    def find(self, peer: Peer) -> Client | None:
        """The one client that the certificate names; None when there is none, or more than one."""
        found = {client.id: client for san in peer.sans if (client := self._by_san.get(san)) is not None}
        pinned = self._by_fingerprint.get(peer.fingerprint or "")
        if pinned is not None:
            found[pinned.id] = pinned
        return next(iter(found.values())) if len(found) == 1 else None

    def identify(self, peer: Peer) -> Peer:
        """The peer with its client, looked up once for a connection."""
        return replace(peer, client=self.find(peer))


class CertificateIdentity:
    """Refuses a caller whose certificate names no client, or is over since the handshake."""

    def __call__(self, exchange: Exchange) -> Refusal | None:
        """Take over the identity that the connection has."""
        peer = exchange.peer
        if peer.client is None:
            return _unknown("certificate-unknown", f"no client has the certificate {peer.fingerprint}")
        if peer.not_after is not None and time.time() > peer.not_after:
            return _unknown("certificate-expired", "the certificate has expired since the handshake")
        exchange.client = peer.client
        exchange.identified_by = "mtls"
        return None


def _unknown(rule: str, detail: str) -> Refusal:
    return Refusal(401, codes.NOT_AUTHENTICATED, "not authenticated", rule, detail, close=True)
