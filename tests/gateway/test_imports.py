"""A plain gateway starts lean: what only some deployments use is imported by those alone."""

from __future__ import annotations

import subprocess
import sys

HEAVY = frozenset(
    {
        "boto3", "fastmcp", "http_message_signatures", "httpx", "hvac", "hyperscan", "joserfc", "jsonschema_rs",
        "keyring", "mcp", "opentelemetry", "prometheus_client", "pydantic", "pygments", "redis", "rich", "starlette", "uvicorn",
    }
)  # fmt: skip
"""Megabytes and tenths of a second each."""


def test_serve_does_not_import_what_a_plain_gateway_does_not_use() -> None:
    code = "import sys, mcpsec.cli.root, mcpsec.cli.serve, mcpsec.gateway.server; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = {name.partition(".")[0] for name in done.stdout.split()}
    assert {"mcpsec", "httptools", "orjson"} <= imported  # the twin: what it does use is there
    assert not imported & HEAVY
