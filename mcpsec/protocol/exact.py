"""Reading and writing JSON with integers of any size.

The fast reader makes a rounded number of an integer of more than 64 bits, and the fast writer refuses one. Messages
with such are rare (a balance in a currency's smallest unit, a hash as a number) and go by the standard library.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

__all__ = ["exact_bytes", "exact_value"]

_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG = b"0" * 19  # 2**63 and 2**64 have nineteen and twenty digits
_DEPTH = 254


def exact_value(data: bytes) -> Any:
    """The value that a text stands for. Raises orjson.JSONDecodeError when it is no JSON."""
    value = orjson.loads(data)
    if _LONG in data.translate(_ZEROS):
        try:
            return json.loads(data)
        except (ValueError, RecursionError):  # more digits than Python reads, or deeper: the rounded one it is
            return value
    return value


def exact_bytes(value: Any) -> bytes:
    """A value as compact JSON. Raises orjson.JSONEncodeError for one that can't be written."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        if not _has_large(value):
            raise
        try:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        except (ValueError, RecursionError) as error:
            raise orjson.JSONEncodeError(str(error)) from None


def _has_large(value: Any) -> bool:
    """Whether an integer of more than 64 bits is in it, and nothing deeper than the fast writer goes."""
    level, large = [value], False
    for _ in range(_DEPTH):
        following: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                following += each.values()
            elif isinstance(each, list):
                following += each
            elif isinstance(each, int) and not -(1 << 63) <= each < 1 << 64:
                large = True
        if not following:
            return large
        level = following
    return False
