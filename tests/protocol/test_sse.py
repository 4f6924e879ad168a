"""The event stream: whatever the chunks, the events are those of a plain reader of the whole text."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpsec.protocol import ProtocolError, SseEvent, SseParser, encode_event
from mcpsec.protocol.sse import replaced, without_remarks


def read(stream: bytes, cuts: list[int] | None = None, limit: int = 10_000) -> tuple[list[SseEvent], bytes]:
    parser, events = SseParser(limit), []
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts or []), len(stream)]
    for start, end in pairwise(edges):
        events += parser.feed(stream[start:end])
    return events, parser.close()


def dispatched(events: list[SseEvent]) -> list[tuple[bytes, str]]:
    return [(event.data, event.event) for event in events if event.data is not None]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_one_event(end: bytes) -> None:
    raw = b"event: message" + end + b"id: 7" + end + b"retry: 100" + end + b"data: {}" + end + end
    events, rest = read(raw)
    assert dispatched(events) == [(b"{}", "message")]
    assert (events[0].raw, events[0].id, events[0].retry, rest) == (raw, "7", 100, b"")


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\ndata: b\n\n", [(b"a\nb", "message")]),
        (b"data\n\n", [(b"", "message")]),
        (b"data:  two\n\n", [(b" two", "message")]),
        (b"data:x:y\n\n", [(b"x:y", "message")]),
        (b": comment\n\n", []),
        (b"event: x\n\ndata: 1\n\n", [(b"1", "message")]),
        (b"\xef\xbb\xbfdata: a\n\n", [(b"a", "message")]),
        (b"\n\xef\xbb\xbfdata: a\n\ndata: b\n\n", [(b"b", "message")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
        (b"Data: a\n\n", []),
        (b"data : a\n\n", []),
        (b"data: a\x85b\xe2\x80\xa8c\n\n", [(b"a\x85b\xe2\x80\xa8c", "message")]),
        (b"data: unfinished\n", []),
        (b"\n\n\r\r\n\ndata: a\r\n\r\ndata: b\r\n\r\n", [(b"a", "message"), (b"b", "message")]),
    ],
)
def test_fields(stream: bytes, expected: list[tuple[bytes, str]]) -> None:
    assert dispatched(read(stream)[0]) == expected


@pytest.mark.parametrize(
    ("line", "ident", "retry"), [(b"id: a\0b", None, None), (b"id", "", None), (b"retry: 1x", None, None)]
)
def test_fields_that_are_ignored(line: bytes, ident: str | None, retry: int | None) -> None:
    (event,), _ = read(line + b"\n\n")
    assert (event.id, event.retry) == (ident, retry)


def test_an_event_is_out_as_soon_as_its_blank_line_began() -> None:
    parser = SseParser(100)
    assert [event.data for event in parser.feed(b"data: a\r\n\r")] == [b"a"]
    assert b"".join(event.raw for event in parser.feed(b"\ndata: b\r\n\r\n")) == b"\ndata: b\r\n\r\n"


def reference(stream: bytes) -> list[tuple[bytes, str]]:
    """The standard's algorithm over the whole stream, line by line."""
    found, data, kind = [], [], ""
    lines = re.split(rb"\r\n|\n|\r", stream.removeprefix(b"\xef\xbb\xbf"))
    for line in lines[:-1]:
        if not line:
            if data:
                found.append((b"\n".join(data), kind or "message"))
            data, kind = [], ""
        elif not line.startswith(b":"):
            name, _, value = line.partition(b":")
            value = value[1:] if value[:1] == b" " else value
            if name == b"data":
                data.append(value)
            elif name == b"event":
                kind = value.decode("utf-8", "replace")
    return found


PIECES = st.sampled_from(
    [b"\n", b"\r", b"\r\n", b"data", b"data: ", b"data:", b"event: x", b":", b"a", b"\xef\xbb\xbf", b" "]
)


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES, max_size=30).map(b"".join), st.lists(st.integers(0, 200), max_size=12))
def test_any_cut_gives_the_same_events_and_loses_no_byte(stream: bytes, cuts: list[int]) -> None:
    events, rest = read(stream, cuts)
    assert b"".join(event.raw for event in events) + rest == stream
    assert dispatched(events) == reference(stream)
    assert dispatched(events) == dispatched(read(stream, list(range(len(stream))))[0])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_any_bytes(stream: bytes, cuts: list[int]) -> None:
    events, rest = read(stream, cuts)
    assert b"".join(event.raw for event in events) + rest == stream
    assert dispatched(events) == reference(stream)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_an_event_is_bounded(chunk: int) -> None:
    def feed(size: int) -> None:
        stream = b"data: " + b"x" * (size - 8) + b"\n\n"
        read(stream, list(range(0, size, chunk)), limit=1000)

    feed(1000)
    with pytest.raises(ProtocolError) as caught:
        feed(1001)
    assert caught.value.http_status == 503


