"""One strict JSON-RPC 2.0 message, and the encoders of the answers that mcpsec gives itself.

Two parsers that read one body differently are a hole: the gateway would decide on one call and the server behind it
would run another. So a body that any parser could read in two ways is refused instead of interpreted: duplicate
members, members that differ from a protocol name in letter case only, numbers that don't fit, lone surrogates.

The common case costs one parse and one comparison: what orjson read is written again, and when that gives back the very
bytes that came in, nothing was dropped or rounded. Anything else (white space, escapes) takes a slower proof.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, NamedTuple

import orjson

from mcpsec.protocol.codes import INVALID_REQUEST, PARSE_ERROR, http_status
from mcpsec.protocol.exact import exact_bytes

__all__ = [
    "MAX_CONTAINERS",
    "MAX_DEPTH",
    "MAX_ID_LENGTH",
    "MAX_METHOD_LENGTH",
    "JsonObject",
    "Kind",
    "Message",
    "ProtocolError",
    "checked_id",
    "encode_notification",
    "encode_request",
    "encode_result",
    "has_doubled_members",
    "parse",
    "request_error",
    "same_id",
    "strict_value",
]

JsonObject = dict[str, Any]

MAX_DEPTH = 64
"""Levels of nesting that ``parse`` takes unless told otherwise."""
MAX_CONTAINERS = 100_000
"""Objects and arrays in one message. Bounds its cost in memory: an empty array is 2 bytes on the wire and 56 here."""
MAX_ID_LENGTH = 256
"""Characters of a string id."""
MAX_METHOD_LENGTH = 128
"""Characters of a method name."""

_ARRAY = ord("[")
_WRITER_DEPTH = 250  # orjson writes 254 levels; a bound above that could not be proved


class ProtocolError(Exception):
    """A message that isn't taken: the JSON-RPC code and HTTP status to answer with, and the sender's id when known.

    ``message`` is written for the wire: it never repeats what the peer sent.
    """

    def __init__(
        self, code: int, message: str, http_status: int, data: Any = None, id: str | int | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.http_status = http_status
        self.data = data
        self.id = id

    def encode(self) -> bytes:
        """The error answer as bytes."""
        return request_error(self.id, self.code, self.message, self.data)


class Kind(Enum):
    """What a message is; a response holds a result or an error, never both."""

    REQUEST = "request"
    NOTIFICATION = "notification"
    RESPONSE = "response"


class Message(NamedTuple):
    """One parsed message. ``raw`` is the body it was read from, byte for byte.

    ``params`` is empty when the message has none. ``result`` or ``error`` is set for a response; its ``id`` is None
    only for an error about a message whose id the peer could not read.
    """

    kind: Kind
    id: str | int | None
    method: str
    params: JsonObject
    raw: bytes
    result: JsonObject | None = None
    error: JsonObject | None = None


_REQUEST_MEMBERS = frozenset({"jsonrpc", "id", "method", "params"})
_NOTIFICATION_MEMBERS = frozenset({"jsonrpc", "method", "params"})
_RESPONSE_MEMBERS = frozenset({"jsonrpc", "id", "result", "error"})
# Members of `params` that decide what a request does. Some decoders match names without regard to letter case.
_DECISIVE = frozenset(
    {
        "_meta",
        "argument",
        "arguments",
        "capabilities",
        "context",
        "cursor",
        "inputResponses",
        "level",
        "name",
        "notifications",
        "protocolVersion",
        "ref",
        "requestId",
        "requestState",
        "task",
        "taskId",
        "uri",
    }
)
_FOLDED = frozenset(name.casefold() for name in _DECISIVE)


def parse(body: bytes, *, max_depth: int = MAX_DEPTH) -> Message:
    """Read exactly one message, or raise ``ProtocolError`` (-32700 not JSON, -32600 not one acceptable message).

    ``max_depth`` counts the message itself and is at most 250.
    """
    if max_depth > _WRITER_DEPTH:
        raise ValueError(f"max_depth can be at most {_WRITER_DEPTH}")
    value = strict_value(body, max_depth)
    if type(value) is not dict:
        batch = type(value) is list
        raise _refused(INVALID_REQUEST, "a batch is not accepted" if batch else "the message is not an object")
    if value.get("jsonrpc") != "2.0":
        raise _refused(INVALID_REQUEST, 'the member "jsonrpc" must be "2.0"')
    method = value.get("method")
    if method is None:
        return _response(value, body)
    return _call(value, method, body)


def strict_value(body: bytes, max_depth: int) -> Any:
    """The JSON value that every reader finds in ``body``; raises ``ProtocolError`` as ``parse`` does."""
    openings = body.count(b"{") + (body.count(b"[") if _ARRAY in body else 0)  # to look takes a tenth of counting
    if openings > MAX_CONTAINERS and len(_brackets(body)) > 2 * MAX_CONTAINERS:
        raise _refused(INVALID_REQUEST, "the message holds too many objects and arrays")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise _refused(PARSE_ERROR, "the body is not one valid JSON value") from None
    if openings > max_depth:
        _check_depth(body, max_depth)
    written = orjson.dumps(value)
    if written != body:
        _check_nothing_lost(body, written)
    return value


def _call(value: JsonObject, method: object, body: bytes) -> Message:
    """A request or notification: told apart by the presence of ``id`` (JSON-RPC 2.0, section 4.1)."""
    if "id" in value:
        kind, members, ident = Kind.REQUEST, _REQUEST_MEMBERS, value["id"]
        if type(ident) is not int:
            ident = checked_id(ident)
    else:
        kind, members, ident = Kind.NOTIFICATION, _NOTIFICATION_MEMBERS, None
    if type(method) is not str or not 0 < len(method) <= MAX_METHOD_LENGTH:
        raise _refused(INVALID_REQUEST, "the method must be a string of reasonable length", ident)
    if not members.issuperset(value):
        raise _refused(INVALID_REQUEST, "the message has a member that is not part of a request", ident)
    params = value.get("params", {})
    if type(params) is not dict:
        raise _refused(INVALID_REQUEST, "params must be an object", ident)
    if not _DECISIVE.issuperset(params) and any(
        name not in _DECISIVE and name.casefold() in _FOLDED for name in params
    ):
        raise _refused(INVALID_REQUEST, "params has a member that is a known name in other letters", ident)
    # As Message(…) does it, without the call in between: every request comes here.
    return tuple.__new__(Message, (kind, ident, method, params, body, None, None))


def _response(value: JsonObject, body: bytes) -> Message:
    if "method" in value:
        raise _refused(INVALID_REQUEST, "the method must be a string of reasonable length")
    if not _RESPONSE_MEMBERS.issuperset(value):
        raise _refused(INVALID_REQUEST, "the message has a member that is not part of a response")
    if ("result" in value) == ("error" in value):
        raise _refused(INVALID_REQUEST, "the message is not exactly one of request, notification, result and error")
    if "result" in value:
        ident, result = checked_id(value.get("id")), value["result"]
        if type(result) is not dict:
            raise _refused(INVALID_REQUEST, "result must be an object", ident)
        return Message(Kind.RESPONSE, ident, "", {}, body, result=result)
    nameless = value.get("id") is None
    error = value["error"]
    if type(error) is not dict or type(error.get("code")) is not int or type(error.get("message")) is not str:
        raise _refused(INVALID_REQUEST, "error must be an object with an integer code and a message")
    return Message(Kind.RESPONSE, None if nameless else checked_id(value["id"]), "", {}, body, error=error)


def checked_id(ident: object) -> str | int:
    """The id of a request or response; raises ``ProtocolError`` for what can't be one."""
    if type(ident) is int or (type(ident) is str and len(ident) <= MAX_ID_LENGTH):
        return ident
    raise _refused(INVALID_REQUEST, "the id must be an integer or a string of reasonable length")


