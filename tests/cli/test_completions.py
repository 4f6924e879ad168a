"""The completion scripts are those of the commands as they are, and real shells complete with them."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

from mcpsec.audit.catalogue import checks
from mcpsec.cli.completions import FILES, Shell, script
from mcpsec.cli.root import COMMANDS, main
from mcpsec.cli.shells.tree import commands
from mcpsec.leaks.rulebook import packaged
from tests.fixtures.terminal import terminal

DIRECTORY = Path(__file__).parents[2] / "completions"
SHELLS = [Shell.BASH, Shell.ZSH, Shell.FISH]

PROMPT = "ready-for-input "


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A deployment's directory, with names that a shell would like to run."""
    (tmp_path / "mcpsec.toml").write_text(
        "version = 1\n[upstreams.files]\n[upstreams.files.access]\n[upstreams.tickets]\n"
        '[upstreams."$(touch ran-upstream)"]\n'
        '[[clients]]\nid = "reporting-agent"\n[clients.resource_filters]\nid = "not-a-client"\n'
        "[[clients]]\nid = 'team:robot@example'\n"
        '[[clients]]\nid = "$(touch ran)"\n[[clients]]\nid = "`touch ran`"\n[[clients]]\nid = "; touch ran"\n'
        '[[rules]]\nid = "a-rule"\n'
    )
    (tmp_path / "other.toml").write_text('[[clients]]\nid = "elsewhere"\n')
    for store, names in (("pki", ["agent", "backup", "$(touch ran)"]), ("keys", ["third"])):
        for name in names:
            folder = tmp_path / store / "client" / name
            folder.mkdir(parents=True)
            (folder / "cert.pem").touch()
    (tmp_path / "pki" / "server" / "gateway").mkdir(parents=True)
    (tmp_path / "pki" / "server" / "gateway" / "cert.pem").touch()
    return tmp_path


def environment(place: Path) -> dict[str, str]:
    """No start-up files, and no Python that a completion could start."""
    tools = place / "tools"
    if not tools.exists():
        tools.mkdir()
        for name in (
            "awk",
            "bash",
            "zsh",
            "fish",
            "cat",
            "seq",
            "env",
            "sed",
            "sort",
            "uname",
            "mkdir",
            "tr",
            "rm",
            "mv",
            "touch",
        ):
            if found := shutil.which(name):
                (tools / name).symlink_to(Path(found).resolve())
    return {
        "PATH": str(tools),
        "HOME": str(place / "home"),
        "ZDOTDIR": str(place),
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
        "XDG_CONFIG_HOME": str(place / "home"),
        "XDG_DATA_HOME": str(place / "home"),
    }


def needed(shell: Shell) -> str:
    found = shutil.which(shell.value)
    if found is None:
        pytest.skip(f"{shell.value} is missing; install with: apt-get install {shell.value}")
    return found


def in_bash(line: str, place: Path) -> set[str]:
    code = (
        f'source {DIRECTORY / FILES[Shell.BASH]}; COMP_LINE="$1" COMP_POINT=${{#1}}; read -ra COMP_WORDS <<<"$1";'
        '[[ $1 == *" " ]] && COMP_WORDS+=(""); COMP_CWORD=$((${#COMP_WORDS[@]} - 1));'
        '_mcpsec; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    run = subprocess.run(
        [needed(Shell.BASH), "--norc", "-c", code, "bash", line],
        capture_output=True, text=True, check=True, cwd=place, env=environment(place),
    )  # fmt: skip
    assert run.stderr == ""
    return set(run.stdout.split())


def in_fish(line: str, place: Path) -> set[str]:
    code = f"source {DIRECTORY / FILES[Shell.FISH]}; complete -C $argv[1]"
    run = subprocess.run(
        [needed(Shell.FISH), "-N", "-c", code, line],
        capture_output=True, text=True, check=True, cwd=place, env=environment(place),
    )  # fmt: skip
    assert run.stderr == ""
    return {row.partition("\t")[0] for row in run.stdout.splitlines()}


