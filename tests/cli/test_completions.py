"""The completion scripts are those of the commands as they are, and the shells understand them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mcpsec.cli.completions import FILES, Shell, script
from mcpsec.cli.root import COMMANDS, main

DIRECTORY = Path(__file__).parents[2] / "completions"


@pytest.mark.parametrize("shell", list(Shell))
def test_the_files_are_what_the_command_prints(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completions", shell.value]) == 0
    printed = capsys.readouterr().out
    path = DIRECTORY / FILES[shell]
    assert path.read_text() == printed, f"stale: mcpsec completions {shell.value} > completions/{path.name}"
    assert all(name in printed for name in COMMANDS)


def completed(words: list[str]) -> set[str]:
    """What bash offers for the last word."""
    code = (
        f'source {DIRECTORY / FILES[Shell.BASH]}; COMP_WORDS=("$@"); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1));'
        'COMPREPLY=(); _mcpsec; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    run = subprocess.run(["bash", "-c", code, "bash", *words], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_bash_offers_what_fits() -> None:
    assert completed(["mcpsec", "se"]) == {"serve"}
    assert completed(["mcpsec", ""]) == set(COMMANDS)
    assert completed(["mcpsec", "certs", "iss"]) == {"issue"}
    assert {"--listen", "--quickstart"} <= completed(["mcpsec", "serve", "--"])
    assert completed(["mcpsec", "serve", "--list"]) == {"--listen"}
    assert completed(["mcpsec", "serve", "--", "se"]) == set()


@pytest.mark.parametrize(("shell", "check"), [(Shell.ZSH, ["zsh", "-n"]), (Shell.FISH, ["fish", "--no-execute"])])
def test_other_shells_can_read_theirs(shell: Shell, check: list[str]) -> None:
    if shutil.which(check[0]) is None:
        pytest.skip(f"{check[0]} is missing; install with: apt-get install {check[0]}")
    subprocess.run([*check, str(DIRECTORY / FILES[shell])], check=True, capture_output=True)


def test_the_scripts_start_no_python() -> None:
    for shell in Shell:
        assert "python" not in script(shell).lower()
