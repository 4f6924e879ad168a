"""SDK client over stdio → bridge → gateway → server: as without the two."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import httpx2
import mcp_types as types
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from mcpsec.connect import Credentials
from mcpsec.protocol import codes
from mcpsec.signing import SignedMessage
from tests.connect.bridges import INITIALIZED, Pipes, bridged, call, command, initialize
from tests.fixtures.deployments import Deployment, fixture_command, make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.processes import wait_until
from tests.fixtures.upstreams import HttpServer, start_http_server
from tests.gateway.upstreams.test_http import FaultyServer

pytestmark = pytest.mark.anyio

MODERN, LEGACY = "2026-07-28", "2025-11-25"


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    server = start_http_server(tmp_path_factory.mktemp("upstream"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: HttpServer) -> Iterator[Gateway]:
    """A gateway that demands both factors, before our own server over HTTP and over stdio."""
    upstreams = {"web": {"url": upstream.url}, "child": {"command": fixture_command()}}
    deployment = make_deployment(tmp_path_factory.mktemp("deployed"), upstreams, require=("mtls", "signature"))
    running = start_gateway(deployment)
    for name in upstreams:
        warm_up(running, name)
    yield running
    running.stop()


def warm_up(gateway: Gateway, name: str) -> None:
    """Wait until the server has named its revisions: a client of the current one asks only for a while."""
    own = credentials(gateway.deployment)
    headers = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": MODERN,
        "mcp-method": "server/discover",
    }
    with httpx.Client(verify=own.ssl_context(), auth=own.httpx_auth(), timeout=60) as client:
        said: list[str] = []

        def named() -> bool:
            answer = client.post(gateway.endpoint(name), json=call(1, "server/discover"), headers=headers)
            said[:] = [f"{answer.status_code} {answer.text}"]
            return answer.is_success or time.sleep(0.5) is not None

        try:
            wait_until(named, f"the revisions of {name}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {said}") from None


def texts(result: types.CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, types.TextContent))


WAYS = pytest.mark.parametrize(
    ("mode", "version", "name"),
    [("auto", MODERN, "web"), ("legacy", LEGACY, "web"), ("auto", MODERN, "child"), ("legacy", LEGACY, "child")],
)


@WAYS
async def test_lists_and_calls(mode: str, version: str, name: str, gateway: Gateway, upstream: HttpServer) -> None:
    async with Client(upstream.url, mode=mode) as direct:
        expected = [tool.model_dump() for tool in (await direct.list_tools()).tools]
    async with bridged(gateway.endpoint(name), gateway.deployment, mode=mode) as client:
        assert client.protocol_version == version
        assert [tool.model_dump() for tool in (await client.list_tools()).tools] == expected
        assert texts(await client.call_tool("echo", {"text": "grüße"})) == "grüße"
        result = await client.call_tool("test_custom_header", {"region": "eu west/é", "limit": 3})
        assert json.loads(texts(result)) == {"region": "eu west/é", "limit": 3}
        assert (await client.list_resources()).resources
        assert (await client.list_prompts()).prompts


@WAYS
async def test_progress_streams(mode: str, version: str, name: str, gateway: Gateway) -> None:
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async with bridged(gateway.endpoint(name), gateway.deployment, mode=mode) as client:
        await client.call_tool("test_tool_with_progress", {}, progress_callback=on_progress)
    assert len(seen) >= 3


@pytest.mark.parametrize("name", ["web", "child"])
async def test_the_server_asks_the_client_in_the_earlier_era(name: str, gateway: Gateway) -> None:
    async def sample(context: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        return types.CreateMessageResult(
            role="assistant", content=types.TextContent(type="text", text="sampled"), model="m"
        )

    async with bridged(gateway.endpoint(name), gateway.deployment, mode="legacy", sampling_callback=sample) as client:
        assert "sampled" in texts(await client.call_tool("test_sampling", {"prompt": "hi"}))


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_npm_server_everything(mode: str, node_parts: Any, tmp_path: Any) -> None:
    server = node_parts.command("@modelcontextprotocol/server-everything", "stdio")
    deployment = make_deployment(tmp_path, {"all": {"command": server}}, require=("mtls", "signature"))
    async with Client(StdioServerParameters(command=server[0], args=server[1:]), mode=mode) as direct:
        expected = [tool.model_dump() for tool in (await direct.list_tools()).tools]
    running = await asyncio.to_thread(start_gateway, deployment)
    try:
        async with bridged(running.url, deployment, mode=mode) as client:
            assert client.protocol_version == LEGACY
            assert [tool.model_dump() for tool in (await client.list_tools()).tools] == expected
            assert "42" in texts(await client.call_tool("get-sum", {"a": 19, "b": 23}))
    finally:
        await asyncio.to_thread(running.stop)


async def test_multi_round_trips_of_the_current_era(gateway: Gateway) -> None:
    async def elicit(context: Any, params: Any) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"name": "Ada"})

    async with bridged(gateway.endpoint("web"), gateway.deployment, elicitation_callback=elicit) as client:
        assert "Ada" in texts(await client.call_tool("test_input_required_result_elicitation", {}))


async def test_an_answer_cut_in_the_middle_is_fetched_in_the_earlier_era(upstream: HttpServer) -> None:
    async with bridged(upstream.url, mode="legacy") as client:
        assert "completed" in texts(await client.call_tool("test_reconnection", {}))


@pytest.mark.parametrize("modern", [True, False])
def test_a_script_that_closes_its_end_gets_its_answers(modern: bool, gateway: Gateway) -> None:
    request = call(1, name="echo", arguments={"text": "piped"}, modern=modern)
    lines = [request] if modern else [initialize(), INITIALIZED, request]
    done = subprocess.run(
        command(gateway.endpoint("web"), gateway.deployment),
        input="".join(json.dumps(line) + "\n" for line in lines),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers[-1]["id"] == 1
    assert answers[-1]["result"]["content"][0]["text"] == "piped"
    assert done.stderr == ""


def test_a_refused_certificate_is_said_in_words(gateway: Gateway) -> None:
    deployment = gateway.deployment
    stranger = {"cert": str(deployment.stranger.certificate), "key": str(deployment.stranger.key)}
    done = subprocess.run(
        command(gateway.endpoint("web"), deployment, **stranger),
        input=json.dumps(call(1, "tools/list")) + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    error = json.loads(done.stdout)["error"]
    assert "certificate" in error["message"]
    assert "certificate" in done.stderr


def test_missing_files_are_said_at_once(gateway: Gateway) -> None:
    wrong = command(gateway.url, gateway.deployment, cert="/nowhere/chain.pem")
    done = subprocess.run(wrong, input="", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "/nowhere/chain.pem" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("modern", [True, False])
async def test_a_gateway_that_is_restarted_is_found_again(modern: bool, upstream: HttpServer, tmp_path: Any) -> None:
    deployment = make_deployment(
        tmp_path,
        {"web": {"url": upstream.url}},
        require=("mtls", "signature"),
        server={"limits": {"drain_timeout": "1s"}},
    )
    first = start_gateway(deployment)
    listen = f"{first.address[0]}:{first.address[1]}"
    async with Pipes(first.url, credentials(deployment)) as client:
        if not modern:
            await client.ask(initialize())
            client.write(INITIALIZED)
        request = call(1, name="echo", arguments={"text": "x"}, modern=modern)
        assert "result" in await client.ask(request)
        await asyncio.to_thread(first.stop)
        client.write({**request, "id": 2})
        second = await asyncio.to_thread(start_gateway, deployment, "--listen", listen)
        try:
            assert (await client.read())["id"] == 2
            assert "result" in await client.ask({**request, "id": 3})
        finally:
            client.hang_up()
            await asyncio.sleep(0.3)
            await asyncio.to_thread(second.stop)


async def test_a_call_that_a_stopping_gateway_cuts_is_no_fault_of_the_certificate(tmp_path: Any) -> None:
    server, begun, over = FaultyServer(), threading.Event(), threading.Event()
    server.fault = lambda _connection, _body: (begun.set(), over.wait(60))[0]
    limits = {"limits": {"drain_timeout": "1s"}}
    made = make_deployment(tmp_path, {"web": {"url": server.url}}, require=("mtls", "signature"), server=limits)
    running = start_gateway(made, expected=(".*",))
    try:
        async with Pipes(running.url, credentials(made)) as client:
            client.write(call(1, name="echo", arguments={"text": "x"}, modern=True))
            await asyncio.to_thread(begun.wait, 60)
            await asyncio.to_thread(running.stop)
            error = (await client.read())["error"]
            client.hang_up()
    finally:
        over.set()
        running.kill()
        server.close()
    assert error["code"] == codes.UPSTREAM_UNAVAILABLE
    assert "closed the connection before it answered" in error["message"]


async def test_a_certificate_that_is_refused_is_named(tmp_path: Any) -> None:
    made = make_deployment(tmp_path, {"demo": {"builtin": "demo"}}, require=("mtls", "signature"))
    running = start_gateway(made)
    stranger = made.stranger
    refused = credentials(made, certificate=stranger.certificate, key=stranger.key)
    try:
        async with Pipes(running.url, refused) as client:
            error = (await client.ask(call(1, name="echo", arguments={"text": "x"}, modern=True)))["error"]
            client.hang_up()
    finally:
        await asyncio.to_thread(running.stop)
    assert error["code"] == codes.NOT_AUTHENTICATED
    assert "certificate" in error["message"]


def credentials(deployment: Deployment, **changes: Any) -> Credentials:
    who = deployment.client
    options = {"certificate": who.certificate, "key": who.key, "ca": who.ca}
    return Credentials.load(**{**options, "secret_file": deployment.secret, "key_id": "tester-1", **changes})


# --- library -------------------------------------------------------------------------------------------------------


async def test_httpx_in_three_lines(gateway: Gateway) -> None:
    own = credentials(gateway.deployment)
    request = call(1, name="echo", arguments={"text": "hi"})
    headers = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": MODERN,
        "mcp-method": "tools/call",
        "mcp-name": "echo",
    }
    async with httpx.AsyncClient(verify=own.ssl_context(), auth=own.httpx_auth()) as client:
        for _ in range(2):
            answer = await client.post(gateway.endpoint("web"), json=request, headers=headers)
            assert answer.status_code == 200, answer.text
    async with httpx.AsyncClient(verify=own.ssl_context()) as unsigned:
        assert (await unsigned.post(gateway.endpoint("web"), json=request, headers=headers)).status_code == 401
    with httpx.Client(verify=own.ssl_context(), auth=own.httpx_auth()) as client:
        assert client.post(gateway.endpoint("web"), json=request, headers=headers).status_code == 200


async def test_of_500_concurrent_copies_of_a_signed_request_one_is_served(tmp_path: Any) -> None:
    deployment = make_deployment(tmp_path, {"demo": {"builtin": "demo"}}, require=("mtls", "signature"))
    running = await asyncio.to_thread(start_gateway, deployment)
    try:
        statuses = await _copies(running, 500)
    finally:
        await asyncio.to_thread(running.stop)
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 401, 429}  # 429: one client at one address failed too often


async def _copies(gateway: Gateway, number: int) -> list[int]:
    own, url = credentials(gateway.deployment), gateway.url
    assert own.signer is not None
    headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", MODERN),
        ("mcp-method", "tools/call"),
        ("mcp-name", "echo"),
    ]
    body = json.dumps(call(1, name="echo", arguments={"text": "once"})).encode()
    signature = own.signer.sign(SignedMessage.from_url("POST", url, headers=headers, body=body))
    limits = httpx.Limits(max_connections=40)
    async with httpx.AsyncClient(verify=own.ssl_context(), limits=limits, timeout=60) as client:
        copies = [client.post(url, content=body, headers=[*headers, *signature.items()]) for _ in range(number)]
        return [answer.status_code for answer in await asyncio.gather(*copies)]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_sdks_client_signs(mode: str, gateway: Gateway) -> None:
    own = credentials(gateway.deployment)
    async with httpx2.AsyncClient(verify=own.ssl_context(), auth=own.httpx2_auth()) as http:
        async with Client(streamable_http_client(gateway.endpoint("web"), http_client=http), mode=mode) as client:
            assert texts(await client.call_tool("echo", {"text": "hi"})) == "hi"


async def test_a_renewed_certificate_is_presented_without_a_restart(tmp_path: Any) -> None:
    from tests.fixtures.pki import Authority

    servers, clients = Authority(tmp_path / "s", "S"), Authority(tmp_path / "c", "C")
    server = servers.server("server", trusts=clients.certificate)
    old = clients.client("agent", "spiffe://x/old", trusts=servers.certificate)
    new = clients.client("renewed", "spiffe://x/new", trusts=servers.certificate)
    names: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        while await reader.readline():
            while (line := await reader.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length"):
                    size = int(line.split(b":")[1])
            body = json.loads(await reader.readexactly(size))
            names.append(tls.getpeercert()["subjectAltName"][0][1])  # type: ignore[index]
            content = json.dumps({"jsonrpc": "2.0", "id": body["id"], "result": {}}).encode()
            head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
            writer.write(head.encode() + content)
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server.server_context())
    url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/mcp"
    own = Credentials.load(certificate=old.certificate, key=old.key, ca=servers.certificate)
    async with Pipes(url, own) as client:
        await client.ask(call(1))
        new.key.rename(old.key)  # half of a renewal: the files don't fit together yet
        await client.ask(call(2))
        new.certificate.rename(old.certificate)
        await client.ask(call(3))
    assert names == ["spiffe://x/old", "spiffe://x/old", "spiffe://x/new"]
    listener.close()
