"""A stdio MCP server (2026-07-28) that answers ``gigabyte`` with a line of 1 GB, and everything else properly."""

from __future__ import annotations

import json
import sys

PIECE = b"y" * (1 << 20)

for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    method, result = message["method"], {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
    if method == "server/discover":
        result |= {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
    elif method == "tools/list":
        result["tools"] = [{"name": name, "inputSchema": {"type": "object"}} for name in ("echo", "gigabyte")]
    elif message["params"]["name"] == "gigabyte":
        sys.stdout.buffer.write(b'{"jsonrpc": "2.0", "id": %d, "result": "' % message["id"])
        for _ in range(1024):
            sys.stdout.buffer.write(PIECE)
        sys.stdout.buffer.write(b'"}\n')
        sys.stdout.buffer.flush()
        continue
    else:
        result |= {"content": [{"type": "text", "text": "fine"}], "isError": False}
    sys.stdout.buffer.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode() + b"\n")
    sys.stdout.buffer.flush()
