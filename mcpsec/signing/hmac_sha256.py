"""The two HMAC schemes: ``hmac-sha256``, which covers the whole request, and ``article``, the compatibility mode.

``hmac-sha256`` computes HMAC-SHA-256 (RFC 2104) over these bytes, lines joined by one line feed, none at the end::

    mcpsec-hmac-sha256-v1
    <x-key-id>
    <x-timestamp>
    <x-nonce>
    <method>
    <authority>
    <path>
    <query>
    <name>:<value>          each header of ``message.covered``, sorted by name
    <SHA-256 of the body, 64 lower-case hexadecimal digits>

No field can hold a line feed and the number of lines is checked, so two different requests never share one string; its
first line keeps it apart from the ``article`` string of the same secret, which begins with a digit.

``article`` computes it over ``<x-timestamp>:<raw body>`` and covers nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from mcpsec.signing.outcome import RefusedSignature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpsec.signing.message import SignedMessage

__all__ = ["VERSION_LINE", "article_string", "canonical_string", "keyed", "mac", "matches", "surroundings"]

VERSION_LINE = b"mcpsec-hmac-sha256-v1"


def canonical_string(
    message: SignedMessage, key_id: bytes, timestamp: bytes, nonce: bytes, covered: Sequence[tuple[bytes, bytes]]
) -> bytes:
    """The bytes that ``hmac-sha256`` signs; ``covered`` is what ``message.covered`` gives for its headers.

    The port 443 is left out of the authority, where some clients write it and some do not.

    Raises:
        RefusedSignature: ``message-malformed``, a field holds a line feed or is not Latin-1.
    """
    before, behind = surroundings(message, key_id, covered)
    digest = hashlib.sha256(message.body).hexdigest().encode()
    text = b"%b%b\n%b%b%b" % (before, timestamp, nonce, behind, digest)
    if text.count(b"\n") != 8 + len(covered):
        raise RefusedSignature("message-malformed", "a signed part of the request holds a line feed")
    return text


def surroundings(message: SignedMessage, key_id: bytes, covered: Sequence[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """What stands before the timestamp in ``canonical_string``, and what between nonce and digest.

    The same for all requests with one key and head. Raises UnicodeEncodeError for a field that is not Latin-1.
    """
    authority = message.authority.lower().removesuffix(":443")
    head = f"{message.method}\n{authority}\n{message.path}\n{message.query}".encode("latin-1")
    return b"%b\n%b\n" % (VERSION_LINE, key_id), b"\n".join((b"", head, *map(b":".join, covered), b""))


def article_string(message: SignedMessage, timestamp: bytes) -> bytes:
    """The bytes that ``article`` signs: the timestamp, a colon and the raw body."""
    return b"%b:%b" % (timestamp, message.body)


def keyed(secret: bytes) -> hmac.HMAC:
    """What ``mac`` begins with, for whoever keeps a secret and uses it again: taking a key in costs most of a MAC."""
    return hmac.new(secret, digestmod="sha256")


def mac(key: hmac.HMAC, text: bytes) -> bytes:
    """HMAC-SHA-256 as 64 lower-case hexadecimal digits, under the key of ``keyed``, which stays as it is."""
    begun = key.copy()
    begun.update(text)
    return begun.hexdigest().encode()


def matches(key: hmac.HMAC, text: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is the MAC of ``text``, compared in constant time."""
    return hmac.compare_digest(mac(key, text), signature)
