"""Requests that repeat a verified one: the same key, head and scheme, so that only what differs is looked at.

What differs is all that proves: each signature is computed over the request's own timestamp, nonce and body and is
compared in constant time, and each nonce must be claimed. Whatever is not good, or not of the form, is left to the
``Verifier``, which finds the rule that it breaks.
"""

from __future__ import annotations

from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING

from mcpsec.signing import hmac_sha256
from mcpsec.signing.fields import NONCE_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    names: Sequence[bytes],
    *,
    max_age: float,
    future_skew: float,
) -> Callable[[Sequence[bytes], bytes, float], tuple[str, float] | None]:
    """Verifies requests with the head of ``message``, which was verified under ``key`` by ``hmac-sha256``.

    What it makes takes the values of a request's fields of these ``names`` (those of ``FIELDS`` but the key's are among
    them, once each), its body and the Unix time. It gives the nonce and the time until which that must be remembered;
    None for a request that is not good.
    """
    # Not ``hmac``: that takes twice as long to copy and to finish. Not at the top: whoever only signs needs none of it.
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.hmac import HMAC

    before, behind = hmac_sha256.surroundings(message, key.id.encode("ascii"), covered)
    place_of_time, place_of_nonce, place_of_mac = map(names.index, (b"x-timestamp", b"x-nonce", b"x-signature"))
    begun, same, allowed = HMAC(key.secret or b"", SHA256()).copy, compare_digest, NONCE_CHARACTERS
    form = b"%b%%b\n%%b%b%%b" % (before.replace(b"%", b"%%"), behind.replace(b"%", b"%%"))

    def verify(proofs: Sequence[bytes], body: bytes, now: float) -> tuple[str, float] | None:
        timestamp, nonce = proofs[place_of_time], proofs[place_of_nonce]
        if len(timestamp) != 13 or not timestamp.isdigit():
            return None
        created = int(timestamp) / 1000
        if not -future_skew <= now - created <= max_age:
            return None
        if not 0 < len(nonce) <= _MOST_BYTES or nonce.strip(allowed):
            return None
        mac = begun()
        mac.update(form % (timestamp, nonce, sha256(body).hexdigest().encode()))
        if not same(mac.finalize().hex().encode(), proofs[place_of_mac]):
            return None
        return nonce.decode(), created + max_age + 1.0  # as the verifier's claim has it

    return verify
