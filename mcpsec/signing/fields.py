"""The strict syntax of the header fields that carry a signature, and the window of its time."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from mcpsec.signing.outcome import RefusedSignature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "NONCE_CHARACTERS",
    "SIGNATURE_FIELDS",
    "check_window",
    "collect",
    "key_id_of",
    "nonce_of",
    "signature_of",
    "timestamp_of",
]

SIGNATURE_FIELDS = frozenset(
    (b"x-signature", b"x-timestamp", b"x-key-id", b"x-nonce", b"signature", b"signature-input", b"content-digest")
)
"""The header fields of every scheme; each may stand once in a request."""

_HEX = b"0123456789abcdef"
_DIGITS = b"0123456789"
NONCE_CHARACTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=:"
_MOST_BYTES = 128


Collected = tuple[dict[bytes, bytes], list[tuple[bytes, bytes]]]


def collect(headers: Sequence[tuple[bytes, bytes]]) -> Collected:
    """Split out, in one pass, the signature's own fields and the headers that it must cover (sorted by name).

    Raises:
        RefusedSignature: ``header-duplicated``.
    """
    own: dict[bytes, bytes] = {}
    must: list[tuple[bytes, bytes]] = []
    for name, value in headers:
        if name in SIGNATURE_FIELDS:
            if name in own:
                raise RefusedSignature("header-duplicated", f"{name.decode()} stands more than once")
            own[name] = value.strip(b" \t")
        elif name.startswith(b"mcp-") or name == b"last-event-id":
            must.append((name, value.strip(b" \t")))
    if len(must) > 1:
        must.sort()
        for before, after in pairwise(must):
            if before[0] == after[0]:
                raise RefusedSignature("header-duplicated", f"{after[0].decode('latin-1')} stands more than once")
    return own, must


def signature_of(own: Mapping[bytes, bytes]) -> bytes:
    """The signature: 64 lower-case hexadecimal digits.

    Raises:
        RefusedSignature: ``signature-missing`` or ``signature-malformed``.
    """
    value = own.get(b"x-signature")
    if value is None:
        raise RefusedSignature("signature-missing", "the request has no x-signature header")
    if len(value) != 64 or value.translate(None, _HEX):
        raise RefusedSignature("signature-malformed", "x-signature is not 64 lower-case hexadecimal digits")
    return value


def timestamp_of(own: Mapping[bytes, bytes]) -> bytes:
    """The time of signing: Unix milliseconds in exactly 13 digits (2001 to 2286).

    Raises:
        RefusedSignature: ``timestamp-missing`` or ``timestamp-malformed``.
    """
    value = own.get(b"x-timestamp")
    if value is None:
        raise RefusedSignature("timestamp-missing", "the request has no x-timestamp header")
    if len(value) != 13 or value.translate(None, _DIGITS):
        raise RefusedSignature("timestamp-malformed", "x-timestamp is not 13 digits of Unix milliseconds")
    return value


def key_id_of(own: Mapping[bytes, bytes]) -> bytes | None:
    """The key's identifier, 1 to 128 visible ASCII characters; None when the request names no key.

    Raises:
        RefusedSignature: ``key-id-malformed``.
    """
    value = own.get(b"x-key-id")
    if value is None:
        return None
    if not 0 < len(value) <= _MOST_BYTES or min(value) < 0x21 or max(value) > 0x7E:
        raise RefusedSignature("key-id-malformed", "x-key-id is not 1 to 128 visible ASCII characters")
    return value


def nonce_of(own: Mapping[bytes, bytes]) -> bytes:
    """The nonce: 1 to 128 letters, digits or ``-._~+/=:``.

    Raises:
        RefusedSignature: ``nonce-missing`` or ``nonce-malformed``.
    """
    value = own.get(b"x-nonce")
    if value is None:
        raise RefusedSignature("nonce-missing", "the request has no x-nonce header")
    if not 0 < len(value) <= _MOST_BYTES or value.translate(None, NONCE_CHARACTERS):
        raise RefusedSignature("nonce-malformed", "x-nonce is not 1 to 128 letters, digits or -._~+/=:")
    return value


def check_window(created: float, now: float, max_age: float, future_skew: float) -> None:
    """Refuse what was signed too long ago or too far ahead; all times in seconds.

    Raises:
        RefusedSignature: ``timestamp-stale`` or ``timestamp-future``.
    """
    age = now - created
    if age > max_age:
        raise RefusedSignature("timestamp-stale", f"signed {age:.0f} s ago; {max_age:g} s are the most")
    if -age > future_skew:
        raise RefusedSignature("timestamp-future", f"signed {-age:.0f} s ahead; {future_skew:g} s are the most")
