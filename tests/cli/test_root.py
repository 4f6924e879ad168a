"""The root command: lazy, helpful, with exit codes that scripts can rely on."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from mcpsec import __version__
from mcpsec.cli import entry, outcome, root
from mcpsec.cli.root import COMMANDS, main
from mcpsec.errors import ConfigurationError, Error, ExitCode, NotAssessedError, RefusedError, SecretError, UsageError

HEAVY = ("cryptography", "httpx", "uvicorn", "pydantic", "mcp", "starlette", "yaml", "hyperscan", "httptools", "orjson")


def imported(*arguments: str) -> set[str]:
    """The top-level modules that one command line imports, in a process of its own."""
    code = (
        "import sys, json; from mcpsec.cli.root import main; code = main(sys.argv[1:]);"
        "print('\\n' + json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout.splitlines()[-1]))


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_the_root_imports_nothing_heavy(arguments: list[str]) -> None:
    assert imported(*arguments).isdisjoint(HEAVY)


def test_a_typo_imports_nothing_of_ours() -> None:
    assert imported("serv").isdisjoint(set(HEAVY) - {"pydantic"}), "typer itself reads option values with pydantic"


def test_a_subcommand_imports_no_other() -> None:
    modules = imported("config", "schema")
    assert modules.isdisjoint({"httpx", "mcp", "httptools", "hyperscan"})


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "Usage: mcpsec" in text
    for words, command in leaves(root.load(name), [name]):
        assert main([*words, "--help"]) == 0
        text = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
        assert f"$ mcpsec {name}" in text, f"mcpsec {' '.join(words)} --help shows no example"
        assert command.help, words


def leaves(command: Any, words: list[str]) -> Iterator[tuple[list[str], Any]]:
    """The commands below a group, however deep."""
    below = getattr(command, "commands", {})
    if not below:
        yield words, command
    for name, each in below.items():
        yield from leaves(each, [*words, name])


def test_typos_get_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serv"]) == ExitCode.USAGE
    assert "Did you mean 'serve'?" in capsys.readouterr().err
    assert main(["serve", "--lisen", "x"]) == ExitCode.USAGE
    assert "--listen" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mcpsec {__version__}\n"


def run_raising(error: BaseException, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> int:
    def load(name: str) -> Any:
        raise error

    monkeypatch.setattr(root, "load", load)
    return main(arguments)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Error("x"), 2),
        (UsageError("x"), 2),
        (ConfigurationError("x"), 2),
        (SecretError("x"), 2),
        (RefusedError("x"), 1),
        (NotAssessedError("x"), 3),
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(), 141),
    ],
)
def test_each_kind_of_failure_has_its_exit_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if isinstance(error, BrokenPipeError):
        monkeypatch.setattr(outcome, "_silence_stdout", lambda: None)
    assert run_raising(error, monkeypatch, ["config", "check"]) == code
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "/srv/x"), "error: /srv/x: permission denied\nhint: run it as"),
        (OSError(28, "No space left on device"), "error: no space left on device\nhint: free some"),
        (OSError(24, "Too many open files", "/srv/x"), "error: /srv/x: too many open files\nhint: allow more"),
        (OSError(40, "Too many levels of symbolic links", b"/x"), "error: too many levels of symbolic links\nhint: a"),
    ],
)
def test_what_the_system_refuses_is_no_defect_of_ours(
    error: OSError, said: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert run_raising(error, monkeypatch, ["config", "check"]) == ExitCode.USAGE
    assert capfd.readouterr().err.startswith(said)
    assert run_raising(FileNotFoundError(2, "No such file", "/x"), monkeypatch, ["config", "check"]) == 4


def test_ctrl_c_while_a_command_is_loading_ends_it_quietly(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(entry, "main", interrupted)
    with pytest.raises(SystemExit) as caught:
        entry.run()
    assert caught.value.code == 130 and capfd.readouterr().err == ""


def test_a_locale_without_the_letters_gets_what_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
    monkeypatch.setattr(entry, "main", lambda: print("\u2717 \udce9", flush=True) or 0)
    with pytest.raises(SystemExit):
        entry.run()
    assert raw.getvalue() == b"\\u2717 \\udce9\n"


def test_a_deployment_that_may_not_be_read_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refused)
    monkeypatch.setattr(Path, "read_bytes", refused)
    assert entry.main(["serve", "-c", "somebody/mcpsec.toml"]) == 2
    assert "mcpsec.toml" in capsys.readouterr().err


def test_an_error_says_what_where_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = ConfigurationError("no such key", path="mcpsec.toml", line=7, hint="did you mean listen?")
    run_raising(error, monkeypatch, ["config"])
    assert capsys.readouterr().err == "error: mcpsec.toml:7: no such key\nhint: did you mean listen?\n"


def test_no_path_moves_the_cursor_of_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    name = "a\x1b[2J\x9b31m\r\u202eb grüße 日本"
    error = ConfigurationError("no such key", path=name, hint=f"see {name}")
    assert main(["config", "check", "-c", str(tmp_path / name)]) == 2
    run_raising(error, monkeypatch, ["config"])
    said = "".join(capsys.readouterr())
    assert said.count("a\\x1b[2J\\u009b31m\\x0d\\u202eb grüße 日本") == 3
    assert all(letter.isprintable() or letter == "\n" for letter in said)


def test_a_defect_becomes_a_report_without_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    secret = "hunter2-value-of-an-argument"
    try:
        raise RuntimeError(secret) from KeyError(secret)
    except RuntimeError as error:
        assert run_raising(error, monkeypatch, ["config", f"--x={secret}", secret]) == ExitCode.INTERNAL
    shown = capsys.readouterr().err
    (report,) = tmp_path.glob("mcpsec-crash-*.log")
    assert str(report) in shown
    text = report.read_text()
    assert "RuntimeError" in text
    assert "KeyError" in text
    assert __version__ in text
    assert secret not in text + shown


def test_flags_of_the_root_may_stand_anywhere_before_the_separator() -> None:
    assert outcome.hoist(["serve", "-q", "--", "cmd", "-q"]) == (["--quiet"], ["serve", "--", "cmd", "-q"])
    assert outcome.hoist(["--no-color", "log", "tail"]) == (["--no-color"], ["log", "tail"])


def test_the_module_is_the_same_command() -> None:
    run = subprocess.run([sys.executable, "-m", "mcpsec", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout == f"mcpsec {__version__}\n"


@pytest.mark.parametrize(
    ("words", "table"), [(["alerts", "test"], "[[alerts.channels]]"), (["policy", "test"], "[[tests]]")]
)
def test_help_shows_the_names_of_tables(words: list[str], table: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--help"]) == 0
    assert table in " ".join(capsys.readouterr().out.split())


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["config", "reference"], ["completions", "bash"], ["audit", "--help"]])
def test_a_full_disk_behind_standard_output_is_said_in_one_line(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        run = subprocess.run([sys.executable, "-m", "mcpsec", *words], stdout=full, stderr=subprocess.PIPE, text=True)
    assert run.returncode == 2
    assert run.stderr == "error: standard output can't be written: No space left on device\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize("closed", [">&-", "<&-", ">&- 2>&- <&-"])
def test_closed_standard_streams_are_no_defect(closed: str, tmp_path: Path) -> None:
    command = f'exec "{sys.executable}" -m mcpsec config schema {closed}'
    run = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")


def test_a_report_into_a_link_or_device_does_not_replace_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=1\n")
    (tmp_path / "out").symlink_to("/dev/null")
    command = [sys.executable, "-m", "mcpsec", "audit", ".env", "--exit-zero", "--format", "json", "-o", "out"]
    subprocess.run(command, cwd=tmp_path, check=False, capture_output=True)
    assert (tmp_path / "out").is_symlink()
    shown = subprocess.run([*command[:-1], "/dev/stdout"], cwd=tmp_path, capture_output=True, text=True)
    assert Path("/dev/stdout").is_symlink()
    assert "{" in shown.stdout, shown.stderr


def test_no_help_loses_words_to_markup() -> None:
    """Rich takes ``[default: now]`` for a style that it doesn't know, and shows nothing of it."""
    lost = []

    def walk(command: Any, path: str) -> None:
        for text in (command.help, command.epilog, *(getattr(each, "help", None) for each in command.params)):
            words = re.sub(r"\[/?bold\]", "", text or "").replace("\\[", "[")
            if Text.from_markup(text or "").plain != words:
                lost.append(f"{path}: {text}")
        for name, each in getattr(command, "commands", {}).items():
            walk(each, f"{path} {name}")

    for name in COMMANDS:
        walk(root.load(name), f"mcpsec {name}")
    assert lost == []
