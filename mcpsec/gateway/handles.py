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
import hashlib
import os
import time
from typing import TYPE_CHECKING, Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.gateway.message import Exchange

__all__ = ["HandleSeal"]

_KEY_BYTES = 64
_MOST = 64 * 1024  # characters of a handle worth looking at
_STATEFUL = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


class HandleSeal:
    """Seals and opens handles. ``lifetime`` seconds after it was sealed, a state opens no more.

    ``secret`` is shared by gateways that stand for each other; without one only this process can open what it sealed.
    """

    def __init__(self, lifetime: float, secret: bytes | None = None, *, clock: Callable[[], float] = time.time) -> None:
        key = os.urandom(_KEY_BYTES) if secret is None else hashlib.sha512(b"mcpsec handles 1\n" + secret).digest()
        self._cipher = AESSIV(key)
        self._lifetime = lifetime
        self._clock = clock

    # --- requestState ----------------------------------------------------------------------------------------------

    def seal_state(self, exchange: Exchange, state: str) -> str:
        """A ``requestState`` as this call's client gets it."""
        expires = int(self._clock() + self._lifetime).to_bytes(8)
        return self._seal(expires + state.encode("utf-8", "surrogatepass"), _call_of(exchange))

    def open_state(self, exchange: Exchange, sealed: object) -> str | None:
        """The upstream's own state, if this very call of this client got it, and in time; else None."""
        opened = self._open(sealed, _call_of(exchange))
        if opened is None or len(opened) < 8 or self._clock() >= int.from_bytes(opened[:8]):
            return None
        return opened[8:].decode("utf-8", "surrogatepass")

    # --- event ids -------------------------------------------------------------------------------------------------

    def seal_event(self, exchange: Exchange, id: str) -> str:
        """An event id of a stream as this client gets it."""
        return self._seal(b"e" + id.encode(), _stream_of(exchange))

    def open_event(self, exchange: Exchange, sealed: str) -> str | None:
        """The upstream's own event id, if this client got it in this session; else None."""
        opened = self._open(sealed, _stream_of(exchange))
        return None if opened is None else opened[1:].decode()

    # --- the seal --------------------------------------------------------------------------------------------------

    def _seal(self, content: bytes, bound: list[bytes]) -> str:
        return base64.urlsafe_b64encode(self._cipher.encrypt(content, bound)).rstrip(b"=").decode()

    def _open(self, sealed: object, bound: list[bytes]) -> bytes | None:
        if not isinstance(sealed, str) or len(sealed) > _MOST or not sealed.isascii():
            return None
        try:
            content = base64.b64decode(sealed + "=" * (-len(sealed) % 4), b"-_", validate=True)
            return self._cipher.decrypt(content, bound)
        except (InvalidTag, binascii.Error, ValueError):
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
