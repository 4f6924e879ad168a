"""The second factor: a signature over the request as it stood on the wire, by a key of the client that is calling."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from mcpsec.gateway.message import Exchange
from mcpsec.gateway.message import Refusal as GatewayRefusal
from mcpsec.protocol import codes
from mcpsec.signing import Refusal, SignedMessage, Verifier, certificate_keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from mcpsec.deployment.model import Client
    from mcpsec.gateway.limits import BucketTable
    from mcpsec.gateway.state import State
    from mcpsec.signing import Claim, Verified

__all__ = ["SignatureCheck"]

_keys_of = lru_cache(maxsize=1024)(certificate_keys)


class SignatureCheck:
    """Verifies every request's signature. Failures are counted per address, and too many are refused unheard.

    ``clients`` maps a client's id to the client; it is used where no certificate has named one.
    """

    def __init__(self, verifier: Verifier, clients: Mapping[str, Client], failures: BucketTable, state: State) -> None:
        self._verifier = verifier
        self._state = state
        self._clients = clients
        self._failures = failures

    def __call__(self, exchange: Exchange) -> GatewayRefusal | Awaitable[GatewayRefusal | None] | None:
        """Check one request."""
        request, client = exchange.request, exchange.client
        failure_key = f"{exchange.peer.address} {'' if client is None else client.id}"
        wait = self._failures.wait_for(failure_key)
        if wait > 0:
            return GatewayRefusal(
                429, codes.RATE_LIMITED, "too many failed attempts", "authentication-failures",
                headers=[(b"retry-after", str(int(wait) + 1).encode())],
            )  # fmt: skip
        message = SignedMessage(
            request.method.decode("ascii", "replace"),
            request.fields.get(b"host", b"").decode("latin-1").lower(),
            request.path.decode("latin-1"),
            request.query.decode("latin-1"),
            request.headers,
            request.body,
        )
        der = exchange.peer.der
        if client is None:
            checked = self._verifier.check(message)
        elif der is None or b"signature-input" not in request.fields:
            checked = self._verifier.check(message, owner=client.id)
        else:  # the key of the connection's own certificate may sign too
            checked = self._verifier.check(message, owner=client.id, certificate_keys=_keys_of(der, client.id))
        if isinstance(checked, Refusal):
            return self._settled(exchange, checked, failure_key)
        try:
            first = self._state.claim(checked.key_id, checked.nonce, checked.expires_at, checked.verified.created)
        except Exception as error:
            return self._settled(exchange, Verifier.store_unavailable(error), failure_key)
        if isinstance(first, bool):
            return self._settled(exchange, checked.settle(first), failure_key)
        return self._claimed(exchange, checked, first, failure_key)

    async def _claimed(
        self, exchange: Exchange, claim: Claim, first: Awaitable[bool], failure_key: str
    ) -> GatewayRefusal | None:
        try:
            outcome = claim.settle(await first)
        except Exception as error:
            outcome = Verifier.store_unavailable(error)
        return self._settled(exchange, outcome, failure_key)

    def _settled(self, exchange: Exchange, outcome: Verified | Refusal, failure_key: str) -> GatewayRefusal | None:
        client = exchange.client
        if isinstance(outcome, Refusal):
            if outcome.rule == "store-unavailable":
                retry = [(b"retry-after", b"1")]
                return GatewayRefusal(
                    503, codes.NOT_AUTHENTICATED, "not authenticated", outcome.rule, outcome.detail, headers=retry
                )
            self._failures.take(failure_key)
            return GatewayRefusal(401, codes.NOT_AUTHENTICATED, "not authenticated", outcome.rule, outcome.detail)
        exchange.client = client or self._clients[outcome.owner]
        exchange.identified_by = f"{exchange.identified_by}+signature".lstrip("+")
        return None
