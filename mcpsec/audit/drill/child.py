"""An MCP server over stdio (revision 2026-07-28) that does, for each call, what the call's own argument asks for.

Run as a program by the gateway under drill: standard library only. Its argument is the file of its record.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

TOOL = "mcpsec_drill"
INSIDE = "drill-inside-7f3a"


def note(event: str, call: str, **facts: Any) -> None:
    """Write one event down."""
    line = json.dumps({"time": round(time.time(), 3), "event": event, "call": call, "pid": os.getpid(), **facts})
    with Path(sys.argv[1]).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def say(document: dict[str, Any]) -> None:
    """One message."""
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **document}) + "\n")
    sys.stdout.flush()


def call(ident: Any, arguments: dict[str, Any]) -> None:
    """Answer one call, or fail as it asks for."""
    fault, name = str(arguments.get("fault")), str(arguments.get("call"))
    note("call taken", name, fault=fault)
    if fault == "timeout":
        note("answer withheld", name)
    elif fault == "slow":
        note("answering a byte at a time", name)
        mended = Path(sys.argv[1]).with_suffix(".mended")
        while not mended.exists():
            sys.stdout.write(" ")
            sys.stdout.flush()
            time.sleep(0.1)
        say({"id": ident, "error": {"code": -32603, "message": "too late"}})
    elif fault == "garbage":
        note("answered with garbage", name)
        sys.stdout.write(f"\x01\x02{{{INSIDE}\n")
        sys.stdout.flush()
    elif fault == "error":
        note("answered with an internal error", name)
        trace = f'Traceback (most recent call last):\n  File "/srv/{INSIDE}/app.py", line 7, in call\nRuntimeError'
        say({"id": ident, "error": {"code": -32603, "message": trace}})
    elif fault == "crash":
        note("died", name)
        os._exit(7)
    else:
        say(
            {
                "id": ident,
                "result": {
                    "resultType": "complete",
                    "content": [{"type": "text", "text": "fine"}],
                    "isError": False,
                },
            }
        )


def main() -> None:
    """Answer until standard input ends."""
    definition = {
        "name": TOOL,
        "description": "Does what the drill asks for.",
        "inputSchema": {
            "type": "object",
            "properties": {"fault": {"type": "string"}, "call": {"type": "string"}},
            "required": ["fault", "call"],
        },
    }
    known: dict[str, dict[str, Any]] = {
        "server/discover": {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}},
        "tools/list": {"tools": [definition]},
    }
    for line in sys.stdin:
        message = json.loads(line)
        ident, method = message.get("id"), message.get("method")
        if ident is None:
            continue
        if method == "tools/call":
            call(ident, message["params"].get("arguments", {}))
        elif method in known:
            result = {"resultType": "complete", "ttlMs": 60_000, "cacheScope": "private", **known[method]}
            say({"id": ident, "result": result})
        else:
            say({"id": ident, "error": {"code": -32601, "message": "Method not found"}})


if __name__ == "__main__":
    main()
