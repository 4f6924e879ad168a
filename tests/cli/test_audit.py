"""What `mcpsec audit` shows at a terminal, writes into files and repairs."""

from __future__ import annotations

import json
import sys
from datetime import date, timedelta

import pytest
import typer

from mcpsec.cli.root import main

OPEN = 'services:\n  tickets:\n    image: "acme/t:1"\n    ports: ["9000:9000"]\n'
WAIVER = """[[waivers]]
check = "DEP001"
subject = "tick*"
reason = "reachable from the build network only"
owner = "platform@acme.io"
expires = {}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory to audit, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


ONE = ("--select", "DEP001", "--fail-on", "low")


def shown(capsys, *arguments):
    code = main(["audit", *arguments])
    both = capsys.readouterr()
    return code, both.out, both.err


def test_what_to_do_next_what_is_waived_and_what_passes(here, capsys):
    (here / "compose.yaml").write_text(OPEN)
    code, text, _ = shown(capsys, *ONE)
    assert code == 1
    assert "What to do next" in text and "compose.yaml:4" in text and "→" in text
    assert "1 file or endpoint, 0 checks passed, 1 failed (1 " in text
    (here / "mcpsec-waivers.toml").write_text(WAIVER.format(date.today() + timedelta(days=60)))
    code, text, _ = shown(capsys, *ONE)
    assert code == 0
    assert "What to do next" not in text
    assert "(reachable from the build network only, until 20" in text
    assert shown(capsys, *ONE, "--no-waivers")[0] == 1
    (here / "compose.yaml").write_text(OPEN.replace('"9000', '"127.0.0.1:9000'))
    (here / "mcpsec-waivers.toml").unlink()
    _, text, _ = shown(capsys, *ONE, "--all")
    assert "\npass\n" in text and "1 check passed, 0 failed in" in text
    assert "\npass\n" not in shown(capsys, *ONE)[1]


def test_many_of_one_kind_are_counted_after_eight(here, capsys):
    services = "".join(
        f'  s{number}:\n    image: "acme/t:1"\n    ports: ["90{number:02}:9000"]\n' for number in range(11)
    )
    (here / "compose.yaml").write_text("services:\n" + services)
    _, text, _ = shown(capsys, *ONE)
    assert "… and 3 more" in text
    assert text.count("compose.yaml:") == 8


def test_a_directory_with_nothing_to_judge_is_no_clean_audit(here, capsys):
    (here / "readme.txt").write_text("hello\n")
    code, text, notes = shown(capsys, "--allow-incomplete")
    assert code == 3
    assert "0 files and endpoints" in text
    assert "nothing here is of a kind that an audit judges" in notes


def test_the_threat_model_is_written_in_words_or_json(here, capsys):
    (here / "compose.yaml").write_text(OPEN)
    assert "# Threat model" in shown(capsys, "--threat-model", "--exit-zero")[1]
    code, text, _ = shown(capsys, "--threat-model", "--exit-zero", "--format", "json")
    assert code == 0 and len(json.loads(text)["threats"]) == 15
    code, _, notes = shown(capsys, "--threat-model", "--format", "sarif")
    assert code == 2 and "there is no threat model as sarif" in notes


def test_a_report_goes_into_its_file_and_into_what_is_no_file(here, capsys):
    (here / "compose.yaml").write_text(OPEN)
    (here / "there.json").write_text("old")
    (here / "link.json").symlink_to(here / "there.json")
    code, text, notes = shown(capsys, "--format", "json", "-o", "link.json", "--exit-zero")
    assert (code, text, notes) == (0, "", "wrote link.json\n")
    assert (here / "link.json").is_symlink()
    assert json.loads((here / "there.json").read_text())["schema"] == "mcpsec.audit/1"
    code, _, notes = shown(capsys, "--format", "json", "-o", "nowhere/x.json")
    assert code == 2 and "no such file" in notes.lower()
    assert not list(here.glob(".*json*"))


def test_what_is_known_now_is_left_out_next_time(here, capsys):
    (here / "compose.yaml").write_text(OPEN)
    code, _, notes = shown(capsys, *ONE, "--write-baseline", "known")
    assert code == 1 and "known: 1 findings are known" in notes
    assert shown(capsys, *ONE, "--baseline", "known")[0] == 0


@pytest.mark.parametrize(
    ("terminal", "answer", "arguments", "told", "changed"),
    [
        (False, None, (), "nothing was changed: --yes makes these repairs", False),
        (True, False, (), "", False),
        (True, True, (), "repaired", True),
        (False, None, ("--yes",), "repaired", True),
    ],
)
def test_a_repair_is_shown_and_made_only_when_somebody_says_so(
    terminal, answer, arguments, told, changed, here, capsys, monkeypatch
):
    (here / "compose.yaml").write_text(OPEN)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr(typer, "confirm", lambda text, **_: answer)
    _, _, notes = shown(capsys, "--fix", *arguments)
    assert '+    ports: ["127.0.0.1:9000:9000"]' in notes and told in notes
    assert ("127.0.0.1" in (here / "compose.yaml").read_text()) is changed


def test_what_has_no_safe_repair(here, capsys):
    (here / "x.service").write_text("[Service]\nExecStart=/usr/bin/mcp-server\n")
    assert "nothing that fails has a safe repair" in shown(capsys, "--fix", "--select", "DEP001")[2]


def test_kinds_and_checks_by_name(here, capsys):
    code, _, notes = shown(capsys, "--kind", "pigeon")
    assert code == 2 and "there is no kind pigeon" in notes and "compose" in notes
    code, text, notes = shown(capsys, "list")
    assert code == 0 and "  TLS011  " in text and notes.strip().endswith("checks")
    assert text.count("\n  ") == int(notes.split()[0])