def same_id(one: object, other: object) -> bool:
    """Whether two ids are one to every reader of JSON: ``true`` and ``1.0`` equal 1 in Python only; null names none."""
    return one == other and type(one) is type(other) and one is not None


def _refused(code: int, message: str, ident: str | int | None = None) -> ProtocolError:
    return ProtocolError(code, message, http_status(code), id=ident)


# The slow proof. It works on JSON that the parser has accepted, with the strings cut out, in steps of C speed.

_AS_ARRAYS = bytes.maketrans(b"{}", b"[]")
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_LONG_NUMBER = re.compile(rb"[-+.0-9eE]{19,}")
_OF_NUMBERS = bytes.maketrans(b"-+.123456789eE", b"0" * 14)
_LONG = b"0" * 19


def _without_strings(body: bytes) -> bytes:
    """Valid JSON text without its string literals: what is left of it is structure, numbers and white space."""
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(body.split(b'"')[::2])


def _brackets(body: bytes) -> bytes:
    """The nesting alone, objects written as arrays."""
    return _without_strings(body).translate(_AS_ARRAYS, _ALL_BUT_BRACKETS)


def _check_depth(body: bytes, max_depth: int) -> None:
    brackets = _brackets(body)
    for _ in range(max_depth):
        brackets = brackets.replace(b"[]", b"")  # takes the innermost level off
        if not brackets:
            return
    raise _refused(INVALID_REQUEST, "the message is nested too deeply")


