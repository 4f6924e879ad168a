"""`mcpsec connect --install` and `--print`, and what the command says of mistakes."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from mcpsec.cli import root
from mcpsec.connect.install import client_names, find_client


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MCPSEC_CONFIG", "XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setitem(root.COMMANDS, "connect", "Bridge.")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def connect(*arguments: str, code: int = 0) -> None:
    assert root.main(["connect", "https://mcp.example.com/mcp", *arguments]) == code


ARGUMENTS = ["--key-id", "agent", "--secret-file", "agent.hmac"]


@pytest.fixture(autouse=True)
def secret(home: Path) -> None:
    (home / "agent.hmac").write_text("s" * 43)


@pytest.mark.parametrize("client", client_names())
def test_installs_into_every_client(client: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connect(*ARGUMENTS, "--install", client, "--yes")
    known = find_client(client)
    assert known.file.is_relative_to(home)
    document = json.loads(known.file.read_text())
    for key in known.keys:
        document = document[key]
    entry = document["mcp.example.com"]
    assert Path(entry["command"]).is_absolute()
    assert entry["args"][-7:] == [
        "connect", "https://mcp.example.com/mcp", "--secret-file", str(home / "agent.hmac"), "--key-id", "agent",
    ][-7:]  # fmt: skip
    printed = capsys.readouterr()
    assert "+" in printed.out
    assert "wrote" in printed.err
    connect(*ARGUMENTS, "--install", client, "--yes")
    assert "already" in capsys.readouterr().err


def test_shows_the_change_keeps_a_copy_and_the_comments(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = home / ".cursor" / "mcp.json"
    file.parent.mkdir()
    old = '{\n  // mine\n  "mcpServers": {\n    "files": {"command": "x"}\n  }\n}\n'
    file.write_text(old)
    file.chmod(0o600)
    connect(*ARGUMENTS, "--install", "cursor", "--name", "work", "--yes")
    assert "// mine" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    copies = list(file.parent.glob("mcp.json.*.bak"))
    assert [copy.read_text() for copy in copies] == [old]
    assert '+    "work": {' in capsys.readouterr().out
    assert sorted(path.name for path in file.parent.iterdir()) == sorted(["mcp.json", copies[0].name])


def test_without_a_terminal_nothing_is_written_unless_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connect(*ARGUMENTS, "--install", "cursor", code=2)
    assert not (home / ".cursor").exists()
    assert "--yes" in capsys.readouterr().err


def test_a_link_stays_a_link(home: Path) -> None:
    (home / "dotfiles").mkdir()
    target = home / "dotfiles" / "mcp.json"
    target.write_text("{}")
    (home / ".cursor").mkdir()
    (home / ".cursor" / "mcp.json").symlink_to(target)
    connect(*ARGUMENTS, "--install", "cursor", "--yes")
    assert (home / ".cursor" / "mcp.json").is_symlink()
    assert "mcp.example.com" in target.read_text()


def test_a_broken_file_is_named_with_its_line_and_left_alone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = home / ".cursor" / "mcp.json"
    file.parent.mkdir()
    file.write_text('{\n  "a": \n}')
    connect(*ARGUMENTS, "--install", "cursor", "--yes", code=2)
    assert "mcp.json:3" in capsys.readouterr().err
    assert file.read_text() == '{\n  "a": \n}'


def test_print_writes_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connect(*ARGUMENTS, "--print")
    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["mcpServers"]
    connect(*ARGUMENTS, "--install", "vscode", "--print")
    assert list(json.loads(capsys.readouterr().out)) == ["servers"]
    assert sorted(path.name for path in home.iterdir()) == ["agent.hmac"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--install", "nobody"], "claude-desktop"),
        (["--client", "agent"], "-c FILE"),
        (["--cert", "missing.pem", "--key", "missing.key"], "missing.pem"),
        (["--secret-file", "agent.hmac"], "key identifier"),
    ],
)
def test_mistakes_are_named(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    connect(*arguments, code=2)
    assert said in capsys.readouterr().err


def test_there_must_be_a_url(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert root.main(["connect"]) == 2
    assert "https://HOST:PORT/mcp" in capsys.readouterr().err


def test_the_deployment_in_the_current_directory_is_named_in_the_entry(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert root.main(["init", ".", "--client", "agent"]) == 0
    capsys.readouterr()
    assert root.main(["connect", "--print"]) == 0
    entry = json.loads(capsys.readouterr().out)["mcpServers"]["mcpsec"]
    assert entry["args"][-2:] == ["-c", str(home / "mcpsec.toml")]


def test_plain_http_to_another_machine_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert root.main(["connect", "http://mcp.example.com/mcp"]) == 2
    assert "https://" in capsys.readouterr().err
