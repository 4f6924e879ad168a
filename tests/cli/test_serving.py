"""What a command line of `serve` comes to, without serving: upstreams, grants, files, the first call that is shown."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mcpsec.cli import serving
from mcpsec.cli.crash import write_report
from mcpsec.cli.root import main
from mcpsec.cli.serving import ServeOptions
from mcpsec.deployment import load
from mcpsec.deployment.scaffold import create
from mcpsec.errors import ConfigurationError, Error, ExitCode, UsageError


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    """A deployment as ``init`` writes it."""
    return create(tmp_path_factory.mktemp("serving") / "d", ["agent"]).directory / "mcpsec.toml"


def told(deployed, **options):
    said = []
    return serving._as_told(load(deployed), ServeOptions(**options), said.append), said


MISTAKES = [
    ({"command": ("mcpsec-no-such-program",)}, "there is no program mcpsec-no-such-program"),
    ({"upstream": "ftp://h/"}, "--upstream needs an http(s) URL"),
    ({"upstream": "http://"}, "--upstream needs an http(s) URL"),
    ({"upstream": "http://me:word@h/mcp"}, "must not hold a user or password"),
    ({"python_app": "module"}, "not MODULE:NAME"),
    ({"python_app": "a.b:c d"}, "not MODULE:NAME"),
    ({"grant": "agent"}, "--grant goes with COMMAND"),
    ({"upstream": "http://127.0.0.1:9/mcp", "grant": "nobody"}, "--grant nobody: the file has no such client"),
]


@pytest.mark.parametrize(("options", "words"), MISTAKES)
def test_mistakes_of_a_command_line(options, words, deployed):
    with pytest.raises(UsageError) as raised:
        told(deployed, **options)
    assert words in str(raised.value) and "word@" not in str(raised.value)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs SIGHUP, which this system has not")
def test_who_calls_serve_minds_its_own_hang_ups_after_it(monkeypatch):
    heard, seen = [], []

    def work(_options):
        signal.raise_signal(signal.SIGHUP)
        seen.append(list(serving._early_hang_ups))
        raise UsageError("a mistake")

    monkeypatch.setattr(serving, "_serve_as_told", work)
    before = signal.signal(signal.SIGHUP, lambda number, _frame: heard.append(number))
    try:
        for _ in range(2):  # the first leaves nothing to the second
            with pytest.raises(UsageError):
                serving.serve(ServeOptions())
        assert (heard, seen) == ([], [[signal.SIGHUP]] * 2)
        signal.raise_signal(signal.SIGHUP)
        assert heard == [signal.SIGHUP]
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"command": (sys.executable, "-m", "x y")}, f"{sys.executable} -m 'x y'"),
        ({"upstream": "http://127.0.0.1:9/mcp", "grant": "agent"}, "http://127.0.0.1:9/mcp"),
        ({"python_app": "tickets.server:mcp"}, "tickets.server:mcp"),
    ],
)
def test_one_upstream_in_place_of_the_files(options, what, deployed):
    deployment, said = told(deployed, **options)
    assert set(deployment.upstreams) == {"upstream"}
    assert said == [f"for this run, client 'agent' may use everything of: {what}"]


def test_an_upstream_needs_a_client_that_could_use_it(deployed, tmp_path):
    text = deployed.read_text().partition("\n[[clients]]")[0].replace('"pki/', f'"{deployed.parent}/pki/')
    (tmp_path / "mcpsec.toml").write_text(text)
    with pytest.raises(ConfigurationError, match="no client that could use"):
        told(tmp_path / "mcpsec.toml", upstream="http://127.0.0.1:9/mcp")


def test_a_free_port_for_the_gateway_is_one_for_its_metrics_too(deployed):
    deployment, _ = told(deployed, listen="127.0.0.1:0")
    assert (deployment.server.listen.port, deployment.server.admin.listen.port) == (0, 0)
    deployment, _ = told(deployed, listen="127.0.0.1:0", admin_listen="127.0.0.1:9")
    assert deployment.server.admin.listen.port == 9


def test_commands_exclude_each_other(capsys):
    assert main(["serve", "--upstream", "http://h/", "--app", "a:b"]) == 2
    assert "exclude each other" in capsys.readouterr().err


def test_the_file_that_is_served(deployed, tmp_path, monkeypatch, capsys):
    assert serving._deployment(deployed.parent, quickstart=False).path == deployed
    assert serving._deployment(deployed, quickstart=True).path == deployed
    with pytest.raises(UsageError, match=r"named mcpsec\.toml, not other\.toml"):
        serving._deployment(tmp_path / "other.toml", quickstart=True)
    monkeypatch.chdir(tmp_path)
    made = serving._deployment(None, quickstart=True).path
    assert made.parent.name == "mcpsec-quickstart" and "wrote" in capsys.readouterr().err
    assert serving._deployment(None, quickstart=True).path == made and capsys.readouterr().err == ""


def test_workers_need_a_state_that_they_share(deployed):
    with pytest.raises(ConfigurationError, match="needs a shared state"):
        serving._check_state(load(deployed), 2)
    shared = SimpleNamespace(state=SimpleNamespace(shared=True))
    assert serving._check_state(shared, 2) is None


def test_who_is_ready_says_where(tmp_path):
    gateway = SimpleNamespace(url="https://127.0.0.1:1/mcp", admin_url=None)
    serving._write_ready(tmp_path / "ready.json", gateway)
    assert json.loads((tmp_path / "ready.json").read_text()) == {
        "url": gateway.url, "admin_url": None, "pid": os.getpid()
    }  # fmt: skip
    assert [each.name for each in tmp_path.iterdir()] == ["ready.json"]
    with pytest.raises(Error, match=r"(?i)no such file"):
        serving._write_ready(tmp_path / "none" / "ready.json", gateway)


@pytest.mark.parametrize("form", ["module", "on the path", "elsewhere"])
def test_the_first_call_can_be_pasted_anywhere(form, deployed, tmp_path, monkeypatch, capsys):
    program = tmp_path / "a b" / "mcpsec"
    program.parent.mkdir()
    program.write_text("")
    monkeypatch.setattr(sys, "argv", ["/x/__main__.py" if form == "module" else str(program)])
    monkeypatch.setattr("shutil.which", lambda _: str(program) if form == "on the path" else None)
    serving._show_first_call(load(deployed), SimpleNamespace(url="https://127.0.0.1:1/mcp"))
    (line,) = [each for each in capsys.readouterr().err.splitlines() if " sign --send " in each]
    begin = {"module": f"  {sys.executable} -m mcpsec", "on the path": "  mcpsec", "elsewhere": f"  '{program}'"}[form]
    assert line.startswith(f"{begin} sign --send -c {deployed} --client agent --url https://127.0.0.1:1/mcp")


# --- connect ---


@pytest.mark.parametrize(
    ("outcome", "arguments", "words"),
    [
        ("the keyring", ["--login"], "logged in; the token is kept in the keyring"),
        (True, ["--logout"], "logged out"), (False, ["--logout"], "there was no token"),
    ],
)  # fmt: skip
def test_tokens_are_got_and_forgotten_without_a_bridge(outcome, arguments, words, monkeypatch, capsys):
    from mcpsec.connect.oauth import authorizer

    made = []

    class Authorizer:
        def __init__(self, url, credentials, settings, *, note):
            made.append((url, settings.issuer))

        async def login(self):
            return outcome

        async def logout(self):
            return outcome

    monkeypatch.setattr(authorizer, "Authorizer", Authorizer)
    command = ["connect", "http://127.0.0.1:1/mcp", "--oauth-issuer", "https://login.example/", *arguments]
    assert main(command) == 0
    assert words in capsys.readouterr().err
    assert made == [("http://127.0.0.1:1/mcp", "https://login.example/")]


# --- failures of mcpsec itself ---


def test_a_crash_leaves_a_report_without_values(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    word = "7f3c9a1e" + "5b2d8f4a"
    try:
        try:
            raise KeyError(word)
        except KeyError as inner:
            raise ValueError(word) from inner
    except ValueError as error:
        assert write_report(error, ["audit", f"--token={word}", word]) == ExitCode.INTERNAL
        (report,) = tmp_path.iterdir()
        text = report.read_text()
        assert "command: audit --token\n" in text and "caused by" in text and "builtins.KeyError" in text
        assert word not in text + capsys.readouterr().err
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
        monkeypatch.setenv("MCPSEC_TRACEBACK", "1")
        write_report(error, [])
        shown = capsys.readouterr().err
        assert "the report file could not be written" in shown and "Traceback" in shown
    assert Path(report).stat().st_mode & 0o077 == 0
