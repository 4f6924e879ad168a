"""``serve`` without Typer: it reads what the full command would, and leaves to it whatever it is not sure of."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from mcpsec.cli import root, serving
from mcpsec.cli.entry import main
from mcpsec.cli.light import OPTIONS, serve_options
from mcpsec.cli.serving import ServeOptions


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MCPSEC_CONFIG", raising=False)


def declared() -> dict[str, Any]:
    return {name: option for option in root.load("serve").params for name in option.opts}


def test_both_know_the_same_options() -> None:
    full = {name: option for name, option in declared().items() if name not in ("command", "--help", "-h")}
    assert full.keys() == OPTIONS.keys()
    for name, (field, kind) in OPTIONS.items():
        assert full[name].name == field
        assert full[name].is_flag == (kind is bool), name
    defaults = {field.name: field.default for field in fields(ServeOptions) if field.name != "command"}
    assert defaults == {option.name: option.default for option in full.values()}


PLAIN = [
    [],
    ["-c", "a.toml"],
    ["--config=a.toml", "--listen", "127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--ready-file", "r.json"],
    ["--quickstart", "--workers", "4", "--auth", "mtls,signature", "--rate-limit", "off"],
    ["--grant", "me", "--upstream", "http://127.0.0.1:1/mcp"],
    ["--app", "tickets.server:mcp"],
    ["--listen", "[::1]:8443", "--", "npx", "-y", "server", "--", "--listen", "x"],
    ["--listen=a=b"],
    ["--"],
]


@pytest.mark.parametrize("arguments", PLAIN, ids=" ".join)
def test_both_read_the_same(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[ServeOptions] = []
    monkeypatch.setattr(serving, "serve", read.append)
    assert root.main(["serve", *arguments]) == 0
    assert read == [serve_options(arguments)]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["-h"],
        ["--lisen", "x"],
        ["--listen"],
        ["--listen="],
        ["--listen", "--quickstart"],
        ["--quickstart=yes"],
        ["-c=a.toml"],
        ["-ca.toml"],
        ["-c", "a", "--config", "b"],
        ["--workers", "0"],
        ["--workers", "257"],
        ["--workers", "1e1"],
        ["--workers", "9" * 5000],
        ["--workers", "٣"],
        ["npx", "server"],
    ],
    ids=lambda words: " ".join(words)[:30],
)
def test_what_is_not_sure_is_for_the_full_command(arguments: list[str]) -> None:
    assert serve_options(arguments) is None


@pytest.mark.parametrize("name", ["MCPSEC_SERVE_LISTEN", "MCPSEC_QUIET", "MCPSEC_NO_COLOR"])
def test_options_in_the_environment_are_for_the_full_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert serve_options([]) is None


def test_the_environment_names_the_file_unless_the_command_line_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCPSEC_CONFIG", "there.toml")
    assert serve_options([]) == ServeOptions(config=Path("there.toml"))
    assert serve_options(["-c", "here.toml"]) == ServeOptions(config=Path("here.toml"))


def test_mistakes_and_failures_end_as_ever(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--lisen", "x"]) == 2
    assert "--listen" in capsys.readouterr().err
    for run in (main, root.main):
        assert run(["serve", "-c", str(tmp_path / "none.toml")]) == 2
    first, second = capsys.readouterr().err.split("error: ")[1:]
    assert first == second and "none.toml" in first
    assert main(["--version"]) == 0


def test_serve_needs_no_typer(tmp_path: Path) -> None:
    """Half of the time to the first answer and 10 MiB went into reading a command line."""
    code = (
        "import sys; from mcpsec.cli.entry import main; code = main(sys.argv[1:]);"
        "import mcpsec.gateway.server; print(code, *sys.modules)"
    )
    arguments = [sys.executable, "-c", code, "-q", "serve", "-c", str(tmp_path / "none.toml")]
    run = subprocess.run(arguments, capture_output=True, text=True, check=True)
    code, *modules = run.stdout.split()
    assert code == "2" and "mcpsec.deployment" in modules
    assert not {"typer", "click", "pydantic", "rich"} & set(modules)
    assert not {"difflib", "gzip", "importlib.resources", "zoneinfo"} & set(modules), "few runs need these"
