"""An MCP server over HTTP (revision 2026-07-28) that does, for each call, what the call's own argument asks for.

It shares no code with the gateway: a drill must not judge the gateway by the gateway's own reading of HTTP.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from typing import Any

from mcpsec.audit.drill.network import Network, reset
from mcpsec.audit.drill.record import Record

__all__ = ["INSIDE", "TOOL", "FaultyServer"]

TOOL = "mcpsec_drill"
INSIDE = "drill-inside-7f3a"
"""A word that only the faulty server knows; in no answer of the gateway may it be."""
_TRACE = f'Traceback (most recent call last):\n  File "/srv/{INSIDE}/app.py", line 7, in call\nRuntimeError: {INSIDE}'
_DEFINITION = {
    "name": TOOL,
    "description": "Does what the drill asks for.",
    "inputSchema": {
        "type": "object",
        "properties": {"fault": {"type": "string"}, "call": {"type": "string"}},
        "required": ["fault", "call"],
    },
}
_DRIP = 0.1
"""Seconds between two bytes of a slow answer."""


class FaultyServer:
    """Serves in threads behind a ``network`` of its own; ``url`` is that network's address."""

    def __init__(self) -> None:
        self.record = Record()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._address: tuple[str, int] = self._listener.getsockname()[:2]
        self._release = threading.Event()
        self.network = Network(self._address, self.record)
        self._listen()

    @property
    def url(self) -> str:
        """Where the gateway is to find it."""
        return f"http://127.0.0.1:{self.network.port}/mcp"

    def mend(self) -> None:
        """End every fault: be there, answer, and have a whole network."""
        self._release.set()
        self._release = threading.Event()
        if self._listener.fileno() < 0:
            self._listener = socket.create_server(self._address)
            self._listen()
            self.record.add("started again")
        self.network.mend()

    def close(self) -> None:
        """Stop."""
        self._release.set()
        self.network.close()
        self._die()

    def _listen(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _die(self) -> None:
        """As when its process is killed: nobody listens, and every connection breaks."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in list(self._open):
            reset(each)

    def _serve(self, connection: socket.socket) -> None:
        self._open.add(connection)
        try:
            with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
                while (request := _read(stream)) is not None and self._answer(connection, request):
                    pass
        finally:
            self._open.discard(connection)

    def _answer(self, connection: socket.socket, request: dict[str, Any]) -> bool:
        """Answer one request; False ends the connection."""
        method, ident = request.get("method"), request.get("id")
        if method == "tools/call":
            return self._call(connection, ident, request.get("params", {}).get("arguments", {}))
        if ident is None:
            connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
            return True
        results: dict[str, dict[str, Any]] = {
            "server/discover": {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}},
            "tools/list": {"tools": [_DEFINITION]},
        }
        known = results.get(str(method))
        if known is None:
            error = {"code": -32601, "message": "Method not found"}
            connection.sendall(_http(404, {"jsonrpc": "2.0", "id": ident, "error": error}))
        else:
            connection.sendall(_http(200, _result(ident, {**known, "ttlMs": 60_000, "cacheScope": "private"})))
        return True

    def _call(self, connection: socket.socket, ident: Any, arguments: dict[str, Any]) -> bool:
        fault, call = str(arguments.get("fault")), str(arguments.get("call"))
        self.record.add("call taken", call=call, fault=fault)
        fine = _http(200, _result(ident, {"content": [{"type": "text", "text": "fine"}], "isError": False}))
        if fault == "timeout":
            self._withhold(connection, call)
            return False
        if fault == "slow":
            self._drip(connection, call)
            return False
        if fault == "reset":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n{")
            self.record.add("connection reset in the middle of the answer", call=call)
            reset(connection)
            return False
        if fault == "crash":
            self.record.add("died", call=call)
            self._die()
            return False
        if fault == "error":
            self.record.add("answered 500", call=call)
            connection.sendall(_http(500, _TRACE))
            return True
        if fault == "garbage":
            self.record.add("answered with garbage", call=call)
            connection.sendall(_http(200, f"\x01\x02{{{INSIDE}"))
            return True
        if fault == "partition":
            self.network.cut(call)
        connection.sendall(fine)
        return True

    def _withhold(self, connection: socket.socket, call: str) -> None:
        """Never answer, and note when the gateway gives up."""
        self.record.add("answer withheld", call=call)
        began = time.monotonic()
        connection.settimeout(0.05)
        release = self._release
        while not release.is_set():
            try:
                ended = connection.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                ended = True
            if ended:
                self.record.add("the gateway gave up", call=call, seconds=round(time.monotonic() - began, 3))
                return

    def _drip(self, connection: socket.socket, call: str) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n")
        self.record.add("answering a byte at a time", call=call)
        sent, release = 0, self._release
        try:
            while not release.wait(_DRIP):
                connection.sendall(b" ")
                sent += 1
        except OSError:
            self.record.add("the gateway gave up", call=call, bytes=sent)


def _read(stream: Any) -> dict[str, Any] | None:
    """One request's JSON; None at the end of the connection. A GET or DELETE is answered like an unknown method."""
    first = stream.readline(65536)
    if not first:
        return None
    length = 0
    while (line := stream.readline(65536)) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    try:
        found = json.loads(stream.read(length) or b"{}")
    except ValueError:
        return None
    return found if isinstance(found, dict) else {}


def _result(ident: Any, result: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": ident, "result": {"resultType": "complete", **result}}


def _http(status: int, content: Any) -> bytes:
    kind = "text/plain" if status == 500 else "application/json"
    body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
    head = f"HTTP/1.1 {status} Drill\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
