"""Python servers inside the gateway: what the SDK makes and bare ASGI applications, well-behaved and hostile ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcpsec.gateway.upstreams.base import UpstreamStartError
from mcpsec.gateway.upstreams.python_app import AppServer
from tests.fixtures.deployments import make_deployment
from tests.fixtures.gateway import Gateway, sdk_client, start_gateway
from tests.fixtures.processes import PATIENCE, wait_until
from tests.fixtures.raw import RawClient, Response, call

LEGACY, MODERN = "legacy", "2026-07-28"

OF_THE_SDK = """
import logging, sys
import mcp_types as types
from mcp.server import Server
from mcp.server.mcpserver import MCPServer

logging.disable()
high = MCPServer("high level")

@high.tool()
def echo(text: str) -> str:
    return text

@high.tool()
async def leave() -> str:
    sys.exit("secret words")

async def list_tools(context, params):
    return types.ListToolsResult(tools=[types.Tool(name="echo", input_schema={"type": "object"})])

async def call_tool(context, params):
    return types.CallToolResult(content=[types.TextContent(text=params.arguments["text"])])

low = Server("low level", on_list_tools=list_tools, on_call_tool=call_tool)
"""

BARE = r'''
import asyncio, json, sys
from pathlib import Path

print("imported")  # whatever an application prints, it is in nobody's way
HERE = Path(__file__).parent

class Bare:
    """An ASGI application of its own; each tool but echo is a kind of misbehaviour."""

    tools = ["echo", "die", "exit", "silent", "large", "twice", "split", "status", "half", "nothing", "early", "mute",
             "endless", "upgrade", "huge_head", "leave_life", "state"]
    life = None

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            self.life = asyncio.Event()
            await receive()
            scope["state"] |= {"pool": ["opened"], "calls": 0}
            with (HERE / "lives").open("a") as file:
                file.write("up\n")
            await send({"type": "lifespan.startup.complete"})
            ended = asyncio.ensure_future(receive())
            left = asyncio.ensure_future(self.life.wait())
            await asyncio.wait({ended, left}, return_when=asyncio.FIRST_COMPLETED)
            left.cancel()
            with (HERE / "lives").open("a") as file:
                file.write("down\n" if ended.done() else "left\n")
            ended.cancel()
            return
        self.state = scope["state"]
        message = json.loads((await receive())["body"])
        method, name = message["method"], message.get("params", {}).get("name", "")
        result = {"resultType": "complete"}
        if method == "server/discover":
            result |= {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
        elif method == "tools/list":
            result |= {"tools": [{"name": n, "inputSchema": {"type": "object"}} for n in self.tools], "ttlMs": 0,
                       "cacheScope": "private"}
        else:
            result |= {"content": [{"type": "text", "text": "fine"}], "isError": False}
        body = json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "result": result}).encode()
        await getattr(self, "do_" + name, self.plain)(receive, send, body)

    async def start(self, send, kind=b"application/json", status=200, more=()):
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind), *more]})

    async def plain(self, receive, send, body):
        await self.start(send)
        await send({"type": "http.response.body", "body": body[:10], "more_body": True})
        await send({"type": "http.response.body", "body": body[10:]})

    async def do_state(self, receive, send, body):
        state = self.state
        state["calls"] += 1  # a copy of this request's own
        state["pool"].append("used")  # and what it holds is everybody's
        await self.plain(receive, send, body.replace(b"fine", json.dumps(state).replace('"', "'").encode()))

    async def do_die(self, receive, send, body):
        raise ValueError("secret words")

    async def do_exit(self, receive, send, body):
        sys.exit("secret words")

    async def do_silent(self, receive, send, body):
        try:
            assert (await receive())["type"] == "http.disconnect"
        finally:
            (HERE / "heard").write_text("x")

    async def do_large(self, receive, send, body):
        await self.start(send)
        while True:
            await send({"type": "http.response.body", "body": b"x" * 50_000, "more_body": True})

    async def do_twice(self, receive, send, body):
        await self.start(send)
        await self.start(send)

    async def do_split(self, receive, send, body):
        await self.start(send, more=[(b"cache-control", b"x\r\nset-cookie: stolen=1")])

    async def do_status(self, receive, send, body):
        await self.start(send, status=101)

    async def do_half(self, receive, send, body):
        await self.start(send)
        await send({"type": "http.response.body", "body": body[:20], "more_body": True})

    async def do_nothing(self, receive, send, body):
        return

    async def do_early(self, receive, send, body):
        await send({"type": "http.response.body", "body": body})

    async def do_mute(self, receive, send, body):
        await self.start(send, kind=b"text/event-stream")
        await send({"type": "http.response.body", "body": b": hello\n\n", "more_body": True})

    async def do_endless(self, receive, send, body):
        await self.start(send, kind=b"text/event-stream")
        while True:
            await send({"type": "http.response.body", "body": b"data: " + b"x" * 100_000, "more_body": True})

    async def do_upgrade(self, receive, send, body):
        await send({"type": "websocket.accept"})

    async def do_huge_head(self, receive, send, body):
        await self.start(send, more=[(b"x-large", b"x" * 100_000)])

    async def do_leave_life(self, receive, send, body):
        self.life.set()
        await self.plain(receive, send, body)

bare = Bare()

async def no_lifespan(scope, receive, send):
    assert scope["type"] == "http"
    await bare(scope, receive, send)

async def bad_lifespan(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "secret words"})

number = 7
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("applications")
    (made / "of_the_sdk.py").write_text(OF_THE_SDK)
    (made / "bare_servers.py").write_text(BARE)
    (made / "broken_module.py").write_text("1 / 0  # secret words")
    (made / "leaving_module.py").write_text("import sys; sys.exit('secret words')")
    return made


@pytest.fixture(scope="module")
def running(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    apps: dict[str, Any] = {name: {"app": f"of_the_sdk:{name}", "app_dir": str(place)} for name in ("high", "low")}
    apps["no-lifespan"] = {"app": "bare_servers:no_lifespan", "app_dir": str(place)}
    apps["bare"] = {"app": "bare_servers:bare", "app_dir": str(place), "timeout": "2s", "breaker": {"enabled": False}}
    made = make_deployment(tmp_path_factory.mktemp("deployment"), apps)
    made.document["server"]["limits"] = {"response_bytes": 200_000}
    made.write()
    started = start_gateway(made)
    yield started
    started.stop()
    assert (place / "lives").read_text().splitlines()[-1] == "down"


def ask(running: Gateway, upstream: str, tool: str) -> Response:
    with RawClient(running) as client:
        return client.post(call(tool, {"text": "hi"}), path=f"/mcp/{upstream}")


@pytest.mark.anyio
@pytest.mark.parametrize("mode", [LEGACY, MODERN])
@pytest.mark.parametrize("name", ["high", "low"])
async def test_servers_of_the_sdk_are_served_in_both_eras(running: Gateway, name: str, mode: str) -> None:
    async with sdk_client(running.endpoint(name), running.deployment.client, mode=mode) as client:
        assert "echo" in {tool.name for tool in (await client.list_tools()).tools}
        assert (await client.call_tool("echo", {"text": "grüße"})).content[0].text == "grüße"


@pytest.mark.anyio
@pytest.mark.parametrize("mode", [LEGACY, MODERN])
async def test_a_tool_that_wants_to_end_the_process_ends_its_call(running: Gateway, mode: str) -> None:
    with pytest.raises(BaseException) as failure:
        async with sdk_client(running.endpoint("high"), running.deployment.client, mode=mode) as client:
            await client.call_tool("leave", {})
    assert "secret" not in repr(failure.value)
    async with sdk_client(running.endpoint("high"), running.deployment.client, mode=mode) as client:
        assert (await client.call_tool("echo", {"text": "still here"})).content[0].text == "still here"
    assert running.process.poll() is None


@pytest.mark.parametrize("name", ["bare", "no-lifespan"])
def test_any_asgi_application_is_served(running: Gateway, name: str) -> None:
    assert ask(running, name, "echo").json["result"]["content"][0]["text"] == "fine"


def test_each_request_has_a_copy_of_what_the_lifespan_kept(running: Gateway) -> None:
    said = [ask(running, "bare", "state").json["result"]["content"][0]["text"] for _ in range(2)]
    assert all("'calls': 1" in each and "'pool': ['opened', 'used'" in each for each in said), said


@pytest.mark.parametrize(
    ("tool", "status"),
    [
        ("die", 503), ("exit", 503), ("silent", 504), ("large", 503), ("twice", 503), ("split", 503), ("status", 503),
        ("half", 503), ("nothing", 503), ("early", 503), ("upgrade", 503), ("huge_head", 503),
        ("mute", 200), ("endless", 200),
    ],
)  # fmt: skip
def test_one_that_misbehaves_gets_one_clear_answer_and_the_next_call_works(
    running: Gateway, place: Path, tool: str, status: int
) -> None:
    answer = ask(running, "bare", tool)
    assert answer.status == status
    assert "set-cookie" not in answer.headers
    for words in (b"secret", b"Traceback", b"bare_servers"):
        assert words not in answer.body
    if status == 200:  # a stream that had begun says it in the stream
        assert (b'"code":50304' if tool == "endless" else b'"code":50301') in answer.body.replace(b" ", b"")
    else:
        assert answer.code in ((50304,) if tool == "large" else (50301, 50401))
    if tool == "silent":  # it hears that nobody waits any more
        wait_until((place / "heard").exists, "the disconnect")
    assert ask(running, "bare", "echo").status == 200


def test_the_log_says_where_it_failed_and_not_with_which_words(running: Gateway) -> None:
    before = len(running.deployment.events())
    assert ask(running, "bare", "die").status == 503
    told = wait_until(
        lambda: [each for each in running.deployment.events()[before:] if "ValueError" in json.dumps(each)], "the event"
    )
    assert told[0]["rule"] == "upstream-unavailable"
    assert "ValueError at bare_servers.py:" in json.dumps(told[0]) and "secret" not in json.dumps(told[0])


def test_a_lifespan_that_ends_by_itself_begins_again(running: Gateway, place: Path) -> None:
    ups = (place / "lives").read_text().count("up")
    assert ask(running, "bare", "leave_life").status == 200
    wait_until(lambda: (place / "lives").read_text().count("left") > 0, "the end of its life")
    wait_until(lambda: ask(running, "bare", "echo").status == 200, "an answer")
    assert (place / "lives").read_text().count("up") == ups + 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("app", "words"),
    [
        ("nowhere:server", "there is no module nowhere"),
        ("bare_servers:absent", "bare_servers has no absent"),
        ("bare_servers:number", "neither a server of the MCP SDK or of fastmcp nor an ASGI application"),
        ("bare_servers:Bare", "neither a server"),
        ("bare_servers:bad_lifespan", "says that it could not start"),
        ("broken_module:server", "importing broken_module raised ZeroDivisionError at broken_module.py:1"),
        ("leaving_module:server", "importing leaving_module raised SystemExit"),
    ],
)
async def test_what_cannot_be_started_is_one_clear_error(
    app: str, words: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    server = AppServer("own", app, place)
    with pytest.raises(UpstreamStartError) as failure:
        await server.start()
    assert words in str(failure.value) and "secret" not in str(failure.value)
    await server.close()


@pytest.mark.parametrize(
    ("app", "words"),
    [
        ("bare_servers:absent", "can't be started: bare_servers has no absent"),
        ("bare_servers", "not MODULE:NAME"),
        ("bare servers:bare", "not MODULE:NAME"),
    ],
)
def test_serve_says_it_and_ends(app: str, words: str, deployment: Any, place: Path) -> None:
    made = deployment({"demo": {"builtin": "demo"}})
    command = [sys.executable, "-m", "mcpsec", "serve", "-c", str(made.config), "--listen", "127.0.0.1:0", "--app", app]
    ended = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode == 2, ended.stderr
    assert words in ended.stderr and "Traceback" not in ended.stderr


def test_an_application_for_this_run(deployment: Any, gateway: Any, place: Path) -> None:
    """The module stands in the directory where serve is typed."""
    made = deployment({"demo": {"builtin": "demo"}})
    running: Gateway = gateway(
        made, "--app", "bare_servers:bare", expected=(r"warning: for this run.*",), directory=place
    )
    with RawClient(running) as client:
        assert client.post(call("echo")).status == 200
        assert client.post(call("time_now"), path="/mcp/demo").status == 404  # the file's own are not there


def test_a_file_of_the_applications_directory_stands_in_for_no_module_of_ours(
    deployment: Any, gateway: Any, place: Path, tmp_path: Path
) -> None:
    shadowed = tmp_path / "shadow"
    shadowed.mkdir()
    (shadowed / "bare_servers.py").write_text(BARE)
    for module in ("orjson", "json", "httptools", "mcpsec"):
        (shadowed / f"{module}.py").write_text("raise RuntimeError('taken over')")
    running: Gateway = gateway(deployment({"bare": {"app": "bare_servers:bare", "app_dir": str(shadowed)}}))
    assert ask(running, "bare", "echo").status == 200
