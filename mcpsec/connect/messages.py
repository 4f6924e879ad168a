"""The MCP messages that mcpsec sends as a client, for either era, and the headers that mirror a message."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from mcpsec import __version__
from mcpsec.protocol import Era, Kind, ProtocolError, encode_notification, encode_request, era_of, parse
from mcpsec.protocol.eras import LATEST_LEGACY, LATEST_MODERN, NAME_MEMBER
from mcpsec.protocol.headers import (
    META_CLIENT_CAPABILITIES,
    META_CLIENT_INFO,
    META_VERSION,
    METHOD_HEADER,
    NAME_HEADER,
    VERSION_HEADER,
    encode_value,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mcpsec.protocol import Message, ParamHeader

__all__ = [
    "CLIENT_INFO",
    "HTTP_HEADERS",
    "header_text",
    "headers_of_body",
    "initialize",
    "initialized",
    "is_field_value",
    "mirrored_headers",
    "request",
    "tool_call",
    "version_of",
]

CLIENT_INFO = {"name": "mcpsec", "version": __version__}
HTTP_HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
"""What every POST of the Streamable HTTP transport carries."""

_FIELD_VALUE = re.compile(r"[\t -~\x80-\xff]*")  # RFC 9110, section 5.5


def header_text(text: object) -> str | None:
    """What a server said, as the value of a header (UTF-8, one character an octet); None for what none can hold.

    A line break in it would end the header, and begin whatever the server likes: another header, another request.
    """
    value = text.encode("utf-8", "replace").decode("latin-1") if isinstance(text, str) else ""
    return value if value and is_field_value(value) else None


def is_field_value(text: str) -> bool:
    """Whether a text can stand in a header as it is."""
    return _FIELD_VALUE.fullmatch(text) is not None


def request(method: str, params: Mapping[str, Any], *, era: Era, ident: int = 1) -> bytes:
    """One request. A modern one describes itself in ``_meta``, with no capabilities: mcpsec answers no questions."""
    params = dict(params)
    if era is Era.MODERN:
        params["_meta"] = {
            META_VERSION: LATEST_MODERN,
            META_CLIENT_INFO: CLIENT_INFO,
            META_CLIENT_CAPABILITIES: {},
        }
    return encode_request(ident, method, params)


def tool_call(name: str, arguments: Mapping[str, Any], *, era: Era, ident: int = 1) -> bytes:
    """A ``tools/call`` request."""
    return request("tools/call", {"name": name, "arguments": dict(arguments)}, era=era, ident=ident)


def initialize(ident: int = 0) -> bytes:
    """The request that opens a legacy session."""
    params = {"protocolVersion": LATEST_LEGACY, "capabilities": {}, "clientInfo": CLIENT_INFO}
    return encode_request(ident, "initialize", params)


def initialized() -> bytes:
    """The notification that ends the handshake of a legacy session."""
    return encode_notification("notifications/initialized")


def version_of(message: Message) -> str | None:
    """The revision that a modern message names in its ``_meta``; None for a legacy message."""
    meta = message.params.get("_meta")
    version = meta.get(META_VERSION) if isinstance(meta, dict) else None
    return version if isinstance(version, str) and era_of(version) is not Era.LEGACY else None


def mirrored_headers(message: Message, declared: Iterable[ParamHeader] = ()) -> dict[str, str]:
    """The headers that repeat a modern message; none for a legacy one (transports/streamable-http#standard-headers).

    ``declared`` are the ``Mcp-Param-*`` headers that the called tool's input schema asks for.
    """
    version = version_of(message)
    if version is None:
        return {}
    headers = {VERSION_HEADER: version}
    if message.kind is Kind.RESPONSE:
        return headers
    headers[METHOD_HEADER] = message.method
    named = message.params.get(NAME_MEMBER.get(message.method, ""))
    if isinstance(named, str):
        headers[NAME_HEADER] = encode_value(named)
    arguments = message.params.get("arguments")
    for declaration in declared:
        text = _text_at(arguments, declaration.path)
        if text is not None:
            headers[declaration.key] = encode_value(text)
    return headers


def headers_of_body(body: bytes) -> dict[str, str]:
    """The mirrored headers of a body that may be anything; none when it is not one MCP message."""
    try:
        return mirrored_headers(parse(body))
    except ProtocolError:
        return {}


def _text_at(arguments: object, path: tuple[str, ...]) -> str | None:
    """An argument as header text; what is absent, null or no scalar is left out."""
    for name in path:
        arguments = arguments.get(name) if isinstance(arguments, dict) else None
    if isinstance(arguments, bool):
        return "true" if arguments else "false"
    return str(arguments) if isinstance(arguments, str | int | float) else None
