"""Rules as a process holds them: packed, found through what their keywords begin and end with, brought by the wheel."""

import random

import pytest

from mcpsec.errors import ConfigurationError
from mcpsec.leaks import rulebook
from mcpsec.leaks.rulebook import FIELDS, STEP, Rulebook, pack, packaged


def book(*keywords):
    rows = [dict.fromkeys(FIELDS, "") | {"id": word, "pattern": "x", "keywords": (word,)} for word in keywords]
    return Rulebook(pack([list(row.values()) for row in rows], []))


def woken(made, text):
    return {made.rule(index).id for index in made.awake(text)}


@pytest.mark.parametrize("keyword", ["q~", "sk-", "ghp_", "contraseña", "a_very_long_keyword_" * 20])
@pytest.mark.parametrize("before", [0, 1, 2, 3, STEP - 2, STEP - 1, STEP, STEP + 1, 3 * STEP - 7])
@pytest.mark.parametrize("behind", [b"", b"=1"])
def test_a_keyword_wakes_its_rule_wherever_it_stands(keyword, before, behind):
    made = book(keyword, "another")
    assert woken(made, b"." * before + keyword.encode() + behind) == {keyword}
    assert woken(made, b"." * before + keyword.encode()[:-1] + b"!" + behind) == set()


def test_the_same_rules_wake_as_when_each_keyword_is_looked_for():
    made = packaged()
    chance = random.Random(8)
    words = sorted({word for rule in made.rules if rule.pattern for word in rule.keywords})
    for _ in range(50):
        text = "".join(chance.choice([word, word[:-1], word[1:], "=", " "]) for word in chance.sample(words, 300))
        expected = {rule.id for rule in made.rules if rule.pattern and any(word in text for word in rule.keywords)}
        assert woken(made, text.encode()) == expected


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    path = tmp_path / "rules.packed"
    rulebook.ship(str(path))
    monkeypatch.setattr(rulebook, "SHIPPED", str(path))
    return path


def test_a_first_run_has_nothing_to_parse_when_the_wheel_brings_the_rules(shipped, tmp_path, monkeypatch):
    monkeypatch.setenv("MCPSEC_CACHE_DIR", str(tmp_path / "empty"))
    monkeypatch.setattr(rulebook, "parse_rules", lambda *_: pytest.fail("parsed"))
    brought = Rulebook(rulebook._ready())
    assert [rule.id for rule in brought.rules] == [rule.id for rule in packaged().rules]
    assert brought.public == packaged().public


def test_packed_rules_of_other_rule_files_are_not_used(shipped, tmp_path, monkeypatch):
    monkeypatch.setenv("MCPSEC_CACHE_DIR", str(tmp_path / "empty"))
    (tmp_path / "own.toml").write_text("rules = [{ id = 'x' }]")
    monkeypatch.setattr(rulebook, "rule_files", lambda: [str(tmp_path / "own.toml")])
    with pytest.raises(ConfigurationError, match=r"own\.toml"):
        rulebook._ready()
    for broken in (b"", b"\0\0", shipped.read_bytes()[:1000]):
        shipped.write_bytes(broken)
        with pytest.raises(ConfigurationError, match=r"own\.toml"):
            rulebook._ready()
