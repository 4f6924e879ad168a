"""Through the gateway, with mutual TLS on, the suite finds nothing that it doesn't find on the server behind it.

The suite knows no client certificates: it reaches the gateway by a forwarder on the loopback interface that presents
one and passes the bytes. There is no list of expected failures.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcpsec.cli.root import main
from tests.conformance.suite import CURRENT, STABLE, Check, Outcome, run_suite
from tests.fixtures.deployments import EVERYTHING, Deployment, fixture_command
from tests.fixtures.forwarder import Forwarder, SigningForwarder
from tests.fixtures.gateway import StartGateway
from tests.fixtures.node import NodeParts
from tests.fixtures.pki import Identity
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

PROTECTED: dict[str, Any] = {
    "secrets": "redact",
    "error_details": "hide",
    "timeout": "30s",
    "in_flight": 32,
    "rate_limits": {"*": "10000/minute"},
    "access": {"test_*": "execute", "json_schema_*": "read"},
}
GRANTS: dict[str, Any] = {**EVERYTHING, "resource_filters": {"fixture/json_schema_2020_12_tool": {"name": ["*"]}}}
_direct: dict[tuple[str, str | None], Outcome] = {}


async def compare(
    parts: NodeParts,
    direct_url: str,
    through_url: str,
    output: Path,
    package: str,
    version: str | None,
    note: Callable[[str, object], None],
) -> tuple[Outcome, Outcome]:
    """Run the suite on both URLs, note both sets of failures for the summary, and demand that the second adds none.

    What it finds on the fixture server itself is found once in a process.
    """
    if (package, version) not in _direct:
        _direct[package, version] = await run_suite(
            parts, direct_url, output / "direct", version=version, package=package
        )
    direct = _direct[package, version]
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


def serve_behind(forwarder: Forwarder, made: Deployment, gateway: StartGateway, expected: tuple[str, ...] = ()) -> str:
    """Start a gateway that accepts the forwarder's address as its own, and return the URL that the suite is given."""
    made.document["server"]["allowed_hosts"] = [forwarder.authority]
    made.document["server"]["allowed_origins"] = [f"http://{forwarder.authority}"]
    made.write()
    forwarder.connect_to(*gateway(made, expected=expected).address)
    return f"http://{forwarder.authority}/mcp"


def fingerprint(identity: Identity) -> str:
    """The SHA-256 of a certificate, as the policy names it."""
    der = ssl.PEM_cert_to_DER_cert(identity.certificate.read_text())
    return hashlib.sha256(der).hexdigest()


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
@pytest.mark.parametrize("kind", ["http", "stdio"])
async def test_every_protection(
    kind: str,
    package: str,
    version: str | None,
    node_parts: Any,
    http_server: Any,
    deployment: Any,
    gateway: Any,
    tmp_path: Path,
    record_property: Any,
) -> None:
    """All at once: certificate and signature, pins, argument validation, redaction, filters, rules, limits.

    The tool and the prompt that the fixture adds when it is told to are not pinned: they are told of, and hidden.
    """
    upstream: dict[str, Any] = {"url": http_server.url} if kind == "http" else {"command": fixture_command()}
    made = deployment({"fixture": {**upstream, **PROTECTED}}, require=("mtls", "signature"), grants=GRANTS)
    conditions = {"networks": ["127.0.0.0/8"], "certificate_sha256": [fingerprint(made.client)]}
    made.document["rules"] = [{"resources": ["*/*"], "require": conditions}]
    made.document["server"]["limits"] = {"rate_limit": "10000/minute", "address_rate_limit": "10000/minute"}
    made.write()
    assert await asyncio.to_thread(main, ["pin", "-c", str(made.config), "--accept-flagged"]) == 0
    made.document["pins"] = {"file": "mcpsec.pins.toml", "on_change": "quarantine", "validate_arguments": True}
    sign = sign_for_forwarder(signer_of("tester-1", made.secret))
    async with SigningForwarder(sign=sign, originate=made.client.client_context()) as forwarder:
        url = serve_behind(forwarder, made, gateway, expected=(r".*differs from its pins: added.*",))
        direct, through = await compare(node_parts, http_server.url, url, tmp_path, package, version, record_property)
    assert not_reached(direct, through) <= (RESUMPTION if kind == "stdio" else set())
