"""``mcpsec config``: check, show, schema, reference."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from mcpsec.cli.root import main
from mcpsec.deployment.scaffold import create
from tests.deployment.documents import MINIMAL


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MCPSEC_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return create(tmp_path / "d").config


def test_check_of_a_good_file(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", "-c", str(config)]) == 0
    assert capsys.readouterr().out == f"{config}: no problems (upstreams: 1, clients: 1)\n"
    assert main(["config", "check", "-c", str(config), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": "mcpsec.config-check/1",
        "file": str(config),
        "ok": True,
        "problems": [],
    }


def test_check_names_every_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "mcpsec.toml"
    config.write_text(MINIMAL.replace("listen", "lisen") + "[auth.signature]\nmax_age = 300\n")
    assert main(["config", "check"]) == 2
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        f"{config}:3: server has no key lisen",
        "    did you mean listen?",
        f"{config}:11: auth.signature.max_age is not a duration",
        '    write a number and its unit (ms, s, m, h, d), as "300s"',
    ]
    assert said.err == "2 problems\n"
    assert main(["config", "check", "--format", "json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    places = [(problem["path"], problem["line"], problem["column"], problem["key"]) for problem in document["problems"]]
    assert places == [
        (str(config), 3, 1, "server.lisen"),
        (str(config), 11, 1, "auth.signature.max_age"),
    ]


def test_check_looks_at_the_files(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = config.parent / "secrets" / "agent.hmac"
    secret.chmod(0o644)
    assert main(["config", "check", "-c", str(config)]) == 2
    said = capsys.readouterr().out
    assert "can be read or written by others (mode 0644)" in said
    assert f"chmod 600 {secret}" in said
    assert secret.read_text().strip() not in said


def test_check_of_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", "--format", "json"]) == 2
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert (problem["path"], problem["message"]) == (str(tmp_path / "mcpsec.toml"), "there is no such file")


def test_the_file_is_an_option_a_variable_or_here(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "show"]) == 2
    assert "mcpsec init" in capsys.readouterr().err
    monkeypatch.setenv("MCPSEC_CONFIG", str(config))
    assert main(["config", "show"]) == 0
    monkeypatch.delenv("MCPSEC_CONFIG")
    monkeypatch.chdir(config.parent)
    assert main(["config", "show"]) == 0


def test_show_as_json(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "-c", str(config), "--format", "json"]) == 0
    text = capsys.readouterr().out
    document = json.loads(text)
    assert document["schema"] == "mcpsec.config/1"
    assert document["log"]["file"] == str(config.parent / "log" / "events.jsonl")
    assert document["server"]["limits"]["rate_limit"] == "100/minute"
    assert document["clients"][0]["id"] == "agent"
    secret = config.parent / "secrets" / "agent.hmac"
    assert document["clients"][0]["signing_keys"] == [{"id": "agent", "secret": {"file": str(secret)}}]
    assert secret.read_text().strip() not in text


def test_show_as_toml_can_be_read_again(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "-c", str(config)]) == 0
    shown = capsys.readouterr().out
    assert tomllib.loads(shown)["server"]["tls"]["key"] == str(config.parent / "pki/server/gateway/key.pem")
    config.write_text(shown)
    assert main(["config", "show", "-c", str(config)]) == 0
    assert capsys.readouterr().out == shown


def test_show_of_a_wrong_file_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mcpsec.toml").write_text(MINIMAL + "a = 1\nb = 2\n")
    assert main(["config", "show"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"error: {tmp_path / 'mcpsec.toml'}:10: log has no key a" in said.err
    assert "1 more problem: `mcpsec config check" in said.err


def test_schema(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    document = tomllib.loads(config.read_text())
    assert jsonschema.Draft202012Validator(schema).is_valid(document)
    document["server"]["lisen"] = document["server"].pop("listen")
    assert not jsonschema.Draft202012Validator(schema).is_valid(document)


def test_reference(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "reference"]) == 0
    assert capsys.readouterr().out.startswith("# The deployment file\n")


def test_secrets_says_which_can_be_read_and_shows_none(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = config.parent / "secrets" / "agent.hmac"
    value = secret.read_text().strip()
    assert main(["config", "secrets", "-c", str(config)]) == 0
    said = capsys.readouterr()
    assert said.out == f"ok     clients[0].signing_keys[0].secret: file {secret}\n"
    assert said.err == "1 secret references, 0 can't be read\n"
    secret.chmod(0o644)
    assert main(["config", "secrets", "-c", str(config)]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("FAILS ") and f"chmod 600 {secret}" in said.out and value not in said.out
    assert main(["config", "secrets", "-c", str(config), "--format", "json"]) == 1
    text = capsys.readouterr().out
    (row,) = json.loads(text)["secrets"]
    assert (row["kind"], row["place"], row["resolves"]) == ("file", f"file {secret}", False)
    assert "read or written by others" in row["error"] and value not in text
    secret.chmod(0o600)
    assert main(["config", "secrets", "-c", str(config), "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["secrets"]
    assert (row["resolves"], row["error"]) == (True, None)


@pytest.mark.parametrize("command", ["check", "secrets", "show", "schema", "reference"])
def test_help_shows_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", command, "--help"]) == 0
    assert f"$ mcpsec config {command}" in capsys.readouterr().out
