"""The HTTP headers that mirror a message, compared with the message itself.

The body is the truth. Headers repeat parts of it so that proxies can route and limit without parsing; whoever processes
the body must refuse a request whose headers say something else (basic/transports/streamable-http#server-validation).
The checks and their order are those of the official SDK's ``classify_inbound_request``, so that a client meets the
same answer with and without a gateway in the way. Two things are stricter: every ``Mcp-*`` header may come once only,
in both eras, and a legacy request whose mirrored headers contradict its body is refused too (a downgrade would
otherwise switch the comparison off).
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mcpsec.protocol.codes import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    UNSUPPORTED_PROTOCOL_VERSION,
    http_status,
)
from mcpsec.protocol.eras import LEGACY_VERSIONS, MODERN_VERSIONS, NAME_MEMBER, Era
from mcpsec.protocol.jsonrpc import Kind, Message, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "META_CLIENT_CAPABILITIES",
    "META_CLIENT_INFO",
    "META_VERSION",
    "METHOD_HEADER",
    "NAME_HEADER",
    "SESSION_HEADER",
    "VERSION_HEADER",
    "Agreement",
    "Route",
    "decode_value",
    "encode_value",
    "era_of_headers",
    "mcp_headers",
    "route",
]

VERSION_HEADER: Final = "mcp-protocol-version"
METHOD_HEADER: Final = "mcp-method"
NAME_HEADER: Final = "mcp-name"
SESSION_HEADER: Final = "mcp-session-id"

META_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
META_CLIENT_INFO: Final = "io.modelcontextprotocol/clientInfo"
META_CLIENT_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"

_OPEN, _CLOSE = "=?base64?", "?="


class Route(NamedTuple):
    """What a request says about its revision, once headers and body agree.

    ``version`` is None for a legacy request without a version header. The client's description and capabilities are
    the client's own claims: nothing about security may hang on them.
    """

    era: Era
    version: str | None
    client_info: Any = None
    client_capabilities: Any = None


class Agreement(NamedTuple):
    """What a request said in both places, its headers and its body; ``member`` is the one that names its target.

    Headers that agreed with one message agree with every message of which this holds. A legacy message may name its
    revision in its body too: of those it never holds.
    """

    era: Era
    method: str
    version: str | None
    member: str | None
    named: Any

    @classmethod
    def of(cls, message: Message, found: Route) -> Agreement:
        """Of a request that ``route`` has let pass."""
        member = NAME_MEMBER.get(message.method)
        named = None if member is None else message.params.get(member)
        return cls(found.era, message.method, found.version, member, named)

    def holds(self, message: Message) -> bool:
        """Whether this message says the same."""
        era, method, version, member, named = self
        params = message.params
        if message.method != method or message.kind is not Kind.REQUEST:
            return False
        if member is not None and params.get(member) != named:
            return False
        meta = params.get("_meta")
        if era is Era.LEGACY:
            return type(meta) is not dict or META_VERSION not in meta
        return type(meta) is dict and meta.get(META_VERSION) == version and META_CLIENT_CAPABILITIES in meta


def mcp_headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The ``Mcp-*`` headers of a request by lower-case name; ``pairs`` are the raw header lines.

    Raises ``ProtocolError`` for one that comes twice (readers differ in which they take), that has a byte outside
    visible ASCII and space, or that is spelt with an underscore (gateway interfaces fold it into a hyphen).
    """
    found: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        if raw_name[:3] not in _PREFIXES:
            continue
        name = raw_name.lower().decode("ascii", "replace")
        if not name.startswith("mcp-"):
            if name.startswith("mcp_"):
                raise _mismatch("a header name has an underscore in place of a hyphen")
            continue
        if "_" in name and name.replace("_", "-").startswith(_ROUTING):
            raise _mismatch("a header name has an underscore in place of a hyphen")
        if name in found:
            raise _mismatch("an Mcp-* header appears more than once")
        value = raw_value.strip(b" \t").decode("ascii", "replace")
        if not value.isascii() or not value.isprintable():
            raise _mismatch("an Mcp-* header holds a byte that must be encoded")
        found[name] = value
    return found


_PREFIXES = frozenset({b"mcp", b"Mcp", b"MCP", b"McP", b"mCp", b"mcP", b"MCp", b"mCP"})
_ROUTING = (VERSION_HEADER, METHOD_HEADER, NAME_HEADER, SESSION_HEADER)


def era_of_headers(headers: Mapping[str, str]) -> Era:
    """The era that the version header selects: any value that isn't a legacy revision is a modern one's business."""
    version = headers.get(VERSION_HEADER)
    return Era.LEGACY if version is None or version in LEGACY_VERSIONS else Era.MODERN