def in_zsh(line: str, place: Path) -> set[str]:
    """What zsh's own completion system would add: every `compadd` is asked for its matches."""
    (place / "found").unlink(missing_ok=True)
    (place / "found.part").write_text("")
    with terminal([needed(Shell.ZSH), "-f", "-i"], place, environment(place)) as shell:
        shell.type(
            f"PS1='{PROMPT[:5]}''{PROMPT[5:]}'; fpath=({DIRECTORY} $fpath); autoload -Uz compinit; compinit -u -D; "
            "compadd() { local -a hits; [[ ${@[1,(i)(-|--)]} == *-[OAD]* ]] && { builtin compadd $@; return }; "
            "builtin compadd -A hits $@; print -rl -- $hits >>! found.part; builtin compadd $@ }; "
            "zle -C capture list-choices capturing; capturing() { _main_complete; compstate[insert]=''; compstate[list]='' }; "
            "both() { zle capture; mv found.part found }; zle -N both; bindkey '^I' both\n"
        )
        shell.wait_for(PROMPT)
        shell.type(line + "\t")
        shell.wait((place / "found").exists, "what zsh offers")
        return {word for word in (place / "found").read_text().splitlines() if word}


OFFERED = {Shell.BASH: in_bash, Shell.ZSH: in_zsh, Shell.FISH: in_fish}


def plain(words: set[str], line: str) -> set[str]:
    """The words without what was typed before them in the same word (``--client=``)."""
    lead = line.rpartition(" ")[2].partition("=")
    return {word.removeprefix(lead[0] + "=") if lead[1] else word for word in words}


