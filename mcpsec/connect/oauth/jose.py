"""Signed statements of a client: DPoP proofs (RFC 9449) and assertions for ``private_key_jwt`` (RFC 7523)."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DpopKey", "b64url", "client_assertion"]

_ASSERTION_SECONDS = 60


def b64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _signed(
    header: Mapping[str, Any], claims: Mapping[str, Any], key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey
) -> str:
    """A compact JWS (RFC 7515) by ES256 or EdDSA."""
    text = ".".join(b64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    if isinstance(key, Ed25519PrivateKey):
        signature = key.sign(text.encode())
    else:
        r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return f"{text}.{b64url(signature)}"


def client_assertion(
    client_id: str, audience: str, key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey, key_id: str | None = None
) -> str:
    """A statement with which a client authenticates itself (RFC 7523 section 3), good for a minute."""
    now = int(time.time())
    header = {"alg": "EdDSA" if isinstance(key, Ed25519PrivateKey) else "ES256", "typ": "JWT"}
    if key_id is not None:
        header["kid"] = key_id
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "iat": now,
        "exp": now + _ASSERTION_SECONDS,
        "jti": secrets.token_urlsafe(16),
    }
    return _signed(header, claims, key)


class DpopKey:
    """The key that a DPoP-bound token belongs to: ECDSA P-256, made for one server and kept beside its tokens.

    ``nonces`` are what servers asked to see in the next proof (RFC 9449 section 8), by origin.
    """

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        numbers = key.public_key().public_numbers()
        self._jwk = {
            "crv": "P-256",
            "kty": "EC",
            "x": b64url(numbers.x.to_bytes(32, "big")),
            "y": b64url(numbers.y.to_bytes(32, "big")),
        }
        self.nonces: dict[tuple[str, str, int], str] = {}

    @classmethod
    def generate(cls) -> DpopKey:
        """A new key."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def from_text(cls, text: str) -> DpopKey:
        """The key that ``text`` holds; ValueError when it holds none."""
        key = serialization.load_pem_private_key(text.encode(), password=None)
        if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
            return cls(key)
        raise ValueError("not an ECDSA P-256 key")

    @property
    def text(self) -> str:
        """The private key in PEM form, for keeping."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    @property
    def thumbprint(self) -> str:
        """The JWK SHA-256 thumbprint (RFC 7638), ``jkt`` of a bound token."""
        return b64url(hashlib.sha256(json.dumps(self._jwk, separators=(",", ":"), sort_keys=True).encode()).digest())

    def proof(self, method: str, url: str, *, token: str | None = None, nonce: str | None = None) -> str:
        """A proof for one request (RFC 9449 section 4.2); ``token`` is the access token that goes with it."""
        parts = urlsplit(url)
        claims: dict[str, Any] = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")),
            "iat": int(time.time()),
        }
        if token is not None:
            claims["ath"] = b64url(hashlib.sha256(token.encode("ascii")).digest())
        if nonce is not None:
            claims["nonce"] = nonce
        return _signed({"typ": "dpop+jwt", "alg": "ES256", "jwk": self._jwk}, claims, self._key)
