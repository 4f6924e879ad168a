"""MCP on the wire: revisions and their methods, one strict parse, headers against body, framing of SSE and stdio.

Pure functions and small classes: nothing here reads a file (but its own data), a socket or a clock.
"""

from __future__ import annotations

from mcpsec.protocol import codes
from mcpsec.protocol.eras import Era, era_of
from mcpsec.protocol.headers import Route, mcp_headers, route
from mcpsec.protocol.jsonrpc import (
    Kind,
    Message,
    ProtocolError,
    encode_notification,
    encode_request,
    encode_result,
    parse,
    request_error,
)
from mcpsec.protocol.param_headers import ParamHeader, check_param_headers, param_headers
from mcpsec.protocol.sse import SseEvent, SseParser, encode_event
from mcpsec.protocol.stdio import LineFramer, Oversize, frame

__all__ = [
    "Era",
    "Kind",
    "LineFramer",
    "Message",
    "Oversize",
    "ParamHeader",
    "ProtocolError",
    "Route",
    "SseEvent",
    "SseParser",
    "check_param_headers",
    "codes",
    "encode_event",
    "encode_notification",
    "encode_request",
    "encode_result",
    "era_of",
    "frame",
    "mcp_headers",
    "param_headers",
    "parse",
    "request_error",
    "route",
]
