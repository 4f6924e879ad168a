"""Lines of a child's output, with a cap."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpsec.protocol import LineFramer, Oversize, frame


def read(stream: bytes, cuts: list[int], limit: int) -> tuple[list[bytes | Oversize], bytes]:
    framer, found = LineFramer(limit), []
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, end in pairwise(edges):
        found += framer.feed(stream[start:end])
    return found, framer.close()


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"{}\n[]\n", [b"{}", b"[]"]),
        (b"{}\r\n\r\n\n \n", [b"{}", b" "]),
        (b"a\rb\n", [b"a\rb"]),
        (b"0123456789\n0123456789x\nok\n", [b"0123456789", Oversize(10), b"ok"]),
        (b"no end", []),
        (b"", []),
    ],
)
def test_lines(stream: bytes, expected: list[bytes | Oversize]) -> None:
    assert read(stream, [], 10)[0] == expected
    assert read(stream, list(range(len(stream))), 10)[0] == expected


def test_an_oversize_line_is_reported_when_it_crosses_the_cap() -> None:
    framer = LineFramer(10)
    assert framer.feed(b"x" * 11) == [Oversize(10)]
    assert framer.feed(b"y" * 50) == []
    assert framer.feed(b"tail\nnext\n") == [b"next"]


def test_the_unfinished_line_is_kept_apart() -> None:
    assert read(b"a\nrest", [], 10) == ([b"a"], b"rest")


@settings(max_examples=400, deadline=None)
@given(st.text("ab\n\r", max_size=60).map(str.encode), st.lists(st.integers(0, 60), max_size=10), st.integers(1, 8))
def test_any_cut_gives_the_lines_of_a_plain_split(stream: bytes, cuts: list[int], limit: int) -> None:
    *lines, rest = stream.split(b"\n")
    expected = [Oversize(limit) if len(line) > limit else line.removesuffix(b"\r") for line in lines]
    unfinished = [Oversize(limit)] if len(rest) > limit else []
    found, kept = read(stream, cuts, limit)
    assert found == [line for line in expected if line] + unfinished
    assert kept == (b"" if unfinished else rest)


def test_a_line_of_many_megabytes_costs_no_more_memory_than_the_cap() -> None:
    framer, chunk, reports = LineFramer(100_000), b"x" * 65_536, 0
    tracemalloc.start()
    try:
        for _ in range(2000):  # 131 MB
            reports += len(framer.feed(chunk))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert reports == 1
    assert framer.feed(b"\n{}\n") == [b"{}"]


def test_a_message_is_one_line() -> None:
    assert frame(b"{}") == b"{}\n"
    assert frame(b'{\r\n"a":\n1}') == b'{  "a": 1}\n'
    assert read(frame(b'{\n"a": 1}'), [], 100)[0] == [b'{ "a": 1}']
