"""Handles that an upstream gives out, sealed for the client that got them.

Behind a gateway an upstream sees one caller only, so it can't tell whose handle comes back: with another client's
``requestState`` (2026-07-28, patterns/mrtr) or event id (2025-11-25, transports#resumability) a client would go on with
what the other began. So clients get each handle encrypted and authenticated, bound to who they are and to what it was
given out for, and only that client's own use of it reaches the upstream (security best practices, state handle
hijacking). AES-SIV (RFC 5297) needs no nonce, so that equal handles stay equal.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from mcpsec.errors import SecretError
from mcpsec.gateway.overlap import OverlappingKeys
from mcpsec.signing.keys import MINIMUM_SECRET_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.gateway.message import Exchange

__all__ = ["HandleSeal", "SealKey", "SealedEvent"]

_KEY_BYTES = 64
_MOST = 64 * 1024  # characters of a handle worth looking at
_EVENT = b"4"  # the form of what is sealed
_MOST_OF_EVENT = 3072  # characters: sealed, and however they are escaped, they fit into the head of a request
_STATEFUL = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


@dataclass(frozen=True)
class SealKey:
    """What seals handles; made from a secret that gateways share, or of this process alone."""

    data: bytes = field(repr=False)
    cipher: AESSIV = field(repr=False, compare=False)

    @classmethod
    def of(cls, secret: bytes | None) -> SealKey:
        """The key of a secret, a new one for None. Raises ``SecretError`` for a secret of fewer than 32 bytes."""
        if secret is not None and len(secret) < MINIMUM_SECRET_BYTES:
            raise SecretError(
                f"[state] handle_key has {len(secret)} bytes; {MINIMUM_SECRET_BYTES} are the least",
                hint="make one with `mcpsec sign keygen FILE`",
            )
        data = os.urandom(_KEY_BYTES) if secret is None else hashlib.sha512(b"mcpsec handles 1\n" + secret).digest()
        return cls(data, AESSIV(data))


class SealedEvent(NamedTuple):
    """What goes with the upstream's own ``id`` of an event of a stream.

    ``due`` is the id of the call whose answer the stream owes (None when it answers none), ``kind`` and ``resource``
    are what that call was for ("" when it was for nothing that the policy names), ``tools`` those behind its tasks.
    """

    due: Any
    id: str
    kind: str
    resource: str
    tools: list[str]


class HandleSeal:
    """Seals and opens handles. ``lifetime`` seconds after it was sealed, a state opens no more.

    ``key`` is shared by gateways that stand for each other; by default only this process can open what it sealed.
    """

    def __init__(self, lifetime: float, key: SealKey | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._keys = OverlappingKeys(key or SealKey.of(None), clock=clock)
        self.lifetime = lifetime
        self._clock = clock

    def renew(self, key: SealKey, *, overlap: float, delay: float) -> None:
        """Open what another key sealed at once, and seal with it in ``delay`` seconds, when every gateway has it.

        What the key of until now sealed opens for ``overlap`` seconds from then on.
        """
        self._keys.replace(key, overlap=overlap, delay=delay)

    # --- requestState ----------------------------------------------------------------------------------------------

    def seal_state(self, exchange: Exchange, state: str) -> str:
        """A ``requestState`` as this call's client gets it."""
        expires = int(self._clock() + self.lifetime).to_bytes(8)
        return self._seal(expires + state.encode("utf-8", "surrogatepass"), _call_of(exchange))

    def open_state(self, exchange: Exchange, sealed: object) -> str | None:
        """The upstream's own state, if this very call of this client got it, and in time; else None."""
        opened = self._open(sealed, _call_of(exchange))
        if opened is None or len(opened) < 8 or self._clock() >= int.from_bytes(opened[:8]):
            return None
        return opened[8:].decode("utf-8", "surrogatepass")

    # --- event ids -------------------------------------------------------------------------------------------------

    def seal_event(self, exchange: Exchange, id: str) -> str:
        """An event id of a stream as this client gets it; with it goes whose answer that stream owes, and of what.

        Empty when that is too long to come back in a header: then nobody goes on from there.
        """
        content = SealedEvent(exchange.due, id, exchange.kind, exchange.resource, list(exchange.tools))
        if sum(len(str(part)) for part in content) > _MOST_OF_EVENT:
            return ""
        return self._seal(_EVENT + json.dumps(content).encode(), _stream_of(exchange))

    def open_event(self, exchange: Exchange, sealed: str) -> SealedEvent | None:
        """What was sealed with an event id, if this client got it in this session."""
        opened = self._open(sealed, _stream_of(exchange))
        if opened is None or opened[:1] != _EVENT:
            return None
        return SealedEvent(*json.loads(opened[1:]))

    # --- the seal --------------------------------------------------------------------------------------------------

    def _seal(self, content: bytes, bound: list[bytes]) -> str:
        return base64.urlsafe_b64encode(self._keys.making.cipher.encrypt(content, bound)).rstrip(b"=").decode()

    def _open(self, sealed: object, bound: list[bytes]) -> bytes | None:
        if not isinstance(sealed, str) or len(sealed) > _MOST or not sealed.isascii():
            return None
        try:
            content = base64.b64decode(sealed + "=" * (-len(sealed) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        for key in self._keys.reading:
            with contextlib.suppress(InvalidTag, ValueError):
                return key.cipher.decrypt(content, bound)
        return None


def _who(exchange: Exchange) -> list[bytes]:
    client = "" if exchange.client is None else exchange.client.id
    return [client.encode(), exchange.upstream.encode()]


def _call_of(exchange: Exchange) -> list[bytes]:
    """Who asks for what: a retry repeats all of it but its own id, its answers and the state."""
    message = exchange.message
    method = "" if message is None else message.method
    params: dict[str, Any] = {} if message is None else message.params
    name = params.get(_STATEFUL.get(method, ""), "")
    told = orjson.dumps([name, params.get("arguments") or {}], option=orjson.OPT_SORT_KEYS)
    return [b"requestState", *_who(exchange), method.encode(), hashlib.sha256(told).digest()]


def _stream_of(exchange: Exchange) -> list[bytes]:
    session = "" if exchange.session is None else exchange.session.id
    return [b"eventId", *_who(exchange), session.encode()]
