"""The console script: how light it starts, and that it is the same command as the full one."""

import os
import subprocess
import sys

import pytest

from mcpsec.leaks.options import OPTIONS, parse

from .samples import ENV

HEAVY = {"re", "enum", "functools", "collections", "typer", "rich", "click", "hyperscan", "cryptography", "dataclasses", "typing", "pathlib", "json", "tomllib", "subprocess",
         "argparse", "inspect", "hashlib", "logging", "asyncio", "multiprocessing", "urllib.parse", "shutil", "tempfile"}  # fmt: skip
LIGHT = """
import sys
before = set(sys.modules)
from mcpsec.leaks.hook import main
code = main(sys.argv[1:])
print("\\n".join(sorted(set(sys.modules) - before)), file=sys.stderr)
raise SystemExit(code)
"""


def modules(*arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-S", "-c", LIGHT, *arguments, "-q"]
    subprocess.run(command, cwd=cwd, env=environment, capture_output=True, check=False)  # fills the caches
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, set(done.stderr.split())


def test_one_file_imports_nothing_heavy(tmp_path):
    (tmp_path / "a.py").write_text("import os\n\npassword = os.environ['DB_PASSWORD']\n")
    code, loaded = modules("a.py", cwd=tmp_path)
    assert code == 0
    assert loaded & HEAVY == set()
    assert {name for name in loaded if name.startswith("mcpsec")} == {
        "mcpsec", "mcpsec.leaks", "mcpsec.leaks.assignments", "mcpsec.leaks.calls", "mcpsec.leaks.checks", "mcpsec.leaks.columns", "mcpsec.leaks.command", "mcpsec.leaks.commands", "mcpsec.leaks.configuration",
        "mcpsec.leaks.connections", "mcpsec.leaks.console", "mcpsec.leaks.decoding", "mcpsec.leaks.detection", "mcpsec.leaks.devices",
        "mcpsec.leaks.expressions", "mcpsec.leaks.files", "mcpsec.leaks.findings", "mcpsec.leaks.hook", "mcpsec.leaks.keyblocks", "mcpsec.leaks.literals", "mcpsec.leaks.logins", "mcpsec.leaks.manifests",
        "mcpsec.leaks.names",
        "mcpsec.leaks.options", "mcpsec.leaks.programs", "mcpsec.leaks.rulebook", "mcpsec.leaks.runner", "mcpsec.leaks.secrecy",
        "mcpsec.leaks.slots", "mcpsec.leaks.surroundings", "mcpsec.leaks.urlquote", "mcpsec.leaks.values", "mcpsec.leaks.weakness", "mcpsec.terminal",
    }  # fmt: skip


def test_staged_starts_git_without_subprocess(repo):
    (repo / "a.txt").write_text("clean\n")
    from .conftest import git

    git(repo, "add", ".")
    code, loaded = modules("--staged", cwd=repo)
    assert code == 0
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("option", OPTIONS, ids=lambda o: o.attribute)
def test_both_command_lines_know_every_option(option):
    import typer

    from mcpsec.cli.scan_secrets import app

    command = typer.main.get_command(app).commands["scan"]
    names = {name for parameter in command.params for name in parameter.opts}
    assert set(option.names) <= names


def test_the_light_parser():
    request = parse(["--confidence=high", "-f", "json", "--rule", "a", "--rule", "b", "x", "--", "--y"])
    assert (request.confidence, request.format, request.rule, request.paths) == (
        "high",
        "json",
        ["a", "b"],
        ["x", "--y"],
    )
    for unusual in (["--help"], ["--nope"], ["--format", "xml"], ["--jobs", "x"], ["--staged=1"], ["rules", "list"]):
        assert parse(unusual) is None


def test_mistakes_and_help_go_to_the_full_command(capsys):
    from mcpsec.leaks import hook

    assert hook.main(["--nope"]) == 2
    assert "--nope" in capsys.readouterr().err
    assert hook.main(["--help"]) == 0
    assert "--history" in capsys.readouterr().out


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_no_defect(closed, tmp_path):
    (tmp_path / "a.env").write_text(ENV)
    command = f'exec "{sys.executable}" -c "from mcpsec.leaks.hook import run; run()" a.env -q {closed}'
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_full_disk_behind_standard_output_is_said_in_one_line(tmp_path):
    (tmp_path / "a.env").write_text(ENV)
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-c", "from mcpsec.leaks.hook import run; run()", "a.env"]
        done = subprocess.run(command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: standard output can't be written: No space left on device\n")


def test_console_script(tmp_path):
    (tmp_path / "a.env").write_text(ENV)
    script = os.path.join(os.path.dirname(sys.executable), "mcpsec-scan-secrets")
    if not os.path.exists(script):
        pytest.skip("the console script is not installed; install with: pip install -e .")
    done = subprocess.run([script, "a.env"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("a.env:1:13: high Password ****")
