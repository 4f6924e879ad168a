"""``mcpsec init`` as people and scripts run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcpsec.cli.root import main


def run(*arguments: str, cwd: Path, umask: int = 0o022) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MCPSEC")}
    return subprocess.run(
        [sys.executable, "-m", "mcpsec", *arguments],
        cwd=cwd,
        env=environment,
        umask=umask,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_not_the_current_directory(tmp_path: Path, name: str) -> None:
    """As ``mcpsec init "$WHERE"`` has it where the variable is unset: keys must not be written just anywhere."""
    done = run("init", name, cwd=tmp_path)
    assert done.returncode == 2
    assert "the name is empty" in done.stderr
    assert not list(tmp_path.iterdir())
    assert run("init", cwd=tmp_path).returncode == 0
    assert (tmp_path / "mcpsec.toml").is_file()


def test_a_deployment_without_a_question(tmp_path: Path) -> None:
    done = run("init", "my deployment", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    *wrote, keep, following = done.stderr.splitlines()
    said = {line.removeprefix("wrote my deployment/") for line in wrote}
    made = tmp_path / "my deployment"
    silent = ("lock", "ledger.sqlite3-journal")
    written = {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file() and path.name not in silent}
    assert said == written
    assert {"mcpsec.toml", ".gitignore", "secrets/agent.hmac", "pki/client/agent/key.pem"} <= said
    assert keep.endswith("mcpsec certs --dir 'my deployment/pki' renew --watch")
    assert following == "next: mcpsec serve -c 'my deployment/mcpsec.toml'"
    assert run("config", "check", "-c", "my deployment/mcpsec.toml", cwd=tmp_path).returncode == 0


def test_here_with_several_clients(tmp_path: Path) -> None:
    done = run("init", "--client", "reporting", "--client", "ci", "--quiet", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(os.listdir(tmp_path / "secrets")) == ["ci.hmac", "reporting.hmac"]
    assert run("config", "check", cwd=tmp_path).returncode == 0


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mcpsec.toml").write_text("mine")
    done = run("init", cwd=tmp_path)
    assert done.returncode == 2
    assert f"error: {tmp_path / 'mcpsec.toml'}: already exists, and nothing is overwritten" in done.stderr
    assert os.listdir(tmp_path) == ["mcpsec.toml"]


@pytest.mark.parametrize("directory", ["new", "."])
def test_of_several_at_once_one_wins(tmp_path: Path, directory: str) -> None:
    command = [sys.executable, "-m", "mcpsec", "init", directory]
    started = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [one.communicate()[1] for one in started]
    assert sorted(one.returncode for one in started) == [0, 2, 2], said
    assert all("already exists" in text for one, text in zip(started, said, strict=True) if one.returncode)
    assert run("config", "check", "-c", f"{directory}/mcpsec.toml", cwd=tmp_path).returncode == 0
    assert not list(tmp_path.glob(".mcpsec-init-*"))


def test_a_bad_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "new"), "--client", "a/b"]) == 2
    assert "'a/b' is not a client name" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--help"]) == 0
    assert "$ mcpsec init my-deployment" in capsys.readouterr().out
