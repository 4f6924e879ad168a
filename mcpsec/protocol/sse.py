"""Server-sent events (WHATWG HTML, section 9.2): a parser that keeps each event's exact bytes, and an encoder.

A relay forwards ``raw`` and reads ``data``. Nothing of the stream is lost between events: the ``raw`` of all events in
a row is the stream, with comments, ``retry`` and unknown fields as they came; ``without_remarks`` leaves out what is
nobody's.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mcpsec.protocol.codes import ANSWER_UNUSABLE, http_status
from mcpsec.protocol.jsonrpc import ProtocolError

__all__ = ["SseEvent", "SseParser", "encode_event", "replaced", "without_remarks"]

_LINE_END = re.compile(rb"[\r\n]")
_BLANK = re.compile(rb"[\r\n]+")
_BOM = b"\xef\xbb\xbf"


class SseEvent(NamedTuple):
    """One event. Without a data line (a comment, a keep-alive) ``data`` is None, and nothing is to be dispatched."""

    raw: bytes
    data: bytes | None
    event: str
    id: str | None
    retry: int | None
    marked: bool = False
    """Whether ``raw`` begins with the stream's byte order mark. Anywhere else one makes its line an unknown field."""


class SseParser:
    """Cuts a byte stream into events, wherever its chunks begin and end.

    Holds at most one unfinished event; one of more than ``max_event_bytes`` raises ``ProtocolError``, and the stream
    can't be read on after that. Work is linear in the bytes fed.
    """

    def __init__(self, max_event_bytes: int) -> None:
        self._max = max_event_bytes
        self._buffer = bytearray()
        self._searched = 0  # from the current line's start to this offset no line ends
        self._line = 0  # where the current line starts
        self._first = True
        self._after_cr = False  # the last line ended in CR: an LF right behind it belongs to that end
        self._reset()

    def _reset(self) -> None:
        self._data: bytearray | None = None
        self._event = ""
        self._id: str | None = None
        self._retry: int | None = None
        self._unfinished = False  # the current event has a line already
        self._marked = False

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Take the next bytes of the stream and return the events that they complete."""
        buffer, events, start = self._buffer, [], 0
        buffer += chunk
        while (match := _LINE_END.search(buffer, self._searched)) is not None:
            end = match.start()
            if end > self._line:
                self._field(bytes(buffer[self._line : end]))
                self._unfinished = True
                self._end_line(end)
                continue
            if self._after_cr and buffer[end] == 10:
                self._line = self._searched = end + 1  # the LF of the CRLF that ended the last line
                self._after_cr = False
                continue
            self._end_line(end)
            if self._after_cr and buffer[self._line : self._line + 1] == b"\n":
                self._line = self._searched = self._line + 1
                self._after_cr = False
            if self._unfinished:
                events.append(self._finish(bytes(buffer[start : self._line])))
                start = self._line
            elif (blank := _BLANK.match(buffer, self._line)) is not None:
                self._end_line(blank.end() - 1)
        self._searched = len(buffer)
        if start < self._line and not self._unfinished:  # blank lines between events are nobody's: pass them at once
            events.append(self._finish(bytes(buffer[start : self._line])))
            start = self._line
        if start:
            del buffer[:start]
            self._line -= start
            self._searched -= start
        if len(buffer) > self._max or any(len(event.raw) > self._max for event in events):
            raise ProtocolError(ANSWER_UNUSABLE, "an event of the stream is too large", http_status(ANSWER_UNUSABLE))
        return events

    def _end_line(self, end: int) -> None:
        self._first = False
        self._after_cr = self._buffer[end] == 13
        self._line = self._searched = end + 1

    def close(self) -> bytes:
        """The bytes of an unfinished event at the end of the stream, which is never dispatched."""
        return bytes(self._buffer)

    def _field(self, line: bytes) -> None:
        if self._first and line.startswith(_BOM):
            line, self._marked = line[len(_BOM) :], True
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            if self._data is None:
                self._data = bytearray(value)
            else:
                self._data += b"\n" + value
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) < 10:
            self._retry = int(value)

    def _finish(self, raw: bytes) -> SseEvent:
        data = None if self._data is None else bytes(self._data)
        event = SseEvent(raw, data, self._event or "message", self._id, self._retry, self._marked)
        self._reset()
        return event


def encode_event(payload: bytes, event_id: str | None = None) -> bytes:
    """One ``message`` event around a JSON payload (whose line breaks, if any, are white space)."""
    lines = b"\r\ndata: ".join(_LINE_END.split(payload)) if _LINE_END.search(payload) else payload
    ident = b"" if event_id is None else b"id: " + event_id.encode() + b"\r\n"
    return b"event: message\r\n" + ident + b"data: " + lines + b"\r\n\r\n"


def without_remarks(event: SseEvent) -> bytes:
    """The event's bytes without what no MCP client reads: comments, unknown fields, names of other events.

    What is only a remark stays one, so that it goes on to keep its connection alive.
    """
    raw = event.raw.removeprefix(_BOM) if event.marked else event.raw
    lines = [line for line in raw.splitlines() if line]
    kept = [line for line in lines if _is_read(event, line)]
    if len(kept) == len(lines):
        return raw
    if event.event != "message":
        kept.append(b"event: other")
    return b"".join(line + b"\n" for line in kept or [b":"]) + b"\n"


def _is_read(event: SseEvent, line: bytes) -> bool:
    name, _, value = line.partition(b":")
    if name == b"data":
        return True
    if name == b"event":
        return value.strip() == b"message"
    if name == b"id":  # the last one counts
        return bool(event.id) or not value
    return name == b"retry" and value.removeprefix(b" ").isdigit() and len(value) < 10


def replaced(raw: bytes, *, data: bytes | None = None, id: str | None = None) -> bytes:
    """The same event (its other lines) with another payload or id. What a reader skips hides no line from us."""
    left = {name for name, value in ((b"data", data), (b"id", id)) if value is not None}
    lines = [line for line in raw.removeprefix(_BOM).splitlines() if line and line.partition(b":")[0] not in left]
    if id is not None:
        lines.append(b"id: " + id.encode())
    if data is not None:
        lines.append(b"data: " + data)
    return b"".join(line + b"\n" for line in lines) + b"\n"
