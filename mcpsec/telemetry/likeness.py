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

    def members(self) -> str:
        """As JSON members, each after a comma."""
        id, duration, asked, answered, upstream, digest, trace, span = self
        text = f',"request_id":"{id}","duration_ms":{duration:.3f},"request_bytes":{asked},"response_bytes":{answered}'
        if upstream is not None:
            text += f',"upstream_ms":{upstream:.3f}'
        if digest is not None:
            text += f',"arguments_digest":"{digest}"'
        return text if trace is None else f'{text},"trace_id":"{trace}","span_id":"{span}"'


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

    __slots__ = ("common", "rows", "text")

    def __init__(self, common: Mapping[str, Any]) -> None:
        self.common = dict(common)
        self.text = "," + orjson.dumps(self.common).decode()[1:-1]
        self.rows: list[Row] = []

    def line(self, seq: int, prev: str, time: str, figures: Figures) -> bytes:
        """The line up to its check value, without the closing brace."""
        frame = f'{{"schema":"{SCHEMA}","seq":{seq},"prev":"{prev}","time":"{time}"'
        return f"{frame}{self.text}{figures.members()}".encode()
