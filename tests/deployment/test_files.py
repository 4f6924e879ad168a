"""The files that a deployment names: there, and kept safely."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mcpsec.deployment import files, load
from mcpsec.deployment.scaffold import create


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return create(tmp_path / "d").config


def found(config: Path) -> list[tuple[int | None, str]]:
    return [(problem.line, problem.message) for problem in files.check(load(config))]


def line_of(config: Path, text: str) -> int:
    return next(number for number, line in enumerate(config.read_text().splitlines(), 1) if text in line)


def test_a_new_deployment_is_whole(config: Path) -> None:
    assert found(config) == []


@pytest.mark.parametrize(
    ("path", "start"),
    [
        ("pki/server/gateway/chain.pem", "certificate ="),
        ("pki/client-ca.pem", "client_ca ="),
        ("pki/client-ca.crl", "crl ="),
    ],
)
def test_a_missing_file(config: Path, path: str, start: str) -> None:
    (config.parent / path).unlink()
    key = start.removesuffix(" =")
    assert found(config) == [(line_of(config, start), f"server.tls.{key}: there is no file {config.parent / path}")]


def chmod(mode: int) -> Callable[[Path], None]:
    return lambda path: path.chmod(mode)


@pytest.mark.parametrize("harm", [Path.unlink, chmod(0o644), chmod(0o660)], ids=["missing", "readable", "writable"])
@pytest.mark.parametrize(
    ("path", "start", "key"),
    [
        ("pki/server/gateway/key.pem", "key =", "server.tls.key"),
        ("secrets/agent.hmac", "signing_keys =", "clients[0].signing_keys[0].secret"),
    ],
)
def test_a_private_file(config: Path, path: str, start: str, key: str, harm: Callable[[Path], None]) -> None:
    harm(config.parent / path)
    ((line, message),) = found(config)
    assert line == line_of(config, start)
    assert message.startswith(key)
    assert str(config.parent / path) in message


def test_the_log_can_be_made_but_not_below_a_file(config: Path) -> None:
    (config.parent / "log").rmdir()
    assert found(config) == []
    (config.parent / "log").write_text("")
    assert found(config) == [
        (line_of(config, 'file = "log'), f"log.file: the directory {config.parent / 'log'} can't be written to")
    ]


def test_programs_and_their_directories(config: Path) -> None:
    program = config.parent / "server"
    text = '[upstreams.a]\ncommand = ["./server"]\ncwd = "work"\n[upstreams.b]\ncommand = ["mcpsec-no-such-program"]\n'
    text += '[upstreams.c]\ncommand = ["server"]\nenvironment = { PATH = "' + str(config.parent) + '" }\n'
    config.write_text(config.read_text() + text)
    assert [message for _, message in found(config)] == [
        f"upstreams.a.command: there is no program {program}",
        f"upstreams.a.cwd: there is no directory {config.parent / 'work'}",
        "upstreams.b.command: there is no program mcpsec-no-such-program",
        "upstreams.c.command: there is no program server",
    ]
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    (config.parent / "work").mkdir()
    assert [message for _, message in found(config)] == [
        "upstreams.b.command: there is no program mcpsec-no-such-program"
    ]


def test_secrets_of_commands_and_variables_are_not_fetched(config: Path, tmp_path: Path) -> None:
    text = '[upstreams.a]\nurl = "https://x/"\n[upstreams.a.headers]\nx-a-key = { env = "MCPSEC_UNSET" }\n'
    text += f'x-b-key = {{ command = ["touch", "{tmp_path}/ran"] }}\n'
    config.write_text(config.read_text() + text)
    assert found(config) == []
    assert not (tmp_path / "ran").exists()


def test_a_file_that_everybody_may_change(config: Path) -> None:
    config.chmod(0o646)
    assert found(config) == [(1, "everybody on this machine can change this file, and with it who may do what")]
    config.chmod(0o644)
    assert found(config) == []


def test_an_account_that_this_machine_has_not(config: Path) -> None:
    text = '[upstreams.a]\ncommand = ["sh"]\n[upstreams.a.sandbox]\nuser = "mcpsec-no-such-account"\n'
    config.write_text(config.read_text() + text)
    assert found(config) == [
        (
            line_of(config, 'user = "mcpsec'),
            "upstreams.a.sandbox.user: this machine has no account mcpsec-no-such-account",
        )
    ]


def test_a_file_that_changed_since_it_was_loaded_costs_only_the_lines(config: Path) -> None:
    (config.parent / "pki/client-ca.crl").unlink()
    loaded = load(config)
    (told,) = files.check(loaded)
    config.write_text("[")
    (again,) = files.check(loaded)
    assert (again.message, again.line) == (told.message, 1) and told.line != 1
