"""What a repository brings along to be scanned by can't hold the scan up: hostile expressions and globs."""

import subprocess
import sys

import pytest

from mcpsec.errors import ConfigurationError
from mcpsec.leaks.allow import glob
from mcpsec.leaks.configuration import load
from mcpsec.leaks.gitignore import Ignore
from mcpsec.leaks.linear import ByteExpression, NotLinearError, TextExpression
from mcpsec.leaks.rulebook import packaged

OWN = """[[rules]]
id = "acme-token"
confidence = "high"
keywords = ["acme_"]
pattern = '''{pattern}'''
"""
GITLEAKS = r"""[[rules]]
id = "acme-token"
regex = '''{pattern}'''
keywords = ["acme_"]
[allowlist]
regexes = ['''(x+x+)+y''']
paths = ['''(x+x+)+y\z''']
"""
ALLOWED = """[allow]
paths = ["{stars}y"]
values = ['(x+x+)+y']
lines = ['(x+x+)+y']
"""
TOKEN = "acme_" + "x" * 200
STARS = "*x" * 30
EVIL = "((acme_)(x+x+)+)y"


def scan(directory, *arguments):
    """The finished scan; one that is held up for minutes fails the test."""
    return subprocess.run(
        [sys.executable, "-m", "mcpsec", "scan-secrets", "scan", *arguments, str(directory)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".mcpsec-secrets.toml", OWN.format(pattern=EVIL)),
        (".gitleaks.toml", GITLEAKS.format(pattern=EVIL)),
        (".mcpsec-secrets.toml", ALLOWED.format(stars=STARS)),
        (".gitignore", f"{STARS}y\n/{STARS}y/z\n"),
        (".mcpsec-secrets-ignore", f"{STARS}y because we say so\n"),
    ],
    ids=["own rule", "gitleaks rule", "allow-lists", "gitignore", "ignore file"],
)
@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
def test_hostile_expressions_end(tmp_path, name, text, large):
    (tmp_path / name).write_text(text)
    planted = "ghp_" + "1B8wQx0TzR5nMkYvHs2dLfGa7cJeUp" + "0gTqLw"
    filler = "some words of a file\n" * (400_000 if large else 1)
    (tmp_path / ("x" * 200)).write_text(f'{TOKEN}\npassword = "{"x" * 40}7Kq{"x" * 40}"\ntoken = {planted}\n{filler}')
    done = scan(tmp_path, "--confidence", "low")
    assert done.returncode in (0, 1), done.stderr
    assert "internal" not in done.stderr


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize(
    ("name", "text"), [(".mcpsec-secrets.toml", OWN), (".gitleaks.toml", GITLEAKS)], ids=["own", "gitleaks"]
)
def test_honest_expressions_of_the_same_kind_are_used(tmp_path, name, text, large):
    (tmp_path / name).write_text(text.format(pattern=r"(?i)\b(acme_(?:[0-9a-f]{4}){8})(?:[^\w]|\z)"))
    filler = "some words of a file\n" * (400_000 if large else 1)
    (tmp_path / "code.txt").write_text(f"{filler}use acme_{'0f3a9b71' * 4}, not acme_0f3a\n")
    done = scan(tmp_path, "--format", "csv")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2, done.stdout


@pytest.mark.parametrize("pattern", [r"(?<!a)acme_x", r"(acme_)\1", r"acme_(?=x)", "acme_("])
def test_what_can_not_be_linear_is_an_error_in_words(tmp_path, pattern):
    path = tmp_path / ".mcpsec-secrets.toml"
    path.write_text(OWN.format(pattern=pattern))
    with pytest.raises(ConfigurationError, match="RE2"):
        load(str(path))


NAMED = """[[rules]]
id = "acme-token"
confidence = "high"
keywords = ["acme"]
names = ["acme"]
slots = ["token"]
value = '{value}'
"""


@pytest.mark.parametrize("value", ["(?=a)[a-f0-9]{32}", "[a-f0-9]{32,4000}"])
def test_a_value_beside_names_is_checked_as_well(tmp_path, value):
    path = tmp_path / ".mcpsec-secrets.toml"
    path.write_text(NAMED.format(value=value))
    with pytest.raises(ConfigurationError, match="RE2"):
        load(str(path))
    path.write_text(NAMED.format(value="[a-f0-9]{32}"))
    (tmp_path / "code.py").write_text(f'ACME_TOKEN = "{"0f3a9b71" * 4}"\n')
    done = scan(tmp_path, "--format", "csv")
    assert "acme-token" in done.stdout, done.stderr


def test_names_are_matched_as_the_bytes_they_are():
    broken = b"caf\xe9.log".decode("utf-8", "surrogateescape")
    assert Ignore("caf?.log\n").judge(broken, broken) is True
    assert Ignore("caf??.log\n").judge("caf\u00e9.log", "caf\u00e9.log") is True  # two bytes, as git counts them
    assert Ignore("*.txt\ncaf[x].*\n").judge(broken, broken) is None
    assert TextExpression("f.\\.log").search(broken) is False
    assert glob("docs/**").match("docs/a/b")
    assert not glob("docs/**").match("src/docs")


def test_a_long_ignore_file_is_used_to_its_last_line():
    lines = "".join(f"a{number}*/b?\n" for number in range(3000))
    ignore = Ignore(lines)
    assert ignore.judge("a2999x/b1", "b1") is True
    assert ignore.judge("c2999x/b1", "b1") is None


def test_both_engines_match_the_packaged_rules_alike():
    """RE2 and re mean the same by the syntax that our own rules are written in."""
    book = packaged()
    compared = 0
    for index in range(len(book.ids)):
        rule = book.rule(index)
        if not rule.pattern:
            continue
        try:
            other = ByteExpression(rule.pattern)
        except NotLinearError:
            continue
        ours = book.pattern(index)
        assert other.groups == ours.compiled.groups
        text = b" ".join(
            word.encode() + b" = " + word.encode() + b"0a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P" for word in rule.keywords
        )
        expected = [found.span(ours.group) for found in ours.compiled.finditer(text, 0, len(text))]
        assert [found.span(ours.group) for found in other.finditer(text)] == expected, rule.id
        assert other.width >= ours.width
        compared += 1
    assert compared > 200
