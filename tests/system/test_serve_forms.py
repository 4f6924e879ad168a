"""The ways to start ``mcpsec serve``: a deployment as ``init`` writes it, a command, a URL, and a grant for one run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from tests.fixtures.deployments import Deployment, fixture_command
from tests.fixtures.gateway import sdk_client
from tests.fixtures.pki import Identity
from tests.fixtures.processes import PATIENCE
from tests.fixtures.signatures import SigningAuth, signer_of

pytestmark = pytest.mark.anyio

MODERN = "2026-07-28"
GRANT_WARNING = r"warning: for this run, client 'alice' may use everything of: .*"


@pytest.fixture
def scaffold(tmp_path: Path) -> Deployment:
    """What ``mcpsec init`` writes for two clients, unchanged."""
    directory = tmp_path / "deployment"
    command = [sys.executable, "-m", "mcpsec", "init", str(directory), "--client", "alice", "--client", "bob"]
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
    pki = directory / "pki"

    def identity(name: str) -> Identity:
        return Identity(pki / "client" / name / "chain.pem", pki / "client" / name / "key.pem", pki / "root-ca.pem")

    server = Identity(pki / "server/gateway/chain.pem", pki / "server/gateway/key.pem", pki / "client-ca.pem")
    secret = directory / "secrets" / "alice.hmac"
    return Deployment(directory, {}, server, identity("alice"), secret, identity("bob"), identity("bob"))


def auth(made: Deployment, name: str) -> SigningAuth:
    return SigningAuth(signer_of(name, made.directory / "secrets" / f"{name}.hmac"))


@pytest.mark.parametrize("mode", ["legacy", MODERN])
async def test_a_new_deployment_serves_the_built_in_tools_to_signed_requests(
    mode: str, scaffold: Deployment, gateway: Any
) -> None:
    running = gateway(scaffold)
    async with sdk_client(running.url, scaffold.client, mode=mode, auth=auth(scaffold, "alice")) as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert "time_now" in tools
        assert not (await client.call_tool("time_now", {})).is_error


async def test_a_new_deployment_refuses_unsigned_requests(scaffold: Deployment, gateway: Any) -> None:
    running = gateway(scaffold)
    with pytest.raises((MCPError, ExceptionGroup)):
        async with sdk_client(running.url, scaffold.client, mode=MODERN) as client:
            await client.list_tools()


async def test_one_clients_key_does_not_sign_for_another(scaffold: Deployment, gateway: Any) -> None:
    running = gateway(scaffold)
    with pytest.raises((MCPError, ExceptionGroup)):
        async with sdk_client(running.url, scaffold.client, mode=MODERN, auth=auth(scaffold, "bob")) as client:
            await client.list_tools()


@pytest.mark.parametrize("kind", ["command", "url"])
@pytest.mark.parametrize("mode", ["legacy", MODERN])
async def test_an_upstream_for_this_run(
    kind: str, mode: str, scaffold: Deployment, gateway: Any, http_server: Any
) -> None:
    before = scaffold.config.read_bytes()
    arguments = ["--", *fixture_command()] if kind == "command" else ["--upstream", http_server.url]
    running = gateway(scaffold, *arguments, expected=(GRANT_WARNING,))
    async with sdk_client(running.url, scaffold.client, mode=mode, auth=auth(scaffold, "alice")) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert "echo" in names, "its tools keep their names"
        assert "time_now" not in names, "it replaces the file's upstreams"
        assert (await client.call_tool("echo", {"text": "hi"})).content[0].text == "hi"
    async with sdk_client(running.url, scaffold.other, mode=mode, auth=auth(scaffold, "bob")) as client:
        assert not (await client.list_tools()).tools, "only one client may use it"
        with pytest.raises(MCPError):
            await client.call_tool("echo", {"text": "hi"})
    assert "warning: for this run, client 'alice' may use everything of" in running.stderr()
    assert scaffold.config.read_bytes() == before


async def test_grant_names_another_client(scaffold: Deployment, gateway: Any) -> None:
    warning = GRANT_WARNING.replace("alice", "bob")
    running = gateway(scaffold, "--grant", "bob", "--", *fixture_command(), expected=(warning,))
    async with sdk_client(running.url, scaffold.other, mode=MODERN, auth=auth(scaffold, "bob")) as client:
        assert (await client.call_tool("echo", {"text": "hi"})).content[0].text == "hi"
    async with sdk_client(running.url, scaffold.client, mode=MODERN, auth=auth(scaffold, "alice")) as client:
        assert not (await client.list_tools()).tools


async def test_auth_overrides_the_file(scaffold: Deployment, gateway: Any) -> None:
    running = gateway(scaffold, "--auth", "mtls")
    async with sdk_client(running.url, scaffold.client, mode=MODERN) as client:
        assert not (await client.call_tool("time_now", {})).is_error
