"""Command lines as tired people and broken scripts write them: one line that says what to mend, and nothing done.

Beside most of them stands the twin that is right.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mcpsec.cli.entry import main
from mcpsec.deployment.scaffold import create
from mcpsec.errors import ConfigurationError
from mcpsec.telemetry.head import head_path, write_head
from mcpsec.writing import write_atomic
from tests.fixtures.processes import PATIENCE, measured, spawn, wait_until

pytestmark = pytest.mark.timeout(120)  # a mistake that goes unseen may be served for ever

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="of POSIX systems")
NOBODY = "https://127.0.0.1:9/mcp"
EMOJI = "https://xn--ls8h.invalid/mcp"
"""A name that is registered in some zones, and that IDNA 2008 does not know."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment with a rule that asks for confirmations, an empty file, an empty directory."""
    place = tmp_path_factory.mktemp("mistakes")
    create(place / "d", ["agent"])
    (place / "d" / "approval.key").write_text("k3y-of-32-bytes-for-nothing-real-at-all\n")
    (place / "d" / "approval.key").chmod(0o600)
    with (place / "d" / "mcpsec.toml").open("a") as file:
        file.write('[approval]\nsecret = { file = "approval.key" }\n')
        file.write('[[rules]]\nresources = ["demo/echo"]\nrequire = { confirmation_header = "x-confirm" }\n')
    (place / "empty").touch()
    (place / "logs").mkdir()
    (place / "logs" / "events.jsonl").touch()
    return place


