"""The store's protocol: replies arrive in pieces of any size, and nothing but RESP2 is believed."""

from __future__ import annotations

import itertools
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpsec.gateway.state.resp import RespError, RespParser, encode

WIRE = b"+OK\r\n:42\r\n$-1\r\n$5\r\nab\r\nc\r\n*3\r\n:1\r\n*1\r\n$0\r\n\r\n+x\r\n-ERR no\r\n"
VALUES = [b"OK", 42, None, b"ab\r\nc", [1, [b""], b"x"]]


@given(st.lists(st.integers(0, len(WIRE)), max_size=8))
def test_pieces_of_any_size_give_the_same_replies(cuts: list[int]) -> None:
    parser, replies = RespParser(), []
    edges = [0, *sorted(cuts), len(WIRE)]
    for start, end in itertools.pairwise(edges):
        replies += parser.feed(WIRE[start:end])
    *values, error = replies
    assert values == VALUES
    assert isinstance(error, RespError) and str(error) == "ERR no"


@pytest.mark.parametrize(
    "junk",
    [
        b"HTTP/1.1 200 OK\r\n", b":x\r\n", b"$x\r\n", b"\r\n", b":\r\n", b":-\r\n", b":--1\r\n", b":1_0\r\n", b": 5\r\n",
        b":5 \r\n", b":\xd9\xa3\r\n", b"$\r\n", b"$-5\r\n", b"$ 3\r\nabc\r\n", b"$+3\r\nabc\r\n", b"$1_0\r\n0123456789\r\n",
        b"$3\r\nabcXX", b"$3\r\nabc\rX", b"$3\r\nabcd\r\n", b"$0\r\n:1\r\n", b"*-7\r\n", b"*+1\r\n:1\r\n", b"*1\r\n$3\r\nabcd\r\n",
    ],
)  # fmt: skip
def test_what_is_not_the_protocol_is_an_error(junk: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        list(RespParser().feed(junk))


def test_numbers_have_the_signs_that_the_protocol_gives_them() -> None:
    assert RespParser().feed(b":-12\r\n:+3\r\n:0\r\n:9223372036854775807\r\n$-1\r\n") == [-12, 3, 0, 2**63 - 1, None]


@pytest.mark.parametrize("step", [1 << 10, 1 << 20])
@pytest.mark.parametrize("before", [b"", b"*3\r\n$1\r\na\r\n"])
def test_a_line_without_end_is_not_searched_again_and_again(step: int, before: bytes) -> None:
    parser, fed = RespParser(), 0
    parser.feed(before + b"+")
    with pytest.raises(ValueError, match="line is too long"):
        while fed < 1 << 20:
            fed += step
            parser.feed(b"a" * step)
    assert fed <= max(step, 1 << 16)
    with pytest.raises(ValueError, match="line is too long"):
        RespParser().feed(b"-" + b"a" * (1 << 16) + b"\r\n")


def test_a_long_line_and_a_longer_value_are_read() -> None:
    line, value = b"a" * 65_000, b"b" * 200_000
    wire, parser, replies = b"+" + line + b"\r\n" + encode([value]), RespParser(), []
    for start in range(0, len(wire), 1400):
        replies += parser.feed(wire[start : start + 1400])
    assert replies == [line, [value]]


def test_a_reply_without_end_is_not_kept() -> None:
    parser = RespParser()
    with pytest.raises(ValueError, match="too large"):
        for _ in range(40):
            parser.feed(b"$99999999\r\n" + b"x" * (1 << 19))


def test_a_reply_in_many_pieces_is_read_once() -> None:
    """A value may be as large as who writes to the store likes, and everybody waits while it is read."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    items, parser, replies = [b"%d" % number for number in range(2000)], RespParser(), []
    wire = encode(items)
    sys.setprofile(count)
    try:
        for start in range(0, len(wire), 64):
            replies += parser.feed(wire[start : start + 64])
    finally:
        sys.setprofile(None)
    assert replies == [items]
    assert calls < 20 * len(items)


def test_arrays_in_arrays_have_an_end() -> None:
    nested: object = 1
    for _ in range(16):
        nested = [nested]
    assert RespParser().feed(b"*1\r\n" * 16 + b":1\r\n") == [nested]
    with pytest.raises(ValueError, match="arrays"):
        RespParser().feed(b"*1\r\n" * 17)


def test_an_array_without_end_is_not_kept() -> None:
    parser = RespParser()
    parser.feed(b"*9999999\r\n")
    with pytest.raises(ValueError, match="too large"):
        for _ in range(40):
            parser.feed((b"$99\r\n" + b"x" * 99 + b"\r\n") * 5000)


def test_a_command_is_an_array_of_bulk_strings() -> None:
    assert encode((b"SET", b"a\r\n", b"")) == b"*3\r\n$3\r\nSET\r\n$3\r\na\r\n\r\n$0\r\n\r\n"
