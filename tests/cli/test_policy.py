"""``mcpsec policy`` as people type it."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from mcpsec.cli.root import main
from mcpsec.telemetry import AuditLog, Event

FILE = """\
version = 1
[server]
listen = "127.0.0.1:8443"
[server.tls]
certificate = "pki/server.pem"
key = "pki/server.key"
client_ca = "pki/ca.pem"
[auth]
require = ["mtls"]
[log]
file = "log/events.jsonl"

[upstreams.tickets]
url = "http://127.0.0.1:9000/mcp"
[upstreams.tickets.access]
"get_*" = "read"
"delete_*" = "write"

[roles.reader]
allow_resources = ["tickets/get_*"]
allow_methods = ["read"]

[[clients]]
id = "reports"
roles = ["reader"]
certificate = { san = "spiffe://example.com/reports" }
[clients.resource_filters]
"tickets/get_ticket".project = ["WEB", "API-*"]
"tickets/get_bill" = { amount = { max = 500 }, key = { regex = "[A-Z]+-[0-9]+" } }

[[clients]]
id = "ops"
certificate = { sha256 = "abababababababababababababababababababababababababababababababab" }
allow_resources = ["tickets/delete_*"]
allow_methods = ["write"]

[[rules]]
resources = ["tickets/delete_*"]
[rules.require]
window = "Sun 02:00-04:00 Europe/Berlin"
networks = ["10.0.0.0/8"]
certificate_sha256 = ["abababababababababababababababababababababababababababababababab"]
"""

TESTS = """\
[[tests]]
name = "sees its project"
client = "reports"
tool = "tickets/get_ticket"
arguments = { project = "WEB" }
expect = "allowed"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mcpsec.toml"
    path.write_text(FILE)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["policy", *arguments])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.out, captured.err


def explain(capsys: Any, config: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    code, text, _ = run(capsys, "explain", "-c", str(config), "--format", "json", *arguments)
    document = json.loads(text)
    assert document["schema"] == "mcpsec.policy-explain/1"
    return code, document


GET = ("--client", "reports", "--tool", "tickets/get_ticket")
BILL = ("--client", "reports", "--tool", "tickets/get_bill")
DELETE = ("--client", "ops", "--tool", "tickets/delete_old")
SUNDAY = ("--at", "2026-11-22T02:30:00+01:00", "--address", "10.0.0.1")


@pytest.mark.parametrize(
    ("arguments", "code", "rule"),
    [
        ((*GET, "--arg", "project=WEB"), 0, "granted"),
        ((*GET, "--arg", "project=HR"), 1, "argument-not-allowed"),
        ((*GET, "--arg", 'project=["WEB", "API-1"]'), 0, "granted"),
        ((*GET, "--arg", 'project=["WEB", "HR"]'), 1, "argument-not-allowed"),
        ((*GET, "--arguments", '{"project": "WEB"}'), 0, "granted"),
        ((*GET, "--arguments", '{"project": "WEB"}', "--arg", "project=HR"), 1, "argument-not-allowed"),
        (GET, 1, "argument-not-allowed"),
        ((*BILL, "--arg", "amount=500", "--arg", "key=WEB-1"), 0, "granted"),
        ((*BILL, "--arg", "amount=501", "--arg", "key=WEB-1"), 1, "argument-not-allowed"),
        ((*BILL, "--arg", "amount=NaN", "--arg", "key=WEB-1"), 1, "argument-not-allowed"),
        ((*BILL, "--arg", "amount=5", "--arg", "key=WEB"), 1, "argument-not-allowed"),
        ((*DELETE, *SUNDAY), 0, "granted"),
        ((*DELETE, *SUNDAY, "--certificate-sha256", "CD:" * 31 + "CD"), 1, "context-certificate"),
        ((*DELETE, *SUNDAY[:2]), 1, "context-network"),
        ((*DELETE, *SUNDAY[2:], "--at", "2026-11-23T02:30:00+01:00"), 1, "context-window"),
        (("--client", "gone", "--tool", "tickets/get_x"), 1, "unknown-client"),
        (("--client", "reports", "--resource", "tickets/file:///a"), 1, "resource-not-granted"),
        (("--client", "reports", "--prompt", "tickets/p"), 1, "resource-not-granted"),
        (("--client", "reports", "--complete", "tickets/x"), 1, "name-not-acceptable"),
        (("--client", "reports", "--method", "tickets/tools/list"), 0, "lifecycle"),
    ],
)
def test_explain(capsys: Any, config: Path, arguments: tuple[str, ...], code: int, rule: str) -> None:
    found, document = explain(capsys, config, *arguments)
    assert (found, document["rule"], document["allowed"]) == (code, rule, code == 0)


def test_explain_shows_every_step(capsys: Any, config: Path) -> None:
    code, text, _ = run(capsys, "explain", "-c", str(config), *GET, "--arg", "project=HR")
    assert code == 1
    assert "yes role reader: 'tickets/get_*' matches and its methods hold read" in text
    assert "no  client reports: filter 'tickets/get_ticket' on the argument project does not hold" in text
    assert text.splitlines()[-1].startswith("refused: ")
    assert "[argument-not-allowed]" in text


def test_explain_prints_nothing_that_a_terminal_obeys(capsys: Any, config: Path) -> None:
    _, text, _ = run(capsys, "explain", "-c", str(config), "--client", "reports", "--tool", "tickets/\x1b[31mred")
    assert "\x1b" not in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("--client", "reports"),
        (*GET, "--prompt", "tickets/x"),
        ("--client", "reports", "--tool", "get_ticket"),
        (*GET, "--arg", "project"),
        (*GET, "--arguments", "[1]"),
        (*GET, "--arguments", "{"),
        (*GET, "--arguments", '{"project": NaN}'),
        (*GET, "--arg", "project=\udcff"),
        ("--client", "reports", "--tool", "tickets/\udcff"),
        ("--client", "\udcff", "--tool", "tickets/x"),
        (*GET, "--at", "2026-11-22T02:30:00"),
        (*GET, "--at", "noon"),
        ("--tool", "tickets/get_ticket"),
    ],
)
def test_explain_usage(capsys: Any, config: Path, arguments: tuple[str, ...]) -> None:
    code, text, _ = run(capsys, "explain", "-c", str(config), *arguments)
    assert (code, text) == (2, "")