def _check_nothing_lost(body: bytes, written: bytes) -> None:
    """Refuse duplicate members (``written`` has each once), and integers that the parser had to round."""
    if _colons_lost(body, written):
        raise _refused(INVALID_REQUEST, "an object has two members of the same name")
    if _LONG not in body.translate(_OF_NUMBERS):  # the expression would need seven times as long to say so
        return
    for number in _LONG_NUMBER.findall(_without_strings(body)):
        if number.strip(b"-0123456789"):
            continue  # a fraction or exponent: a floating-point number, and its range was the parser's business
        if not -(2**63) <= int(number) < 2**64:
            raise _refused(INVALID_REQUEST, "a number is outside the range of 64-bit integers")


def _colons_lost(body: bytes, written: bytes) -> int:
    """How many members were left out.

    Every member has its colon. Without escapes, strings are written as they were read, colons and all, so the colons of
    the whole text can be counted; with escapes, those outside of strings.
    """
    if b"\\" in body:
        return _without_strings(body).count(b":") - _without_strings(written).count(b":")
    return body.count(b":") - written.count(b":")


def has_doubled_members(body: bytes, value: Any) -> bool:
    """Whether an object in ``body``, which was read as ``value``, has two members of the same name."""
    try:
        written = orjson.dumps(value)
    except orjson.JSONEncodeError:  # it is nested more deeply than can be written
        return _without_strings(body).count(b":") != _count_members(value)
    return written != body and _colons_lost(body, written) != 0


def _count_members(value: Any) -> int:
    pending, count = [value], 0
    while pending:
        each = pending.pop()
        if isinstance(each, dict):
            count += len(each)
            pending += each.values()
        elif isinstance(each, list):
            pending += each
    return count


def request_error(id: str | int | None, code: int, message: str, data: Any = None) -> bytes:
    """An error answer; ``id`` is null when the request's own could not be read."""
    error: JsonObject = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return exact_bytes({"jsonrpc": "2.0", "id": id, "error": error})


def encode_result(id: str | int, result: JsonObject) -> bytes:
    """A successful answer."""
    return exact_bytes({"jsonrpc": "2.0", "id": id, "result": result})


def encode_request(id: str | int, method: str, params: JsonObject | None = None) -> bytes:
    """A request."""
    return orjson.dumps({"jsonrpc": "2.0", "id": id, "method": method} | _present(params))


def encode_notification(method: str, params: JsonObject | None = None) -> bytes:
    """A notification."""
    return orjson.dumps({"jsonrpc": "2.0", "method": method} | _present(params))


def _present(params: JsonObject | None) -> JsonObject:
    return {} if params is None else {"params": params}
