"""What is not there, or not safe, on this machine: each file and program that a deployment names, by its key."""

from __future__ import annotations

import os

import pytest

from mcpsec.deployment import load
from mcpsec.deployment.files import check
from mcpsec.deployment.scaffold import create

COMMAND = '[upstreams.o]\ncommand = ["mcpsec-no-such-program"]\n'


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return create(tmp_path_factory.mktemp("here") / "d", ["agent"]).directory


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("", "", None),
        ('crl = "pki/client-ca.crl"', 'crl = "pki/none.crl"', "server.tls.crl: there is no file"),
        ('key = "pki/server/gateway/key.pem"', 'key = "pki/none.pem"', "server.tls.key: can't read the file: there is no such file"),
        ("secrets/agent.hmac", "secrets/none.hmac", "can't read the secret file: there is no such file"),
        ('file = "log/events.jsonl"', 'file = "mcpsec.toml/x/events.jsonl"', "can't be written to"),
        ("[upstreams.demo]\n", f"{COMMAND}[upstreams.demo]\n", "upstreams.o.command: there is no program"),
        ("[upstreams.demo]\n", f'{COMMAND}[upstreams.o.sandbox]\nuser = "mcpsec-nobody-x"\n[upstreams.demo]\n',
         "upstreams.o.sandbox.user: this machine has no account"),
        ("[upstreams.demo]\n", '[upstreams.o]\napp = "a:b"\napp_dir = "none"\n[upstreams.demo]\n', "there is no directory"),
    ],
)  # fmt: skip
def test_what_is_missing_here(old, new, words, written):
    text = (written / "mcpsec.toml").read_text()
    assert old in text
    file = written / "changed.toml"
    file.write_text(text.replace(old, new, 1) if old else text)
    problems = check(load(file))
    told = [f"{each.line}: {each.message}" for each in problems]
    assert any(words in each for each in told) if words else told == [], told
    assert all(each.line for each in problems)
    loaded = load(file)
    file.write_text("[")  # changed since it was loaded: what was found holds, without its lines
    assert [each.message for each in check(loaded)] == [each.message for each in problems]


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX")
def test_a_file_that_everybody_may_change(written):
    file = written / "open.toml"
    file.write_text((written / "mcpsec.toml").read_text())
    file.chmod(0o666)
    (problem,) = check(load(file))
    assert "everybody on this machine can change this file" in problem.message
