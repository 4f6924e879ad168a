"""Through the gateway, with mutual TLS on, the suite finds nothing that it doesn't find on the server behind it.

The suite knows no client certificates: it reaches the gateway by a forwarder on the loopback interface that presents
one and passes the bytes. There is no list of expected failures.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.suite import CURRENT, STABLE, Check, Outcome, run_suite
from tests.fixtures.deployments import Deployment, fixture_command
from tests.fixtures.forwarder import Forwarder, SigningForwarder
from tests.fixtures.gateway import StartGateway
from tests.fixtures.node import NodeParts
from tests.fixtures.signatures import sign_for_forwarder, signer_of

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]

RUNS = [
    pytest.param(CURRENT, "2025-11-25", id="2025-11-25"),
    pytest.param(CURRENT, "2026-07-28", id="2026-07-28"),
    pytest.param(STABLE, None, id="stable"),
]

RESUMPTION = {
    ("server-sse-polling", "server-sse-priming-event"),
    ("server-sse-polling", "server-sse-retry-field"),
    ("server-sse-polling", "server-sse-disconnect-resume"),
    ("server-sse-multiple-streams", "server-sse-streams-functional"),
}
"""Checks on event streams, which the suite leaves out when a server answers with plain JSON, as it may.

A stdio server can't cut a stream, and neither does the gateway in its name."""


async def compare(
    parts: NodeParts,
    direct_url: str,
    through_url: str,
    output: Path,
    package: str,
    version: str | None,
    note: Callable[[str, object], None],
) -> tuple[Outcome, Outcome]:
    """Run the suite on both URLs, note both sets of failures for the summary, and demand that the second adds none."""
    direct = await run_suite(parts, direct_url, output / "direct", version=version, package=package)
    through = await run_suite(parts, through_url, output / "through", version=version, package=package)
    for name, outcome in (("direct", direct), ("through", through)):
        note("conformance", f"{name:7}: {outcome.summary()}")
    assert through.scenarios == direct.scenarios
    assert through.failed <= direct.failed, through.explain(through.failed - direct.failed)
    assert through.warned <= direct.warned, through.explain(through.warned - direct.warned)
    return direct, through


def not_reached(direct: Outcome, through: Outcome) -> set[Check]:
    """Checks that passed directly and were not made at all the other way."""
    return direct.passed - through.passed


def serve_behind(forwarder: Forwarder, made: Deployment, gateway: StartGateway) -> str:
    """Start a gateway that accepts the forwarder's address as its own, and return the URL that the suite is given."""
    made.document["server"]["allowed_hosts"] = [forwarder.authority]
    made.document["server"]["allowed_origins"] = [f"http://{forwarder.authority}"]
    made.write()
    forwarder.connect_to(*gateway(made).address)
    return f"http://{forwarder.authority}/mcp"


@pytest.mark.parametrize(("package", "version"), RUNS)
async def test_http_upstream(
    package: str,
    version: str | None,
    node_parts: Any,
    http_server: Any,
    deployment: Any,
    gateway: Any,
    tmp_path: Path,
    record_property: Any,
) -> None:
    made = deployment({"fixture": {"url": http_server.url}})
    async with Forwarder(originate=made.client.client_context()) as forwarder:
        url = serve_behind(forwarder, made, gateway)
        direct, through = await compare(node_parts, http_server.url, url, tmp_path, package, version, record_property)
    assert not_reached(direct, through) == set()


@pytest.mark.parametrize(("package", "version"), RUNS[:2])
async def test_stdio_upstream(
    package: str,
    version: str | None,
    node_parts: Any,
    http_server: Any,
    deployment: Any,
    gateway: Any,
    tmp_path: Path,
    record_property: Any,
) -> None:
    made = deployment({"fixture": {"command": fixture_command()}})
    async with Forwarder(originate=made.client.client_context()) as forwarder:
        url = serve_behind(forwarder, made, gateway)
        direct, through = await compare(node_parts, http_server.url, url, tmp_path, package, version, record_property)
    assert not_reached(direct, through) <= RESUMPTION


@pytest.mark.parametrize(("package", "version"), RUNS)
async def test_nothing_in_between(
    package: str,
    version: str | None,
    node_parts: Any,
    http_server: Any,
    deployment: Any,
    tmp_path: Path,
    record_property: Any,
) -> None:
    """The harness itself adds no failure: mutual TLS that ends right before the server, without a gateway."""
    made = deployment()
    host, port = http_server.url.removeprefix("http://").removesuffix("/mcp").split(":")
    async with Forwarder(accept=made.server.server_context()) as terminator:
        terminator.connect_to(host, int(port))
        async with Forwarder(originate=made.client.client_context()) as forwarder:
            forwarder.connect_to(terminator.host, terminator.port)
            url = f"http://{forwarder.authority}/mcp"
            direct, through = await compare(
                node_parts, http_server.url, url, tmp_path, package, version, record_property
            )
    assert not_reached(direct, through) == set()


@pytest.mark.parametrize(("package", "version"), RUNS[:2])
async def test_signed_requests(
    package: str,
    version: str | None,
    node_parts: Any,
    http_server: Any,
    deployment: Any,
    gateway: Any,
    tmp_path: Path,
    record_property: Any,
) -> None:
    """The same with every request signed, as a new deployment demands it."""
    made = deployment({"fixture": {"url": http_server.url}}, require=("mtls", "signature"))
    sign = sign_for_forwarder(signer_of("tester-1", made.secret))
    async with SigningForwarder(sign=sign, originate=made.client.client_context()) as forwarder:
        url = serve_behind(forwarder, made, gateway)
        direct, through = await compare(node_parts, http_server.url, url, tmp_path, package, version, record_property)
    assert not_reached(direct, through) == set()
