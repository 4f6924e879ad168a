"""Integers of any size are read and written as they are, and everything else as before."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from mcpsec.protocol.exact import exact_bytes, exact_value

LARGE = [2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**40, -(10**300)]


@pytest.mark.parametrize("number", LARGE)
def test_integers_stay_as_they_are(number: int) -> None:
    text = b'{"a":[%d,{"b":%d}],"t":"%d"}' % (number, number, number)
    value = exact_value(text)
    assert value == {"a": [number, {"b": number}], "t": str(number)}
    assert type(value["a"][0]) is int
    assert exact_bytes(value) == text


@pytest.mark.parametrize(
    "text", [b"0.12345678901234567890123", b"1e400", b'"1234567890123456789012"', b"[1, 2.5, null, true]", b'"\\u00e9"']
)
def test_all_else_is_read_as_the_fast_reader_does(text: bytes) -> None:
    try:
        expected: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        with pytest.raises(orjson.JSONDecodeError):
            exact_value(text)
    else:
        assert exact_value(text) == expected


@pytest.mark.parametrize("text", [b"NaN1234567890123456789012", b"01234567890123456789", b"[12345678901234567890,]"])
def test_what_is_no_json_is_none_with_long_numbers_either(text: bytes) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        exact_value(text)


def test_more_digits_than_python_reads_are_rounded_or_refused() -> None:
    assert exact_value(b"[%s0.0]" % (b"1" * 200)) == [float("1" * 200 + "0")]
    for digits in (5_000, 100_000):
        try:
            value = exact_value(b"1" * digits)
        except orjson.JSONDecodeError:
            continue
        assert isinstance(value, float)


def test_depth_is_bounded_as_before() -> None:
    def nested(depth: int) -> bytes:
        return b"[" * depth + b"12345678901234567890123" + b"]" * depth

    for depth in (1, 200, 253):
        assert exact_bytes(exact_value(nested(depth))) == nested(depth)
    for depth in (300, 1000):
        with pytest.raises(orjson.JSONEncodeError):
            exact_bytes(exact_value(nested(depth)))
    with pytest.raises(orjson.JSONEncodeError):
        exact_bytes({"a": object()})
