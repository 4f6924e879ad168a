"""Runs the official conformance suite against a URL and reads what it found."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path

from tests.fixtures.node import NodeParts

__all__ = ["CURRENT", "STABLE", "Outcome", "run_suite"]

CURRENT = "@modelcontextprotocol/conformance"
"""The release that knows 2026-07-28."""
STABLE = "conformance-stable"
"""The last release on the suite's stable line, which ends with 2025-11-25."""

Check = tuple[str, str]
"""Scenario and check id. A scenario may emit the same id several times, it counts as its worst result."""

RUN_SECONDS = 600


@dataclass
class Outcome:
    """What one run of the suite found, as sets of ``(scenario, check id)``."""

    scenarios: set[str] = field(default_factory=set)
    passed: set[Check] = field(default_factory=set)
    failed: set[Check] = field(default_factory=set)
    warned: set[Check] = field(default_factory=set)
    skipped: set[Check] = field(default_factory=set)
    passes: int = 0
    failures: int = 0
    messages: dict[Check, str] = field(default_factory=dict)

    def add(self, scenario: str, checks: list[dict[str, str]]) -> None:
        """Count the checks of one scenario."""
        self.scenarios.add(scenario)
        for check in checks:
            key = (scenario, check["id"])
            match check["status"]:
                case "SUCCESS":
                    self.passed.add(key)
                    self.passes += 1
                case "FAILURE":
                    self.failed.add(key)
                    self.failures += 1
                    self.messages[key] = check.get("errorMessage", "")
                case "WARNING":
                    self.warned.add(key)
                    self.messages[key] = check.get("errorMessage", "")
                case "SKIPPED":
                    self.skipped.add(key)
        self.passed -= self.failed

    def summary(self) -> str:
        """The counts, and the ids of all that failed or was warned of."""
        failed, warned = sorted(self.failed) or "none", sorted(self.warned) or "none"
        return (
            f"{self.passes} checks passed, {self.failures} failed in {len(self.scenarios)} scenarios; "
            f"failing: {failed}; warnings: {warned}"
        )

    def explain(self, checks: set[Check]) -> str:
        """One line for each of these checks, with the suite's own words."""
        return "\n".join(
            f"  {scenario}: {id}: {self.messages.get((scenario, id), '')}" for scenario, id in sorted(checks)
        )


async def run_suite(
    parts: NodeParts, url: str, output: Path, *, version: str | None = None, package: str = CURRENT
) -> Outcome:
    """Run all server scenarios that the suite has for ``version`` against ``url``."""
    command = parts.command(package, "server", "--url", url, "--suite", "all", "--output-dir", str(output))
    if version is not None:
        command += ["--spec-version", version]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        printed, _ = await asyncio.wait_for(process.communicate(), RUN_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    text = printed.decode(errors="replace")
    outcome = Outcome()
    for checks in output.glob("server-*/checks.json"):
        # The directory is named server-SCENARIO-TIMESTAMP, where the time is YYYY-MM-DDTHH-MM-SS-mmmZ.
        scenario = "-".join(checks.parent.name.split("-")[1:-6])
        outcome.add(scenario, json.loads(checks.read_text()))
    started = text.count("=== Running scenario: ")
    assert outcome.scenarios, f"the suite wrote no results:\n{text}"
    assert len(outcome.scenarios) == started, (
        f"{started} scenarios started, {len(outcome.scenarios)} have results:\n{text}"
    )
    return outcome
