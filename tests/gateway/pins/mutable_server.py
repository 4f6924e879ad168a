"""A stdio MCP server of both eras whose definitions stand in a JSON file, read anew for each answer: it can change."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def result_of(message: dict[str, Any], said: dict[str, Any]) -> dict[str, Any] | None:
    method, params = message["method"], message.get("params", {})
    words = {"instructions": said["instructions"]} if said.get("instructions") is not None else {}
    capabilities = {"tools": {"listChanged": True}, "prompts": {}}
    info = {"name": "mutable", "version": "1"}
    modern = {"resultType": "complete"} if "_meta" in params else {}
    if method == "initialize":
        return {"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": info, **words}
    if method == "server/discover":
        return {**modern, "supportedVersions": ["2026-07-28"], "capabilities": capabilities, **words}
    if method == "tools/list":
        return {**modern, "tools": said["tools"]}
    if method == "prompts/list":
        return {**modern, "prompts": said.get("prompts", [])}
    if method == "prompts/get":
        return {**modern, "messages": [{"role": "user", "content": {"type": "text", "text": "prompt"}}]}
    if method == "tools/call":
        text = said.get("answers", {}).get(params["name"], json.dumps(params.get("arguments")))
        failed = params["name"] in said.get("failing", [])
        return {**modern, "content": [{"type": "text", "text": text}], "isError": failed}
    return None


for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    said = json.loads(Path(sys.argv[1]).read_text())
    answer: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
    name = message.get("params", {}).get("name")
    if message["method"] == "tools/call" and name in said.get("errors", {}):
        answer["error"] = said["errors"][name]
    elif (result := result_of(message, said)) is None:
        answer["error"] = {"code": -32601, "message": "Method not found"}
    else:
        answer["result"] = result
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
