"""`mcpsec connect --install` and `--print`, and what the command says of mistakes."""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

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


def entry_in(client: str, name: str = "mcp.example.com") -> dict[str, Any] | None:
    """What the client's file holds for the server; None when it holds nothing."""
    known = find_client(client)
    text = known.file.read_text()
    document = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}[known.format](text)
    for key in known.keys:
        document = document.get(key) or {}
    if known.items:
        return next((item for item in document if item["name"] == name), None)
    return document.get(name)


@pytest.mark.parametrize("client", client_names())
def test_installs_into_every_client_and_out_again(client: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connect(*ARGUMENTS, "--install", client, "--yes")
    known = find_client(client)
    assert known.file.is_relative_to(home)
    name = "mcp-example-com" if client == "codex" else "mcp.example.com"
    entry = entry_in(client, name)
    assert entry is not None
    words = entry[known.program] if known.arguments is None else [entry[known.program], *entry[known.arguments]]
    assert Path(words[0]).is_absolute()
    assert words[-6:] == [
        "connect", "https://mcp.example.com/mcp", "--secret-file", str(home / "agent.hmac"), "--key-id", "agent",
    ]  # fmt: skip
    printed = capsys.readouterr()
    assert "+" in printed.out
    assert "wrote" in printed.err
    connect(*ARGUMENTS, "--install", client, "--yes")
    assert "already" in capsys.readouterr().err
    connect("--uninstall", client, "--yes")
    assert not known.file.exists(), "it was not there before"
    assert "removed" in capsys.readouterr().err
    connect("--uninstall", client, "--yes")
    assert "no entry" in capsys.readouterr().err


BEFORE = {
    "json": ("", "{}", '{\n  // mine\n  "theme": "dark" // too\n}\n', '{\r\n\t"theme": "dark",\r\n}', '{"a": 1}'),
    "toml": ("", 'model = "x"', 'model = "x" # mine\n\n\n', 'model = "x"\r\n'),
    "yaml": ("", "theme: dark", "# mine\ntheme: dark # too\n\n"),
}


@pytest.mark.parametrize("client", client_names())
def test_what_is_taken_out_leaves_the_file_as_it_was_to_the_byte(client: str, home: Path) -> None:
    known = find_client(client)
    known.file.parent.mkdir(parents=True, exist_ok=True)
    for text in BEFORE[known.format]:
        known.file.write_bytes(text.encode())
        connect(*ARGUMENTS, "--install", client, "--yes")
        connect("--uninstall", client, "--yes")
        assert known.file.read_bytes() == text.encode()
        assert list(known.file.parent.glob("*.bak")) == [], "a copy that is back in place"


def test_what_changed_since_the_installation_stays(home: Path) -> None:
    file = home / ".cursor" / "mcp.json"
    file.parent.mkdir()
    file.write_text("{}\n")
    connect(*ARGUMENTS, "--install", "cursor", "--yes")
    file.write_text(file.read_text().replace('"mcpServers"', '"theme": "dark", // new\n  "mcpServers"'))
    connect("--uninstall", "cursor", "--yes")
    assert '"theme": "dark" // new' in file.read_text(), "the comma went with the table that only held the entry"
    assert "mcp.example.com" not in file.read_text()


def test_a_second_installation_leaves_no_copy_behind_either(home: Path) -> None:
    file = home / ".cursor" / "mcp.json"
    file.parent.mkdir()
    for before in ("", '{"theme": "dark"}\n'):
        file.write_text(before) if before else file.unlink(missing_ok=True)
        connect(*ARGUMENTS, "--install", "cursor", "--yes")
        connect("--key-id", "another", *ARGUMENTS[2:], "--install", "cursor", "--yes")
        connect("--uninstall", "cursor", "--yes")
        assert (file.read_text() if file.exists() else "") == before
        assert list(file.parent.glob("*.bak")) == []


@pytest.mark.parametrize(("client", "kept"), [("amp", ""), ("opencode", ""), ("opencode", '"mcp": {"other": 1},')])
def test_tables_that_only_held_the_entry_go_with_it(client: str, kept: str, home: Path) -> None:
    file = find_client(client).file
    file.parent.mkdir(parents=True)
    file.write_text(f'{{\n  {kept} "theme": "dark"\n}}\n')
    connect(*ARGUMENTS, "--install", client, "--yes")
    file.write_text(file.read_text().replace('"dark"', '"light"'))
    connect("--uninstall", client, "--yes")
    assert json.loads(file.read_text()) == {**json.loads(f"{{{kept.rstrip(',')}}}"), "theme": "light"}


@pytest.mark.parametrize("client", ["goose", "continue"])
@pytest.mark.parametrize("copies", [True, False])
def test_blocks_of_yaml_that_only_held_the_entry_go_with_it(client: str, copies: bool, home: Path) -> None:
    known = find_client(client)
    known.file.parent.mkdir(parents=True)
    text = "# mine\ntheme: dark # too\n"
    known.file.write_text(text)
    connect(*ARGUMENTS, "--install", client, "--yes")
    known.file.write_text(known.file.read_text().replace("dark", "light") + "\n# behind\nlast: 1\n")
    if not copies:
        for copy in known.file.parent.glob("*.bak"):
            copy.unlink()
    connect("--uninstall", client, "--yes")
    assert known.file.read_text() == text.replace("dark", "light") + "\n# behind\nlast: 1\n"


@pytest.mark.parametrize("block", ["extensions: {}\n", "extensions:\n  other: {cmd: x}\n", "extensions:  # mine\n"])
def test_blocks_of_yaml_that_were_there_before_stay(block: str, home: Path) -> None:
    known = find_client("goose")
    known.file.parent.mkdir(parents=True)
    known.file.write_text(f"theme: dark\n{block}")
    connect(*ARGUMENTS, "--install", "goose", "--yes")
    known.file.write_text(known.file.read_text().replace("dark", "light"))
    connect("--uninstall", "goose", "--yes")
    before = yaml.safe_load(f"theme: light\n{block}")
    assert yaml.safe_load(known.file.read_text()) == {**before, "extensions": before["extensions"] or {}}
    assert ("# mine" in known.file.read_text()) == ("# mine" in block)


def test_what_its_owner_added_to_the_entry_is_kept_in_a_copy(home: Path) -> None:
    connect(*ARGUMENTS, "--install", "cursor", "--yes")
    file = home / ".cursor" / "mcp.json"
    edited = file.read_text().replace('"command"', '"env": {"HTTPS_PROXY": "http://proxy"}, "command"')
    file.write_text(edited)
    connect("--uninstall", "cursor", "--yes")
    assert [copy.read_text() for copy in file.parent.glob("mcp.json.*.bak")] == [edited]
    assert "mcp.example.com" not in file.read_text()


@pytest.mark.parametrize("entry", ['{"command": "mcp-server-git", "args": ["-r", "x"]}', '"x"', '{"args": "connect"}'])
def test_an_entry_that_is_no_bridge_is_left_alone(entry: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = home / ".cursor" / "mcp.json"
    file.parent.mkdir()
    text = f'{{"mcpServers": {{"git": {entry}}}}}'
    file.write_text(text)
    connect("--uninstall", "cursor", "--name", "git", "--yes", code=2)
    assert "does not run mcpsec connect" in capsys.readouterr().err
    assert file.read_text() == text


def test_options_of_tokens_go_into_the_entry(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "ca.pem").write_text("")
    connect("--oauth-client-id", "me", "--oauth-ca", "ca.pem", "--oauth-binding", "dpop", "--no-browser", "--print")
    (entry,) = json.loads(capsys.readouterr().out)["mcpServers"].values()
    assert entry["args"][-8:] == [
        "https://mcp.example.com/mcp", "--oauth-client-id", "me", "--oauth-binding", "dpop",
        "--oauth-ca", str(home / "ca.pem"), "--no-browser",
    ]  # fmt: skip


def test_prints_in_the_clients_own_format(capsys: pytest.CaptureFixture[str]) -> None:
    connect("--install", "codex", "--print")
    assert list(tomllib.loads(capsys.readouterr().out)["mcp_servers"]) == ["mcp-example-com"]
    connect("--install", "goose", "--print")
    assert list(yaml.safe_load(capsys.readouterr().out)["extensions"]) == ["mcp.example.com"]
    connect("--install", "codex", "--name", "a b", "--print", code=2)
    assert "letters, digits" in capsys.readouterr().err


def test_the_diff_shows_no_secret_of_the_neighbours(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = home / ".cursor" / "mcp.json"
    file.parent.mkdir()
    token = "ghp_" + "h7Kq2Zp9Wc4Xv1Nb8Lm3Rt6Ys5Dj0Fg2Ae7U"
    plain = "correct-horse"  # no form tells that this is one
    for inner in (
        f'"x": {{"env": {{"GITHUB_TOKEN": "{token}"}}}}',
        f'"x": {{"env": {{"K": "{plain}"}}}}',
        f'"x": {{\n      "env": {{\n        "K": "{plain}"}}}}',
        f'"x": {{"env": {{"K": "{plain}"}}}},',
    ):
        file.write_text(f'{{\n  "mcpServers": {{\n    {inner}\n  }}\n}}\n')
        for option in ("--install", "--uninstall"):
            connect(*(ARGUMENTS if option == "--install" else ()), option, "cursor", "--yes")
            shown = capsys.readouterr()
            assert '"mcpServers"' not in shown.out, "lines that stay are not shown"
            assert "mcp.example.com" in shown.out, "the entry itself is"
            assert token not in shown.out + shown.err
            assert plain not in shown.out + shown.err
        assert inner.rstrip(",") in file.read_text()


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


@pytest.mark.parametrize("host", ["mcp.example.com", "mcpsec", "127.0.0.1.example.com"])
@pytest.mark.parametrize("scheme", ["http", "HTTP", "Http"])
def test_plain_http_to_another_machine_is_refused(scheme: str, host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert root.main(["connect", f"{scheme}://{host}/mcp"]) == 2
    assert "https://" in capsys.readouterr().err
