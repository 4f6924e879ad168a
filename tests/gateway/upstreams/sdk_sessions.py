"""A server of the official SDK over Streamable HTTP, in sessions: ``sdk_sessions.py json|events PORT READY_FILE``."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import uvicorn
from mcp.server import MCPServer

server = MCPServer("sessions")


@server.tool()
def echo(text: str) -> str:
    """Give the text back."""
    return text


@server.tool()
def shout(text: str) -> str:
    """Give the text back in capitals."""
    return text.upper()


def main() -> None:
    kind, port, ready = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    app = server.streamable_http_app(json_response=kind == "json")
    listener = socket.create_server(("127.0.0.1", port))
    draft = ready.with_suffix(".draft")
    draft.write_text(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", "pid": os.getpid()}))
    draft.rename(ready)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)).run(sockets=[listener])


if __name__ == "__main__":
    main()
