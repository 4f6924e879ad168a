"""JWTs in compact form: strict reading, and signatures by keys that were chosen beforehand.

Nothing in a token's own header is ever followed: ``jku``, ``x5u``, ``jwk`` and ``x5c`` are ignored, ``crit`` is refused
(RFC 8725 section 3). The algorithm must be allowed and must fit the key; ``none`` and the HMAC family never are, so a
public key can't be passed off as a shared secret.
"""

from __future__ import annotations

import base64
import json
import re
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from joserfc.jwk import Key

__all__ = ["ALGORITHMS", "TOKEN_BYTES", "Jwt", "TokenError", "fits", "public_key", "read_jwt", "verify_signature"]

ALGORITHMS = ("ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512", "EdDSA", "Ed25519")
"""What may be allowed at all: signatures by private keys (RFC 7518, RFC 8037, RFC 9864)."""

TOKEN_BYTES = 16 * 1024
"""The longest token that is looked at."""

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_LEAST_RSA_BITS = 2048


class TokenError(Exception):
    """A token or proof is not good. ``rule`` is the stable name of what it broke, ``detail`` is for the log."""

    def __init__(self, rule: str, detail: str = "") -> None:
        super().__init__(rule)
        self.rule = rule
        self.detail = detail


class Jwt(NamedTuple):
    """A JWT that was read but not verified: believe nothing in it yet."""

    text: str
    header: dict[str, Any]
    claims: dict[str, Any]

    @property
    def algorithm(self) -> str:
        """The algorithm that it says it is signed with."""
        return str(self.header["alg"])

    @property
    def key_id(self) -> str | None:
        """The key identifier that it says it is signed with."""
        key_id: str | None = self.header.get("kid")
        return key_id


def read_jwt(text: str) -> Jwt:
    """Read header and claims. Raises TokenError when they are not JSON objects without repeated members."""
    if len(text) > TOKEN_BYTES:
        raise TokenError("token-too-large", f"longer than {TOKEN_BYTES} characters")
    if not _COMPACT.fullmatch(text):
        raise TokenError("token-malformed", "not a signed JWT in compact form")
    head, body, _ = text.split(".")
    header, claims = _object(head), _object(body)
    if not isinstance(header.get("alg"), str):
        raise TokenError("token-malformed", "the header names no algorithm")
    key_id = header.get("kid")
    if key_id is not None and (not isinstance(key_id, str) or len(key_id) > 256):
        raise TokenError("token-malformed", "the key identifier is not text of a sensible length")
    if "crit" in header:
        raise TokenError("token-critical", "the header demands an extension that is not known here")
    return Jwt(text, header, claims)


def _object(part: str) -> dict[str, Any]:
    try:
        value = json.loads(
            base64.b64decode(part + "=" * (-len(part) % 4), b"-_", validate=True), object_pairs_hook=_members
        )
    except (ValueError, RecursionError):
        raise TokenError("token-malformed", "not JSON, or a member stands in it twice") from None
    if not isinstance(value, dict):
        raise TokenError("token-malformed", "not a JSON object")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def public_key(entry: Mapping[str, Any]) -> Key | None:
    """The public key of one entry of a key set; None for one that signs nothing here.

    Shared secrets (``oct``), RSA keys below 2048 bits and keys for encryption are none.
    """
    from joserfc.errors import JoseError
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    kinds: dict[str, Any] = {"EC": ECKey, "OKP": OKPKey, "RSA": RSAKey}
    kind = kinds.get(str(entry.get("kty")))
    operations = entry.get("key_ops", ["verify"])
    if (
        kind is None
        or entry.get("use", "sig") != "sig"
        or not isinstance(operations, list)
        or "verify" not in operations
    ):
        return None
    public = {name: entry[name] for name in ("kty", "crv", "x", "y", "n", "e", "kid", "alg") if name in entry}
    try:
        with warnings.catch_warnings():  # of small keys, which are refused below
            warnings.simplefilter("ignore")
            key: Key = kind.import_key(public)
            if isinstance(key, RSAKey) and key.public_key.key_size < _LEAST_RSA_BITS:
                return None
            key.get_op_key("verify")
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return key


def fits(key: Key, algorithm: str) -> bool:
    """Whether a key may be used with an algorithm: its kind and curve, and what it says itself."""
    own = key.get("alg")
    if own is not None and own != algorithm:
        return False
    if algorithm.startswith("ES"):
        return key.key_type == "EC" and key.get("crv") == _CURVES.get(algorithm)
    if algorithm.startswith(("RS", "PS")):
        return key.key_type == "RSA"
    return key.key_type == "OKP" and key.get("crv") == "Ed25519"


def verify_signature(jwt: Jwt, key: Key) -> None:
    """Check the signature by a key that ``fits``. Raises TokenError."""
    from joserfc.errors import JoseError
    from joserfc.jws import JWSRegistry, deserialize_compact

    registry = JWSRegistry(algorithms=[jwt.algorithm], strict_check_header=False)
    try:
        if jwt.algorithm == "EdDSA":  # RFC 9864 has a better name for it, but issuers use the old one
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                deserialize_compact(jwt.text, key, registry=registry)
        else:
            deserialize_compact(jwt.text, key, registry=registry)
    except (JoseError, ValueError, TypeError) as error:
        raise TokenError("token-signature", type(error).__name__) from None
