"""The conformance suite's client scenarios: the SDK's client through the bridge does what it does without it.

The scenarios under ``auth/`` test a client's own authorization. There the client is the bridge: the SDK's client behind it
knows nothing of tokens.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
SCENARIOS = [
    ("initialize", "2025-11-25"),
    ("tools_call", "2025-11-25"),
    ("elicitation-sep1034-client-defaults", "2025-11-25"),
    ("sse-retry", "2025-11-25"),
    ("json-schema-2020-12-preservation", "2025-11-25"),
    ("tools_call", "2026-07-28"),
    ("request-metadata", "2026-07-28"),
    ("sep-2322-client-request-state", "2026-07-28"),
    ("http-standard-headers", "2026-07-28"),
    ("http-custom-headers", "2026-07-28"),
    ("http-invalid-tool-headers", "2026-07-28"),
    ("json-schema-ref-no-deref", "2026-07-28"),
]

GATEWAYS_OWN = {
    "request-metadata": {
        "sep-2575-http-client-sends-version-header",
        "sep-2575-client-populates-meta",
        "sep-2575-client-sends-client-info",
    }
}
"""Checks that look at every request which reaches the server: the gateway asks it for its tools itself, in the earlier
era when the server turns down the first question, as this scenario's does."""


AUTHORIZATION = [
    "2025-03-26-oauth-metadata-backcompat",
    "authorization-server-migration",
    "client-credentials-jwt",
    "dpop-nonce",
    "iss-normalized",
    "scope-step-up",
    "token-endpoint-auth-post",
]
"""Some of each kind, for their time; docs/conformance.md has the whole set."""


async def run(parts: Any, scenario: str, version: str | None, way: str, output: Path) -> dict[str, set[str]]:
    """One scenario; check ids by status."""
    command = f"{sys.executable} -m tests.connect.conformance_client {way}"
    arguments = ["client", "--command", command, "--scenario", scenario, "--output-dir", str(output)]
    arguments += ["--timeout", "90000", *(["--spec-version", version] if version else [])]
    process = await asyncio.create_subprocess_exec(
        *parts.command("@modelcontextprotocol/conformance", *arguments),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    files = list(output.glob("**/checks.json"))
    assert files, said.decode()
    found: dict[str, set[str]] = {}
    for check in json.loads(files[0].read_text()):
        found.setdefault(check["status"], set()).add(check["id"])
    return found


@pytest.mark.parametrize(("scenario", "version"), SCENARIOS)
async def test_the_same_checks_pass(scenario: str, version: str, node_parts: Any, tmp_path: Path) -> None:
    direct = await run(node_parts, scenario, version, "direct", tmp_path / "direct")
    bad = direct.get("FAILURE", set()) | direct.get("WARNING", set())
    assert direct.get("SUCCESS"), direct
    for way in ("bridge", "gateway") if scenario in GATEWAYS_OWN else ("gateway",):
        found = await run(node_parts, scenario, version, way, tmp_path / way)
        excused = GATEWAYS_OWN.get(scenario, set()) if way == "gateway" else set()
        assert found.get("FAILURE", set()) | found.get("WARNING", set()) <= bad | excused, way
        assert found.get("SUCCESS", set()) | excused >= direct["SUCCESS"], way


@pytest.mark.parametrize("scenario", AUTHORIZATION)
async def test_authorization_scenarios_pass(scenario: str, node_parts: Any, tmp_path: Path) -> None:
    found = await run(node_parts, f"auth/{scenario}", None, "oauth", tmp_path)
    assert found.get("SUCCESS")
    assert not found.get("FAILURE", set()) | found.get("WARNING", set())
