"""The strict parse, headers against body, and both framings, beside what others need for less.

Run: python benchmarks/protocol.py
"""

from __future__ import annotations

import json
import timeit
from collections.abc import Callable
from typing import Any

import orjson
from mcp.shared.inbound import classify_inbound_request
from mcp_types.jsonrpc import jsonrpc_message_adapter

from mcpsec.protocol import LineFramer, SseParser, encode_event, mcp_headers, parse, route

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
SMALL = orjson.dumps(
    {
        "jsonrpc": "2.0",
        "id": 12,
        "method": "tools/call",
        "params": {
            "name": "get_ticket",
            "arguments": {"project": "WEB", "number": 4711},
            "_meta": {"progressToken": 12},
        },
    }
)
MODERN = orjson.dumps(orjson.loads(SMALL) | {"params": orjson.loads(SMALL)["params"] | {"_meta": META}})
LARGE = orjson.dumps(orjson.loads(SMALL) | {"params": {"name": "put", "arguments": {"text": "lorem ipsum " * 8000}}})
LINES = [
    (b"host", b"gateway:8443"), (b"accept", b"application/json, text/event-stream"), (b"user-agent", b"agent/1"),
    (b"content-type", b"application/json"), (b"content-length", b"312"), (b"x-signature", b"c2lnbmF0dXJl"),
    (b"mcp-protocol-version", b"2026-07-28"), (b"mcp-method", b"tools/call"), (b"mcp-name", b"get_ticket"),
]  # fmt: skip


def strict_json(body: bytes) -> Any:
    """The same promise about duplicates with the standard library."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError
        return found

    return json.loads(body, object_pairs_hook=members)


def microseconds(work: Callable[[], object]) -> float:
    """The best of seven rounds, which is the one that was disturbed least."""
    number = max(1, int(0.05 / max(min(timeit.repeat(work, number=1, repeat=3)), 1e-7)))
    return min(timeit.repeat(work, number=number, repeat=7)) / number * 1e6


def show(title: str, ours: Callable[[], object], others: dict[str, Callable[[], object]]) -> None:
    """One line: our time, and how many times as long the others take."""
    mine = microseconds(ours)
    ratios = ", ".join(f"{name} x{microseconds(other) / mine:.2f}" for name, other in others.items())
    print(f"{title:44} {mine:9.2f} µs   {ratios}")


def main() -> None:
    """Print the table."""
    for title, body in (
        (f"parse, {len(SMALL)} bytes", SMALL),
        (f"parse, {len(SMALL)} bytes with spaces", json.dumps(json.loads(SMALL)).encode()),
        (f"parse, {len(LARGE)} bytes", LARGE),
    ):
        show(
            title,
            lambda body=body: parse(body),
            {
                "orjson alone": lambda body=body: orjson.loads(body),
                "json with a hook": lambda body=body: strict_json(body),
                "SDK's message model": lambda body=body: jsonrpc_message_adapter.validate_json(body),
            },
        )
    message = parse(MODERN)
    decoded = orjson.loads(MODERN)
    folded = {name.decode(): value.decode() for name, value in LINES}
    route(message, mcp_headers(LINES))
    show(
        "headers against body, 9 header lines",
        lambda: route(message, mcp_headers(LINES)),
        {"SDK's ladder, headers already folded": lambda: classify_inbound_request(decoded, headers=folded)},
    )
    stream = encode_event(SMALL) * 1000
    show("1000 events", lambda: SseParser(1 << 20).feed(stream), {"split alone": lambda: stream.split(b"\r\n\r\n")})
    lines = (SMALL + b"\n") * 1000
    show("1000 lines", lambda: LineFramer(1 << 20).feed(lines), {"split alone": lambda: lines.split(b"\n")})


if __name__ == "__main__":
    main()
