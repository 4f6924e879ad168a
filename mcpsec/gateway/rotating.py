"""A verifier whose keys change while requests come in: for a while a key's old secret is accepted beside the new."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mcpsec.signing import Refusal, VerificationKey, Verifier, load_public_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.deployment.model import Deployment
    from mcpsec.gateway.secrets import SecretKeeper
    from mcpsec.signing import Claim, SignedMessage

__all__ = ["RotatingVerifier"]


class RotatingVerifier:
    """Verifies with every client's current keys, and with what a key was until ``overlap`` seconds ago.

    ``before`` is a verifier that this one replaces.

    Constructing one reads key files. Raises SecretError for a secret that is too short, ConfigurationError for a public
    key that is none.
    """

    def __init__(
        self,
        deployment: Deployment,
        secrets: SecretKeeper,
        *,
        before: RotatingVerifier | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._deployment = deployment
        self._secrets = secrets
        self._clock = clock
        self._keys: dict[str, VerificationKey] = {} if before is None else before._keys
        self._before: dict[str, VerificationKey] = {} if before is None else before._before
        self.reload()

    def _read_keys(self) -> dict[str, VerificationKey]:
        keys: dict[str, VerificationKey] = {}
        for client in self._deployment.clients:
            for key in client.signing_keys:
                secret = None if key.secret is None else self._secrets.reveal(key.secret)
                public = None if key.public_key is None else load_public_key(key.public_key)
                keys[key.id] = VerificationKey(key.id, client.id, secret=secret, public_key=public)
        return keys

    def _verifier(self, keys: dict[str, VerificationKey]) -> Verifier:
        signature = self._deployment.auth.signature
        return Verifier(keys, schemes=signature.schemes, max_age=signature.max_age)

    def reload(self) -> None:
        """Use the secrets of the moment; what a key was before stays good for the overlap. Raises SecretError."""
        keys = self._read_keys()
        now = self._clock()
        until = now + self._deployment.secrets.overlap
        before = {id: key for id, key in self._before.items() if (key.not_after or 0.0) > now}
        for id, key in self._keys.items():
            now_key = keys.get(id)  # a key that is no longer in the file, or another client's, is over at once
            if now_key is None or now_key.owner != key.owner or now_key.secret is None:
                before.pop(id, None)
            elif key.secret is not None and key.secret != now_key.secret:
                before[id] = VerificationKey(id, key.owner, secret=key.secret, not_after=until)
        self._keys, self._current = keys, self._verifier(keys)
        self._before = before
        self._previous = self._verifier(before) if before else None

    def check(self, message: SignedMessage, **options: Any) -> Claim | Refusal:
        """Do what ``Verifier.check`` does."""
        checked = self._current.check(message, **options)
        if self._previous is None or not isinstance(checked, Refusal) or checked.rule != "signature-invalid":
            return checked
        again = self._previous.check(message, **options)
        return checked if isinstance(again, Refusal) else again

    @property
    def current(self) -> Verifier:
        """The verifier of the keys of the moment; another one when any of them may have changed."""
        return self._current
