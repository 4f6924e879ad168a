"""Who is calling: the verified certificate names exactly one client of the deployment, by a SAN or its fingerprint.

The subject's common name is never looked at (RFC 9525 section 6.4.4 retired it, and any CA operator can repeat one).
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mcpsec.certs.names import comparable
from mcpsec.gateway.failures import certified
from mcpsec.gateway.message import Exchange, Peer, Refusal
from mcpsec.gateway.steps import CHANGED
from mcpsec.protocol import codes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcpsec.deployment.model import Client
    from mcpsec.gateway.failures import AuthenticationFailures
    from mcpsec.gateway.steps import Changed, Repeated
    from mcpsec.gateway.steps.factors import Factors

__all__ = ["CertificateIdentity", "ClientDirectory"]


class ClientDirectory:
    """Finds the client that a certificate belongs to."""

    def __init__(self, clients: Iterable[Client]) -> None:
        self._by_san: dict[str, Client] = {}
        self._by_fingerprint: dict[str, Client] = {}
        self._ids: set[str] = set()
        for client in clients:
            self._ids.add(client.id)
            match = client.certificate
            if match is not None and match.san is not None:
                self._by_san[comparable(match.san)] = client
            if match is not None and match.sha256 is not None:
                self._by_fingerprint[match.sha256.lower().replace(":", "")] = client

    def has(self, id: str) -> bool:
        """Whether there is a client of this name."""
        return id in self._ids

    def find(self, peer: Peer) -> Client | None:
        """The one client that the certificate names; None when there is none, or more than one."""
        found = {client.id: client for san in peer.sans if (client := self._by_san.get(comparable(san))) is not None}
        pinned = self._by_fingerprint.get(peer.fingerprint or "")
        if pinned is not None:
            found[pinned.id] = pinned
        return next(iter(found.values())) if len(found) == 1 else None

    def identify(self, peer: Peer) -> Peer:
        """The peer with its client, looked up once for a connection."""
        return replace(peer, client=self.find(peer))


class CertificateIdentity:
    """Takes over the identity of the connection's certificate; refuses one that names no client where one must be."""

    def __init__(self, factors: Factors, failures: AuthenticationFailures) -> None:
        self._factors = factors
        self._failures = failures

    def again(self, exchange: Exchange) -> Repeated:
        """The certificate's end, which comes while a connection lasts; its client is the same."""
        client = exchange.peer.client
        if client is None:
            return self
        name, failures, clock = certified(client.id), self._failures, time.time
        again = failures.succeeded_again

        def repeated(exchange: Exchange) -> Changed | None:
            peer = exchange.peer
            until = peer.not_after
            if until is None or clock() > until or peer.client is not client:
                return CHANGED
            exchange.identified_by = "mtls"
            try:
                again((peer.address, name))
            except KeyError:
                failures.succeeded(peer.address, name)
            return None

        return repeated

    def __call__(self, exchange: Exchange) -> Refusal | None:
        """Look at the peer, whose certificate TLS has verified."""
        peer = exchange.peer
        if peer.not_after is not None and time.time() > peer.not_after:
            return _unknown("certificate-expired", "the certificate has expired since the handshake")
        if peer.client is not None:
            exchange.client = peer.client
            exchange.proven("mtls")
            # What this client gets wrong from here on is its own, and nobody else's failures are counted against it.
            self._failures.succeeded_on(peer, peer.client.id)
            return None
        if not self._factors.needed("mtls", None):
            return None  # another factor may tell, and a token may be bound to this certificate all the same
        fingerprint = peer.fingerprint or ""
        refused = self._failures.check(peer.address, fingerprint)
        if refused is not None:
            refused.close = True
            return refused
        self._failures.failed(peer.address, fingerprint)
        return _unknown("certificate-unknown", f"no client has the certificate {fingerprint}")


def _unknown(rule: str, detail: str) -> Refusal:
    return Refusal(401, codes.NOT_AUTHENTICATED, "not authenticated", rule, detail, close=True)
