"""The fixture server alone passes the whole suite: what fails through the gateway is the gateway's fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.suite import CURRENT, STABLE, run_suite

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(900)]

RUNS = [
    pytest.param(CURRENT, "2025-11-25", 84, id="2025-11-25"),
    pytest.param(CURRENT, "2026-07-28", 152, id="2026-07-28"),
    pytest.param(STABLE, None, 44, id="stable"),
]


@pytest.mark.parametrize(("package", "version", "passes"), RUNS)
async def test_fixture_passes_everything(
    package: str,
    version: str | None,
    passes: int,
    node_parts: Any,
    http_server: Any,
    tmp_path: Path,
    record_property: Any,
) -> None:
    outcome = await run_suite(node_parts, http_server.url, tmp_path / "results", version=version, package=package)
    record_property("conformance", f"direct : {outcome.summary()}")
    assert not outcome.failed, outcome.explain(outcome.failed)
    assert outcome.passes == passes
