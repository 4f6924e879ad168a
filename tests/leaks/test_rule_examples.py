"""Every detection rule proves itself: its examples are found, its counter-examples are not, its form is sound."""

from __future__ import annotations

import functools
import re
import time
import tomllib
from collections import Counter
from importlib import resources
from typing import Any

import pytest

from mcpsec.leaks import checks, scan_bytes
from mcpsec.leaks.detection import confirm
from mcpsec.leaks.rulebook import LEVELS, packaged
from mcpsec.leaks.templates import expand

REQUIRED = {
    "id", "title", "provider", "family", "risk", "rotate", "source", "confidence", "keywords", "examples",
    "counter_examples",
}  # fmt: skip
OPTIONAL = {"pattern", "names", "slots", "value", "check", "entropy", "context", "description"}
FILES = sorted(
    (file for file in resources.files("mcpsec.leaks").joinpath("rules").iterdir() if file.name.endswith(".toml")),
    key=lambda file: file.name,
)
GENERIC = "generic.toml"
PUBLISHABLE = "publishable.toml"


def load(kind: str) -> list[dict[str, Any]]:
    return [
        dict(table, file=file.name)
        for file in FILES
        if file.name != GENERIC
        for table in tomllib.loads(file.read_text(encoding="utf-8")).get(kind, [])
    ]


RULES = load("rules")
PUBLIC = load("publishable")
BOOK = packaged()
BOOK_INDEX = {rule.id: index for index, rule in enumerate(BOOK.rules)}


def pattern_of(rule: dict[str, Any]) -> str:
    return rule["pattern"] if "pattern" in rule else expand(rule["names"], rule["value"], rule.get("slots", ()))


@functools.cache
def compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def text_of(example: Any) -> str:
    return example if isinstance(example, str) else "".join(example["parts"])


def find(rule: dict[str, Any], text: str) -> list[str]:
    """What the engine finds in the text by this rule alone, at medium confidence or the rule's own if that is low."""
    data = text.encode()
    index = BOOK_INDEX[rule["id"]]
    if not any(keyword in text.lower() for keyword in rule["keywords"]):
        return []
    floor = min(1, LEVELS[rule["confidence"]])
    return [m.value for m in confirm(BOOK, index, data, 0, len(data)) if m.confidence >= floor]


def by_id(rule: dict[str, Any]) -> str:
    return str(rule["id"])


@pytest.mark.parametrize("rule", RULES, ids=by_id)
def test_rule_finds_its_examples_and_refuses_its_counter_examples(rule: dict[str, Any]) -> None:
    for example in map(text_of, rule["examples"]):
        assert find(rule, example), f"not found: {example!r}"
    for example in map(text_of, rule["counter_examples"]):
        assert not find(rule, example), f"found, and should not be: {example!r}"


@pytest.mark.parametrize("rule", RULES, ids=by_id)
def test_scan_finds_the_examples(rule: dict[str, Any]) -> None:
    """Whatever rule wins the place, a scan at its default floor says that a secret is there."""
    if rule["confidence"] != "low":
        for example in map(text_of, rule["examples"]):
            assert scan_bytes(example.encode()), f"not found: {example!r}"


@pytest.mark.parametrize("rule", RULES, ids=by_id)
def test_rule_has_its_form(rule: dict[str, Any]) -> None:
    keys = set(rule) - {"file"}
    assert keys >= REQUIRED, f"missing: {REQUIRED - keys}"
    assert keys <= REQUIRED | OPTIONAL, f"unknown: {keys - REQUIRED - OPTIONAL}"
    assert ("pattern" in rule) != ("names" in rule and "value" in rule)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule["id"])
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule["family"])
    assert rule["confidence"] in ("high", "medium", "low")
    assert re.match(r"https://[\w.-]+\.[a-z]+(/|$)", rule["source"])
    assert rule["keywords"], "a rule without keywords is never searched"
    assert all(keyword == keyword.lower() and len(keyword) >= 2 for keyword in rule["keywords"])
    assert "check" not in rule or rule["check"] in checks.NAMES
    for text in (rule["risk"], rule["rotate"]):
        assert text.endswith(".") and len(text) >= 25, text
    assert len(rule["examples"]) >= 2
    assert len(rule["counter_examples"]) >= 2
    assert len(set(map(text_of, rule["examples"]))) == len(rule["examples"])


@pytest.mark.parametrize("rule", RULES, ids=by_id)
def test_rule_refuses_a_near_miss(rule: dict[str, Any]) -> None:
    """One counter-example differs from a real credential by little: it still holds the rule's keyword."""
    texts = [text_of(example) for example in rule["counter_examples"]]
    assert any(keyword in text.lower() for text in texts for keyword in rule["keywords"])


UNBOUNDED = re.compile(r"(?<!\\)(?:[*+]|\{\d+,\})")
LOOKAROUND = re.compile(r"\(\?(?:=|!|<=|<!)")


@pytest.mark.parametrize("rule", RULES, ids=by_id)
def test_pattern_is_bounded_and_has_no_lookaround(rule: dict[str, Any]) -> None:
    pattern = pattern_of(rule)
    bare = re.sub(r"\\.", "", pattern)
    bare = re.sub(r"\[\^?\]?[^\]]*\]", "x", bare)  # what stands in a class is no repeat
    assert not UNBOUNDED.search(bare), "unbounded repeat"
    assert not LOOKAROUND.search(pattern), "lookaround: Hyperscan can't compile it"
    groups = compiled(pattern)
    assert groups.groups == 1 or "secret" in groups.groupindex


@pytest.mark.parametrize("rule", RULES, ids=by_id)
def test_hostile_text_costs_little(rule: dict[str, Any]) -> None:
    """Runs of the rule's own beginnings are what would make a backtracking pattern explode."""
    pattern = compiled(pattern_of(rule))
    keyword = rule["keywords"][0]
    seed = text_of(rule["examples"][0])
    for unit in (keyword, keyword + "_key=", keyword + "key ", seed[:-2], seed[:-1] + "!"):
        text = unit * (5_000 // len(unit) + 1)
        started = time.process_time()
        pattern.search(text)
        assert time.process_time() - started < 1, f"{unit[:20]!r} repeated"


def test_identifiers_are_unique() -> None:
    twice = [rule for rule, n in Counter(map(by_id, RULES)).items() if n > 1]
    assert not twice


def test_titles_are_unique() -> None:
    twice = [title for title, n in Counter(rule["title"] for rule in RULES).items() if n > 1]
    assert not twice


def test_there_are_three_hundred_families() -> None:
    assert len({rule["family"] for rule in RULES}) >= 300


@pytest.mark.parametrize("public", PUBLIC, ids=lambda public: public["pattern"])
def test_publishable_identifiers_are_described(public: dict[str, Any]) -> None:
    assert set(public) - {"file"} == {"pattern", "why", "source"}
    re.compile(public["pattern"])
    assert public["source"].startswith("https://")
    assert public["why"].endswith(".")
    assert public["file"] == PUBLISHABLE
