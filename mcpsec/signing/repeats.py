"""Requests that repeat a verified one: the same key, head and scheme, so that only what differs is looked at.

What differs is all that proves: each signature is computed over the request's own timestamp, nonce and body and is
compared in constant time, and each nonce must be claimed. Whatever is not good, or not of the form, is left to the
``Verifier``, which finds the rule that it breaks.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import TYPE_CHECKING

from mcpsec.signing import hmac_sha256
from mcpsec.signing.fields import NONCE_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mcpsec.signing.keys import VerificationKey
    from mcpsec.signing.message import SignedMessage

__all__ = ["FIELDS", "again"]

FIELDS = frozenset({b"x-key-id", b"x-nonce", b"x-signature", b"x-timestamp"})
"""The signature's own fields of a request that can be verified so: these and no other."""
_MOST_BYTES = 128
"""Of a nonce."""


def again(
    message: SignedMessage,
    covered: Sequence[tuple[bytes, bytes]],
    key: VerificationKey,
    keyed: hmac.HMAC,
    *,
    max_age: float,
    future_skew: float,
) -> Callable[[Mapping[bytes, bytes], bytes, float], float | None]:
    """Verifies requests with the head of ``message``, which was verified under ``key`` by ``hmac-sha256``.

    What it makes takes the proving fields of a request (those of ``FIELDS`` but the key's, once each), its body and the
    Unix time, and gives the time until which the nonce must be remembered; None for a request that is not good.
    """
    before, behind = hmac_sha256.surroundings(message, key.id.encode("ascii"), covered)
    begun, same, allowed = keyed.copy, hmac.compare_digest, NONCE_CHARACTERS

    def verify(fields: Mapping[bytes, bytes], body: bytes, now: float) -> float | None:
        timestamp, nonce = fields[b"x-timestamp"], fields[b"x-nonce"]
        if len(timestamp) != 13 or not timestamp.isdigit():
            return None
        created = int(timestamp) / 1000
        if not -future_skew <= now - created <= max_age:
            return None
        if not 0 < len(nonce) <= _MOST_BYTES or nonce.translate(None, allowed):
            return None
        mac = begun()
        mac.update(b"%b%b\n%b%b%b" % (before, timestamp, nonce, behind, sha256(body).hexdigest().encode()))
        if not same(mac.hexdigest().encode(), fields[b"x-signature"]):
            return None
        return created + max_age + 1.0  # as the verifier's claim has it

    return verify
