"""DPoP (RFC 9449): the caller proves, for this very request, that it holds the key that its token is bound to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from mcpsec.gateway.oauth.compact import ALGORITHMS, TokenError, fits, public_key, read_jwt, verify_signature
from mcpsec.gateway.overlap import OverlappingKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = ["NonceSource", "Proof", "check_proof", "normal_url"]

_SKEW = 30.0
_MOST_ID = 256


class Proof(NamedTuple):
    """A proof that holds for its request; ``nonce`` may be used once until ``expires``. Times are Unix seconds."""

    thumbprint: str
    id: str
    issued: float
    expires: float

    @property
    def nonce(self) -> str:
        """What must not come again: the same identifier of another key is another proof."""
        return f"{self.thumbprint}.{self.id}"


class NonceSource:
    """Nonces that a server may demand (RFC 9449 section 8): made of the time, so that none has to be kept.

    A nonce is good for between one and two ``seconds``. ``secret`` is what gateways that stand for each other share:
    one takes the other's nonces then.
    """

    def __init__(
        self, seconds: float = 120.0, *, secret: bytes | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._keys = OverlappingKeys(secrets.token_bytes(32) if secret is None else _nonce_key(secret), clock=clock)
        self._seconds = seconds
        self._clock = clock

    def current(self) -> str:
        """The nonce to give out now."""
        return _nonce(self._keys.making, self._slot())

    def renew(self, secret: bytes, *, overlap: float, delay: float) -> None:
        """Take nonces of another shared secret at once, and give them out in ``delay`` seconds."""
        self._keys.replace(_nonce_key(secret), overlap=overlap, delay=delay)

    def accepts(self, nonce: object) -> bool:
        """Whether a nonce is one that was given out lately."""
        slot = self._slot()
        return isinstance(nonce, str) and any(
            hmac.compare_digest(_nonce(key, each).encode(), nonce.encode("utf-8", "replace"))
            for key in self._keys.reading
            for each in (slot, slot - 1)
        )

    def _slot(self) -> int:
        return int(self._clock() // self._seconds)


def _nonce_key(secret: bytes) -> bytes:
    return hmac.digest(secret, b"mcpsec dpop nonce 1", "sha256")


def _nonce(key: bytes, slot: int) -> str:
    mac = hmac.digest(key, slot.to_bytes(8, "big", signed=True), "sha256")
    return base64.urlsafe_b64encode(mac[:18]).decode()


def normal_url(url: str) -> str | None:
    """A URL without query and fragment, host in lower case, default port left out; None for what is no https URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme.lower() != "https" or not parts.hostname or parts.username is not None:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"https://{host}{'' if port in (None, 443) else f':{port}'}{parts.path or '/'}"


def check_proof(
    text: str,
    *,
    method: str,
    url: str,
    token: str,
    max_age: float,
    nonces: NonceSource | None,
    now: float | None = None,
) -> Proof:
    """Check a DPoP proof (RFC 9449 section 4.3) but for its single use. Raises TokenError.

    ``url`` is the one that the client called. ``max_age`` is in seconds.
    """
    proof = read_jwt(text)
    if proof.header.get("typ") != "dpop+jwt":
        raise TokenError("dpop-type", "not a DPoP proof")
    entry = proof.header.get("jwk")
    if proof.algorithm not in ALGORITHMS or not isinstance(entry, dict) or "d" in entry:
        raise TokenError("dpop-key", "its key or algorithm is not one that may sign a proof")
    key = public_key({name: value for name, value in entry.items() if name not in ("use", "key_ops", "alg")})
    if key is None or not fits(key, proof.algorithm):
        raise TokenError("dpop-key", "its key or algorithm is not one that may sign a proof")
    try:
        verify_signature(proof, key)
    except TokenError as error:
        raise TokenError("dpop-signature", error.detail) from None
    now = time.time() if now is None else now
    _check_claims(proof.claims, method, url, token, max_age, now)
    if nonces is not None and not nonces.accepts(proof.claims.get("nonce")):
        raise TokenError("dpop-nonce", "no nonce, or an old one")
    issued = float(proof.claims["iat"])
    return Proof(key.thumbprint(), proof.claims["jti"], issued, issued + max_age + 1.0)


def _check_claims(claims: Mapping[str, Any], method: str, url: str, token: str, max_age: float, now: float) -> None:
    id, issued = claims.get("jti"), claims.get("iat")
    if not isinstance(id, str) or not 0 < len(id) <= _MOST_ID:
        raise TokenError("dpop-claims", "no jti")
    if claims.get("htm") != method:
        raise TokenError("dpop-method", "made for another method")
    target = claims.get("htu")
    if not isinstance(target, str) or normal_url(target) is None or normal_url(target) != normal_url(url):
        raise TokenError("dpop-url", "made for another URL")
    if isinstance(issued, bool) or not isinstance(issued, int | float):
        raise TokenError("dpop-claims", "no iat")
    if not now - max_age <= issued <= now + _SKEW:
        raise TokenError("dpop-time", "too old, or from the future")
    digest = base64.urlsafe_b64encode(hashlib.sha256(token.encode("ascii")).digest()).rstrip(b"=").decode()
    ath = claims.get("ath")
    if not isinstance(ath, str) or not hmac.compare_digest(ath.encode("utf-8", "replace"), digest.encode()):
        raise TokenError("dpop-token", "made for another token")
