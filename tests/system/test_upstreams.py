"""The official SDK's client lists and calls the tools of well-known servers through the gateway.

What it lists must be what the same server lists to the same client without a gateway.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp import Client, StdioServerParameters

from tests.fixtures.deployments import IN_PROCESS, fixture_command
from tests.fixtures.gateway import sdk_client
from tests.fixtures.signatures import SigningAuth, signer_of

pytestmark = pytest.mark.anyio

MODERN, LEGACY = "2026-07-28", "2025-11-25"


@dataclass
class Subject:
    """One server: how to start it over stdio, and a call whose answer is known."""

    command: list[str]
    tool: str
    arguments: dict[str, Any]
    expect: str
    modes: dict[str, str] = field(default_factory=lambda: {"legacy": LEGACY, MODERN: MODERN, "auto": MODERN})
    """What a client asks for, and the protocol version that comes of it."""


NODE_MODES = {"legacy": LEGACY, "auto": LEGACY}
"""The npm servers speak only the earlier era; a client that tries both ends there by itself."""


def _program(name: str) -> str:
    """A console script of the environment that runs the tests."""
    return str(Path(sys.executable).with_name(name))


def git_server(tmp_path: Path, node: Any) -> Subject:
    repository = tmp_path / "repository"
    git = ["git", "-C", str(repository), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", "init", "-q", "-b", "main", str(repository)], check=True)
    (repository / "a.txt").write_text("a\n")
    subprocess.run([*git, "add", "a.txt"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "the first commit"], check=True)
    command = [_program("mcp-server-git"), "--repository", str(repository)]
    return Subject(command, "git_log", {"repo_path": str(repository)}, "the first commit")


def time_server(tmp_path: Path, node: Any) -> Subject:
    arguments = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
    return Subject([_program("mcp-server-time")], "convert_time", arguments, "T21:00:00+09:00")


def filesystem_server(tmp_path: Path, node: Any) -> Subject:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "hello.txt").write_text("hello from a file")
    command = node().command("@modelcontextprotocol/server-filesystem", str(tmp_path / "data"))
    arguments = {"path": str(tmp_path / "data" / "hello.txt")}
    return Subject(command, "read_text_file", arguments, "hello from a file", NODE_MODES)


def everything_server(tmp_path: Path, node: Any) -> Subject:
    command = node().command("@modelcontextprotocol/server-everything", "stdio")
    return Subject(command, "get-sum", {"a": 19, "b": 23}, "42", NODE_MODES)


def own_server(tmp_path: Path, node: Any) -> Subject:
    return Subject(fixture_command(), "echo", {"text": "grüße"}, "grüße")


SUBJECTS = [git_server, time_server, filesystem_server, everything_server, own_server]
CASES = [
    pytest.param(make, mode, id=f"{make.__name__.removesuffix('_server')}-{mode}")
    for make in SUBJECTS
    for mode in (NODE_MODES if make in (filesystem_server, everything_server) else ("legacy", MODERN, "auto"))
]


@pytest.fixture
def node(request: pytest.FixtureRequest) -> Callable[[], Any]:
    """The Node parts, asked for only by the servers that need them."""
    return lambda: request.getfixturevalue("node_parts")


async def listed(client: Client) -> list[dict[str, Any]]:
    """The tools without what an intermediary may change about the listing."""
    return [tool.model_dump(exclude_none=True) for tool in (await client.list_tools()).tools]


def texts(result: types.CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, types.TextContent))


async def use(client: Client, subject: Subject, prefix: str = "") -> None:
    """Call the subject's tool and check the answer."""
    result = await client.call_tool(prefix + subject.tool, subject.arguments)
    assert not result.is_error, texts(result)
    assert subject.expect in texts(result)


