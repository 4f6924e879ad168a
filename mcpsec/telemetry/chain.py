"""The line format of the audit log: numbered, hash-chained, and at intervals signed.

A line is one JSON object whose first members are ``schema``, ``seq`` and ``prev`` and whose last is ``crc``::

    {"schema":"mcpsec.event/1","seq":7,"prev":"<SHA-256 of line 6>", … ,"crc":"<CRC-32 of the bytes before ,"crc">"}

``prev`` is the SHA-256 of the exact bytes of the line before, without its newline; line 1 has 64 zeros. It makes every
edit, cut and move visible in the lines that follow. A signed line (the first of each file, checkpoints) has
``signature`` before ``crc``: Ed25519 over the bytes before ``,"signature"``, and so over the sequence number, the head
hash and the time. The CRC protects nothing against a forger; it says *which* line was damaged, the last one included.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from mcpsec.telemetry.events import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.telemetry.keys import PublicKey

__all__ = ["GENESIS", "MAX_LINE", "SIGNED_KINDS", "Damage", "Line", "close", "line_hash", "parse", "seal"]

GENESIS = "0" * 64
"""``prev`` of a chain's first line."""
MAX_LINE = 256 * 1024
"""Bytes of the longest line that a reader accepts; the writer's field bounds keep well below."""
SIGNED_KINDS = frozenset({"log-start", "log-part", "log-checkpoint", "log-retention"})

_CRC_BYTES = len(b',"crc":"00000000"}')
_SIGNATURE = b',"signature":"'
_SIGNATURE_BYTES = len(_SIGNATURE) + 88 + 1


class Damage(ValueError):
    """A line is not one that the writer wrote; the text says in what way."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line that is whole in itself; whether it belongs to a chain is decided beside its neighbours."""

    raw: bytes
    fields: dict[str, Any]
    seq: int
    prev: str
    kind: str
    signed: bool

    @property
    def hash(self) -> str:
        """The hash that the next line carries as ``prev``."""
        return line_hash(self.raw)

    def signature_is_good(self, key: PublicKey) -> bool:
        """True when the line carries a signature by ``key`` over its content."""
        if not self.signed:
            return False
        content = self.raw[: -_CRC_BYTES - _SIGNATURE_BYTES]
        try:
            signature = base64.b64decode(self.fields["signature"], validate=True)
        except binascii.Error:  # whoever changed the line could write anything there
            return False
        return key.verifies(signature, content)


def line_hash(raw: bytes) -> str:
    """SHA-256 of a line's exact bytes without its newline, hexadecimal."""
    return hashlib.sha256(raw).hexdigest()


def seal(record: dict[str, Any], sign: Callable[[bytes], bytes] | None = None) -> bytes:
    """The line of ``record`` (its first members ``schema``, ``seq``, ``prev``), without a newline."""
    body = orjson.dumps(record)[:-1]
    if sign is not None:
        body = b'%b%b%b"' % (body, _SIGNATURE, base64.b64encode(sign(body)))
    return close(body)


def close(body: bytes) -> bytes:
    """The line of a body: all members but the last, without the closing brace."""
    return b'%b,"crc":"%08x"}' % (body, zlib.crc32(body))


def parse(raw: bytes) -> Line:
    """Read one line without its newline.

    Raises:
        Damage: it is not JSON, not an event, or its CRC does not match its bytes.
    """
    if not raw:
        raise Damage("it is empty")
    if len(raw) > MAX_LINE:
        raise Damage(f"it is longer than {MAX_LINE} bytes")
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise Damage("it is not JSON") from None
    if not isinstance(fields, dict) or fields.get("schema") != SCHEMA:
        raise Damage(f"it is not an {SCHEMA} event")
    seq, prev, kind, signature = (fields.get(name) for name in ("seq", "prev", "kind", "signature"))
    if type(seq) is not int or not isinstance(prev, str) or not isinstance(kind, str):
        raise Damage("its seq, prev or kind is missing")
    if raw[-_CRC_BYTES:] != b',"crc":"%08x"}' % zlib.crc32(raw[:-_CRC_BYTES]):
        raise Damage("it was changed (its content and its check value differ)")
    signed = signature is not None
    if signed and (not isinstance(signature, str) or not _signature_stands_last(raw, signature)):
        raise Damage("its signature is malformed")
    return Line(raw, fields, seq, prev, kind, signed)


def _signature_stands_last(raw: bytes, signature: str) -> bool:
    tail = b'%b%b"' % (_SIGNATURE, signature.encode("utf-8", "replace"))
    return len(tail) == _SIGNATURE_BYTES and raw[:-_CRC_BYTES].endswith(tail)
