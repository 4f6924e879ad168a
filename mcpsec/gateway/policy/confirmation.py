"""An operator's confirmation of one call: made from the digest in the gateway's refusal, shown once in a header.

The digest names the call: who calls, which method, which thing of which upstream, and everything that the message says
about it. It is keyed, so that nobody who reads it can guess arguments. A confirmation is the digest's authentication
code together with its times and a nonce::

    mcpsec1.ISSUED.EXPIRES.NONCE.CODE        times in Unix seconds, nonce and code in base64url

Both keys are derived from the ``[approval]`` secret (NIST SP 800-108: one label for each purpose), which operators and
the gateway hold and no agent does. What is confirmed once is used once: the nonce goes into a replay store.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import re
import secrets
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from mcpsec.errors import SecretError
from mcpsec.gateway.overlap import OverlappingKeys
from mcpsec.signing.keys import MINIMUM_SECRET_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mcpsec.deployment.model import Approval
    from mcpsec.gateway.policy.engine import Call
    from mcpsec.gateway.state import State
    from mcpsec.secretrefs import SecretRef

__all__ = ["ConfirmationKey", "Confirmations", "Presented"]

OWNER = "approval"
"""The name under which confirmations claim their nonces."""
_PREFIX = "mcpsec1"
_FORM = re.compile(r"mcpsec1\.([1-9][0-9]{0,11})\.([1-9][0-9]{0,11})\.([A-Za-z0-9_-]{22})\.[A-Za-z0-9_-]{43}")
_CLOCK_SKEW = 60.0
_LEFT_OUT = frozenset({"_meta", "requestState"})
"""What a message says about itself: a retry has other ids, and the gateway's own seal around an upstream's state."""


class Presented(NamedTuple):
    """A confirmation that fits the call it came with, and has not been claimed yet."""

    nonce: str
    expires: float
    issued: float
    """Unix seconds at the end of the second in which it was made: more its form doesn't say."""


class ConfirmationKey:
    """Makes and reads confirmations. Raises ``SecretError`` for a secret of fewer than 32 bytes."""

    def __init__(self, secret: bytes, max_age: float) -> None:
        if len(secret) < MINIMUM_SECRET_BYTES:
            raise SecretError(
                f"the approval secret has {len(secret)} bytes; {MINIMUM_SECRET_BYTES} are the least",
                hint="make one with `mcpsec sign keygen FILE`",
            )
        self._digest_key = hmac.digest(secret, b"mcpsec approval digest 1", "sha256")
        self._code_key = hmac.digest(secret, b"mcpsec approval code 1", "sha256")
        self.max_age = max_age

    def __eq__(self, other: object) -> bool:
        """Whether both are of one secret."""
        return isinstance(other, ConfirmationKey) and hmac.compare_digest(self._code_key, other._code_key)

    def __hash__(self) -> int:
        """Of the secret alone, too."""
        return hash(self._code_key)

    def with_max_age(self, max_age: float) -> ConfirmationKey:
        """The same key for confirmations of another age."""
        made = copy.copy(self)
        made.max_age = max_age
        return made

    @classmethod
    def of(
        cls, approval: Approval, reveal: Callable[[SecretRef], bytes] = lambda reference: reference.resolve()
    ) -> ConfirmationKey:
        """The key of a deployment; its secret comes from ``reveal``. Raises ``SecretError``."""
        return cls(reveal(approval.secret), approval.max_age)

    def digest(self, client: str, method: str, call: Call, params: Mapping[str, Any]) -> str:
        """Names a call, in 64 hexadecimal digits. ``params`` are the message's own; their name or URI is ``call``'s."""
        rest = {name: value for name, value in params.items() if name not in _LEFT_OUT and name not in ("name", "uri")}
        if rest.get("arguments") in ({}, None):
            rest.pop("arguments", None)
        told = [client, method, call.upstream, call.kind, call.name, rest]
        text = orjson.dumps(told, option=orjson.OPT_SORT_KEYS)
        return hmac.new(self._digest_key, text, hashlib.sha256).hexdigest()

    def make(self, digest: str, seconds: float, now: float | None = None) -> str:
        """A confirmation of the call that ``digest`` names, valid for ``seconds`` (at most ``max_age``)."""
        issued = int(time.time() if now is None else now)
        expires = issued + int(min(seconds, self.max_age))
        nonce = base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode()
        head = f"{_PREFIX}.{issued}.{expires}.{nonce}"
        return f"{head}.{self._code(head, digest)}"

    def read(self, text: str, digest: str, now: float, since: float = 0.0) -> Presented | None:
        """The confirmation in ``text`` if it is one of this call, valid at ``now`` and issued after ``since``."""
        match = _FORM.fullmatch(text)
        if match is None:
            return None
        head, _, code = text.rpartition(".")
        if not hmac.compare_digest(code.encode(), self._code(head, digest).encode()):
            return None
        issued, expires = int(match[1]), int(match[2])
        if not since <= issued <= now + _CLOCK_SKEW or not now < expires <= issued + self.max_age:
            return None
        return Presented(match[3], expires, issued + 0.999)

    def _code(self, head: str, digest: str) -> str:
        code = hmac.digest(self._code_key, f"{digest}.{head}".encode(), "sha256")
        return base64.urlsafe_b64encode(code).rstrip(b"=").decode()


class Confirmations:
    """The gateway's side: reads what callers show, and lets each confirmation through once.

    A store can't know what was used before it began: confirmations made before ``since`` (Unix seconds) are refused.
    Of ``before``, which this one replaces, the keys that are still good stay so.
    """

    def __init__(
        self,
        key: ConfirmationKey,
        store: State,
        *,
        since: float = 0.0,
        before: Confirmations | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if before is None:
            self._keys = OverlappingKeys(key, clock=clock)
        else:  # a confirmation of a former key may not be older than the file allows now
            self._keys = before._keys.copy(lambda former: former.with_max_age(key.max_age))
        self._store = store
        self._clock = clock
        self._since = float(int(since))

    def renew(self, key: ConfirmationKey, *, overlap: float) -> None:
        """Ask for confirmations with another key from now on; the old one's digests and confirmations stay good.

        They do for ``overlap`` seconds, in any mix: an operator may have the new key when the gateway has it not, or
        confirm with the new one what was refused with the old.
        """
        self._keys.replace(key, overlap=overlap)

    def digest(self, client: str, method: str, call: Call, params: Mapping[str, Any]) -> str:
        """See ``ConfirmationKey.digest``."""
        return self._keys.making.digest(client, method, call, params)

    def presented(
        self, value: bytes, client: str, method: str, call: Call, params: Mapping[str, Any]
    ) -> Presented | None:
        """What a header's value confirms; None when it isn't a valid confirmation of this call."""
        try:
            text = value.decode("ascii")
        except UnicodeDecodeError:
            return None
        keys, now = self._keys.reading, self._clock()
        digests = [key.digest(client, method, call, params) for key in keys]
        read = (key.read(text, digest, now, self._since) for key in keys for digest in digests)
        return next((presented for presented in read if presented is not None), None)

    def claim(self, presented: Presented) -> bool | Awaitable[bool]:
        """Use a confirmation up; False when it was used before. Raises what the store raises."""
        return self._store.claim(OWNER, presented.nonce, presented.expires, presented.issued)
