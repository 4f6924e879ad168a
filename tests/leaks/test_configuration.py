"""A configuration that is wrong is one clear error with its file, never a run under other rules than were meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcpsec.errors import ConfigurationError
from mcpsec.leaks.configuration import find, load
from mcpsec.leaks.rulebook import packaged

RULE = '[[rules]]\nid = "own"\nkeywords = ["own"]\nconfidence = "high"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "not TOML"),
        ("colour = 1", "unknown keys: colour"),
        ("[allow]\nfiles = []", "unknown keys: files"),
        ("allow = 1", "allow must be a table"),
        ('extend = "no"', "extend must be true or false"),
        ('disable = "generic-key"', "disable must be a list of texts"),
        ("[allow]\npaths = [1]", "paths must be a list of texts"),
        ("[allow]\nvalues = ['(?=a)']", "not a regular expression in RE2's syntax"),
        ("rules = 1", "rules must be tables"),
        ("rules = [1]", "rules must be tables"),
        (f"{RULE}pattern = 'own-(?P<secret>[a-z]+)'\nentropy = 'high'", "entropy must be a number"),
        (
            f"{RULE}pattern = 'own-(?P<secret>[a-z]+)'\nexamples = 'own-a'",
            "examples of rule own must be a list of texts",
        ),
        (f"{RULE}pattern = 'own-(?P<secret>[a-z]+)'\nexamples = [{{parts = 1}}]", "must be a list of texts"),
        (f"{RULE}pattern = 'own-(?P<secret>[a-z]+)'\nbeginning = 'own-(?=a)'", "not a regular expression in RE2"),
        (f"{RULE}names = ['own']\nvalue = '[a-z]{{20}}'\nbeginning = 'own'", "has a beginning, but no pattern"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / ".mcpsec-secrets.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=said) as caught:
        load(str(path))
    assert caught.value.path == str(path)


@pytest.mark.parametrize(
    ("text", "said"), [('disable = ["no-such-rule"]', "disable names no rule"), ("extend = false", "leaves no rule")]
)
def test_rules_that_are_not_there(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / ".mcpsec-secrets.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        load(str(path)).book(packaged())


@pytest.mark.parametrize("text", ["[tool]\nmcpsec = 1", "tool = 1", "[tool.mcpsec]\nsecrets = []"])
def test_tables_of_pyproject_have_to_be_tables(text: str, tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="must be a table"):
        load(str(path))


def test_what_a_gitleaks_file_has_beyond_us_is_told_and_the_rest_applies(tmp_path: Path) -> None:
    path = tmp_path / ".gitleaks.toml"
    path.write_text(
        "[allowlist]\nregexes = ['''(?=never)''', '''^dummy''']\npaths = ['''(^|/)vendor/''']\n"
        "[[rules]]\nid = 'no-keyword'\nregex = '''a(b)'''\n"
        "[[rules]]\nid = 'no-expression'\nkeywords = ['x']\n"
        "[[rules]]\nid = 'good'\nkeywords = ['GOOD']\nregex = '''good-([a-z0-9]{8})'''\n"
    )
    made = load(str(path))
    assert [warning.partition(": ")[2][:20] for warning in made.warnings] == [
        "an expression that c",
        "rule no-keyword has ",
        "rule no-expression h",
    ]
    assert [pattern.pattern for pattern in made.values] == ["^dummy"]
    assert [bool(pattern.search("a/vendor/b.py")) for pattern in made.paths] == [True]
    assert [row[0] for row in made.rows] == ["good"]


def test_the_nearest_file_up_to_the_top_of_the_repository_governs(tmp_path: Path) -> None:
    (tmp_path / ".mcpsec-secrets.toml").write_text("")
    inner = tmp_path / "repository" / "package"
    inner.mkdir(parents=True)
    assert find(str(inner)) == str(tmp_path / ".mcpsec-secrets.toml")
    (tmp_path / "repository" / ".git").mkdir()
    assert find(str(inner)) is None  # what lies outside of a repository has no say in it
    (inner / "pyproject.toml").write_text("[tool.other]\n")
    assert find(str(inner)) is None
    (inner / "pyproject.toml").write_text("[tool.mcpsec.secrets]\n")
    assert find(str(inner)) == str(inner / "pyproject.toml")
