"""An MCP server for benchmarks as fast as uvicorn makes one: fixed answers for the load, no dependency of its own.

    uvicorn --app-dir benchmarks/parts --http httptools --loop uvloop --no-access-log asgi:app

``upstream.py`` is quicker than any server in use, and flatters what stands before it least.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from upstream import CALL, answer

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def head(status: int, length: int) -> dict[str, Any]:
    lines = [(b"content-type", b"application/json"), (b"content-length", b"%d" % length)]
    return {"type": "http.response.start", "status": status, "headers": lines}


LOADED = head(200, len(CALL)), {"type": "http.response.body", "body": CALL}


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if b'"id":1,' in body and b'"tools/call"' in body:
        for part in LOADED:
            await send(part)
        return
    reply = answer(body) if body else None
    await send(head(202 if reply is None else 200, len(reply or b"")))
    await send({"type": "http.response.body", "body": reply or b""})
