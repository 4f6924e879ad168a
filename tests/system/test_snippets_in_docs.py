"""Every configuration that README and docs/ show is accepted where the page says that it goes."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from mcpsec.cli.root import main
from tests.fixtures.walks import Block, blocks
from tests.system.test_commands_in_docs import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs/guides").glob("*.md")])

PARTS = {
    "docs/secret-rules-authoring.md": "rules of mcpsec's own, which tests/leaks/ reads as they are",
    "docs/guides/http-server.md": "one key of a table that the page has just shown",
}
"""Pages whose blocks may be no file of their own."""

TAKEN_FOR_GRANTED = """
[upstreams.tickets]
url = "http://127.0.0.1:9000/mcp"
[upstreams.files]
command = ["cat"]
"""
"""What the pages speak of without showing it each time."""


PROGRAMS = ("mcp-server-filesystem", "mcp-server-git", "op", "sops")


def snippets() -> Iterator[tuple[str, Block]]:
    for page in PAGES:
        for block in blocks(page):
            if block.language == "toml":
                yield page.relative_to(ROOT).as_posix(), block


ALL = list(snippets())
IDS = [f"{page}:{block.line}" for page, block in ALL]


def merged(into: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """``new`` written into the file: tables grow, a client of the file gets more, other lists get longer."""
    for key, value in new.items():
        there = into.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            merged(there, value)
        elif key == "clients" and isinstance(there, list):
            for client in value:
                same = next((each for each in there if each["id"] == client["id"]), None)
                there.append(client) if same is None else merged(same, client)
        elif isinstance(there, list) and there and isinstance(there[0], dict):
            there.extend(value)
        else:
            into[key] = value
    return into


def make_files(value: Any, directory: Path) -> None:
    """The secrets and keys that a snippet refers to, which its reader has."""
    if isinstance(value, list):
        for each in value:
            make_files(each, directory)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key == "file" and isinstance(each, str) and each.startswith("secrets/"):
                path = directory / each
                path.parent.mkdir(exist_ok=True)
                path.write_text("https://hooks.example.com/" + "x" * 40 + path.name + "\n")
                path.chmod(0o600)
            elif key == "public_key":
                (directory / each).parent.mkdir(exist_ok=True)
                assert main(["sign", "keygen", str(directory / "keys/agent.key"), "--kind", "ed25519"]) == 0
                (directory / "keys/agent.key.pub").rename(directory / each)
            elif key in ("ca", "client_ca", "ca_file") and isinstance(each, str):
                (directory / each).write_bytes((directory / "pki/root-ca.pem").read_bytes())
            else:
                make_files(each, directory)


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What ``mcpsec init`` makes, on a machine that has the programs that the pages start."""
    path = tmp_path / "deployment/mcpsec.toml"
    assert main(["init", str(path.parent), "--client", "agent"]) == 0
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in PROGRAMS:
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return path


def put_into(path: Path, snippet: dict[str, Any]) -> None:
    """Write it where a reader would; factors that the snippet speaks of are all that its clients have."""
    file = merged(tomllib.loads(path.read_text()), tomllib.loads(TAKEN_FOR_GRANTED))
    if "clients" in snippet:
        file["clients"] = []
        if "auth" not in snippet:
            file["auth"]["require"] = ["mtls"]
    for client in snippet.get("clients", ()):
        client.setdefault("certificate", {"san": f"spiffe://example.com/{client['id']}"})
    make_files(snippet, path.parent)
    path.write_text(tomli_w.dumps(merged(file, snippet)))


@pytest.mark.parametrize(("page", "block"), ALL, ids=IDS)
def test_it_is_accepted(page: str, block: Block, deployment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tomllib.loads(block.text)
    if page in PARTS and not document.keys() & {"upstreams", "roles"}:
        return
    beside = deployment.parent.parent / "beside.toml"
    beside.write_text(block.text)
    if "waivers" in document:
        command = ["audit", str(deployment), "--waivers", str(beside), "--exit-zero"]
    elif "tests" in document:
        put_into(deployment, tomllib.loads(next(other.text for where, other in ALL if where == page)))
        command = ["policy", "test", str(beside), "-c", str(deployment)]
    elif "disable" in document or any("pattern" in rule for rule in document.get("rules", ())):
        command = ["scan-secrets", str(deployment), "--config", str(beside)]
    else:
        put_into(deployment, document)
        if "pins" in document:
            (deployment.parent / document["pins"]["file"]).write_text('schema = "mcpsec.pins/1"\n')
        command = ["config", "check", "-c", str(deployment)]
    capsys.readouterr()
    code = main(command)
    said = capsys.readouterr()
    assert code == 0, f"{page}:{block.line}:\n{block.text}\n{said.out}{said.err}"


def test_there_are_many() -> None:
    assert len(ALL) > 20
