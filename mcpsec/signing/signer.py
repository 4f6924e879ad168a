"""The signer: one request in, the header fields that sign it out."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from mcpsec.errors import UsageError
from mcpsec.signing import hmac_sha256
from mcpsec.signing.fields import key_id_of, nonce_of, timestamp_of
from mcpsec.signing.message import covered
from mcpsec.signing.outcome import RefusedSignature
from mcpsec.signing.verifier import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcpsec.signing.keys import SigningKey
    from mcpsec.signing.message import Headers, SignedMessage

__all__ = ["Signer"]


class Signer:
    """Signs requests with one key by one scheme of ``SCHEMES``.

    Raises:
        UsageError: an unknown scheme, or a key that does not fit it: the HMAC schemes need a secret, all but
            ``article`` a key identifier.
    """

    def __init__(self, key: SigningKey, scheme: str = "hmac-sha256") -> None:
        if scheme not in SCHEMES:
            raise UsageError(f"unknown signature scheme {scheme}", hint=f"one of {', '.join(SCHEMES)}")
        if scheme != "rfc9421" and key.secret is None:
            raise UsageError(f"the scheme {scheme} signs with a shared secret, not with a private key")
        if key.id is None and scheme != "article":
            raise UsageError(f"the scheme {scheme} needs a key identifier")
        if key.id is not None:
            _syntax(key_id_of, b"x-key-id", key.id)
        self.key = key
        self.scheme = scheme
        self._keyed = hmac_sha256.keyed(key.secret or b"")

    def sign(self, message: SignedMessage, *, timestamp: int | None = None, nonce: str | None = None) -> Headers:
        """The header fields to send with ``message``, names in lower case.

        ``timestamp`` is in Unix milliseconds (now) and ``nonce`` must never come twice (22 random characters).

        Raises:
            UsageError: the timestamp, the nonce or a part of the request can't be carried by the scheme.
        """
        stamp = str(time.time_ns() // 1_000_000 if timestamp is None else timestamp)
        _syntax(timestamp_of, b"x-timestamp", stamp)
        nonce = secrets.token_urlsafe(16) if nonce is None else nonce
        _syntax(nonce_of, b"x-nonce", nonce)
        try:
            return self._sign(message, stamp, nonce)
        except RefusedSignature as refused:
            raise UsageError(refused.refusal.detail) from None
        except UnicodeEncodeError:
            raise UsageError("a part of the request has characters outside Latin-1 and can't be sent") from None

    def _sign(self, message: SignedMessage, stamp: str, nonce: str) -> Headers:
        key = self.key
        if self.scheme == "rfc9421":
            from mcpsec.signing import rfc9421

            return rfc9421.sign(message, key, created=int(stamp) // 1000, nonce=nonce)
        named = {"x-key-id": key.id} if key.id is not None else {}
        if self.scheme == "article":
            text = hmac_sha256.article_string(message, stamp.encode())
            return {"x-signature": hmac_sha256.mac(self._keyed, text).decode(), "x-timestamp": stamp, **named}
        text = hmac_sha256.canonical_string(
            message, (key.id or "").encode(), stamp.encode(), nonce.encode(), covered(message.headers)
        )
        signature = hmac_sha256.mac(self._keyed, text).decode()
        return {"x-signature": signature, "x-timestamp": stamp, "x-nonce": nonce, **named}


def _syntax(reader: Callable[[Mapping[bytes, bytes]], object], field: bytes, value: str) -> None:
    """Apply the verifier's own syntax to what is about to be sent."""
    try:
        reader({field: value.encode()})
    except RefusedSignature as refused:
        raise UsageError(refused.refusal.detail) from None
