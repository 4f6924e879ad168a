"""A stdio MCP server of both eras that lists what a JSON file says, page by page, and answers a call of any tool at all.

``pages`` are lists of names, ``loops`` gives the last page a cursor, ``says`` replaces the whole result of a list
(``"error"``: there is an error instead). ``fresh`` puts a new tool of so many bytes on each page, and with ``endless``
there is always another page. ``then`` is what it says from the next list on, and ``announced`` how often it tells of that in
the same breath as a list. A call of ``grow`` adds the tool ``grown`` to this process alone, one of
``announce`` says that the list has changed. Each list that it is asked for is a line in the file's neighbour ``.asked``.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

FILE = Path(sys.argv[1])
GROWN: list[str] = []
FRESH = itertools.count()


def listed(said: dict[str, Any], cursor: str | None) -> dict[str, Any]:
    pages = [*said["pages"][:-1], said["pages"][-1] + GROWN]
    at = int(cursor or 0) % len(pages)
    tools = [
        name if isinstance(name, dict) else {"name": name, "inputSchema": {"type": "object"}} for name in pages[at]
    ]
    if "fresh" in said:
        tools.append({"name": f"fresh-{next(FRESH)}", "description": "x" * said["fresh"], "inputSchema": {}})
    if said.get("endless"):
        return {"tools": tools, "nextCursor": str(len(pages) * next(FRESH))}
    more = {"nextCursor": str(at + 1)} if at + 1 < len(pages) or said.get("loops") else {}
    return {"tools": tools, **more}


def say(*, flush: bool = True, **message: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    if flush:
        sys.stdout.flush()


for line in sys.stdin:
    message = json.loads(line)
    method, params, id = message.get("method"), message.get("params", {}), message.get("id")
    if id is None:
        continue
    said = json.loads(FILE.read_text())
    modern = {"resultType": "complete"} if "_meta" in params else {}
    capabilities = {"tools": {"listChanged": True}}
    if method == "initialize":
        info = {"name": "listing", "version": "1"}
        say(id=id, result={"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": info})
    elif method == "server/discover":
        say(id=id, result={**modern, "supportedVersions": ["2026-07-28"], "capabilities": capabilities})
    elif method == "tools/list":
        with FILE.with_suffix(".asked").open("a") as asked:
            asked.write(f"{params.get('cursor')}\n")
        if said.get("says") == "error":
            say(id=id, error={"code": -32603, "message": "no list today"})
        else:
            announced = said.get("announced", 0)
            say(id=id, result={**modern, **said.get("says", listed(said, params.get("cursor")))}, flush=not announced)
            if "then" in said:
                FILE.write_text(json.dumps(said["then"]))
            if announced:
                say(method="notifications/tools/list_changed")
    elif method == "tools/call":
        if params["name"] == "grow":
            GROWN.append("grown")
        if params["name"] == "announce":
            say(method="notifications/tools/list_changed")
        say(id=id, result={**modern, "content": [{"type": "text", "text": params["name"]}]})
    else:
        say(id=id, error={"code": -32601, "message": "Method not found"})