def run(line: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Its exit code; words are parted by spaces, ``''`` is the empty word."""
    monkeypatch.chdir(place)
    return main(["" if word == "''" else word for word in line.split()])


CERTIFICATE = "--cert d/pki/client/agent/chain.pem --key d/pki/client/agent/key.pem --ca d/pki/server-ca.pem"
APPROVE = "approve -c d/mcpsec.toml --client agent --tool demo/echo"
EXPLAIN = "policy explain -c d/mcpsec.toml --client agent --tool demo/echo"

MISTAKES = [
    # what is empty is not what was left out
    ("serve -c d/mcpsec.toml --upstream ''", "--upstream is empty"),
    ("serve -c d/mcpsec.toml --app ''", "--app is empty"),
    ("serve -c d/mcpsec.toml --upstream http://127.0.0.1:9/mcp --grant ''", "--grant is empty"),
    ("drill -c d/mcpsec.toml --only ''", "--only names nothing"),
    ("drill -c d/mcpsec.toml --upstream ,", "--upstream names nothing"),
    # what contradicts itself
    ("serve -c d/mcpsec.toml --auth none,mtls", "--auth none stands alone"),
    (f"connect {NOBODY} --login --logout", "--login and --logout exclude each other"),
    (f"connect {NOBODY} --install cursor --uninstall cursor", "exclude each other"),
    (f"connect {NOBODY} --uninstall cursor --print --yes", "--uninstall and --print exclude each other"),
    (f"connect {NOBODY} --login --print", "--login and --print exclude each other"),
    (f"connect {NOBODY} --logout --print", "--logout and --print exclude each other"),
    (f"connect {NOBODY} --key d/pki/client/agent/key.pem", "give that with --cert"),
    ("alerts test --command /bin/true --secret-file empty", "--secret-file signs a webhook"),
    ("log query logs/events.jsonl --since 5m --until 1h", "--since is not before --until"),
    (f"{APPROVE} --arg a=1 --arg a=2", "the argument 'a' is there twice"),
    (f'{APPROVE} --arguments {{"a":{{"b":1,"b":2}}}}', "the argument 'b' is there twice"),
    # no value of its kind
    (f"{APPROVE} --arg a=1e999", "out of range"),
    (f"{EXPLAIN} --address here", "is no IP address"),
    (f"{EXPLAIN} --address ''", "is no IP address"),
    (f"{EXPLAIN} --certificate-sha256 ab", "64 hexadecimal digits"),
    (f"{EXPLAIN} --confirmed x:y", "is no header's name"),
    ("log tail logs/events.jsonl --status 9999", "599"),
    (f"connect {NOBODY} --oauth-issuer somewhere", "is no https URL"),
    (f"connect {NOBODY} --oauth-issuer http://login.example.com", "is no https URL"),
    ("connect https://127.0.0.1:0/mcp", "port is 0"),
    ("alerts test --syslog udp://127.0.0.1:0", "is no URL"),
    ("alerts test --syslog somewhere", "is no syslog target"),
    ("alerts test --webhook ''", "is no URL"),
    # paths
    (f"connect {NOBODY} --cert d/pki/client/agent/chain.pem", "--key names its private key"),
    (f"connect {NOBODY} --oauth-ca nowhere", "nowhere: can't be read"),
    (f"connect {NOBODY} --oauth-client-secret-file d", "d: can't be read"),
    ("alerts test --command /bin/true --ca empty", "no authority can be read"),
    ("alerts test --slack-file nowhere", "check the path"),
    ("log tail logs", f"name the file: {Path('logs', 'events.jsonl')}"),
    ("log verify d", "this is a directory"),
    ("log tail --follow nowhere", "there is no such log"),
    ("drill -c d/mcpsec.toml --out empty", "empty: is not a directory"),
    ("drill -c d/mcpsec.toml --out empty/deeper", "empty: is not a directory"),
    ("serve -c d/mcpsec.toml -- d", "d is a directory"),
    pytest.param("serve -c d/mcpsec.toml -- ./empty", "chmod +x", marks=POSIX),
    ("pin demo -c d/mcpsec.toml", "is built into mcpsec itself"),
    ("init " + "a" * 300, "give it a shorter name"),
    ("log export logs/events.jsonl --ca empty", "--ca is for a collector"),
    ("log export logs/events.jsonl --to-format otlp --to ftp://h", "is no OTLP endpoint"),
    ("monitor logs/events.jsonl --once -c nowhere", "there is no such file"),
    # hosts that can't be asked for
    (f"sign --send -c d/mcpsec.toml --url {EMOJI} --tool echo", "no name that can be looked up"),
]


@pytest.mark.parametrize(("line", "words"), MISTAKES)
def test_a_mistake_is_one_error_and_nothing_happens(
    line: str, words: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(place.rglob("*"))
    assert run(line, place, monkeypatch) == 2
    shown = capsys.readouterr()
    assert words in " ".join(shown.err.split()), shown.err
    assert shown.out == "" and "internal" not in shown.err and ".mcpsec-init" not in shown.err
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (f"{APPROVE} --arg a=1 --arg b=1e9", 0),
        (f'{APPROVE} --arguments {{"a":1,"b":{{"a":1}}}} --arg a=2', 0),
        (f"{EXPLAIN} --address 2001:db8::1 --confirmed X-Confirm --certificate-sha256 {'AB:' * 31}AB", 0),
        ("log tail logs/events.jsonl --status 599", 0),
        ("log query logs/events.jsonl --since 1h --until 5m", 0),
        ("alerts test --syslog udp://127.0.0.1", 0),
        pytest.param("alerts test --command /bin/true", 0, marks=POSIX),
        (f"connect {NOBODY} {CERTIFICATE} --oauth-ca d/pki/server-ca.pem --print", 0),
        (f"connect {NOBODY} --oauth-issuer http://127.0.0.1:9 --print", 0),
    ],
)
def test_what_stands_beside_the_mistakes_and_is_none(
    line: str, code: int, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line, place, monkeypatch) == code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (f"alerts test --webhook {EMOJI}", 1),
        (f"log export d/log/events.jsonl --to-format otlp --to {EMOJI}", 3),
        (f"connect {EMOJI} --login --no-browser", 3),
    ],
)
def test_a_host_that_idna_does_not_know_is_one_that_is_not_reached(
    line: str, code: int, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.setattr("mcpsec.telemetry.notify._PAUSE", 0.0)
    (place / "d/log").mkdir(exist_ok=True)
    (place / "d/log/events.jsonl").write_text(
        json.dumps({"schema": "mcpsec.event/1", "kind": "server-stop", "time": "2026-11-23T08:00:00.000000Z"}) + "\n"
    )
    assert run(line, place, monkeypatch) == code
    shown = capsys.readouterr()
    assert "Codepoint" in shown.out + shown.err


@pytest.mark.parametrize("variable", ["BAO_ADDR", "VAULT_ADDR"])
@pytest.mark.parametrize("address", [EMOJI, "https://b\u00e4..de"])
def test_a_secrets_manager_with_such_a_name_is_a_wrong_setting(
    variable: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mcpsec.certs.issuers.openbao import OpenBao
    from mcpsec.errors import SecretError
    from mcpsec.secretrefs import SecretRef
    from mcpsec.secretrefs.vault import forget_login

    for name in ("BAO_ADDR", "VAULT_ADDR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, address)
    monkeypatch.setenv("BAO_TOKEN", "t")
    forget_login()
    with pytest.raises(SecretError, match="is no URL"):
        SecretRef.parse({"vault": "kv/a#b"}, Path.cwd()).resolve()
    with pytest.raises(ConfigurationError, match="is no URL"):
        OpenBao()
    forget_login()


def test_a_log_without_calls_is_no_ground_to_take_grants_away_unsaid(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("policy suggest logs/events.jsonl -c d/mcpsec.toml", place, monkeypatch) == 0
    assert "takes all their grants away" in capsys.readouterr().err
    call = {
        "kind": "request",
        "decision": "allowed",
        "client": "agent",
        "resource": "demo/echo",
        "method_class": "read",
    }
    event = {"schema": "mcpsec.event/1", "time": "2026-11-23T08:00:00.000000Z", "upstream": "demo", **call}
    (place / "calls.jsonl").write_text(json.dumps(event) + "\n")
    assert run("policy suggest calls.jsonl -c d/mcpsec.toml", place, monkeypatch) == 0
    assert "grants away" not in capsys.readouterr().err


def test_a_variable_that_only_a_supervisor_sets(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MCPSEC_WORKER", "junk")
    assert run("serve -c d/mcpsec.toml", place, monkeypatch) == 2
    assert "MCPSEC_WORKER" in capsys.readouterr().err


def test_quickstart_writes_nothing_for_a_command_line_that_can_not_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("serve --quickstart -c q/mcpsec.toml --upstream somewhere", tmp_path, monkeypatch) == 2
    assert not (tmp_path / "q").exists()


# --- the place that it is run in ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("home", ["", "relative"])
@pytest.mark.parametrize("words", ["--install cursor --yes", "--logout"])
@POSIX
def test_without_a_home_directory_nothing_is_written_anywhere(
    home: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``~`` of an empty HOME is ``/``: the client's file would stand in ``/.cursor``."""
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("XDG_STATE_HOME", "relative too")
    assert run(f"connect {NOBODY} {words}", tmp_path, monkeypatch) == 2
    assert "no home directory" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("home", ["", "relative"])
@POSIX
def test_a_place_for_tokens_needs_no_home_directory(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A container's account often has none; nor does a machine's token need a place, because it is not kept."""
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert run(f"connect {NOBODY} --logout --oauth-store file", tmp_path, monkeypatch) == 0
    assert "there was no token" in capsys.readouterr().err
    assert (tmp_path / "state" / "mcpsec" / "tokens").is_dir()
    monkeypatch.delenv("XDG_STATE_HOME")
    assert run(f"connect {NOBODY} --login --oauth-grant client-credentials", tmp_path, monkeypatch) != 0
    assert "home directory" not in capsys.readouterr().err


@pytest.mark.parametrize(("named", "place"), [("", "home/.codex"), ("codex", "home/.codex"), ("{}/codex", "codex")])
@POSIX
def test_a_clients_directory_is_an_absolute_path_or_the_usual_one(
    named: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry in the working directory is one that no client reads, and perhaps somebody's repository."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CODEX_HOME", named.format(tmp_path))
    assert run(f"connect {NOBODY} --install codex --yes", work, monkeypatch) == 0
    assert [each.relative_to(tmp_path) for each in tmp_path.rglob("*.toml")] == [Path(place, "config.toml")]
    assert list(work.iterdir()) == []


@POSIX
def test_an_account_without_a_name_has_no_home_and_a_program_of_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A container's bare number: no HOME, no line in /etc/passwd."""
    import pwd

    from mcpsec.gateway.sandbox.paths import program_paths

    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.delenv("HOME")
    assert any(Path(sys.executable).is_relative_to(each) for each in program_paths([sys.executable])[0])
    assert run(f"connect {NOBODY} --install cursor --yes", tmp_path, monkeypatch) == 2
    assert "no home directory" in capsys.readouterr().err


@POSIX
@pytest.mark.parametrize("words", ["audit", "scan-secrets", "policy check", "serve", "sandbox check", "init"])
def test_a_working_directory_that_is_gone_is_said(words: str, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    program = f"import os, sys; os.rmdir({str(gone)!r}); from mcpsec.cli.entry import run; sys.argv[1:] = {words.split()}; run()"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=gone, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}, capture_output=True, text=True,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr.splitlines()[0]) == (2, "error: the working directory is not there any more")


@POSIX
@pytest.mark.parametrize(("umask", "mode"), [(0, 0o644), (0o077, 0o600)])
def test_the_head_of_a_log_is_nobody_elses_to_write(umask: int, mode: int, tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    before = os.umask(umask)
    try:
        assert write_head(log, b"{}")
    finally:
        os.umask(before)
    assert stat.S_IMODE(head_path(log).stat().st_mode) == mode


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
def test_a_bridge_whose_output_is_full_says_so() -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "mcpsec", "connect", NOBODY],
            input="{bad\n", stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (2, "error: standard output can't be written: No space left on device\n")


@POSIX
def test_who_interrupts_a_drill_waits_for_no_call_that_hangs_on_purpose(place: Path, tmp_path: Path) -> None:
    """The gateway is drained for as long as it takes elsewhere; here a call hangs that would take 30 s."""
    (tmp_path / "tmp").mkdir()
    drill = spawn(
        [sys.executable, "-m", "mcpsec", "drill", "-c", str(place / "d" / "mcpsec.toml"), "--only", "timeout"],
        env={**os.environ, **measured(), "TMPDIR": str(tmp_path / "tmp")},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        log = tmp_path / "tmp"
        wait_until(lambda: any(log.glob("*/ready.json")), "the copy to serve")
    finally:
        drill.send_signal(signal.SIGINT)
        said, _ = drill.communicate(timeout=PATIENCE)
    assert (drill.returncode, said) == (130, "")
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize(("ended_by", "way"), [(None, "stop"), (KeyboardInterrupt, "kill")])
def test_a_drill_that_is_interrupted_kills_its_gateway(ended_by: type[BaseException] | None, way: str) -> None:
    from mcpsec.audit.drill.runner import _leave

    taken: list[str] = []
    gateway = SimpleNamespace(kill=lambda: taken.append("kill") or -9)
    assert _leave(SimpleNamespace(gateway=gateway, stop=lambda: taken.append("stop")), ended_by, None, None) is None
    assert taken == [way]


@POSIX
def test_a_scratch_file_is_not_what_a_message_is_about(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError) as raised:
        write_atomic(tmp_path / "file" / "deeper", b"")
    assert raised.value.path == str(tmp_path / "file" / "deeper")


@pytest.mark.parametrize(("there", "scanned"), [(True, 1), (False, 2)])
def test_a_directory_called_as_the_hidden_subcommand_is_what_is_scanned(
    there: bool, scanned: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MCPSEC_CACHE_DIR", str(tmp_path.parent / "cache"))
    inside = tmp_path / ("scan" if there else "other")
    inside.mkdir()
    for file in (inside / "a.txt", tmp_path / "b.txt"):
        file.write_text("nothing\n")
    assert run("scan-secrets scan --format json", tmp_path, monkeypatch) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["files"] == scanned