def test_check_finds_nothing_in_a_sound_policy(capsys: Any, config: Path) -> None:
    code, text, note = run(capsys, "check", "-c", str(config))
    assert (code, "nothing to say" in text, "0 errors, 0 warnings" in note) == (0, True, True)


def test_check_names_the_line(capsys: Any, config: Path) -> None:
    config.write_text(FILE.replace('"tickets/get_ticket".project', '"tickets/put_ticket".project'))
    code, text, _ = run(capsys, "check", "-c", str(config))
    line = next(number for number, line in enumerate(config.read_text().splitlines(), 1) if "put_ticket" in line)
    assert code == 1
    assert f"{config}:{line}: error: " in text and "[filter-without-grant]" in text


def test_warnings_are_errors_when_asked(capsys: Any, config: Path) -> None:
    config.write_text(FILE + '[roles.spare]\nallow_resources = ["tickets/get_x"]\nallow_methods = ["read"]\n')
    assert run(capsys, "check", "-c", str(config))[0] == 0
    code, text, _ = run(capsys, "check", "-c", str(config), "--strict", "--format", "json")
    document = json.loads(text)
    assert (code, document["schema"], document["ok"]) == (1, "mcpsec.policy-check/1", False)
    (finding,) = document["findings"]
    assert (finding["check"], finding["key"], finding["line"] > 30) == ("role-unused", "roles.spare", True)


def test_a_broken_file_is_a_configuration_error(capsys: Any, config: Path, tmp_path: Path) -> None:
    config.write_text(FILE.replace("Europe/Berlin", "Europe/Atlantis"))
    for command in (["check"], ["document"], ["explain", *GET], ["suggest"]):
        code, text, error = run(capsys, *command, "-c", str(config))
        assert (code, text) == (2, "")
        assert "mcpsec.toml:" in error
    assert run(capsys, "check", "-c", str(tmp_path / "gone.toml"))[0] == 2


