"""``mcpsec approve``: nothing is confirmed unseen, nothing that nobody asked for, and never another call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mcpsec.cli.root import main
from mcpsec.deployment import load
from mcpsec.gateway.policy import Call
from mcpsec.gateway.policy.confirmation import ConfirmationKey
from tests.deployment.documents import MINIMAL

FILE = (
    MINIMAL
    + """
[approval]
secret = { file = "approval.key" }
max_age = "30m"
[upstreams.t]
url = "http://127.0.0.1:1/mcp"
[[clients]]
id = "ops"
certificate = { san = "ops" }
signing_keys = [{ id = "k", secret = { env = "K" } }]
allow_resources = ["t/*"]
allow_methods = ["read", "execute"]
[[rules]]
resources = ["t/del_*", "t/resource:x:*"]
require = { confirmation_header = "X-Confirm" }
[[rules]]
resources = ["t/del_all"]
require = { confirmation_header = "x-second" }
"""
)
EVENT = {
    "schema": "mcpsec.event/1",
    "time": "2026-11-23T08:14:05.120934Z",
    "kind": "authorization",
    "decision": "refused",
    "client": "ops",
    "resource": "t/del_a",
    "rule": "context-confirmation",
    "address": "10.1.2.3",
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mcpsec.toml"
    path.write_text(FILE)
    key = tmp_path / "approval.key"
    key.touch(mode=0o600)
    key.write_text("k" * 43)
    return path


def run(capsys: Any, config: Path, *arguments: str) -> tuple[int, str, str]:
    code = main(["approve", "-c", str(config), *arguments])
    streams = capsys.readouterr()
    return code, streams.out, streams.err


def digest(config: Path, arguments: dict[str, Any]) -> str:
    approval = load(config).approval
    assert approval is not None
    call = Call("t", "tool", "del_a", arguments)
    return ConfirmationKey.of(approval).digest("ops", "tools/call", call, {"name": "del_a", "arguments": arguments})


def log(config: Path, detail: str) -> None:
    file = config.parent / "log" / "events.jsonl"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({**EVENT, "detail": detail}) + "\n")


def test_a_digest_of_the_log_is_confirmed(capsys: Any, config: Path) -> None:
    asked = digest(config, {"id": 7})
    log(config, f"approve {asked} in x-confirm")
    code, out, error = run(capsys, config, asked.upper())
    assert code == 0
    name, _, value = out.strip().partition(": ")
    approval = load(config).approval
    assert approval is not None and name == "x-confirm"
    import time

    assert ConfirmationKey.of(approval).read(value, asked, time.time()) is not None
    assert "asked for at 2026-11-23T08:14:05.120934Z by ops from 10.1.2.3" in error
    assert "ops may use t/del_a once" in error


def test_a_digest_that_nobody_asked_for_is_not(capsys: Any, config: Path) -> None:
    code, _, error = run(capsys, config, digest(config, {"id": 7}))
    assert (code, "no such log" in error) == (2, True)
    log(config, f"approve {digest(config, {'id': 7})} in x-confirm")
    code, out, error = run(capsys, config, digest(config, {"id": 8}))
    assert (code, out) == (1, "")
    assert "no refusal in the audit log asks for this digest" in error
    log(config, f"approve {digest(config, {'id': 7})} in x-gone")
    code, out, error = run(capsys, config, digest(config, {"id": 7}))
    assert (code, out) == (1, "") and "not in the file any more" in error


def test_a_described_call_must_be_the_one_of_the_digest(capsys: Any, config: Path) -> None:
    described = ("--client", "ops", "--tool", "t/del_a", "--arg", "id=7")
    assert run(capsys, config, digest(config, {"id": 7}), *described)[0] == 0
    code, out, error = run(capsys, config, digest(config, {"id": 8}), *described)
    assert (code, out) == (1, "") and "not that of this call" in error
    code, out, _ = run(capsys, config, *described, "--valid", "5m", "--format", "json")
    document = json.loads(out)
    assert (code, document["schema"], document["digest"]) == (0, "mcpsec.approve/1", digest(config, {"id": 7}))
    assert (document["client"], document["resource"], list(document["headers"])) == ("ops", "t/del_a", ["x-confirm"])


def test_each_header_gets_a_confirmation_of_its_own(capsys: Any, config: Path) -> None:
    code, out, _ = run(capsys, config, "--client", "ops", "--tool", "t/del_all")
    first, second = out.splitlines()
    assert code == 0 and first.startswith("x-confirm: ") and second.startswith("x-second: ")
    assert first.split()[1] != second.split()[1]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "say what to approve"),
        (("abc",), 2, "not a digest"),
        (("--client", "ops"), 2, "what the call is about"),
        (("--tool", "t/del_a"), 2, "--client must name a client"),
        (("--client", "nobody", "--tool", "t/del_a"), 2, "--client must name a client"),
        (("--client", "ops", "--tool", "t/get_a"), 1, "no rule asks for a confirmation of t/get_a"),
        (("--client", "ops", "--tool", "t/resource:x:y"), 1, "no rule asks"),
        (("--client", "ops", "--tool", "del_a"), 2, "UPSTREAM/NAME"),
        (("--client", "ops", "--tool", "t/del_a", "--arg", "id"), 2, "NAME=VALUE"),
        (("--client", "ops", "--tool", "t/del_a", "--arg", "id=99999999999999999999999"), 2, "out of range"),
        (("--client", "ops", "--tool", "t/del_a", "--valid", "1h"), 2, "must be between"),
        (("--client", "ops", "--tool", "t/del_a", "--valid", "soon"), 2, "not a duration"),
    ],
)
def test_what_can_not_be_approved(capsys: Any, config: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    found, out, error = run(capsys, config, *arguments)
    assert (found, out) == (code, "")
    assert said in error


def test_without_a_key_nothing_is_confirmed(capsys: Any, config: Path) -> None:
    described = ("--client", "ops", "--tool", "t/del_a")
    (config.parent / "approval.key").write_text("short")
    code, out, error = run(capsys, config, *described)
    assert (code, out) == (2, "") and "5 bytes" in error
    (config.parent / "approval.key").chmod(0o644)
    assert run(capsys, config, *described)[:2] == (2, "")
    config.write_text(FILE.replace('"X-Confirm"', '"x"').replace("[approval]", "[approved]"))
    assert run(capsys, config, *described)[:2] == (2, "")
    start = FILE.index("[[rules]]")
    config.write_text(FILE[:start].replace('[approval]\nsecret = { file = "approval.key" }\nmax_age = "30m"\n', ""))
    code, _, error = run(capsys, config, *described)
    assert code == 2 and "there is no [approval] table" in error