def test_a_line_that_never_ends_is_refused_at_the_bound() -> None:
    parser = SseParser(1000)
    with pytest.raises(ProtocolError):
        for _ in range(30):
            parser.feed(b"data: " + b"x" * 100)


def test_small_chunks_and_many_lines_cost_linear_time() -> None:
    parser = SseParser(1 << 30)
    for _ in range(100_000):  # with work that grows by the event's size so far, this would take minutes
        parser.feed(b"data: " + b"x" * 60)
    (event,) = parser.feed(b"\ndata: y" * 100_000 + b"\n\n")
    assert event.data is not None and len(event.data) > 6_000_000


def test_the_encoder_is_read_back() -> None:
    assert encode_event(b'{"a":1}') == b'event: message\r\ndata: {"a":1}\r\n\r\n'
    (event,), rest = read(encode_event(b'{\n "a":\r\n1}', "e-1"))
    assert (event.data, event.event, event.id, rest) == (b'{\n "a":\n\n1}', "message", "e-1", b"")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_an_event_with_another_payload_or_id_keeps_its_other_lines(end: str) -> None:
    lines = ["\ufeff: a comment", "event: message", "data: secret", "data", "data:more", "id: upstream-7", "retry: 100"]
    raw = end.join([*lines, "", ""]).encode()
    (event,), _ = read(replaced(raw, data=b"{}", id="sealed"))
    assert (event.data, event.id, event.event) == (b"{}", "sealed", "message")
    assert b"secret" not in event.raw and b"more" not in event.raw and b"upstream" not in event.raw
    assert b": a comment" in event.raw and b"retry: 100" in event.raw
    ((only_id,), _), ((only_data,), _) = read(replaced(raw, id="sealed")), read(replaced(raw, data=b"{}"))
    assert (only_id.data, only_id.id) == (b"secret\n\nmore", "sealed")
    assert (only_data.data, only_data.id) == (b"{}", "upstream-7")


@pytest.mark.parametrize(
    ("raw", "left"),
    [
        (b"event: message\ndata: {}\n\n", b"event: message\ndata: {}\n\n"),
        (b"id: 7\nretry: 100\ndata: a\ndata\ndata: b\n\n", b"id: 7\nretry: 100\ndata: a\ndata\ndata: b\n\n"),
        (b"\r\n", b"\r\n"),
        (b"id:\ndata: {}\n\n", b"id:\ndata: {}\n\n"),
        (b": words\n\n", b":\n\n"),
        (b": words\r: more\r\r", b":\n\n"),
        (b": words\ndata: {}\n\n", b"data: {}\n\n"),
        (b"\xef\xbb\xbf: words\ndata: {}\n\n", b"data: {}\n\n"),
        (b"data: {}\nunknown: words\n\n", b"data: {}\n\n"),
        (b"words\ndata: {}\n\n", b"data: {}\n\n"),
        (b"Data: words\ndata: {}\n\n", b"data: {}\n\n"),
        (b"event: words\ndata: {}\n\n", b"data: {}\nevent: other\n\n"),
        (b"event: words\nevent: message\ndata: {}\n\n", b"event: message\ndata: {}\n\n"),
        (b"id: words\x00\ndata: {}\n\n", b"data: {}\n\n"),
        (b"id: words\nid:\ndata: {}\n\n", b"id:\ndata: {}\n\n"),
        (b"retry: words\nretry: 1\ndata: {}\n\n", b"retry: 1\ndata: {}\n\n"),
    ],
)
def test_words_that_nobody_reads_are_left_out(raw: bytes, left: bytes) -> None:
    (event,), rest = read(raw)
    assert (without_remarks(event), rest) == (left, b"")
    ((again,), _) = read(left)
    assert (again.data, again.id, again.retry) == (event.data, event.id, event.retry)
    assert (again.event == "message") == (event.event == "message")


@pytest.mark.parametrize("others", [b"", b": words\n", b"id: 5\n", b"data: {}\n"])
@pytest.mark.parametrize("before", [b"data: first\n\n", b"\n", b": words\n\n", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_inside_of_a_stream_makes_no_field_of_its_line(before: bytes, others: bytes) -> None:
    """What nobody has looked at must not become data by what is left out."""
    events, _ = read(before + b"\xef\xbb\xbfdata: unseen\n" + others + b"\n")
    for event in events:
        raw = without_remarks(event)
        for passed in (raw, replaced(raw, id="sealed")):
            ((again,), _) = read(passed)
            assert b"unseen" not in passed and again.data == event.data
