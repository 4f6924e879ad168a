"""W3C Trace Context: which trace a request belongs to, and what the upstream is told of it.

A client names its trace in ``params._meta`` (MCP 2026-07-28, and SEP-414 for what came before) or in the HTTP header
``traceparent`` (W3C Trace Context level 1, section 3.2); the message's own word counts before the header's. Without
OpenTelemetry the gateway is a participant that adds no span: the client's context is passed on as it came. With it,
every request has a span of the gateway's own, and that span is the parent that the upstream hears of.
"""

from __future__ import annotations

import random
import secrets
from typing import TYPE_CHECKING, NamedTuple

import orjson

from mcpsec.protocol.jsonrpc import Kind

if TYPE_CHECKING:
    from mcpsec.gateway.message import Exchange, Request
    from mcpsec.gateway.steps import Repeated
    from mcpsec.protocol.jsonrpc import Message

__all__ = ["Trace", "TraceContext", "context_of", "parse_traceparent"]

_HEXADECIMAL = "0123456789abcdef"
_STATE_CHARACTERS = 512
"""What every participant must be able to pass on (section 3.3.1.5); a longer one is not passed on."""
_HEADERS = frozenset({b"traceparent", b"tracestate"})


class TraceContext(NamedTuple):
    """The trace that a request belongs to. ``span_id`` is the caller's span, or the gateway's when it has one.

    ``parent_id`` is the caller's span where ``span_id`` is the gateway's own. ``state`` is ``tracestate``.
    """

    trace_id: str
    span_id: str
    sampled: bool
    state: str = ""
    parent_id: str | None = None

    @property
    def traceparent(self) -> str:
        """The value that is handed on; of the flags only ``sampled`` is known here (section 3.2.2.5)."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def parse_traceparent(value: object, state: object = None) -> TraceContext | None:
    """Read a ``traceparent``; None for anything that the specification calls invalid (then a trace begins anew)."""
    if not isinstance(value, str) or len(value) < 55 or (value[2], value[35], value[52]) != ("-", "-", "-"):
        return None
    version, trace_id, span_id, flags = value[:2], value[3:35], value[36:52], value[53:55]
    if version == "ff" or (version == "00" and len(value) != 55) or value[55:56] not in {"", "-"}:
        return None
    if (version + trace_id + span_id + flags).strip(_HEXADECIMAL):
        return None
    if not trace_id.strip("0") or not span_id.strip("0"):
        return None
    usable = isinstance(state, str) and len(state) <= _STATE_CHARACTERS and state.isascii() and state.isprintable()
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & 1), state if usable and isinstance(state, str) else "")


def context_of(request: Request, message: Message | None) -> TraceContext | None:
    """The caller's trace context: the message's, else the header's."""
    if message is not None and message.kind is not Kind.RESPONSE:
        meta = message.params.get("_meta")
        if isinstance(meta, dict) and "traceparent" in meta:
            found = parse_traceparent(meta["traceparent"], meta.get("tracestate"))
            if found is not None:
                return found
    header = request.fields.get(b"traceparent")
    if header is None:
        return None
    state = b",".join(request.values(b"tracestate"))
    return parse_traceparent(header.decode("latin-1"), state.decode("latin-1"))


class Trace:
    """Finds a request's trace. With ``own_spans`` it begins those that are missing, ``sample`` of them sampled."""

    def __init__(self, *, own_spans: bool = False, sample: float = 1.0) -> None:
        self._own_spans = own_spans
        self._sample = sample

    def __call__(self, exchange: Exchange) -> None:
        """Set the exchange's trace, and what the upstream will be told."""
        request, message = exchange.request, exchange.message
        if request.known is not None and not self._own_spans and message is not None:
            meta = message.params.get("_meta")  # a head with a trace is never a known one
            if type(meta) is not dict or "traceparent" not in meta:
                return
        given = context_of(request, message)
        if self._own_spans:
            exchange.trace = self._own(given)
        elif given is not None:
            exchange.trace = given
        if b"traceparent" in request.fields or b"tracestate" in request.fields or exchange.trace is not None:
            _hand_on(exchange)

    def again(self, exchange: Exchange) -> Repeated | None:
        """Nothing, unless there is a span to begin: a known head names no trace, nor do most forms of a body."""
        meta = None if exchange.message is None else exchange.message.params.get("_meta")
        named = isinstance(meta, dict) and "traceparent" in meta  # one that is invalid: else the head were another
        return self if self._own_spans or named else None

    def _own(self, given: TraceContext | None) -> TraceContext:
        span_id = secrets.token_hex(8)
        if given is None:
            return TraceContext(secrets.token_hex(16), span_id, random.random() < self._sample)  # noqa: S311 # sampling
        return given._replace(span_id=span_id, parent_id=given.span_id)


def _hand_on(exchange: Exchange) -> None:
    """Put the trace where an upstream looks for it: the header, and ``_meta`` of a request."""
    request, message, trace = exchange.request, exchange.message, exchange.trace
    headers = [header for header in request.headers if header[0] not in _HEADERS]
    if trace is not None:
        headers.append((b"traceparent", trace.traceparent.encode()))
        if trace.state:
            headers.append((b"tracestate", trace.state.encode()))
    request.replace_headers(headers)
    if message is None or message.kind is not Kind.REQUEST or trace is None:
        return
    meta = message.params.get("_meta")
    meta = dict(meta) if isinstance(meta, dict) else {}
    if meta.get("traceparent") == trace.traceparent:
        return
    meta["traceparent"] = trace.traceparent
    meta.pop("tracestate", None)
    if trace.state:
        meta["tracestate"] = trace.state
    params = {**message.params, "_meta": meta}
    raw = orjson.dumps({"jsonrpc": "2.0", "id": message.id, "method": message.method, "params": params})
    exchange.message = message._replace(params=params, raw=raw)
