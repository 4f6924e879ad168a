"""Events of like requests: what they have in common is cleaned, encoded and looked up once.

Of a gateway's events nearly all are of finished requests, and of these nearly all differ in figures alone: when, how
long, how large, under which identifiers. ``Likeness`` holds the rest, as it was found clean; a line of the log is that
and the figures, and observers get figures by the batch. An event whose texts had to be changed has no likeness: its
texts are looked at each time, and never remembered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from mcpsec.telemetry.events import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Figures", "Likeness", "Row"]


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


class Row(NamedTuple):
    """One request's line of the log, for observers."""

    likeness: Likeness
    seq: int
    time: str
    figures: Figures

    def record(self) -> dict[str, Any]:
        """The line's members, without ``prev``."""
        figures = {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in zip(Figures._fields, self.figures, strict=True)
            if value is not None
        }
        return {"schema": SCHEMA, "seq": self.seq, "time": self.time, **self.likeness.common, **figures}


class Likeness:
    """``common`` are the cleaned members that a line has beside its frame and figures; ``rows`` wait for observers."""

    __slots__ = ("_forms", "_own", "_text", "_usual", "common", "rows")

    def __init__(self, common: Mapping[str, Any]) -> None:
        self.common = dict(common)
        self._text = "," + orjson.dumps(self.common).decode()[1:-1]
        usual, own = (False, False, True), (True, False, True)
        self._usual, self._own = self._form(*usual), self._form(*own)
        self._forms: dict[tuple[bool, ...], str] = {}
        self.rows: list[Row] = []

    def line(self, seq: int, prev: str, time: str, figures: Figures) -> bytes:
        """The line up to its check value, without the closing brace."""
        _, _, _, _, upstream, digest, trace, _ = figures
        if trace is None and digest is not None:  # most of them
            if upstream is None:
                return (self._own % (seq, prev, time, *figures[:4], digest)).encode()
            return (self._usual % (seq, prev, time, *figures[:6])).encode()
        shape = (upstream is None, digest is None, trace is None)
        form = self._forms.get(shape)
        if form is None:
            form = self._forms[shape] = self._form(*shape)
        return (form % (seq, prev, time, *(each for each in figures if each is not None))).encode()

    def _form(self, no_upstream: bool, no_digest: bool, no_trace: bool) -> str:  # a shape's three parts
        """A line with places for what is each request's own."""
        text = f'{{"schema":"{SCHEMA}","seq":%d,"prev":"%s","time":"%s"' + self._text.replace("%", "%%")
        text += ',"request_id":"%s","duration_ms":%.3f,"request_bytes":%d,"response_bytes":%d'
        if not no_upstream:
            text += ',"upstream_ms":%.3f'
        if not no_digest:
            text += ',"arguments_digest":"%s"'
        return text if no_trace else text + ',"trace_id":"%s","span_id":"%s"'