def test_policy_tests(capsys: Any, config: Path, tmp_path: Path) -> None:
    file = tmp_path / "tests.toml"
    file.write_text(TESTS)
    code, text, _ = run(capsys, "test", str(file), "-c", str(config))
    assert (code, text) == (0, "1 test passed, 0 failed\n")
    file.write_text(TESTS.replace('"WEB"', '"HR"'))
    code, text, _ = run(capsys, "test", str(file), "-c", str(config))
    assert code == 1
    assert f"{file}:1: sees its project: expected allowed, but it is refused (argument-not-allowed)" in text
    code, text, _ = run(capsys, "test", str(file), "-c", str(config), "--format", "json")
    document = json.loads(text)
    assert (code, document["schema"], document["summary"]) == (1, "mcpsec.policy-test/1", {"tests": 1, "failed": 1})
    code, text, _ = run(capsys, "test", str(file), "-c", str(config), "--format", "junit")
    assert (code, ElementTree.fromstring(text)[0].get("failures")) == (1, "1")
    file.write_text(TESTS.replace("expect", "expects"))
    code, text, error = run(capsys, "test", str(file), "-c", str(config))
    assert (code, text, "did you mean expect?" in error) == (2, "", True)


def test_document(capsys: Any, config: Path) -> None:
    code, text, _ = run(capsys, "document", "-c", str(config))
    assert code == 0
    assert "## Client reports" in text and "| `tickets/get_*` | read | role reader |" in text


def test_suggest_reads_a_real_log(capsys: Any, config: Path, tmp_path: Path) -> None:
    path = tmp_path / "log" / "events.jsonl"
    path.parent.mkdir()
    with closing(AuditLog.open(path, redact=str)) as log:
        for _ in range(3):
            log.write(
                Event("request", decision="allowed", client="reports", resource="tickets/get_a", method_class="read")
            )
        log.write(
            Event("authorization", decision="refused", client="ops", resource="tickets/x", method_class="execute")
        )
    code, text, _ = run(capsys, "suggest", "-c", str(config))
    assert code == 0
    assert '-  "tickets/get_*",' in text and '+  "tickets/get_a",' in text
    assert "# not used: tickets/delete_* (client ops)" in text
    code, text, _ = run(capsys, "suggest", str(path), "-c", str(config), "--since", "1h", "--format", "json")
    clients = {entry["client"]: entry for entry in json.loads(text)["clients"]}
    assert (clients["reports"]["allow_resources"], clients["reports"]["allow_methods"]) == (["tickets/get_a"], ["read"])
    assert (clients["ops"]["allow_resources"], clients["ops"]["refused"]) == ([], 1)


def test_suggest_without_a_log(capsys: Any, config: Path) -> None:
    code, _, error = run(capsys, "suggest", "-c", str(config))
    assert (code, "no such log" in error) == (2, True)


def test_the_examples_of_the_page_are_true(capsys: Any, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "policy.md").read_text("utf-8")
    policy, confirmed, credentials, tests = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    shown = dict(re.findall(r"```console\n\$ mcpsec policy (\w+) ?[^\n]*\n(.*?)```", page, re.DOTALL))
    config, file = tmp_path / "mcpsec.toml", tmp_path / "policy-tests.toml"
    head = FILE[: FILE.index("[upstreams.tickets]")]
    config.write_text(head + policy)
    file.write_text(tests)
    assert run(capsys, "check", "-c", str(config))[0] == 0
    assert run(capsys, "test", str(file), "-c", str(config)) == (0, shown["test"], "")
    own = f'[upstreams.files]\ncommand = ["x"]\n{credentials.replace("reporting-agent", "third")}'
    config.write_text(f'{head}{policy}{confirmed}{own}certificate = {{ san = "third" }}\n')
    assert run(capsys, "check", "-c", str(config))[0] == 0
    config.write_text(head + policy)
    wanted = ("--client", "reporting-agent", "--tool", "tickets/get_ticket", "--arg", "project=HR")
    assert run(capsys, "explain", "-c", str(config), *wanted)[:2] == (1, shown["explain"])
    config.write_text(head + policy.replace('"tickets/get_ticket".', '"tickets/list_ticket".'))
    code, text, note = run(capsys, "check", "-c", str(config))
    assert code == 1
    assert re.sub(r"^.*mcpsec.toml:\d+", "mcpsec.toml:28", text + note) == shown["check"]
