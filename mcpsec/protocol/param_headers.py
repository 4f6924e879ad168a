"""``Mcp-Param-*``: tool arguments that a client repeats as headers because the tool's input schema asks for it.

A schema asks with the annotation ``x-mcp-header`` on a property (basic/transports/streamable-http#custom-headers). The
declarations of a tool are read once, from its pinned or listed schema, and then compared with each call.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from mcpsec.protocol.codes import HEADER_MISMATCH, http_status
from mcpsec.protocol.headers import decode_value
from mcpsec.protocol.jsonrpc import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["ParamHeader", "check_param_headers", "invalid_annotation", "param_headers"]

ANNOTATION = "x-mcp-header"
_QUOTED = b'"%b"' % ANNOTATION.encode()
_PREFIX = "Mcp-Param-"
_TYPES = ("string", "integer", "boolean")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.6.2
_WHOLE_NUMBER = re.compile(r"(-?[0-9]{1,40})(?:\.0+)?")

# JSON Schema 2020-12 keywords that hold schemas: one, a list of them, or a map of names to them.
_ONE = (
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
)
_LIST = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAP = ("$defs", "definitions", "dependentSchemas", "patternProperties")

_KEYWORDS = frozenset(("properties", *_ONE, *_LIST, *_MAP))

Path = tuple[str, ...]


class ParamHeader(NamedTuple):
    """One declaration: the argument at ``path`` travels in ``header`` (as declared; ``key`` is its lower-case form)."""

    path: Path
    header: str
    key: str
    type: str


def param_headers(schema: object) -> tuple[ParamHeader, ...]:
    """The headers that a tool's input schema declares.

    A schema with a wrong annotation declares none: conforming clients drop such a tool (``invalid_annotation`` says
    what is wrong with it).
    """
    annotated = list(_annotated(schema)) if _may_annotate(schema) else []
    if _fault(annotated) is not None:
        return ()
    return tuple(
        ParamHeader(path, _PREFIX + node[ANNOTATION], (_PREFIX + node[ANNOTATION]).lower(), node["type"])
        for path, node in annotated
        if path
    )


def _may_annotate(schema: object) -> bool:
    """Whether the annotation occurs at all: to write a schema is much quicker than to walk through it."""
    try:
        return _QUOTED in orjson.dumps(schema)
    except orjson.JSONEncodeError:  # too deep, or with larger numbers than it writes
        return True


def invalid_annotation(schema: object) -> str | None:
    """Why the ``x-mcp-header`` annotations of a schema are not valid, None when they are."""
    return _fault(_annotated(schema))


def _fault(annotated: Iterable[tuple[Path | None, dict[str, Any]]]) -> str | None:
    taken: set[str] = set()
    for path, node in annotated:
        name = node[ANNOTATION]
        if not path:
            return f"{ANNOTATION} stands where no chain of properties leads"
        where = f"{ANNOTATION} of the property {'.'.join(path)}"
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            return f"{where} is not an HTTP token"
        if node.get("type") not in _TYPES:
            return f"{where} needs a property of type string, integer or boolean"
        if name.lower() in taken:
            return f"{where} repeats the name of another"
        taken.add(name.lower())
    return None


def check_param_headers(
    declared: tuple[ParamHeader, ...], arguments: Mapping[str, Any], headers: Mapping[str, str]
) -> None:
    """Compare a call's declared headers (``headers`` from ``mcp_headers``) with its arguments.

    Both must be there and equal, or both be absent; null is absent. Headers that no property declares are the
    upstream's business. Raises ``ProtocolError`` (-32020).
    """
    for path, header, key, kind in declared:
        value, given = _at(arguments, path), headers.get(key)
        text = _as_text(value)
        if text is None:
            if given is not None:
                raise _mismatch(f"{header} header has no argument to match")
        elif given is None:
            raise _mismatch(f"{header} header is missing")
        elif not _equal(kind, value, text, decode_value(given)):
            raise _mismatch(f"{header} header does not match its argument")


def _equal(kind: str, value: object, text: str, given: str | None) -> bool:
    if given is None:
        return False
    whole = type(value) is int or (type(value) is float and value.is_integer())
    if kind == "integer" and whole and (match := _WHOLE_NUMBER.fullmatch(given)):
        return int(match[1]) == value
    return given == text


def _as_text(value: object) -> str | None:
    """How a client writes an argument into a header; None for what it leaves out."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _at(arguments: object, path: Path) -> object:
    for name in path:
        if not isinstance(arguments, dict):
            return None
        arguments = arguments.get(name)
    return arguments


def _annotated(root: object) -> Iterator[tuple[Path | None, dict[str, Any]]]:
    """Every annotated schema in ``root`` with its chain of ``properties``, None once any other keyword was crossed.

    A hostile server's schema may have a million parts: of each only the members that it has are looked at.
    """
    waiting: list[tuple[Path | None, object]] = [((), root)]
    while waiting:
        path, node = waiting.pop()
        if not isinstance(node, dict):
            continue
        if ANNOTATION in node:
            yield path, node
        for keyword, inner in node.items():
            if keyword not in _KEYWORDS:
                continue
            if keyword == "properties":
                waiting += [(None if path is None else (*path, name), each) for name, each in _items(inner)]
            elif keyword in _ONE:
                waiting.append((None, inner))
            elif keyword in _LIST:
                waiting += [(None, each) for each in inner] if isinstance(inner, list) else []
            else:
                waiting += [(None, each) for _, each in _items(inner)]


def _items(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield from value.items()


def _mismatch(message: str) -> ProtocolError:
    return ProtocolError(HEADER_MISMATCH, message, http_status(HEADER_MISMATCH))
