"""Files of policy tests: reading them strictly, running them, and the JUnit document."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from mcpsec.errors import ConfigurationError
from mcpsec.gateway.policy import Policy
from mcpsec.gateway.policy.suite import junit, read, run
from tests.gateway.policy.build import deployment

GOOD = """
[[tests]]
name = "may read"
client = "c"
tool = "t/get_x"
arguments = { a = "1" }
expect = "allowed"

[[tests]]
client = "c"
tool = "t/delete_x"
at = 2026-11-23T02:30:00+01:00
address = "10.0.0.1"
certificate_sha256 = "AB:CD"
expect = "refused"
rule = "resource-not-granted"
"""

POLICY = deployment(
    {"t": {"get_*": "read"}},
    {"c": {"allow_resources": ["t/get_*", "t/resource:*", "t/prompt:*"], "allow_methods": ["read"]}},
)


def write(directory: Path, text: str) -> Path:
    path = directory / "tests.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_file(tmp_path: Path) -> None:
    tests = read(write(tmp_path, GOOD))
    assert [(test.name, test.line) for test in tests] == [("may read", 2), ("test 2", 9)]
    assert tests[1].context.certificate_sha256 == "abcd"
    assert [outcome.problem for outcome in run(Policy(POLICY), tests)] == [None, None]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('expect = "allowed"', 'expect = "refused"', "expected refused, but it is allowed (granted)"),
        ('"resource-not-granted"', '"argument-not-allowed"', "expected the rule argument-not-allowed, but"),
        ('expect = "refused"', 'expect = "allowed"', "expected allowed, but it is refused (resource-not-granted)"),
    ],
)
def test_what_fails(tmp_path: Path, old: str, new: str, problem: str) -> None:
    outcomes = run(Policy(POLICY), read(write(tmp_path, GOOD.replace(old, new))))
    (failed,) = [outcome.problem for outcome in outcomes if outcome.problem]
    assert failed.startswith(problem)


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ('tool = "t/get_x"', True),
        ('resource = "t/file:///a"', True),
        ('prompt = "t/hello"', True),
        ('complete = "t/prompt:hello"', True),
        ('complete = "t/hello"', False),
        ('method = "t/tools/list"', True),
        ('method = "t/tasks/get"', False),
    ],
)
def test_what_a_test_can_be_about(tmp_path: Path, target: str, allowed: bool) -> None:
    text = GOOD.replace('tool = "t/get_x"', target)
    (outcome, _) = run(Policy(POLICY), read(write(tmp_path, text)))
    assert outcome.decision.allowed is allowed


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", None, "holds no"),
        ("tests = 1", None, "holds no"),
        (GOOD + "[other]\nx = 1\n", None, "something besides"),
        ("[[tests]", None, "not a TOML file"),
        ("tests = [1]", 1, "a test is a table"),
        (GOOD.replace("name =", "nam ="), 3, "no key 'nam'"),
        (GOOD.replace('client = "c"', "client = 5", 1), 4, "client must be text"),
        (GOOD.replace('client = "c"\n', "", 1), 2, "lacks client"),
        (GOOD.replace('tool = "t/get_x"\n', ""), 2, "exactly one"),
        (GOOD.replace('tool = "t/get_x"', 'tool = "t/get_x"\nprompt = "t/p"'), 2, "exactly one"),
        (GOOD.replace('"t/get_x"', '"get_x"'), 5, "UPSTREAM/NAME"),
        (GOOD.replace('{ a = "1" }', "[1]"), 6, "arguments must be a table"),
        (GOOD.replace('{ a = "1" }', "{ a = inf }"), 6, "arguments must be a table of JSON values"),
        (GOOD.replace('{ a = "1" }', "{ a = [2026-01-01] }"), 6, "arguments must be a table of JSON values"),
        (GOOD.replace("+01:00", ""), 12, "with its offset"),
        (GOOD.replace('"allowed"', '"yes"'), 7, "expect must be"),
        (GOOD.replace('expect = "allowed"\n', ""), 2, "lacks expect"),
    ],
)
def test_a_wrong_file_names_its_line(tmp_path: Path, text: str, line: int | None, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(write(tmp_path, text))
    assert message in caught.value.message
    assert caught.value.line == line


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="can't be read"):
        read(tmp_path / "gone.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(ConfigurationError, match="not a TOML file"):
        read(tmp_path / "latin.toml")
    with pytest.raises(ConfigurationError, match="not a TOML file"):
        read(write(tmp_path, "x = " + "[" * 100_000))
    (tmp_path / "huge.toml").write_bytes(b"#" * (5 << 20))
    with pytest.raises(ConfigurationError, match="4 MiB"):
        read(tmp_path / "huge.toml")


def test_junit_is_xml_whatever_the_names(tmp_path: Path) -> None:
    text = GOOD.replace('"may read"', '"<a> & \\u0001 \\ufffe \\"b\\""').replace(
        'expect = "allowed"', 'expect = "refused"'
    )
    document = junit(run(Policy(POLICY), read(write(tmp_path, text))), "tests.toml")
    suite = ElementTree.fromstring(document)[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    first = suite[0]
    assert first.get("name") == '<a> & \ufffd \ufffd "b"'
    assert first.get("line") == "2"
    failure = first.find("failure")
    assert failure is not None and "access glob" in str(failure.text)
    assert len(suite[1]) == 0
