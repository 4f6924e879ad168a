"""Asking the issuer about a token (RFC 7662): for tokens that say nothing themselves, or to notice their revocation.

Answers are remembered for a short time, at most ``_REMEMBERED`` of them; one token is asked about once at a time, and
at most ``_ASKING`` tokens at once. Whatever goes wrong, the token is not accepted.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections import OrderedDict
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from mcpsec.gateway.oauth.access import AccessToken, digest_of
from mcpsec.gateway.oauth.compact import TOKEN_BYTES, TokenError
from mcpsec.gateway.oauth.fetch import FetchError
from mcpsec.gateway.oauth.keyset import KeysUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.deployment.model import Introspection as IntrospectionConfig
    from mcpsec.gateway.oauth.fetch import Fetcher
    from mcpsec.gateway.oauth.issuer import Issuer

__all__ = ["Introspection"]

_REMEMBERED = 10_000
_ASKING = 64


class Introspection:
    """``secret`` gives the current client secret with which the gateway asks."""

    def __init__(
        self,
        config: IntrospectionConfig,
        issuer_name: str,
        issuer: Issuer,
        fetcher: Fetcher,
        secret: Callable[[], str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._issuer_name = issuer_name
        self._issuer = issuer
        self._fetcher = fetcher
        self._secret = secret
        self._clock = clock
        self._answers: OrderedDict[bytes, tuple[float, AccessToken | None]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[AccessToken | None]] = {}

    async def ask(self, text: str) -> AccessToken:
        """Return what the issuer says. Raises TokenError and KeysUnavailableError."""
        if len(text) > TOKEN_BYTES:
            raise TokenError("token-too-large", f"longer than {TOKEN_BYTES} characters")
        digest = digest_of(text)
        known = self._answers.get(digest)
        if known is not None and known[0] > self._clock():
            return _active(known[1])
        task = self._asking.get(digest)
        if task is None:
            if len(self._asking) >= _ASKING:
                raise KeysUnavailableError("too many tokens are being asked about")
            task = self._asking[digest] = asyncio.get_running_loop().create_task(self._asked(digest, text))
            task.add_done_callback(lambda done: self._done(digest, done))
        return _active(await asyncio.shield(task))

    def remembers(self, digest: bytes) -> bool:
        """Whether the token of this digest was active when the issuer was asked last, which may be due again."""
        known = self._answers.get(digest)
        return known is not None and known[1] is not None

    def _done(self, digest: bytes, task: asyncio.Task[AccessToken | None]) -> None:
        self._asking.pop(digest, None)
        if not task.cancelled():
            task.exception()  # whoever waited has it; when nobody did any more, it is nobody's

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    async def _asked(self, digest: bytes, text: str) -> AccessToken | None:
        # RFC 6749 section 2.3.1: both halves are form-encoded before they become Basic credentials.
        pair = f"{quote_plus(self._config.client_id)}:{quote_plus(self._secret())}"
        form = {"token": text, "token_type_hint": "access_token"}
        try:
            async with self._fetcher.deadline():
                url = await self._issuer.place("introspection_endpoint")
                claims = await self._fetcher.post(url, form, f"Basic {base64.b64encode(pair.encode()).decode()}")
        except FetchError as error:
            raise KeysUnavailableError(str(error)) from None
        token = None
        if claims.get("active") is True:
            # The issuer itself answers, so it need not repeat its name; when it does, it must be the right one.
            token = AccessToken.of({"iss": self._issuer_name, **claims}, self._issuer_name, may_lack_subject=True)
        self._answers[digest] = (self._clock() + self._config.cache, token)
        self._answers.move_to_end(digest)
        if len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)
        return token


def _active(token: AccessToken | None) -> AccessToken:
    if token is None:
        raise TokenError("token-inactive", "the issuer says that it is not active")
    return token
