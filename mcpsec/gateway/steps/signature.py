"""The second factor: a signature over the request as it stood on the wire, by a key of the client that is calling."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING

from mcpsec.gateway.failures import certified
from mcpsec.gateway.message import Exchange, Request
from mcpsec.gateway.message import Refusal as GatewayRefusal
from mcpsec.gateway.steps import CHANGED
from mcpsec.protocol import codes
from mcpsec.signing import Refusal, ReplayStoreError, SignedMessage, Verifier, certificate_keys
from mcpsec.signing.fields import collect
from mcpsec.signing.outcome import RefusedSignature

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from mcpsec.deployment.model import Client
    from mcpsec.gateway.failures import AuthenticationFailures
    from mcpsec.gateway.rotating import RotatingVerifier
    from mcpsec.gateway.state import State
    from mcpsec.gateway.steps import Changed, Repeated
    from mcpsec.gateway.steps.factors import Factors
    from mcpsec.signing import Claim, Verified
    from mcpsec.signing.fields import Collected

__all__ = ["SignatureCheck"]

_keys_of = lru_cache(maxsize=1024)(certificate_keys)


_SIGNED = (b"x-signature", b"signature-input")


class SignatureCheck:
    """Verifies a request's signature, where its client needs one and where there is one. Failures are counted.

    ``clients`` maps a client's id to the client; it is used where no other factor has named one.
    """

    def __init__(
        self,
        verifier: Verifier | RotatingVerifier,
        clients: Mapping[str, Client],
        factors: Factors,
        failures: AuthenticationFailures,
        state: State,
    ) -> None:
        self._verifier = verifier
        self._state = state
        self._clients = clients
        self._factors = factors
        self._failures = failures

    def __call__(self, exchange: Exchange) -> GatewayRefusal | Awaitable[GatewayRefusal | None] | None:
        """Check one request."""
        request, client = exchange.request, exchange.client
        if not self._factors.needed("signature", client) and request.fields.keys().isdisjoint(_SIGNED):
            return None
        claimed = _claimed(request) if client is None else client.id
        refused = self._failures.check_connection(exchange.peer, claimed)
        if refused is not None:
            return refused
        message, collected = _message(request)
        der = exchange.peer.der
        if client is None:
            checked = self._verifier.check(message, collected=collected)
        elif der is None or b"signature-input" not in request.fields:
            checked = self._verifier.check(message, owner=client.id, collected=collected)
        else:  # the key of the connection's own certificate may sign too
            checked = self._verifier.check(message, owner=client.id, certificate_keys=_keys_of(der, client.id))
        if isinstance(checked, Refusal):
            return self._settled(exchange, checked, claimed)
        try:
            first = self._state.claim(checked.key_id, checked.nonce, checked.expires_at, checked.verified.created)
        except Exception as error:
            return self._settled(exchange, Verifier.store_unavailable(error), claimed)
        if isinstance(first, bool):
            return self._settled(exchange, checked.settle(first), claimed)
        return self._await_claim(exchange, checked, first, claimed)

    def again(self, exchange: Exchange) -> Repeated | None:
        """All that proves it, where there is or has to be a signature; what the head alone says was looked at."""
        request, client = exchange.request, exchange.peer.client
        if request.fields.keys().isdisjoint(_SIGNED) and not self._factors.needed("signature", exchange.client):
            return None
        claim = getattr(self._state, "claim_at_once", None)
        message, collected = _message(request)
        current, verifier = _current(self._verifier), self._verifier
        if claim is None or collected is None or client is None or exchange.identified_by != "mtls+signature":
            return self
        known = request.known
        verify = None if known is None else current.again(message, client.id, collected, known.proving)
        if verify is None:
            return self
        name, key_id = certified(client.id), collected[0][b"x-key-id"].decode("ascii")
        is_proven, clock = self._failures.is_proven, time.time

        def repeated(exchange: Exchange) -> Changed | None:
            request = exchange.request
            if (
                exchange.identified_by != "mtls"
                or request.known is not known
                or _current(verifier) is not current
                or not is_proven(exchange.peer.address, name)
            ):
                return CHANGED
            verified = verify(request.proofs, request.body, clock())
            if verified is None:
                return CHANGED
            try:
                if not claim(key_id, *verified):
                    return CHANGED  # the whole step says so: a nonce that was claimed stays claimed
            except ReplayStoreError:
                return CHANGED
            exchange.identified_by = "mtls+signature"
            return None

        return repeated

    async def _await_claim(
        self, exchange: Exchange, claim: Claim, first: Awaitable[bool], claimed: str
    ) -> GatewayRefusal | None:
        try:
            outcome = claim.settle(await first)
        except Exception as error:
            outcome = Verifier.store_unavailable(error)
        return self._settled(exchange, outcome, claimed)

    def _settled(self, exchange: Exchange, outcome: Verified | Refusal, claimed: str) -> GatewayRefusal | None:
        client, peer = exchange.client, exchange.peer
        if isinstance(outcome, Refusal):
            if outcome.rule == "store-unavailable":
                retry = [(b"retry-after", b"1")]
                words = "the service is not available"  # its credentials may be as good as any
                return GatewayRefusal(
                    503, codes.UPSTREAM_UNAVAILABLE, words, outcome.rule, outcome.detail, headers=retry
                )
            self._failures.failed_on(peer, claimed)
            exchange.claimed = claimed
            return GatewayRefusal(401, codes.NOT_AUTHENTICATED, "not authenticated", outcome.rule, outcome.detail)
        exchange.client = client or self._clients[outcome.owner]
        exchange.proven("signature")
        self._failures.succeeded_on(peer, claimed)
        return None


def _current(verifier: Verifier | RotatingVerifier) -> Verifier:
    return verifier if isinstance(verifier, Verifier) else verifier.current


def _message(request: Request) -> tuple[SignedMessage, Collected | None]:
    """What the signature covers; of a head that came before, texts and names are those of then.

    Only the values that prove differ under a known head, and no header that a signature must cover is one of them.
    """
    known = request.known
    if known is None:
        return SignedMessage(*_texts(request), request.headers, request.body), None
    if known.signing is None:
        try:
            own, covered = collect(request.headers)
        except RefusedSignature:  # the verifier says so itself
            return SignedMessage(*_texts(request), request.headers, request.body), None
        known.signing = _texts(request), tuple(own), covered
    texts, names, covered = known.signing
    fields = request.fields
    return SignedMessage(*texts, request.headers, request.body), ({name: fields[name] for name in names}, covered)


def _texts(request: Request) -> tuple[str, str, str, str]:
    return (
        request.method.decode("ascii", "replace"),
        request.fields.get(b"host", b"").decode("latin-1").lower(),
        request.path.decode("latin-1"),
        request.query.decode("latin-1"),
    )


def _claimed(request: Request) -> str:
    """The key identifier that a request names, proven or not; the field it stands in is short and plain."""
    key_id = request.fields.get(b"x-key-id", b"")[:128].decode("ascii", "replace")
    return f"key:{key_id}" if key_id else ""
