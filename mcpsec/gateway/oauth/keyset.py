"""The issuer's signing keys, kept fresh beside the requests that use them.

A request with a known key never waits. What makes one wait (no keys yet, all of them too old, an unknown key) starts at
most one fetch for everybody, and waits no longer than that fetch's deadline. Unknown keys make a fetch at most once in
``COOLDOWN`` seconds, so made-up identifiers can't turn the gateway into a flood upon its issuer.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from mcpsec.gateway.oauth.compact import fits, public_key
from mcpsec.gateway.oauth.fetch import FetchError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from joserfc.jwk import Key

__all__ = ["COOLDOWN", "LIFETIME", "REFRESH", "RETRY", "KeySet", "KeysUnavailableError"]

REFRESH = 300.0
"""Seconds after which keys are fetched again, in the background."""
LIFETIME = 3600.0
"""Seconds after which keys that could not be fetched again are no longer believed."""
COOLDOWN = 10.0
"""Seconds between two fetches that unknown keys cause."""
RETRY = 2.0
"""Seconds after which a failed fetch is tried again, when somebody needs it."""
_MOST_KEYS = 100


class KeysUnavailableError(Exception):
    """The issuer's keys can't be had, so nothing can be said about a token."""


class KeySet:
    """``load`` fetches a JWK set (RFC 7517 section 5); ``told`` hears when that fails and when it works again.

    ``generation`` changes whenever the keys do: what was concluded from older keys is void then.
    """

    def __init__(
        self,
        load: Callable[[], Awaitable[dict[str, Any]]],
        *,
        told: Callable[[str | None], None] = lambda _trouble: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._told = told
        self._clock = clock
        self._keys: list[Key] = []
        self._thumbprints: frozenset[str] = frozenset()
        self._fetched: float | None = None
        self._tried: float | None = None
        self._trouble: str | None = None
        self._fetching: asyncio.Task[None] | None = None
        self.generation = 0

    @property
    def usable(self) -> bool:
        """Whether the keys are young enough to be believed. Starts a fetch in the background when it is time."""
        if self._fetched is None:
            return False
        age = self._clock() - self._fetched
        if age > REFRESH and not self._cooling:
            self._start()
        return age <= LIFETIME

    @property
    def _cooling(self) -> bool:
        rest = RETRY if self._trouble is not None else COOLDOWN
        return self._tried is not None and self._clock() - self._tried < rest

    def find(self, key_id: str | None, algorithm: str) -> Key | None:
        """The key with this identifier that fits the algorithm; without one, the only key that fits."""
        if not self.usable:
            return None
        found = [key for key in self._keys if fits(key, algorithm) and (key_id is None or key.get("kid") == key_id)]
        return found[0] if len(found) == 1 else None

    async def obtain(self, key_id: str | None, algorithm: str) -> Key | None:
        """Do what ``find`` does after a fetch if one may help. Raises KeysUnavailableError."""
        fetching = self._fetching
        if fetching is None and not self._cooling:
            fetching = self._start()
        if fetching is not None:
            await asyncio.shield(fetching)
        if not self.usable or self._trouble is not None:
            raise KeysUnavailableError(self._trouble or "no keys yet")
        return self.find(key_id, algorithm)

    async def close(self) -> None:
        """Give up a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def start(self) -> None:
        """Begin to fetch the keys, for the first request."""
        if self._fetching is None:
            self._start()

    def _start(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._tried = self._clock()
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())
        return self._fetching

    async def _fetch(self) -> None:
        try:
            self._take(await self._load())
            trouble = None
        except FetchError as error:
            trouble = str(error)
        except Exception as error:  # an unforeseen one must neither end the task unseen nor leave old trouble standing
            trouble = f"internal error {type(error).__name__}"
        finally:
            self._fetching = None
        if trouble != self._trouble:
            self._trouble = trouble
            self._told(trouble)

    def _take(self, document: dict[str, Any]) -> None:
        entries = document.get("keys")
        if not isinstance(entries, list) or len(entries) > _MOST_KEYS:
            raise FetchError("the answer is not a set of keys, or has too many")
        keys = [key for entry in entries if isinstance(entry, dict) and (key := public_key(entry)) is not None]
        if not keys:
            raise FetchError("the set holds no key that could sign a token")
        thumbprints = frozenset(f"{key.get('kid')} {key.get('alg')} {key.thumbprint()}" for key in keys)
        if thumbprints != self._thumbprints:
            self.generation += 1
        self._keys, self._thumbprints, self._fetched = keys, thumbprints, self._clock()
