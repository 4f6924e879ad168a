"""The gateway as an OAuth resource server: the parts of ``[auth.oauth]`` put together."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mcpsec.gateway.oauth.access import AccessTokens
from mcpsec.gateway.oauth.addresses import AddressRules
from mcpsec.gateway.oauth.binding import check_certificate, check_scheme
from mcpsec.gateway.oauth.challenges import Resource
from mcpsec.gateway.oauth.clients import TokenDirectory
from mcpsec.gateway.oauth.compact import TokenError
from mcpsec.gateway.oauth.dpop import NonceSource, check_proof
from mcpsec.gateway.oauth.fetch import Fetcher
from mcpsec.gateway.oauth.introspection import Introspection
from mcpsec.gateway.oauth.issuer import Issuer
from mcpsec.gateway.oauth.keyset import KeySet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mcpsec.deployment.model import Client, OAuth
    from mcpsec.gateway.message import Peer
    from mcpsec.gateway.oauth.access import AccessToken
    from mcpsec.gateway.oauth.dpop import Proof

__all__ = ["ResourceServer"]


class ResourceServer:
    """Judges tokens for one deployment.

    ``told`` hears when the issuer's keys can't be had (a sentence), and
    when they can again (None). ``secret`` gives the client secret for introspection, ``shared`` is what DPoP nonces are
    made of at every gateway that clients may reach (None: each has its own). ``resource`` needs the URL that clients
    use, which is known when the listener is open: ``at`` sets it.
    """

    def __init__(
        self,
        config: OAuth,
        clients: Iterable[Client],
        *,
        told: Callable[[str | None], None],
        secret: Callable[[], str] = str,
        shared: bytes | None = None,
    ) -> None:
        self._config = config
        self._fetcher = Fetcher(AddressRules(config.networks), timeout=config.timeout, ca=config.ca)
        asked = config.introspection
        issuer = Issuer(
            self._fetcher,
            config.issuer,
            jwks_url=config.jwks_url,
            introspection_url=None if asked is None else asked.url,
        )
        self._keys = KeySet(issuer.keys, told=told)
        self._introspection = (
            None if asked is None else Introspection(asked, config.issuer, issuer, self._fetcher, secret)
        )
        self._nonces = NonceSource(secret=shared) if config.dpop_nonce else None
        self.tokens = AccessTokens(config, self._keys, self._introspection)
        self.clients = TokenDirectory(clients)
        self.scopes = frozenset(config.scopes)
        self.clock_skew = config.clock_skew
        self.resource = Resource(config, "")

    def at(self, url: str) -> None:
        """Say which URL clients use for ``/mcp``."""
        self.resource = Resource(self._config, url)

    def start(self) -> None:
        """Fetch the issuer's keys in the background; requests that need them wait for that."""
        if not self._config.introspection_of_all:
            self._keys.start()

    async def close(self) -> None:
        """Give up what is under way."""
        await self._keys.close()
        if self._introspection is not None:
            await self._introspection.close()
        await self._fetcher.close()

    def renew(self, shared: bytes, *, overlap: float, delay: float) -> None:
        """The shared secret has a new value; see ``NonceSource.renew``."""
        if self._nonces is not None:
            self._nonces.renew(shared, overlap=overlap, delay=delay)

    @property
    def nonce(self) -> str:
        """The nonce to give out now; empty when none is demanded."""
        return "" if self._nonces is None else self._nonces.current()

    def check(self, token: AccessToken, name: str | None, scheme: str, peer: Peer) -> None:
        """Check what a genuine token says against the request at hand but for DPoP. Raises TokenError."""
        token.check_time(time.time(), self.clock_skew)
        if token.audiences.isdisjoint(self.resource.audiences(name)):
            raise TokenError("token-audience", "issued for another server")
        check_scheme(token, scheme, required=self._config.sender_constrained)
        check_certificate(token, peer)

    def check_proof(self, token: AccessToken, proof: bytes | None, method: str, url: str, text: str) -> Proof:
        """Check the DPoP proof of a request, but for its single use. Raises TokenError."""
        if proof is None:
            raise TokenError("dpop-missing", "no proof")
        shown = check_proof(
            proof.decode("latin-1"),
            method=method,
            url=url,
            token=text,
            max_age=self._config.dpop_max_age,
            nonces=self._nonces,
        )
        if shown.thumbprint != token.bound_key:
            raise TokenError("dpop-of-another-key", "made with another key than the token's")
        return shown
