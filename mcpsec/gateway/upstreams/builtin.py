"""Built-in tools: useful, harmless, and done entirely with the arguments. None of them touches the machine."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import urllib.parse
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from mcpsec.gateway.upstreams.base import RpcError
from mcpsec.gateway.upstreams.local import LocalServer, json_text, text_result
from mcpsec.protocol import codes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcpsec.deployment.model import Client
    from mcpsec.gateway.cleaning import AnswerCleaner
    from mcpsec.gateway.policy import Policy

__all__ = ["BUILTIN_SERVERS", "BuiltinServer"]

_MAX_TEXT = 100_000
_MAX_DEPTH = 32
_TOO_DEEP = f"the text is nested more than {_MAX_DEPTH} levels deep"


class _Tool(NamedTuple):
    description: str
    properties: dict[str, dict[str, Any]]
    required: tuple[str, ...]
    run: Callable[..., str]


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description, "maxLength": _MAX_TEXT}


def _echo(text: str) -> str:
    return text


def _time_now(zone: str = "UTC") -> str:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        place = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"unknown time zone: {zone!r}; use an IANA name such as Europe/Berlin") from None
    now = datetime.now(UTC).astimezone(place)
    return json_text({"zone": zone, "time": now.isoformat(timespec="seconds"), "weekday": now.strftime("%A")})


def _text_statistics(text: str) -> str:
    words = text.split()
    facts = {
        "characters": len(text),
        "bytes_utf8": len(text.encode()),
        "words": len(words),
        "distinct_words": len({word.casefold() for word in words}),
        "lines": len(text.splitlines()),
    }
    return json_text(facts)


def _digest(text: str, algorithm: str = "sha256") -> str:
    return hashlib.new(algorithm, text.encode()).hexdigest()


def _convert(text: str, encoding: str, direction: str = "encode") -> str:
    encoders: dict[tuple[str, str], Callable[[str], str]] = {
        ("base64", "encode"): lambda value: base64.b64encode(value.encode()).decode(),
        ("base64", "decode"): lambda value: base64.b64decode(value, validate=True).decode(),
        ("hex", "encode"): lambda value: value.encode().hex(),
        ("hex", "decode"): lambda value: bytes.fromhex(value).decode(),
        ("url", "encode"): lambda value: urllib.parse.quote(value, safe=""),
        ("url", "decode"): lambda value: urllib.parse.unquote(value, errors="strict"),
    }
    try:
        return encoders[encoding, direction](text)
    except (binascii.Error, ValueError):
        raise ValueError(f"the text is not valid {encoding}") from None


def _json_format(text: str) -> str:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    # Every line is indented by its depth: without a bound the answer grows with the square of the text.
    if _depth(value) > _MAX_DEPTH:
        raise ValueError(_TOO_DEEP)
    return json.dumps(value, indent=2, ensure_ascii=False)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"not JSON: {name} is no JSON number")


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return depth


def _identifier(count: int = 1) -> str:
    return "\n".join(str(uuid.uuid4()) for _ in range(count))


_TOOLS = {
    "echo": _Tool("Return the text unchanged.", {"text": _text("What to return")}, ("text",), _echo),
    "time_now": _Tool(
        "The current time in a time zone.", {"zone": _text("IANA time zone, such as Europe/Berlin")}, (), _time_now
    ),
    "text_statistics": _Tool(
        "Count characters, bytes, words and lines of a text.", {"text": _text("The text")}, ("text",), _text_statistics
    ),
    "digest": _Tool(
        "The hexadecimal digest of a text's UTF-8 bytes.",
        {
            "text": _text("The text"),
            "algorithm": {"type": "string", "enum": ["sha256", "sha384", "sha512", "sha3_256", "blake2b"]},
        },
        ("text",),
        _digest,
    ),
    "convert": _Tool(
        "Encode or decode a text as base64, hex or URL.",
        {
            "text": _text("The text"),
            "encoding": {"type": "string", "enum": ["base64", "hex", "url"]},
            "direction": {"type": "string", "enum": ["encode", "decode"]},
        },
        ("text", "encoding"),
        _convert,
    ),
    "json_format": _Tool("Check a JSON text and indent it.", {"text": _text("JSON")}, ("text",), _json_format),
    "identifier": _Tool(
        "New random UUIDs (version 4).", {"count": {"type": "integer", "minimum": 1, "maximum": 100}}, (), _identifier
    ),
}  # fmt: skip


def _definition(name: str, tool: _Tool) -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": tool.properties,
        "required": list(tool.required),
        "additionalProperties": False,
    }
    annotations = {"readOnlyHint": True, "openWorldHint": False}
    return {"name": name, "description": tool.description, "inputSchema": schema, "annotations": annotations}


def _fault(schema: dict[str, Any], value: Any) -> str | None:
    """Why an argument does not fit the few schema keywords used here; None when it fits."""
    if schema["type"] == "integer":
        if not isinstance(value, int) or isinstance(value, bool):
            return "must be an integer"
        in_range = schema["minimum"] <= value <= schema["maximum"]
        return None if in_range else f"must be between {schema['minimum']} and {schema['maximum']}"
    if not isinstance(value, str):
        return "must be text"
    if len(value) > _MAX_TEXT:
        return f"must have at most {_MAX_TEXT} characters"
    return None if value in schema.get("enum", [value]) else f"must be one of {', '.join(schema['enum'])}"


def _check(tool: _Tool, arguments: dict[str, Any]) -> None:
    missing = [name for name in tool.required if name not in arguments]
    if missing:
        raise RpcError(codes.INVALID_PARAMS, f"missing argument: {missing[0]}")
    for name, value in arguments.items():
        if name not in tool.properties:
            raise RpcError(
                codes.INVALID_PARAMS, f"the tool has no argument of that name; it has {', '.join(tool.properties)}"
            )
        fault = _fault(tool.properties[name], value)
        if fault is not None:
            raise RpcError(codes.INVALID_PARAMS, f"{name}: {fault}")


class BuiltinServer(LocalServer):
    """The ``demo`` set, which ``mcpsec init`` and ``mcpsec serve --quickstart`` put behind the gateway."""

    def __init__(
        self,
        name: str,
        *,
        instructions: str,
        policy: Callable[[], Policy],
        cleaners: Mapping[str, AnswerCleaner] | None = None,
    ) -> None:
        super().__init__(name, instructions=instructions, cleaners=cleaners)
        self._policy = policy

    async def list_tools(self, client: Client) -> list[dict[str, Any]]:
        """The definitions of the built-in tools that this client may use."""
        visible = self._policy().visible
        return [_definition(name, tool) for name, tool in _TOOLS.items() if visible(client.id, self.name, "tool", name)]

    async def call_tool(
        self, client: Client, name: str, arguments: dict[str, Any], trace: Mapping[str, str]
    ) -> dict[str, Any]:
        """Run one. Raises RpcError for an unknown tool or unfit arguments."""
        tool = _TOOLS.get(name)
        if tool is None:
            raise RpcError(codes.INVALID_PARAMS, "unknown tool")
        _check(tool, arguments)
        try:
            return text_result(tool.run(**arguments))
        except ValueError as error:
            return text_result(str(error), is_error=True)


BUILTIN_SERVERS = {
    "demo": "Small text and time utilities that run inside the gateway. They read and write nothing on the machine.",
}
"""Name → instructions of each built-in set."""