@pytest.mark.parametrize(("make", "mode"), CASES)
async def test_stdio_server(
    make: Callable[[Path, Any], Subject], mode: str, node: Any, deployment: Any, gateway: Any, tmp_path: Path
) -> None:
    subject = make(tmp_path, node)
    running = gateway(deployment({"subject": {"command": subject.command}}))
    parameters = StdioServerParameters(command=subject.command[0], args=subject.command[1:])
    async with Client(parameters, mode=mode) as direct:
        expected = await listed(direct)
    async with sdk_client(running.url, running.deployment.client, mode=mode) as client:
        assert client.protocol_version == subject.modes[mode]
        assert await listed(client) == expected
        await use(client, subject)


@pytest.mark.parametrize("mode", ["legacy", MODERN, "auto"])
async def test_http_server(mode: str, deployment: Any, gateway: Any, http_server: Any, tmp_path: Path) -> None:
    subject = own_server(tmp_path, None)
    running = gateway(deployment({"subject": {"url": http_server.url}}))
    async with Client(http_server.url, mode=mode) as direct:
        expected = await listed(direct)
    async with sdk_client(running.url, running.deployment.client, mode=mode) as client:
        assert client.protocol_version == subject.modes[mode]
        assert await listed(client) == expected
        await use(client, subject)


@pytest.mark.parametrize("kind", ["stdio", "http", "app"])
@pytest.mark.parametrize("mode", ["legacy", MODERN])
async def test_sampling_and_elicitation(kind: str, mode: str, deployment: Any, gateway: Any, http_server: Any) -> None:
    upstreams = {"stdio": {"command": fixture_command()}, "http": {"url": http_server.url}, "app": IN_PROCESS}
    running = gateway(deployment({"subject": upstreams[kind]}))

    async def sample(context: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        return types.CreateMessageResult(role="assistant", content=types.TextContent(text="Paris"), model="m")

    async def elicit(context: Any, params: Any) -> types.ElicitResult:
        fields = params.requested_schema["properties"]
        return types.ElicitResult(action="accept", content=dict.fromkeys(fields, "Ada"))

    callbacks = {"sampling_callback": sample, "elicitation_callback": elicit}
    async with sdk_client(running.url, running.deployment.client, mode=mode, **callbacks) as client:
        if mode == "legacy":
            asked = await client.call_tool("test_sampling", {"prompt": "capital of France?"})
            filled = await client.call_tool("test_elicitation", {"message": "who?"})
        else:
            asked = await client.call_tool("test_input_required_result_sampling", {})
            filled = await client.call_tool("test_input_required_result_elicitation", {})
    assert "Paris" in texts(asked)
    assert "Ada" in texts(filled)


@pytest.mark.parametrize("mode", ["legacy", MODERN])
async def test_signed_requests(mode: str, deployment: Any, gateway: Any, tmp_path: Path) -> None:
    subject = own_server(tmp_path, None)
    made = deployment({"subject": {"command": subject.command}}, require=("mtls", "signature"))
    running = gateway(made)
    auth = SigningAuth(signer_of("tester-1", made.secret))
    async with sdk_client(running.url, made.client, mode=mode, auth=auth) as client:
        await use(client, subject)


async def test_several_upstreams_of_both_eras(
    node: Any, deployment: Any, gateway: Any, http_server: Any, tmp_path: Path
) -> None:
    subjects = {make.__name__.removesuffix("_server"): make(tmp_path, node) for make in SUBJECTS}
    upstreams: dict[str, Any] = {name: {"command": subject.command} for name, subject in subjects.items()}
    upstreams["web"] = {"url": http_server.url}
    subjects["web"] = subjects["own"]
    running = gateway(deployment(upstreams))
    own_lists = {}
    for name, subject in subjects.items():
        for mode, version in subject.modes.items():
            async with sdk_client(running.endpoint(name), running.deployment.client, mode=mode) as client:
                assert client.protocol_version == version, name
                own_lists[name] = await listed(client)
                await use(client, subject)
    for mode in ("legacy", MODERN):
        async with sdk_client(running.url, running.deployment.client, mode=mode) as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert names == {f"{name}_{tool['name']}" for name, tools in own_lists.items() for tool in tools}
            for name, subject in subjects.items():
                await use(client, subject, f"{name}_")
