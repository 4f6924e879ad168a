"""Brackets thousands deep and numbers of thousands of digits, in each file that a person hands to a command.

Python's parsers answer the one with a RecursionError and the other with a ValueError of its own.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mcpsec.certs import Pki
from mcpsec.cli.root import main
from mcpsec.leaks.allow import Allowed
from mcpsec.telemetry import AuditLog, Event

DEEP, LONG = "[" * 100_000, "1" * 5_000
SECRET = "k" * 40


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").touch(mode=0o600)
    (tmp_path / "key").write_text(SECRET)
    return tmp_path


@pytest.mark.parametrize("text", [DEEP, f'{{"a": {LONG}}}', f'{{"a": {DEEP}'])
def test_headers_of_a_captured_request(text: str, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (home / "headers").write_text(text)
    words = ["--secret-file", "key", "--key-id", "a", "--url", "https://a/mcp", "--headers-file", "headers"]
    assert main(["sign", "verify", *words]) == 2
    assert "the headers are" in capfd.readouterr().err


def test_an_argument_of_a_call_is_text_then(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--secret-file", "key", "--key-id", "a", "--url", "https://a/mcp", "--tool", "x", "--format", "json"]
    assert main(["sign", *words, "--arg", f"a={DEEP}"]) == 0
    assert '"mcpsec.sign/1"' in capfd.readouterr().out


@pytest.mark.parametrize("text", [DEEP, f'[{{"name": {LONG}}}]', f'{{"name": {LONG}}}\n', f'{{"name": {DEEP}\n'])
def test_lists_of_certificates(text: str, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Pki.create(home / "pki").close()
    (home / "list.json").write_text(text)
    assert main(["certs", "issue", "--batch", "list.json"]) == 2
    assert "error: list.json" in capfd.readouterr().err


@pytest.mark.parametrize(
    "text", [f"a = {DEEP}", f"a = {LONG}", 'profiles = "x"\nversion = 1', "version = 1\n[profiles]\nx = 1", "crl = 1"]
)
def test_settings_of_a_pki(text: str, home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Pki.create(home / "pki").close()
    (home / "pki" / "pki.toml").write_text(text)
    assert main(["certs", "list"]) == 2
    assert "pki.toml: " in capfd.readouterr().err


def test_a_baseline_of_another_scanner_in_a_scanned_tree(home: Path) -> None:
    for text in (DEEP, f'{{"results": {LONG}}}'):
        (home / ".secrets.baseline").write_text(text)
        told: list[str] = []
        Allowed(str(home), None, today="2026-11-29", warn=told)
        assert len(told) == 1 and "not applied" in told[0]


def test_words_that_are_no_text(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--secret-file", "key", "--url", "https://a/mcp"]
    assert main(["sign", *words, "--key-id", "a\udcff"]) == 2
    assert "the command line holds something that is not UTF-8" in capfd.readouterr().err
    assert main(["sign", *words, "--key-id", "a"]) == 0


def test_links_that_lead_in_a_circle(
    home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(home))
    (home / "loop").symlink_to("loop")
    (home / ".cursor").mkdir()
    (home / ".cursor" / "mcp.json").symlink_to("mcp.json")
    scan = ["scan-secrets", "key", "--format", "json", "-o", "loop"]
    for words in (scan, ["connect", "https://a/mcp", "--install", "cursor", "--yes"]):
        assert main(words) == 2
        assert "symbolic links" in capfd.readouterr().err
    assert (home / "loop").is_symlink()


def test_more_events_than_anybody_can_count(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = AuditLog.open(home / "events.jsonl", redact=lambda text: text)
    log.write(Event("server-start"))
    log.close()
    for words in (["tail", "events.jsonl", "-n", "9" * 30], ["query", "events.jsonl", "--limit", "9" * 30]):
        assert main(["log", *words]) == 0
        assert "server-start" in capfd.readouterr().out
