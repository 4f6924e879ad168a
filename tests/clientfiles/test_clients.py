"""Where clients keep their configuration, on each system."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mcpsec.clientfiles.clients import configurations


def touch(file: Path) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{}")
    return str(file)


@pytest.mark.parametrize(
    ("platform", "place"),
    [("linux", ".config"), ("darwin", "Library/Application Support"), ("win32", "AppData/Roaming")],
)
def test_a_home_directory_of_each_system(
    platform: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.delenv("APPDATA", raising=False)
    desktop = touch(tmp_path / place / "Claude/claude_desktop_config.json")
    cursor = touch(tmp_path / ".cursor/mcp.json")
    assert list(configurations(str(tmp_path))) == [("Claude Desktop", desktop), ("Cursor", cursor)]
    assert list(configurations(str(tmp_path / ".cursor"))) == []


@pytest.mark.parametrize(("platform", "variable"), [("linux", "XDG_CONFIG_HOME"), ("win32", "APPDATA")])
def test_ones_own_applications_may_be_elsewhere(
    platform: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    code = touch(tmp_path / "elsewhere/Code/User/mcp.json")
    touch(tmp_path / ".config/Code/User/settings.json")
    assert list(configurations()) == [("VS Code", code)]
