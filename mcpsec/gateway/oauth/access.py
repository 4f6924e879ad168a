"""From the text of an access token to what its issuer vouches for: by signature, or by asking the issuer."""

from __future__ import annotations

import hashlib
import sys
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcpsec.gateway.oauth.compact import TokenError, read_jwt, verify_signature

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mcpsec.deployment.model import OAuth
    from mcpsec.gateway.oauth.compact import Jwt
    from mcpsec.gateway.oauth.introspection import Introspection
    from mcpsec.gateway.oauth.keyset import KeySet

__all__ = ["AccessToken", "AccessTokens", "claimed_by", "digest_of"]

_REMEMBERED = 10_000
_FURTHEST = sys.float_info.max
"""The largest time that can be compared: JSON knows whole numbers beyond it, and infinities too."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What the issuer says about a token. Times are Unix seconds; ``bound_*`` are the confirmation's (RFC 7800).

    ``bound`` is True when the token has a confirmation of any sort, also of one that is not known here.
    """

    subject: str
    client_id: str | None
    audiences: frozenset[str]
    scopes: frozenset[str]
    expires: float
    not_before: float
    bound: bool
    bound_certificate: str | None
    bound_key: str | None

    @classmethod
    def of(cls, claims: Mapping[str, Any], issuer: str, *, may_lack_subject: bool = False) -> AccessToken:
        """Read the claims of a token that is genuine. Raises TokenError when they are no access token's.

        ``iss``, ``sub``, ``aud`` and ``exp`` must be there (RFC 9068 section 2.2). Introspection may leave the subject
        out (RFC 7662 section 2.2); it is the empty string then, which is no client's.
        """
        if claims.get("iss") != issuer:
            raise TokenError("token-issuer", "of another issuer")
        confirmation = claims.get("cnf")
        known = confirmation if isinstance(confirmation, dict) else {}
        return cls(
            subject="" if may_lack_subject and "sub" not in claims else _text(claims, "sub"),
            client_id=_client_id(claims),
            audiences=_audiences(claims.get("aud")),
            scopes=_scopes(claims),
            expires=_time(claims.get("exp"), "exp"),
            not_before=max(_time(claims.get("nbf", 0), "nbf"), _time(claims.get("iat", 0), "iat")),
            bound=confirmation is not None,
            bound_certificate=_member(known, "x5t#S256"),
            bound_key=_member(known, "jkt"),
        )

    def check_time(self, now: float, skew: float) -> None:
        """Raise TokenError when the token is over, or not valid yet; clocks may differ by ``skew`` seconds."""
        if now > self.expires + skew:
            raise TokenError("token-expired", f"expired {now - self.expires:.0f} s ago")
        if self.not_before > now + skew:
            raise TokenError("token-not-yet-valid", "issued in the future")


class AccessTokens:
    """Recognises the tokens of one issuer. What was recognised is remembered, at most ``_REMEMBERED`` tokens.

    Memory is keyed by the token's digest and holds no token; it is void as soon as the issuer's keys change.
    """

    def __init__(self, config: OAuth, keys: KeySet, introspection: Introspection | None) -> None:
        self._config = config
        self._types = frozenset(name.lower().removeprefix("application/") for name in config.token_types)
        self._keys = keys
        self._introspection = introspection
        self._known: OrderedDict[bytes, tuple[int, AccessToken]] = OrderedDict()

    def recognise(self, text: str) -> AccessToken | Awaitable[AccessToken]:
        """Tell what a token says; an awaitable when that takes a fetch.

        Raises TokenError (also when awaited) for a token that is not good, and KeysUnavailableError when awaited and
        the issuer can't be asked.
        """
        introspection = self._introspection
        if introspection is not None and self.asks(text):
            return introspection.ask(text)
        digest = digest_of(text)
        known = self._known.get(digest)
        if known is not None and known[0] == self._keys.generation and self._keys.usable:
            return known[1]
        jwt = self._read(text)
        key = self._keys.find(jwt.key_id, jwt.algorithm)
        if key is None:
            return self._later(jwt, digest)
        return self._verified(jwt, key, digest)

    def asks(self, text: str) -> bool:
        """Whether a token of this form is one that the issuer is asked about."""
        return self._introspection is not None and (self._config.introspection_of_all or text.count(".") != 2)

    def remembers(self, text: str) -> bool:
        """Whether this very token was found genuine before, so that it is no guess."""
        digest = digest_of(text)
        if self._introspection is not None and self._introspection.remembers(digest):
            return True
        known = self._known.get(digest)
        return known is not None and known[0] == self._keys.generation and self._keys.usable

    def _read(self, text: str) -> Jwt:
        jwt = read_jwt(text)
        kind = jwt.header.get("typ")
        if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in self._types:
            raise TokenError("token-type", "its header does not say that it is an access token")
        if jwt.algorithm not in self._config.algorithms:
            raise TokenError("token-algorithm", "signed with an algorithm that is not accepted")
        # Nobody is made to wait for keys by a token that its own words rule out.
        AccessToken.of(jwt.claims, self._config.issuer).check_time(time.time(), self._config.clock_skew)
        return jwt

    async def _later(self, jwt: Jwt, digest: bytes) -> AccessToken:
        key = await self._keys.obtain(jwt.key_id, jwt.algorithm)
        if key is None:
            raise TokenError("token-key", "the issuer has no such key")
        return self._verified(jwt, key, digest)

    def _verified(self, jwt: Jwt, key: Any, digest: bytes) -> AccessToken:
        verify_signature(jwt, key)
        token = AccessToken.of(jwt.claims, self._config.issuer)
        self._known[digest] = (self._keys.generation, token)
        self._known.move_to_end(digest)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return token


def digest_of(text: str) -> bytes:
    """SHA-256 of a token's text, under which it may be remembered."""
    return hashlib.sha256(text.encode("latin-1")).digest()


def claimed_by(text: str, name: Callable[[Mapping[str, Any]], str]) -> str:
    """Whom an unverified token claims to be for, as ``name`` puts it; empty when it says nothing readable."""
    try:
        return name(read_jwt(text).claims)
    except TokenError:
        return ""


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise TokenError("token-claims", f"the claim {name} is missing or no text")
    return value


def _client_id(claims: Mapping[str, Any]) -> str | None:
    """The client that the token was issued to: ``client_id``, or ``azp`` as some issuers call it. Both must agree."""
    names = {claims[name] for name in ("client_id", "azp") if isinstance(claims.get(name), str)}
    if len(names) > 1:
        raise TokenError("token-claims", "client_id and azp name two clients")
    return names.pop() if names else None


def _audiences(value: object) -> frozenset[str]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not values or not all(isinstance(each, str) for each in values):
        raise TokenError("token-claims", "the claim aud is missing or no text")
    return frozenset(values)


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    value = claims.get("scope", claims.get("scp", ""))
    words = value.split(" ") if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise TokenError("token-claims", "the claim scope is no text")
    return frozenset(word for word in words if word)


def _time(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _FURTHEST:
        raise TokenError("token-claims", f"the claim {name} is missing or no time")
    return float(value)


def _member(confirmation: Mapping[str, Any], name: str) -> str | None:
    value = confirmation.get(name)
    if value is not None and not isinstance(value, str):
        raise TokenError("token-claims", "the confirmation is malformed")
    return value
