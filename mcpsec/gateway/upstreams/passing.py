"""Which HTTP headers pass between a client and an upstream: those that MCP needs, in each direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpsec.gateway.message import Headers, Request

__all__ = ["RETURNED", "forwarded", "is_encoded", "trace_headers"]

_FORWARDED = frozenset(
    {
        b"accept", b"content-type", b"mcp-protocol-version", b"mcp-method", b"mcp-name", b"traceparent", b"tracestate",
    }
)  # fmt: skip
RETURNED = frozenset({b"content-type", b"cache-control", b"mcp-protocol-version", b"retry-after", b"allow"})
"""Of an upstream's answer."""


def is_encoded(fields: Mapping[bytes, bytes]) -> bool:
    """Whether a body is in a coding, which nobody asked for. ``identity`` is none (RFC 9110, section 8.4.1)."""
    return b"content-encoding" in fields and fields[b"content-encoding"].strip().lower() not in {b"", b"identity"}


def forwarded(request: Request) -> bytes:
    """The header lines of a request that its upstream gets."""
    known = request.known
    if known is None:
        return _lines(request.headers)
    if known.forwarded is None:
        known.forwarded = _lines(known.headers)
    return known.forwarded


def trace_headers(meta: dict[str, Any] | None) -> Headers:
    """The headers that name the trace which a request of the gateway's own belongs to by its ``_meta``."""
    named = meta or {}
    return [(name.encode(), named[name].encode()) for name in ("traceparent", "tracestate") if name in named]


def _lines(headers: Headers) -> bytes:
    return b"".join(
        b"%b: %b\r\n" % (name, value) for name, value in headers if name in _FORWARDED or name.startswith(b"mcp-param-")
    )
