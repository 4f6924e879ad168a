"""Requests that a server must refuse: signed well, then damaged in one place, for people who test their own server."""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mcpsec.errors import UsageError
from mcpsec.signing.keys import SigningKey
from mcpsec.signing.signer import Signer

if TYPE_CHECKING:
    from mcpsec.signing.message import Headers, SignedMessage

__all__ = ["TAMPERINGS", "signed_badly"]

TAMPERINGS: Final = ("body", "timestamp", "nonce", "path", "key")


def signed_badly(
    signer: Signer, message: SignedMessage, what: str, *, timestamp: int | None = None, nonce: str | None = None
) -> Headers:
    """Header fields that do not fit ``message``, which itself stays as it is.

    ``body`` and ``path`` sign another body or path than the one that is sent; ``timestamp`` and ``nonce`` change the
    field after signing; ``key`` signs with a key that nobody knows.

    Raises:
        UsageError: the scheme does not cover ``what``, so that the request would be a good one.
    """
    if signer.scheme == "article" and what in {"path", "nonce"}:
        raise UsageError(f"the scheme article does not cover the {what}: a server must accept such a request")
    if what == "body":
        message = replace(message, body=message.body + b" ")
    elif what == "path":
        message = replace(message, path=message.path + "x")
    elif what == "key":
        signer = Signer(_stranger(signer.key), signer.scheme)
    headers = signer.sign(message, timestamp=timestamp, nonce=nonce)
    if what == "timestamp":
        return _later(headers)
    if what == "nonce":
        return _other_nonce(headers)
    return headers


def _stranger(key: SigningKey) -> SigningKey:
    """A fresh key of the same kind under the same identifier."""
    if key.private_key is None:
        return SigningKey(key.id, secret=secrets.token_bytes(32))
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if isinstance(key.private_key, EllipticCurvePrivateKey):
        return SigningKey(key.id, private_key=generate_private_key(SECP256R1()))
    return SigningKey(key.id, private_key=Ed25519PrivateKey.generate())


def _later(headers: Headers) -> Headers:
    if "x-timestamp" in headers:
        return {**headers, "x-timestamp": str(int(headers["x-timestamp"]) + 1)}
    field = headers["signature-input"]
    return {**headers, "signature-input": re.sub(r";created=(\d+)", lambda at: f";created={int(at[1]) + 1}", field)}


def _other_nonce(headers: Headers) -> Headers:
    other = secrets.token_urlsafe(16)
    if "x-nonce" in headers:
        return {**headers, "x-nonce": other}
    return {**headers, "signature-input": re.sub(r';nonce="[^"]*"', f';nonce="{other}"', headers["signature-input"])}