@pytest.mark.parametrize("shell", list(Shell))
def test_the_files_are_what_the_command_prints(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completions", shell.value]) == 0
    printed = capsys.readouterr().out
    path = DIRECTORY / FILES[shell]
    assert path.read_text() == printed, f"stale: mcpsec completions {shell.value} > completions/{path.name}"
    assert all(name in printed for name in COMMANDS)


CASES = [
    ("mcpsec se", {"serve"}),
    ("mcpsec certs iss", {"issue"}),
    ("mcpsec serve --list", {"--listen"}),
    ("mcpsec audit --fa", {"--fail-on"}),
    ("mcpsec audit ex", {"explain"}),
    ("mcpsec scan-secrets --sta", {"--staged"}),
    ("mcpsec scan-secrets rules sh", {"show"}),
    ("mcpsec audit --fail-on ", {"critical", "high", "medium", "low", "info", "never"}),
    ("mcpsec audit --fail-on=cri", {"critical"}),
    ("mcpsec completions ", {"bash", "zsh", "fish", "powershell"}),
    ("mcpsec connect --install claude", {"claude-code", "claude-desktop"}),
    ("mcpsec sign --client ", {"reporting-agent", "team:robot@example"}),
    ("mcpsec sign --client=rep", {"reporting-agent"}),
    ("mcpsec sign -c other.toml --client ", {"elsewhere"}),
    ("mcpsec sign --config=other.toml --client ", {"elsewhere"}),
    ("mcpsec drill --upstream ", {"files", "tickets"}),
    ("mcpsec certs show ", {"agent", "backup", "gateway"}),
    ("mcpsec certs --dir keys show ", {"third"}),
    ("mcpsec certs renew --dir keys ", {"third"}),
    ("mcpsec certs --dir audit show --no-such ", set()),
    ("mcpsec audit explain TLS010", {"TLS010"}),
    ("mcpsec scan-secrets rules show npm-access", {"npm-access-token"}),
    ("mcpsec policy explain --method ", set()),
]


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_offers_what_fits(shell: Shell, place: Path) -> None:
    needed(shell)
    wrong = []
    for line, expected in CASES:
        offered = plain(OFFERED[shell](line, place), line)
        if offered != expected:
            wrong.append(f"{line!r}: {sorted(offered)} instead of {sorted(expected)}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("shell", SHELLS)
def test_ids_are_offered_all_and_behind_a_comma(shell: Shell, place: Path) -> None:
    offer = OFFERED[shell]
    assert offer("mcpsec audit explain ", place) == set(checks())
    assert offer("mcpsec scan-secrets --rule ", place) == {rule.id for rule in packaged().rules}
    behind = {word.removeprefix("TLS010,") for word in offer("mcpsec audit --select TLS010,TLS011", place)}
    assert behind == {"TLS011"}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_name_is_never_run(shell: Shell, place: Path) -> None:
    """Whoever completes in a directory that was downloaded must not run what its files say."""
    for line in ("mcpsec sign --client ", "mcpsec pin ", "mcpsec certs show "):
        assert not any("touch" in word for word in OFFERED[shell](line, place))
    assert not [path.name for path in place.rglob("ran*")]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_directory_without_a_deployment_offers_no_names(shell: Shell, tmp_path: Path) -> None:
    for line in ("mcpsec sign --client ", "mcpsec drill --upstream ", "mcpsec certs show "):
        assert OFFERED[shell](line, tmp_path) == set()


def test_every_option_of_every_command_is_offered(tmp_path: Path) -> None:
    """In one bash process: the options of each command, and they are those that the command has."""
    nodes = commands()
    code = f"source {DIRECTORY / FILES[Shell.BASH]}\n" + "\n".join(
        f'COMP_LINE="{node.path} --" COMP_POINT={len(node.path) + 3} COMP_WORDS=({node.path} --); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); '
        f'_mcpsec; echo "{node.path}:${{COMPREPLY[*]}}"'
        for node in nodes
    )
    run = subprocess.run([needed(Shell.BASH), "--norc", "-c", code], capture_output=True, text=True, check=True)
    offered = dict(row.split(":") for row in run.stdout.splitlines())
    assert len(offered) == len(nodes) > 50
    for node in nodes:
        assert set(offered[node.path].split()) == set(node.long_options()), node.path
    assert {"--select", "--fix", "--i-own-this"} <= set(offered["mcpsec audit"].split())
    assert {"--staged", "--history", "--rule"} <= set(offered["mcpsec scan-secrets"].split())


TYPED = [
    ("mcpsec certs show ba\t", "certs show backup"),
    ("mcpsec sign --client team:r\t", "sign --client team:robot@example"),
    ("mcpsec sign --client=team:robot@e\t", "sign --client=team:robot@example"),
    ("mcpsec sign --client team:robot@\t", "sign --client team:robot@example"),
    ("mcpsec audit --fail-on=cri\t", "audit --fail-on=critical"),
    ("mcpsec audit --config oth\t", "audit --config other.toml"),
    ("mcpsec certs --dir ke\t show th\t", "certs --dir keys show third"),
]


def _has_run(marks: Path, times: int) -> bool:
    return marks.exists() and marks.read_text().count("\n") == times


@pytest.mark.parametrize("shell", SHELLS)
def test_a_line_typed_at_a_terminal_becomes_the_right_command(shell: Shell, place: Path) -> None:
    """The whole way: a real terminal, TAB, Enter, and what the command was given."""
    starts = {
        Shell.BASH: (["--norc", "-i"], f"source {DIRECTORY / FILES[shell]}; mcpsec() {{ echo \"$*\" >> ran-with; }}; PS1='{PROMPT[:5]}''{PROMPT[5:]}'"),
        Shell.ZSH: (["-f", "-i"], f"fpath=({DIRECTORY} $fpath); autoload -Uz compinit; compinit -u -D; mcpsec() {{ echo \"$*\" >> ran-with }}; PS1='{PROMPT[:5]}''{PROMPT[5:]}'"),
        Shell.FISH: (["-N", "-i"], f"source {DIRECTORY / FILES[shell]}; function mcpsec; echo \"$argv\" >> ran-with; end; function fish_prompt; echo -n '{PROMPT[:5]}''{PROMPT[5:]}'; end"),
    }  # fmt: skip
    arguments, start = starts[shell]
    ran = place / "ran-with"
    with terminal([needed(shell), *arguments], place, environment(place)) as typed:
        typed.type(start + "\n")
        typed.wait_for(PROMPT)
        for number, (line, _) in enumerate(TYPED, 1):
            typed.type(line + "\n")
            typed.wait(partial(_has_run, ran, number), line)
    # zsh takes the / behind a completed directory away again when a space follows
    assert [row.replace("keys/", "keys") for row in ran.read_text().splitlines()] == [expected for _, expected in TYPED]


def test_powershell_can_read_its_script() -> None:
    """There is no PowerShell here: its grammar finds no error in the script, and nothing ran it."""
    languages = pytest.importorskip("tree_sitter", reason="install with: pip install -e '.[dev]'")
    powershell = pytest.importorskip("tree_sitter_powershell", reason="install with: pip install -e '.[dev]'")
    parser = languages.Parser(languages.Language(powershell.language()))
    text = script(Shell.POWERSHELL).encode()
    assert not parser.parse(text).root_node.has_error
    assert parser.parse(text.replace(b"} else {", b"} else (", 1)).root_node.has_error


def test_the_scripts_start_no_python(place: Path) -> None:
    """The environment of these tests has no Python to start; the texts name none either."""
    assert not os.path.lexists(place / "tools" / "python3")
    for shell in Shell:
        assert "python" not in script(shell).lower()
