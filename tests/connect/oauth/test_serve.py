"""The whole way: the SDK's client over stdio, the bridge, and a gateway that wants certificate, signature and token."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import mcp_types as types
import pytest

from mcpsec.connect import Credentials
from mcpsec.connect.selection import Selection
from tests.connect.bridges import Pipes, bridged, call
from tests.connect.oauth.servers import Servers, start_servers
from tests.fixtures import browser
from tests.fixtures.deployments import make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.node import find_node_parts

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    started = start_servers(tmp_path_factory.mktemp("oauth"), find_node_parts(), features={"dpop": True, "mtls": True})
    yield started
    started.stop()


@pytest.fixture(scope="module")
def gateway(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """All three factors, and tokens only where they are bound to the caller."""
    made = make_deployment(
        tmp_path_factory.mktemp("deployed"), {"demo": {"builtin": "demo"}}, require=("mtls", "signature", "bearer")
    )
    made.document["auth"]["oauth"] = {
        "issuer": servers.issuer,
        "ca": str(servers.ca),
        "scopes": ["mcp:use"],
        "timeout": "60s",
    }
    made.document["clients"][0]["oauth"] = {"subject": "tester"}
    made.write()
    running = start_gateway(made)
    yield running
    running.stop()


def words(servers: Servers, *more: str) -> list[str]:
    return ["--oauth-ca", str(servers.ca), "--oauth-store", "file", *more]


@pytest.mark.parametrize(("binding", "mode"), [("auto", "2026-07-28"), ("certificate", "legacy")])
async def test_a_token_is_had_and_bound(
    binding: str, mode: str, gateway: Gateway, servers: Servers, tmp_path: Path
) -> None:
    env = {**browser.environment(), "XDG_STATE_HOME": str(tmp_path)}
    options = words(servers, "--oauth-binding", binding)
    async with bridged(gateway.url, gateway.deployment, options, env, mode=mode) as client:
        for text in ("first", "second"):
            result = await client.call_tool("echo", {"text": text})
            assert [block.text for block in result.content if isinstance(block, types.TextContent)] == [text]


async def test_without_a_token_the_same_client_is_refused(gateway: Gateway) -> None:
    made = gateway.deployment
    who = made.client
    own = Credentials.load(
        certificate=who.certificate, key=who.key, ca=who.ca, key_id="tester-1", secret_file=made.secret
    )
    async with Pipes(gateway.url, own) as client:  # a bridge that was given no way to get one
        answer = await client.ask(call(1, name="echo", arguments={"text": "x"}))
    assert answer["error"]["code"] == 40101


async def test_a_token_that_is_bound_to_nothing_is_refused(gateway: Gateway, servers: Servers, tmp_path: Path) -> None:
    env = {**browser.environment(), "XDG_STATE_HOME": str(tmp_path)}
    before = servers.grants().count("authorization_code")
    options = words(servers, "--oauth-binding", "none")
    with pytest.raises(Exception, match=r"authenticated|unhandled errors"):
        async with bridged(gateway.url, gateway.deployment, options, env, mode="legacy") as client:
            await client.call_tool("echo", {"text": "x"})
    assert servers.grants().count("authorization_code") - before == 1, "one login, not one after the other"


async def test_the_deployment_file_says_who_issues_tokens(gateway: Gateway, servers: Servers, tmp_path: Path) -> None:
    """With -c neither the issuer nor its authority needs to be said, and no other issuer will do."""
    made = gateway.deployment
    who = made.client
    options = {"client": "tester", "cert": who.certificate, "key": who.key, "ca": who.ca, "oauth-store": "file"}
    line = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    selection = Selection(config=made.config, client="tester", certificate=who.certificate, key=who.key, ca=who.ca)
    assert selection.issuer() == (servers.issuer, servers.ca)
    env = {**os.environ, **browser.environment(), "XDG_STATE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "mcpsec", "connect", gateway.url, "-c", str(made.config), *line, "--login"]
    process = await asyncio.create_subprocess_exec(*command, env=env, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()
