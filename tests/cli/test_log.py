from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mcpsec.cli.root import main
from mcpsec.telemetry import AuditLog, Event
from mcpsec.telemetry.head import head_path
from mcpsec.telemetry.options import LogOptions
from tests.telemetry.conftest import plain, request

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def runner(*words: object) -> tuple[int, str, str]:
        code = main(["log", *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return runner


@pytest.fixture
def log(tmp_path: Path) -> Path:
    log = AuditLog.open(tmp_path / "events.jsonl", redact=plain, options=LogOptions(checkpoint_every=10))
    for number in range(40):
        refused: dict[str, Any] = {
            "kind": "authorization",
            "decision": "refused",
            "status": 403,
            "rule": "default-deny",
        }
        log.write(request(number, **(refused if number % 8 == 0 else {})))
    log.write(Event("authentication-failed", decision="refused", status=401, claimed="eve\x1b[31m", reason="replayed"))
    log.close()
    return log.path


def test_verify_says_intact_and_gives_the_head(run: Run, log: Path) -> None:
    code, out, _ = run("verify", log)
    assert code == 0
    assert out.startswith("intact")
    code, out, _ = run("verify", log, "--format", "json")
    document = json.loads(out)
    assert (document["schema"], document["intact"]) == ("mcpsec.log-verify/1", True)
    assert run("verify", log, "--expect", document["head"])[0] == 0


def test_verify_names_the_damaged_line_with_exit_code_1(run: Run, log: Path) -> None:
    log.write_bytes(log.read_bytes().replace(b'"request_bytes":305', b'"request_bytes":306'))
    code, out, _ = run("verify", log)
    assert code == 1
    assert out.startswith(f"damaged  {log}:7: it was changed")
    code, out, _ = run("verify", log, "--format", "json")
    assert code == 1
    assert json.loads(out)["findings"][0]["line"] == 7


def test_a_cut_tail_shows_with_an_exported_head(run: Run, log: Path, tmp_path: Path) -> None:
    exported = tmp_path / "head.json"
    code, out, _ = run("head", log, "--export", exported)
    assert code == 0
    head_path(log).unlink()
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:25]))
    assert run("verify", log)[0] == 0
    assert run("verify", log, "--expect", out.strip())[0] == 1
    assert run("verify", log, "--checkpoint", exported)[0] == 1
    code, _, err = run("verify", log, "--checkpoint", tmp_path / "none")
    assert code == 2 and "the checkpoint can't be read: No such file or directory\nhint: check the path" in err


def test_what_cannot_be_verified_is_a_usage_error(run: Run, log: Path, tmp_path: Path) -> None:
    for words in (("verify", tmp_path / "none"), ("verify", log, "--expect", "zz"), ("verify", log, "--key", log)):
        code, _, err = run(*words)
        assert code == 2
        assert err.startswith("error: ")


def test_tail_shows_the_newest_and_no_control_character(run: Run, log: Path) -> None:
    code, out, _ = run("tail", log, "-n", 3)
    assert code == 0
    assert len(out.splitlines()) == 3
    assert "replayed" in out
    assert "\x1b" not in out
    assert run("tail", log, "-n", 0)[1] == ""
    assert run("tail", log, "-f", "--format", "json")[0] == 2


def test_tail_follows(log: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "mcpsec", "log", "tail", str(log), "-f", "-n", "1", "--format", "jsonl"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert json.loads(process.stdout.readline())["reason"] == "replayed"
        writer = AuditLog.open(log, redact=plain)
        for number in range(50):
            writer.write(request(number, client="followed"))
            writer.flush()
            time.sleep(0.01)
        writer.close()
        assert json.loads(process.stdout.readline())["client"] == "followed"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_query_filters_and_formats(run: Run, log: Path) -> None:
    code, out, _ = run("query", log, "--decision", "refused", "--rule", "default-*", "--format", "jsonl")
    assert code == 0
    assert len(out.splitlines()) == 5
    document = json.loads(run("query", log, "--since", "1h", "--limit", 2, "--format", "json")[1])
    assert document["schema"] == "mcpsec.log-events/1"
    assert len(document["events"]) == 2
    assert run("query", log, "--until", "1h")[1] == ""


@pytest.mark.parametrize("words", [("--kind", "nonsense"), ("--decision", "maybe"), ("--since", "yesterday")])
def test_a_wrong_filter_is_said(run: Run, log: Path, words: tuple[str, str]) -> None:
    code, out, err = run("query", log, *words)
    assert (code, out) == (2, "")
    assert "hint: " in err


def test_stats(run: Run, log: Path) -> None:
    document = json.loads(run("stats", log, "--format", "json")[1])
    assert document["decisions"] == {"allowed": 35, "refused": 6}
    code, out, _ = run("stats", log)
    assert code == 0
    assert "reporting-agent" in out
    assert "█" in out
    assert "\x1b" not in out
    assert run("stats", log, "--client", "nobody")[1] == "no events\n"


def test_export(run: Run, log: Path) -> None:
    for form, check in (("jsonl", "mcpsec.event/1"), ("ocsf", '"class_uid"'), ("syslog", "[mcpsec@32473")):
        code, out, _ = run("export", log, "--to-format", form)
        assert code == 0
        assert all(check in line for line in out.splitlines())
        assert len(out.splitlines()) == 41
    assert "resourceLogs" in json.loads(run("export", log, "--to-format", "otlp")[1])
    assert run("export", log, "--to-format", "ocsf", "--to", "https://127.0.0.1:1")[0] == 2
    assert run("export", log, "--to-format", "otlp", "--to", "http://127.0.0.1:1")[0] == 3


def test_the_log_of_a_deployment_is_found(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["init", str(tmp_path / "d")]) == 0
    log = AuditLog.open(tmp_path / "d" / "log" / "events.jsonl", redact=plain)
    log.close()
    monkeypatch.chdir(tmp_path / "d")
    code, out, err = run("verify")
    assert code == 0, err
    assert "intact" in out


def test_head_is_what_verify_expects_later(run: Run, log: Path, tmp_path: Path) -> None:
    document = json.loads(run("head", log, "--format", "json")[1])
    assert document["schema"] == "mcpsec.log-head/1" and document["event"] > 40
    assert run("head", log)[1].strip() == document["head"]
    assert run("verify", log, "--expect", document["head"])[0] == 0
    log.write_bytes(log.read_bytes().replace(b'"request_bytes":305', b'"request_bytes":306'))
    code, out, _ = run("head", log, "--export", tmp_path / "checkpoint")
    assert code == 1 and document["head"] not in out  # no head is given for a log that doesn't hold together
    assert not (tmp_path / "checkpoint").exists()


def test_every_line_of_the_log_is_valid_by_the_printed_schema(run: Run, log: Path) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(run("schema")[1]))
    event = json.loads(log.read_text().splitlines()[5])
    validator.validate(event)
    assert list(validator.iter_errors({**event, "seq": "five"}))


def test_a_document_that_would_never_end_is_refused(run: Run, log: Path) -> None:
    code, out, err = run("tail", log, "--follow", "--format", "json")
    assert (code, out) == (2, "") and "--format jsonl" in err