def route(message: Message, headers: Mapping[str, str], *, supported: tuple[str, ...] = MODERN_VERSIONS) -> Route:
    """Check that ``headers`` (from ``mcp_headers``) and ``message`` agree, and say which revision they speak.

    Raises ``ProtocolError`` with the code and status of the first check that failed.
    """
    if era_of_headers(headers) is Era.LEGACY:
        return _route_legacy(message, headers)
    if message.kind is Kind.REQUEST:
        return _route_modern(message, headers, supported)
    if message.kind is Kind.RESPONSE:
        raise ProtocolError(INVALID_REQUEST, "this revision takes no responses from a client", 400)
    version = headers[VERSION_HEADER]
    if version not in supported:
        raise _unsupported(version, supported, None)
    if headers.get(METHOD_HEADER, message.method) != message.method:
        raise _mismatch(f"{METHOD_HEADER} header does not match the body's method")
    return Route(Era.MODERN, version)


def _route_modern(message: Message, headers: Mapping[str, str], supported: tuple[str, ...]) -> Route:
    """The ladder of 2026-07-28: the first rung that fails gives the answer."""
    params, ident = message.params, message.id
    meta = params.get("_meta")
    if type(meta) is not dict:
        raise ProtocolError(INVALID_PARAMS, "params._meta must be an object with the protocol's keys", 400, id=ident)
    if META_VERSION not in meta or META_CLIENT_CAPABILITIES not in meta:
        missing = ", ".join(key for key in (META_VERSION, META_CLIENT_CAPABILITIES) if key not in meta)
        raise ProtocolError(INVALID_PARAMS, f"params._meta lacks {missing}", 400, id=ident)
    version = headers[VERSION_HEADER]
    if version != meta[META_VERSION]:
        raise _mismatch(f"{VERSION_HEADER} header does not match the body's protocol version", ident)
    method = message.method
    if headers.get(METHOD_HEADER) != method:
        raise _mismatch(f"{METHOD_HEADER} header does not match the body's method", ident)
    member = NAME_MEMBER.get(method)
    if member is not None:
        named = params.get(member)
        shown = headers.get(NAME_HEADER)
        if (
            named is not None
            and (shown is None or shown != named or shown.startswith(_OPEN))
            and decode_value(shown) != named
        ):
            raise _mismatch(f"{NAME_HEADER} header does not match the body's {member}", ident)
    if version not in supported:
        raise _unsupported(version, supported, ident)
    return Route(Era.MODERN, version, meta.get(META_CLIENT_INFO), meta[META_CLIENT_CAPABILITIES])


def _route_legacy(message: Message, headers: Mapping[str, str]) -> Route:
    """Legacy requests need no mirrored header, but one that is there must tell the truth."""
    ident, version = message.id, headers.get(VERSION_HEADER)
    if headers.get(METHOD_HEADER, message.method) != message.method:
        raise _mismatch(f"{METHOD_HEADER} header does not match the body's method", ident)
    member = NAME_MEMBER.get(message.method)
    named = None if member is None else message.params.get(member)
    if member is not None and NAME_HEADER in headers and decode_value(headers[NAME_HEADER]) != named:
        raise _mismatch(f"{NAME_HEADER} header does not match the body's {member}", ident)
    meta = message.params.get("_meta")
    if type(meta) is dict and META_VERSION in meta and meta[META_VERSION] != version:
        raise _mismatch(f"{VERSION_HEADER} header does not match the body's protocol version", ident)
    return Route(Era.LEGACY, version)


def decode_value(value: str | None) -> str | None:
    """A header value as text: ``=?base64?…?=`` decoded, anything else as it is.

    None for a missing header and for an encoded value that isn't canonical base64 of UTF-8, which then equals nothing.
    """
    if value is None or not (value.startswith(_OPEN) and value.endswith(_CLOSE) and len(value) >= _WRAPPING):
        return value
    payload = value[len(_OPEN) : -len(_CLOSE)]
    try:
        decoded = base64.b64decode(payload, validate=True)
        return decoded.decode("utf-8") if base64.b64encode(decoded).decode("ascii") == payload else None
    except (binascii.Error, ValueError):
        return None


_WRAPPING = len(_OPEN) + len(_CLOSE)


def encode_value(text: str) -> str:
    """Text as a header value: encoded when it would not survive as it is, or would be taken for encoded."""
    if text.isascii() and text.isprintable() and text == text.strip(" ") and decode_value(text) == text:
        return text
    raw = text.encode("utf-8", "surrogatepass")  # a hostile server's tool may have half a character in its name
    return f"{_OPEN}{base64.b64encode(raw).decode('ascii')}{_CLOSE}"


def _mismatch(message: str, ident: str | int | None = None) -> ProtocolError:
    return ProtocolError(HEADER_MISMATCH, message, http_status(HEADER_MISMATCH), id=ident)


def _unsupported(version: str, supported: tuple[str, ...], ident: str | int | None) -> ProtocolError:
    return ProtocolError(
        UNSUPPORTED_PROTOCOL_VERSION,
        "Unsupported protocol version",
        http_status(UNSUPPORTED_PROTOCOL_VERSION),
        {"supported": list(supported), "requested": version},
        id=ident,
    )
