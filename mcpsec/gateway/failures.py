"""Failed authentication, counted: too many from one address, or in one name, are refused unheard.

A name can be claimed by anybody, so a bucket of names alone would let a stranger lock a client out. Therefore an
address that has proven a name keeps a bucket of its own for it, which strangers elsewhere can't empty.

Behind one NAT or TCP load balancer strangers are at the same address. So a connection is heard until it has failed a
few times itself, whatever others did. That bounds the work as well: the next connection costs a handshake, about as
much as these few looks at small requests (a signed body is hashed, which ``body_bytes`` bounds); and secrets of 256
bits are not guessed in any number of looks. What the issuer would be asked about is bounded by address and name alone.

Whom a certificate names is counted under a name that no request can claim, so nobody without its certificate counts
against it.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from mcpsec.deployment.model import Rate
from mcpsec.gateway.limits import BucketTable
from mcpsec.gateway.message import Refusal
from mcpsec.protocol import codes

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.gateway.message import Peer

__all__ = ["FAILURE_RATE", "OWN_FAILURES", "AuthenticationFailures", "certified"]

FAILURE_RATE = Rate(count=30, seconds=60.0, burst=30)
"""Failures that an address, a claimed name, or an address that has proven a name may have."""

OWN_FAILURES = 3
"""Failures of a connection after which those of its address and of the name it claims count against it too."""

_KNOWN = 10_000


def certified(id: str) -> str:
    """The name under which a client's failures are counted that a certificate names: no id or claim has such a form."""
    return f"mtls {id}"


def _counted(peer: Peer, claimed: str) -> str:
    return claimed if peer.client is None else certified(peer.client.id)


class AuthenticationFailures:
    """Counts failures per address and per claimed identity. All tables are bounded.

    ``claimed`` is what a request says that it is (a client's id, a key identifier, a token's client), proven or not;
    the empty string when it says nothing.
    """

    def __init__(self, rate: Rate = FAILURE_RATE, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._addresses = BucketTable(rate, clock=clock)
        self._names = BucketTable(rate, clock=clock)
        self._pairs = BucketTable(rate, clock=clock)
        self._failed = self._pairs.keys
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self.succeeded_again: Callable[[tuple[str, str]], None] = self._known.move_to_end
        """``succeeded`` for an address and a name; raises KeyError where they are not remembered."""

    def check(self, address: str, claimed: str) -> Refusal | None:
        """Refuse, without a look at what it shows, a caller that failed too often."""
        if (address, claimed) in self._known:
            wait = self._pairs.wait_for(f"{address} {claimed}")
        else:
            wait = self._addresses.wait_for(address)
            if claimed:
                wait = max(wait, self._names.wait_for(claimed))
        if wait <= 0.0:
            return None
        seconds = max(1, math.ceil(wait))
        return Refusal(
            429, codes.RATE_LIMITED, "too many failed attempts", "authentication-failures",
            headers=[(b"retry-after", str(seconds).encode())],
        )  # fmt: skip

    def check_connection(self, peer: Peer, claimed: str, *, asks: bool = False) -> Refusal | None:
        """Do what ``check`` does, unless the connection has hardly failed yet; ``asks``: the issuer would be asked.

        Whom a certificate has named shares the count of that name with nobody but itself. A refusal ends the
        connection: an honest caller's next one is heard at once.
        """
        own = asks or peer.client is not None
        if not own and peer.attempts.failed < OWN_FAILURES:
            return None
        refused = self.check(peer.address, _counted(peer, claimed))
        if refused is not None and not own:
            refused.close = True
        return refused

    def failed_on(self, peer: Peer, claimed: str) -> None:
        """Count one failure, of this connection too."""
        peer.attempts.failed += 1
        self.failed(peer.address, _counted(peer, claimed))

    def succeeded_on(self, peer: Peer, claimed: str) -> None:
        """Remember that the address of this connection has proven this name."""
        self.succeeded(peer.address, _counted(peer, claimed))

    def is_proven(self, address: str, name: str) -> bool:
        """Whether this address has proven this name, so that ``check`` would not refuse the two of them."""
        known = (address, name) in self._known
        return known and (not self._failed or self._pairs.wait_for(f"{address} {name}") <= 0.0)

    def failed(self, address: str, claimed: str) -> None:
        """Count one failure."""
        if (address, claimed) in self._known:
            self._pairs.take(f"{address} {claimed}")
            return
        self._addresses.take(address)
        if claimed:
            self._names.take(claimed)

    def succeeded(self, address: str, claimed: str) -> None:
        """Remember that this address has proven this name; the pair seen longest ago is forgotten for it."""
        known = self._known
        pair = (address, claimed)
        if pair in known:
            known.move_to_end(pair)
            return
        known[pair] = None
        if len(known) > _KNOWN:
            known.popitem(last=False)
