"""The bridge as MCP clients run it, and a scripted HTTP server for what real servers rarely do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mcp import Client, StdioServerParameters, stdio_client

from mcpsec.connect import Credentials
from mcpsec.connect.bridge import Bridge
from mcpsec.connect.http1 import HttpClient
from mcpsec.connect.oauth.authorizer import Authorizer
from mcpsec.connect.stdio import StdioPipe
from tests.fixtures.deployments import Deployment
from tests.fixtures.processes import measured

ENTRY = "from mcpsec.cli import root; root.COMMANDS.setdefault('connect', ''); raise SystemExit(root.main())"

META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def command(url: str, deployment: Deployment | None = None, **changes: str) -> list[str]:
    """The command line of a bridge to ``url`` with the deployment's client credentials."""
    options = {}
    if deployment is not None:
        who = deployment.client
        options = {"cert": who.certificate, "key": who.key, "ca": who.ca}
        options |= {"secret-file": deployment.secret, "key-id": "tester-1"}
    words = [word for name, value in {**options, **changes}.items() for word in (f"--{name}", str(value))]
    return [sys.executable, "-c", ENTRY, "connect", url, *words]


@contextlib.asynccontextmanager
async def bridged(
    url: str,
    deployment: Deployment | None = None,
    words: Sequence[str] = (),
    env: dict[str, str] | None = None,
    **options: Any,
) -> AsyncIterator[Client]:
    """The official SDK's client over stdio, through the bridge; ``words`` are further arguments of its command."""
    program, *arguments = [*command(url, deployment), *words]
    transport = stdio_client(StdioServerParameters(command=program, args=arguments, env={**measured(), **(env or {})}))
    async with Client(transport, **options) as client:
        yield client


@dataclass
class Seen:
    """One request that reached the scripted server; ``gone`` is set when the client closed its connection."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    writer: asyncio.StreamWriter
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def write(self, data: str) -> None:
        self.writer.write(data.encode())
        await self.writer.drain()

    async def answer(self, status: int, body: Any = None, **headers: str) -> None:
        """A plain answer; the connection stays."""
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(content)}"]
        lines += ["content-type: application/json"] if content else []
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + content)
        await self.writer.drain()

    async def result(self, value: Any = None, **headers: str) -> None:
        await self.answer(200, {"jsonrpc": "2.0", "id": self.body["id"], "result": value or {}}, **headers)

    async def stream(self) -> None:
        """Begin an event stream that ends with the connection."""
        await self.write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")

    async def event(self, message: Any, ident: str = "", retry: int | None = None) -> None:
        await self.write(
            (f"retry: {retry}\n" if retry is not None else "")
            + (f"id: {ident}\n" if ident else "")
            + ("data: \n\n" if message is None else f"data: {json.dumps(message)}\n\n")
        )

    def close(self) -> None:
        self.writer.close()


Script = Callable[[Seen], Awaitable[None]]


class ScriptedServer:
    """An HTTP server that does with each request what ``script`` says."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.seen: list[Seen] = []
        self.url = ""
        self.connections = 0

    async def __aenter__(self) -> ScriptedServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/mcp"
        self._tasks: set[asyncio.Task[None]] = set()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while line := await reader.readline():
                headers = {}
                while (header := (await reader.readline()).decode().rstrip("\r\n")) != "":
                    name, _, value = header.partition(": ")
                    headers[name.lower()] = value
                raw = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = line.decode().split()
                form = "form" in headers.get("content-type", "")
                seen = Seen(method, path, headers, json.loads(raw) if raw and not form else None, writer)
                self.seen.append(seen)
                watch = asyncio.create_task(self._watch(reader, seen))
                try:
                    await self._script(seen)
                finally:
                    watch.cancel()
                    await asyncio.gather(watch, return_exceptions=True)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            with contextlib.suppress(OSError, RuntimeError):
                writer.transport.abort()

    @staticmethod
    async def _watch(reader: asyncio.StreamReader, seen: Seen) -> None:
        while not reader.at_eof() and reader.exception() is None:
            await asyncio.sleep(0.01)
        seen.gone.set()

    def bodies(self, method: str) -> list[Any]:
        return [seen.body for seen in self.seen if seen.body is not None and seen.body.get("method") == method]


class Pipes:
    """A bridge in this process, between pipes of ours."""

    def __init__(
        self, url: str, credentials: Credentials | None = None, authorizer: Callable[[], Authorizer] | None = None
    ) -> None:
        self.notes: list[str] = []
        from_client, self._to_bridge = os.pipe()
        self._from_bridge, to_client = os.pipe()
        self._theirs = [from_client, to_client]
        self._pipe = StdioPipe(from_client, to_client)
        client = HttpClient(url, credentials or Credentials(), connect_timeout=5, authorizer=authorizer)
        self._bridge = Bridge(self._pipe, client, note=self.notes.append, drain=2.0)

    async def __aenter__(self) -> Pipes:
        self._task = asyncio.create_task(self._bridge.run())
        self._lines = os.fdopen(self._from_bridge, "rb")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.hang_up()
        await asyncio.wait_for(self._task, 20)
        await self._pipe.close()
        for descriptor in self._theirs:
            os.close(descriptor)
        self._lines.close()

    def hang_up(self) -> None:
        """Close the client's end."""
        if self._to_bridge >= 0:
            os.close(self._to_bridge)
            self._to_bridge = -1

    def write(self, message: dict[str, Any] | bytes) -> None:
        line = message if isinstance(message, bytes) else json.dumps(message).encode()
        os.write(self._to_bridge, line + b"\n")

    async def read(self) -> Any:
        line = await asyncio.wait_for(asyncio.to_thread(self._lines.readline), 30)
        return json.loads(line)

    async def ask(self, message: dict[str, Any]) -> Any:
        self.write(message)
        return await self.read()


def call(ident: int | str = 1, method: str = "tools/call", modern: bool = True, **params: Any) -> dict[str, Any]:
    """One request of either era."""
    meta = {"_meta": META} if modern else {}
    return {"jsonrpc": "2.0", "id": ident, "method": method, "params": {**params, **meta}}


def initialize(ident: int = 0) -> dict[str, Any]:
    """The request that opens a legacy session."""
    params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    return {"jsonrpc": "2.0", "id": ident, "method": "initialize", "params": params}


INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
