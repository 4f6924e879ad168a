"""An MCP server for benchmarks, over HTTP (``upstream.py PORT``) or stdio (``upstream.py``), both eras, no dependency.

It answers a call without looking at it, so what is measured is what stands before it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

TOOL = {
    "name": "echo",
    "description": "Echo",
    "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
}
MODERN = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}


def result_of(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    if method == "initialize":
        server = {"name": "bench", "version": "1"}
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": server}
    if method == "server/discover":
        return {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, **MODERN}
    if method == "tools/list":
        return {"tools": [TOOL], **MODERN}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": "hello"}], "isError": False, **MODERN}
    return {} if method == "ping" else None


def answer(line: bytes | str) -> bytes | None:
    message = json.loads(line)
    if message.get("id") is None:
        return None
    result = result_of(message["method"], message.get("params", {}))
    body = {"result": result} if result is not None else {"error": {"code": -32601, "message": "Method not found"}}
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], **body}).encode()


CALL = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"hello"}],"isError":false,"resultType":"complete"}}'


class Http(asyncio.Protocol):
    """Only what a proxy sends: one request at a time with a Content-Length."""

    def connection_made(self, transport: Any) -> None:
        self.transport, self.data = transport, b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        while True:
            head, end, rest = self.data.partition(b"\r\n\r\n")
            if not end:
                return
            lower = head.lower()
            _, _, length = lower.partition(b"content-length:")
            size = int(length.split(b"\r\n")[0] or 0)
            if len(rest) < size:
                return
            body, self.data = rest[:size], rest[size:]
            if b'"id":1,' in body and b'"tools/call"' in body:
                reply: bytes | None = CALL
            else:
                reply = answer(body) if body else None
            if reply is None:
                self.transport.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
                continue
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(reply)
            self.transport.write(head + reply)


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Http, "127.0.0.1", port)
    await server.serve_forever()


def main() -> None:
    if len(sys.argv) > 1:
        try:
            import uvloop
        except ImportError:
            asyncio.run(serve(int(sys.argv[1])))
        else:
            uvloop.run(serve(int(sys.argv[1])))
    for line in sys.stdin:
        reply = answer(line)
        if reply is not None:
            sys.stdout.buffer.write(reply + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
