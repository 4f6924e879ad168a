"""Error codes on the wire and the HTTP status that goes with each.

What the specification defines keeps the specification's code (basic/index#error-codes). mcpsec's own answers about
policy, limits and upstreams use positive codes, ``HTTP status * 100 + n``, outside the range that JSON-RPC reserves, so
no client takes one for a protocol error, and none is a 404, which clients read as "the session has ended".
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ACCESS_DENIED",
    "ANSWER_UNUSABLE",
    "BUSY",
    "CIRCUIT_OPEN",
    "CONFIRMATION_REQUIRED",
    "HEADER_MISMATCH",
    "INTERNAL_ERROR",
    "INVALID_PARAMS",
    "INVALID_REQUEST",
    "MESSAGE_TOO_LARGE",
    "METHOD_NOT_FOUND",
    "MISSING_REQUIRED_CLIENT_CAPABILITY",
    "NOT_AUTHENTICATED",
    "PARSE_ERROR",
    "RATE_LIMITED",
    "SESSION_LIMIT",
    "SHUTTING_DOWN",
    "SPECIFICATION_STATUS",
    "UNSUPPORTED_PROTOCOL_VERSION",
    "UPSTREAM_TIMEOUT",
    "UPSTREAM_UNAVAILABLE",
    "http_status",
]

# JSON-RPC 2.0, section 5.1
PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

# Model Context Protocol 2026-07-28
HEADER_MISMATCH: Final = -32020
MISSING_REQUIRED_CLIENT_CAPABILITY: Final = -32021
UNSUPPORTED_PROTOCOL_VERSION: Final = -32022

# mcpsec
NOT_AUTHENTICATED: Final = 40101
"""No identity could be established, or one of the required factors is missing or wrong."""
ACCESS_DENIED: Final = 40301
"""The policy doesn't grant this call."""
CONFIRMATION_REQUIRED: Final = 40302
"""The policy grants this call once an operator has confirmed it (``data.approve`` is what to confirm)."""
MESSAGE_TOO_LARGE: Final = 41301
"""The request is larger than this deployment takes."""
RATE_LIMITED: Final = 42901
"""The client spent its rate."""
BUSY: Final = 42902
"""The client, or all of them together, have too many requests in flight."""
SESSION_LIMIT: Final = 42903
"""The client holds as many sessions as it may."""
UPSTREAM_UNAVAILABLE: Final = 50301
"""The server behind the gateway can't be reached or went away."""
CIRCUIT_OPEN: Final = 50302
"""The server behind the gateway failed too often and is left alone for a while."""
SHUTTING_DOWN: Final = 50303
"""The gateway takes no new work."""
ANSWER_UNUSABLE: Final = 50304
"""The server behind the gateway answered with something that isn't passed on: malformed or too large."""
UPSTREAM_TIMEOUT: Final = 50401
"""The server behind the gateway didn't answer in time."""

SPECIFICATION_STATUS: Mapping[int, int] = MappingProxyType(
    {
        PARSE_ERROR: 400,
        INVALID_REQUEST: 400,
        INVALID_PARAMS: 400,
        HEADER_MISMATCH: 400,
        MISSING_REQUIRED_CLIENT_CAPABILITY: 400,
        UNSUPPORTED_PROTOCOL_VERSION: 400,
        METHOD_NOT_FOUND: 404,
    }
)
"""The status that the specification gives to its own codes (basic/transports/streamable-http#server-validation)."""


def http_status(code: int) -> int:
    """The HTTP status of an error answer; 200 for a code that decides nothing about HTTP (JSON-RPC's own default)."""
    if code in SPECIFICATION_STATUS:
        return SPECIFICATION_STATUS[code]
    return code // 100 if 40_000 <= code < 60_000 else 200
