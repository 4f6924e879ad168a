"""What somebody else wrote into a log, a file's name or a certificate steers no terminal and begins no line of its own."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mcpsec.cli.output import Output
from mcpsec.cli.root import main
from mcpsec.errors import Error
from mcpsec.telemetry import AuditLog, Event
from mcpsec.terminal import plain, tame

HOSTILE = "eve\x9b31m\x1b]0;title\x07\u202etxt.exe\u2066\x85\u2028\x7f\nerror: forged"
HONEST = "naïve — Größe, عربى, עברית, 日本語 👩‍🔬 €"
HOOK = [sys.executable, "-c", "from mcpsec.leaks.hook import run; run()"]
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def assert_tame(text: str, *, quoted: bool = False) -> None:
    """``quoted``: a document whose quotes and tags hold an end of a line as well."""
    found = STEERING.search(text)
    assert found is None, ascii(text[max(0, found.start() - 40) : found.end() + 40])
    assert quoted or not any(line.startswith("error: forged") for line in text.splitlines()), text


@pytest.fixture
def log(tmp_path: Path) -> Path:
    log = AuditLog.open(tmp_path / "events.jsonl", redact=lambda text: text)
    for _ in range(30):
        log.write(Event("authentication-failed", decision="refused", status=401, claimed=HOSTILE, reason=HOSTILE))
    facts = {"client": HOSTILE, "resource": HOSTILE, "upstream": HOSTILE, "rule": HOSTILE, "detail": HOSTILE}
    log.write(Event("request", decision="failed", status=502, method=HOSTILE, duration_ms=1.0, **facts))
    log.write(Event("breaker", upstream=HOSTILE, state="open", severity="high", detail=HOSTILE))
    log.write(Event("alert", name=HOSTILE, severity="high", detail=HOSTILE))
    log.write(Event("request", decision="allowed", status=200, client=HONEST, resource=HONEST, method="tools/call"))
    log.close()
    return log.path


@pytest.mark.parametrize(
    "words",
    [
        *(("log", "tail", "{}", "--format", form) for form in ("text", "json", "jsonl")),
        *(("log", "query", "{}", "--format", form) for form in ("text", "json", "jsonl")),
        *(("log", "stats", "{}", "--format", form) for form in ("text", "json")),
        *(("log", "export", "{}", "--to-format", form) for form in ("jsonl", "ocsf", "syslog", "otlp")),
        ("monitor", "{}", "--once"),
        ("policy", "suggest", "{}"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_log(words: tuple[str, ...], log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main([word.format(log) for word in words])
    shown = capsys.readouterr()
    assert code in {0, 2}, shown.err
    assert_tame(shown.out)
    assert_tame(shown.err)


def test_a_document_means_the_same(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["log", "query", str(log), "--format", "jsonl"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.strip().split("\n")]
    lines = log.read_text().strip().split("\n")
    assert events == [event for line in lines if not is_own(event := json.loads(line))]
    assert {events[0]["claimed"], events[-1]["client"]} == {HOSTILE, HONEST}
    assert main(["log", "tail", str(log), "-n", "1"]) == 0
    assert HONEST in capsys.readouterr().out
    document = f'name = "{tame(HOSTILE.replace(chr(10), "").replace(chr(27), "").replace(chr(7), ""))}"'
    assert tomllib.loads(document)["name"] == HOSTILE.replace("\n", "").replace("\x1b", "").replace("\x07", "")


def is_own(event: dict[str, object]) -> bool:
    return str(event["kind"]).startswith("log-")


@pytest.mark.skipif(sys.platform == "win32", reason="no such names")
@pytest.mark.parametrize("form", ["console", "json", "sarif", "junit", "csv"])
def test_a_file_with_a_secret_and_a_name(form: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    name = HOSTILE.replace("/", "")
    (home / name).write_text('token = "ghp_' + "x9Kq2LmZ7vRtY4wB8nHcJ3pD6sFgA1eUoIqT" + '"\n')
    (home / (name + ".mcp.json")).write_text(json.dumps({"mcpServers": {HOSTILE: {"command": "npx"}}}))
    for command in (
        [sys.executable, "-m", "mcpsec", "scan-secrets", str(home), "--format", form],
        [*HOOK, str(home), "--format", form],
    ):
        done = subprocess.run(command, capture_output=True, cwd=tmp_path)
        assert "txt.exe" in done.stdout.decode()
        if form != "csv":
            assert_tame(done.stdout.decode(), quoted=form == "junit")
        assert_tame(done.stderr.decode())
    done = subprocess.run([sys.executable, "-m", "mcpsec", "audit", str(home)], capture_output=True, cwd=tmp_path)
    assert_tame(done.stdout.decode())
    assert_tame(done.stderr.decode())


@pytest.mark.skipif(sys.platform == "win32", reason="no such names, no pseudo-terminal")
def test_a_document_names_the_file_and_a_terminal_is_not_steered(tmp_path: Path) -> None:
    import pty

    name = "a\x9b31m\u202e\x85\u200f\x7f é.txt"
    (tmp_path / name).write_text('token = "ghp_' + "x9Kq2LmZ7vRtY4wB8nHcJ3pD6sFgA1eUoIqT" + '"\n')
    for command in ([sys.executable, "-m", "mcpsec", "scan-secrets"], HOOK):
        for form, named in (
            ("json", lambda text: json.loads(text)["findings"][0]["path"]),
            ("junit", lambda text: ElementTree.fromstring(text).find(".//testcase").attrib["name"].rsplit(":", 2)[0]),
            ("csv", lambda text: next(csv.DictReader(io.StringIO(text, newline="")))["path"]),
        ):
            words = [*command, "--format", form, "."]
            done = subprocess.run(words, capture_output=True, cwd=tmp_path)
            assert named(done.stdout.decode()) == name
            ours, theirs = pty.openpty()
            with subprocess.Popen(words, stdout=theirs, stderr=subprocess.DEVNULL, cwd=tmp_path) as running:
                os.close(theirs)
                shown = b""
                with contextlib.suppress(OSError):  # EIO: the program has ended
                    while chunk := os.read(ours, 65536):
                        shown += chunk
                os.close(ours)
            assert running.returncode == 1
            assert "é.txt" in shown.decode()
            assert_tame(shown.decode().replace("\r\n", "\n"), quoted=True)


@pytest.mark.parametrize("subject", [HOSTILE, "Größe 日本語"])
def test_a_certificate(subject: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 5, now, now + timedelta(days=1))
    file = tmp_path / "theirs.pem"
    file.write_bytes(builder.sign(key, SHA256()).public_bytes(Encoding.PEM))
    for words in (["inspect"], ["lint"], ["check"], ["check", "--format", "nagios"], ["verify", "--client", "--ca"]):
        main(["certs", words[0], *words[1:], *([str(file)] if "--ca" in words else []), str(file)])
        shown = capsys.readouterr()
        assert_tame(shown.out)
        assert_tame(shown.err)
        if subject != HOSTILE and words == ["inspect"]:
            assert subject in shown.out


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    name = HOSTILE
    for command in (HOOK, [sys.executable, "-m", "mcpsec", "scan-secrets"]):
        for words in ([name], [str(tmp_path), "--baseline", name]):
            done = subprocess.run([*command, *words], capture_output=True, cwd=tmp_path)
            assert done.returncode in {2, 3} and "txt.exe" in done.stderr.decode(), done
            assert_tame(done.stderr.decode())


def test_what_a_running_gateway_says(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    output.event(f"the upstream said {HOSTILE}")
    output.warn(f"no {HOSTILE}")
    output.error(Error("no", path=HOSTILE, hint=HOSTILE))
    assert_tame(capsys.readouterr().err)
    output.event(HONEST)
    assert HONEST in capsys.readouterr().err


def test_every_line_and_every_value() -> None:
    assert tame("a\tb\r\nc\n") == "a\tb\nc\n"
    assert tame(HONEST) == HONEST
    assert plain("a\tb\nc\x1b") == "a\\x09b\\x0ac\\x1b"
    assert plain("Größe €") == "Größe €"
    assert plain("日本\u3000語 می\u200cخواهم 👨\u200d👩\u200d👧") == "日本\u3000語 می\u200cخواهم 👨\u200d👩\u200d👧"
    assert plain("admin\u200d") == "admin\\u200d"
    assert plain("ad\u200cmin") == "ad\\u200cmin"
    assert plain("\U000e0041\x9b\u200b") == "\\U000e0041\\u009b\\u200b"
