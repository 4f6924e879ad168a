"""Environment, files and commands: what is accepted, what is refused, and that no secret shows in what is said."""

import os
import shlex
import stat
import sys
import time
from pathlib import Path

import pytest

from mcpsec.errors import SecretError
from mcpsec.secretrefs import CommandSource, FileSource, SecretRef, sources

SECRET = "correct-horse-battery-staple"


def test_an_unset_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MCPSEC_TEST_SECRET", raising=False)
    with pytest.raises(SecretError, match="environment variable MCPSEC_TEST_SECRET is not set"):
        SecretRef.parse({"env": "MCPSEC_TEST_SECRET"}, Path("/")).resolve()


# ---- files


def secret_file(path: Path, mode: int = 0o600, content: bytes = SECRET.encode() + b"\n") -> SecretRef:
    path.write_bytes(content)
    path.chmod(mode)
    return SecretRef.parse({"file": path.name}, path.parent)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700, 0o711])
def test_a_file_of_ones_own(tmp_path: Path, mode: int) -> None:
    assert secret_file(tmp_path / "x", mode).resolve() == SECRET.encode()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666])
def test_a_file_that_others_can_read_or_write(tmp_path: Path, mode: int) -> None:
    reference = secret_file(tmp_path / "x", mode)
    for attempt in (reference.resolve, reference.check):
        with pytest.raises(SecretError, match="can be read or written by others") as caught:
            attempt()
        assert caught.value.hint == f"chmod 600 {tmp_path / 'x'}"
        assert caught.value.path == str(tmp_path / "x")


def test_a_file_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = secret_file(tmp_path / "x")
    owner = 12345 if os.geteuid() == 0 else os.geteuid()
    if os.geteuid() == 0:
        os.chown(tmp_path / "x", owner, -1)
    else:  # who can't give a file away pretends to be somebody else
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(SecretError, match=f"belongs to user {owner}"):
        reference.resolve()


def test_a_link_is_followed_and_its_target_judged(tmp_path: Path) -> None:
    secret_file(tmp_path / "good")
    secret_file(tmp_path / "loose", 0o644)
    for name in ("good", "loose"):
        (tmp_path / f"to-{name}").symlink_to(name)
    assert SecretRef.parse({"file": "to-good"}, tmp_path).resolve() == SECRET.encode()
    with pytest.raises(SecretError, match="others"):
        SecretRef.parse({"file": "to-loose"}, tmp_path).resolve()


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "directory").mkdir(mode=0o700)
    for name in ("fifo", "directory"):
        with pytest.raises(SecretError, match="not a regular file"):
            SecretRef.parse({"file": name}, tmp_path).resolve()
    with pytest.raises(SecretError, match="there is no such file"):
        SecretRef.parse({"file": "missing"}, tmp_path).resolve()


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    assert secret_file(tmp_path / "x", content=b"x" * sources.MAXIMUM_BYTES).resolve() == b"x" * sources.MAXIMUM_BYTES
    with pytest.raises(SecretError, match="larger than 65536 bytes"):
        secret_file(tmp_path / "x", content=b"x" * (sources.MAXIMUM_BYTES + 1)).resolve()


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    secret_file(tmp_path / "sub" / "x")
    monkeypatch.chdir("/")
    assert SecretRef.parse({"file": "sub/x"}, tmp_path).resolve() == SECRET.encode()
    assert SecretRef.parse({"file": str(tmp_path / "sub/x")}, Path("/elsewhere")).resolve() == SECRET.encode()


def test_a_private_key_is_judged_by_the_same_rule(tmp_path: Path) -> None:
    secret_file(tmp_path / "key.pem")
    FileSource(tmp_path / "key.pem").check()
    (tmp_path / "key.pem").chmod(stat.S_IRUSR | stat.S_IRGRP)
    with pytest.raises(SecretError):
        FileSource(tmp_path / "key.pem").check()


# ---- commands


def command(*arguments: str, base: Path = Path("/")) -> SecretRef:
    return SecretRef.parse({"command": list(arguments)}, base)


def python(code: str) -> SecretRef:
    return command(sys.executable, "-c", code)


def test_a_command_prints_the_secret() -> None:
    assert python(f"print({SECRET!r})").resolve() == SECRET.encode()


def test_there_is_no_shell(tmp_path: Path) -> None:
    assert command("echo", f"$HOME; touch {tmp_path}/x", "*").resolve() == f"$HOME; touch {tmp_path}/x *".encode()
    assert not (tmp_path / "x").exists()


def test_a_failing_command_shows_nothing_of_its_output(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SecretError) as caught:
        python(f"import sys; print({SECRET!r}); print({SECRET!r}, file=sys.stderr); sys.exit(3)").resolve()
    assert "failed with exit status 3" in caught.value.message
    said = f"{caught.value!r} {caught.value.hint} {''.join(capfd.readouterr())}"
    assert SECRET not in said


def test_a_command_that_does_not_end_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "COMMAND_TIMEOUT", 2.0)
    pids = tmp_path / "pids"
    script = f"sleep 300 & echo $! > {shlex.quote(str(pids))}; echo $$ >> {shlex.quote(str(pids))}; echo {SECRET}; wait"
    with pytest.raises(SecretError, match="did not finish within 2 seconds"):
        command("sh", "-c", script).resolve()
    for pid in map(int, pids.read_text().split()):
        assert gone(pid)


def gone(pid: int) -> bool:
    for _ in range(500):
        try:
            if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return True
            os.kill(pid, 0)
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.01)
    return False


def test_a_command_that_prints_without_end_is_stopped() -> None:
    with pytest.raises(SecretError, match="printed more than 65536 bytes"):
        command("sh", "-c", f"while :; do echo {SECRET}; done").resolve()


def test_a_helper_that_a_command_leaves_behind_does_not_delay_it() -> None:
    # As password managers do: the agent closes the output that it inherited.
    reference = command("sh", "-c", f"sleep 0.2 >/dev/null 2>&1 & echo {SECRET}")
    assert reference.resolve() == SECRET.encode()


def test_a_command_waits_for_nobody() -> None:
    assert python("import sys; print(repr(sys.stdin.read()), sys.stdin.isatty())").resolve() == b"'' False"


def test_a_missing_program() -> None:
    for attempt in (command("mcpsec-no-such-program").resolve, command("mcpsec-no-such-program").check):
        with pytest.raises(SecretError, match=r"no .*program"):
            attempt()


def test_a_program_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "get").write_text(f"#!/bin/sh\necho {SECRET}\n")
    (tmp_path / "get").chmod(0o700)
    monkeypatch.chdir("/")
    reference = command("./get", base=tmp_path)
    reference.check()
    assert reference.resolve() == SECRET.encode()


def test_commands_are_compared_by_what_they_run() -> None:
    assert CommandSource(("a",), Path("/")) == CommandSource(("a",), Path("/")) != CommandSource(("b",), Path("/"))
