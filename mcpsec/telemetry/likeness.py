"""Events of like requests: what they have in common is cleaned, encoded and looked up once.

Of a gateway's events nearly all are of finished requests, and of these nearly all differ in figures alone: when, how
long, how large, under which identifiers. ``Likeness`` holds the rest, as it was found clean; a line of the log is that
and the figures, and observers get requests by the batch. An event whose texts had to be changed has no likeness: its
texts are looked at each time, and never remembered.
"""

from __future__ import annotations

import time
from functools import lru_cache, partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from zlib import crc32

import orjson

from mcpsec.telemetry.events import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mcpsec.telemetry.counts import Series

__all__ = ["Figures", "Finished", "Likeness", "Row", "chained", "numbered", "together"]

Each = TypeVar("Each")

_FRAME = b'{"schema":"' + SCHEMA.encode() + b'","seq":%d,"prev":"%b","time":"%b%06dZ"%b'
"""A line up to its check value: its number, the hash of the one before, the second, its microseconds, the text.

Bytes, since ``%`` with figures takes half the time for them that it takes for text.
"""
_BRIEF = 600
"""Bytes of what requests have in common with which no line is longer than 1 KiB."""


class Figures(NamedTuple):
    """What is each request's own, in the terms of ``Event``.

    The texts are written as they are: hexadecimal identifiers, made or checked by the gateway (``request_id``, a
    digest, those of W3C Trace Context).
    """

    request_id: str
    duration_ms: float
    request_bytes: int
    response_bytes: int
    upstream_ms: float | None = None
    arguments_digest: str | None = None
    trace_id: str | None = None
    span_id: str | None = None


class Finished(NamedTuple):
    """One finished request: ``when`` in Unix seconds, ``text`` are the members of its line from ``kind`` on."""

    likeness: Likeness
    when: float
    duration_ms: float
    upstream_ms: float | None
    text: bytes


class Row(NamedTuple):
    """One request's line of the log, for observers."""

    seq: int
    request: Finished

    def record(self) -> dict[str, Any]:
        """The line's members, without ``prev``."""
        _, when, _, _, text = self.request
        second = int(when)
        line = _FRAME % (self.seq, b"", _second(second), (when - second) * 1_000_000, text)
        record: dict[str, Any] = orjson.loads(line + b"}")
        del record["prev"]
        return record

    @property
    def minute(self) -> int:
        """The minute in which it finished, counted as Unix time is."""
        return int(self.request[1]) // 60


class Likeness:
    """``common`` are the cleaned members that a line has beside its frame and figures.

    ``usual`` makes most requests' ``Finished.text`` of the first six ``Figures``, ``own`` that of those without the
    upstream's time; ``series`` is what they add to in the metrics. A ``brief`` one makes no line of more than 1 KiB.
    """

    __slots__ = ("_forms", "_text", "brief", "common", "own", "series", "usual")

    def __init__(self, common: Mapping[str, Any]) -> None:
        self.common = dict(common)
        text = b"," + orjson.dumps(self.common)[1:-1]
        self.brief = len(text) <= _BRIEF
        self._text = text.replace(b"%", b"%%")
        self.usual = self._form(no_upstream=False, no_digest=False, no_trace=True)
        self.own = self._form(no_upstream=True, no_digest=False, no_trace=True)
        self._forms: dict[tuple[bool, ...], bytes] = {}
        self.series: Series | None = None

    def finished(self, when: float, figures: Figures) -> Finished:
        """A request with these figures."""
        _, duration, _, _, upstream, digest, trace, _ = figures
        shape = (upstream is None, digest is None, trace is None)
        form = self._forms.get(shape)
        if form is None:
            form = self._forms[shape] = self._form(*shape)
        own = tuple([each.encode() if isinstance(each, str) else each for each in figures if each is not None])
        return Finished(self, when, duration, upstream, form % own)

    def _form(self, no_upstream: bool, no_digest: bool, no_trace: bool) -> bytes:  # a shape's three parts
        """A line's text with places for what is each request's own."""
        text = self._text + b',"request_id":"%b","duration_ms":%.3f,"request_bytes":%d,"response_bytes":%d'
        if not no_upstream:
            text += b',"upstream_ms":%.3f'
        if not no_digest:
            text += b',"arguments_digest":"%b"'
        return text if no_trace else text + b',"trace_id":"%b","span_id":"%b"'


def chained(requests: Iterable[Finished], seq: int, head: str) -> tuple[bytes, str]:
    """The lines of requests that follow line ``seq``, whose hash is ``head``, and the hash of the last of them.

    What it does for each is ``chain.close`` and ``chain.line_hash``, in place: every request of a gateway comes here.
    """
    lines: list[bytes] = []
    second, prefix, hashed = -1, b"", head.encode()
    for _, when, _, _, text in requests:
        seq += 1
        whole = int(when)
        if whole != second:
            second, prefix = whole, _second(whole)
        body = _FRAME % (seq, hashed, prefix, (when - whole) * 1_000_000, text)
        line = b'%b,"crc":"%08x"}' % (body, crc32(body))
        hashed = sha256(line).hexdigest().encode()
        lines.append(line)
    lines.append(b"")
    return b"\n".join(lines), hashed.decode()


@lru_cache(maxsize=8)
def _second(whole: int) -> bytes:
    """A second as a line's time begins, up to its microseconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(whole)).encode()


_as_row: Callable[[tuple[int, Finished]], Row] = partial(tuple.__new__, Row)  # as Row(…) does it, with no code between


def numbered(requests: Iterable[Finished], first: int) -> list[Row]:
    """Requests as rows; ``first`` is the number of the first one's line."""
    return list(map(_as_row, enumerate(requests, first)))


def together(requests: Sequence[Each], likenesses: Sequence[Likeness]) -> list[Sequence[Each]]:
    """Requests by their likenesses, each likeness where it first comes; ``likenesses`` has one for each request."""
    if len(set(likenesses)) == 1:
        return [requests]
    found: dict[Likeness, list[Each]] = {likeness: [] for likeness in likenesses}
    for likeness, each in zip(likenesses, requests, strict=True):
        found[likeness].append(each)
    return list(found.values())
