"""The second factor: a signature over the request as it stood on the wire, by a key of the client that is calling."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from mcpsec.gateway.message import Exchange
from mcpsec.gateway.message import Refusal as GatewayRefusal
from mcpsec.protocol import codes
from mcpsec.signing import Refusal, SignedMessage, certificate_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpsec.deployment.model import Client
    from mcpsec.gateway.limits import BucketTable
    from mcpsec.signing import Verifier

__all__ = ["SignatureCheck"]

_keys_of = lru_cache(maxsize=1024)(certificate_keys)


class SignatureCheck:
    """Verifies every request's signature. Failures are counted per address, and too many are refused unheard.

    ``clients`` maps a client's id to the client; it is used where no certificate has named one.
    """

    def __init__(self, verifier: Verifier, clients: Mapping[str, Client], failures: BucketTable) -> None:
        self._verifier = verifier
        self._clients = clients
        self._failures = failures

    def __call__(self, exchange: Exchange) -> GatewayRefusal | None:
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
            outcome = self._verifier.verify(message)
        elif der is None or b"signature-input" not in request.fields:
            outcome = self._verifier.verify(message, owner=client.id)
        else:  # the key of the connection's own certificate may sign too
            outcome = self._verifier.verify(message, owner=client.id, certificate_keys=_keys_of(der, client.id))
        if isinstance(outcome, Refusal):
            self._failures.take(failure_key)
            status = 503 if outcome.rule == "store-unavailable" else 401
            return GatewayRefusal(status, codes.NOT_AUTHENTICATED, "not authenticated", outcome.rule, outcome.detail)
        exchange.client = client or self._clients[outcome.owner]
        exchange.identified_by = f"{exchange.identified_by}+signature".lstrip("+")
        return None
