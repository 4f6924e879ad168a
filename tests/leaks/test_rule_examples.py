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
from mcpsec.leaks.bulk import says_little
from mcpsec.leaks.detection import confirm
from mcpsec.leaks.rulebook import LEVELS, Rulebook, pack, packaged, row_of
from mcpsec.leaks.templates import expand

REQUIRED = {
    "id", "title", "provider", "family", "risk", "rotate", "source", "confidence", "keywords", "examples",
    "counter_examples",
}  # fmt: skip
OPTIONAL = {"pattern", "beginning", "names", "slots", "value", "check", "entropy", "context", "description"}
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
RULE_FILES = sorted({rule["file"] for rule in RULES})
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
        if rule["confidence"] != "low":  # whichever rule wins the place, a scan at its default floor sees it
            assert scan_bytes(example.encode()), f"not reported: {example!r}"
    refused = list(map(text_of, rule["counter_examples"]))
    for example in refused:
        assert not find(rule, example), f"found, and should not be: {example!r}"
    assert any(keyword in text.lower() for text in refused for keyword in rule["keywords"]), "no near miss"


UNBOUNDED = re.compile(r"(?<!\\)(?:[*+]|\{\d+,\})")
LOOKAROUND = re.compile(r"\(\?(?:=|!|<=|<!)")


def flaws(rule: dict[str, Any]) -> list[str]:
    """What is wrong with the form of a rule, each in a few words."""
    keys, pattern = set(rule) - {"file"}, pattern_of(rule)
    bare = re.sub(r"\[\^?\]?[^\]]*\]", "x", re.sub(r"\\.", "", pattern))  # what stands in a class is no repeat
    texts = list(map(text_of, rule["examples"]))
    sound = {
        f"lacks {sorted(REQUIRED - keys)}": keys >= REQUIRED,
        f"unknown {sorted(keys - REQUIRED - OPTIONAL)}": keys <= REQUIRED | OPTIONAL,
        "either pattern or names and value": ("pattern" in rule) != ("names" in rule and "value" in rule),
        "id and family are kebab-case": all(
            re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule[key]) for key in ("id", "family")
        ),
        "confidence": rule["confidence"] in LEVELS,
        "source is an https address": re.match(r"https://[\w.-]+\.[a-z]+(/|$)", rule["source"]) is not None,
        "keywords are lower case, two characters at least": bool(rule["keywords"])
        and all(keyword == keyword.lower() and len(keyword) >= 2 for keyword in rule["keywords"]),
        "check is known": "check" not in rule or rule["check"] in checks.NAMES,
        "risk and rotate are sentences": all(
            rule[key].endswith(".") and len(rule[key]) >= 25 for key in ("risk", "rotate")
        ),
        "two examples that differ": len(texts) >= 2 and len(set(texts)) == len(texts),
        "two counter-examples": len(rule["counter_examples"]) >= 2,
        "every repeat is bounded": not UNBOUNDED.search(bare),
        "no lookaround, which Hyperscan can't compile": not LOOKAROUND.search(pattern + rule.get("beginning", "")),
        "a beginning is looked for": "beginning" not in rule or any(map(says_little, rule["keywords"])),
        "one group or one named secret": compiled(pattern).groups == 1 or "secret" in compiled(pattern).groupindex,
    }
    return [f"{rule['id']}: {what}" for what, holds in sound.items() if not holds]


@pytest.mark.parametrize("file", RULE_FILES)
def test_rules_have_their_form(file: str) -> None:
    assert [flaw for rule in RULES if rule["file"] == file for flaw in flaws(rule)] == []


@pytest.mark.parametrize("file", RULE_FILES)
def test_hostile_text_costs_little(file: str) -> None:
    """Runs of a rule's own beginnings are what would make a backtracking pattern explode."""
    for rule in RULES:
        if rule["file"] != file:
            continue
        pattern = compiled(pattern_of(rule))
        keyword, seed = rule["keywords"][0], text_of(rule["examples"][0])
        for unit in (keyword, keyword + "_key=", seed[:-1] + "!"):
            text = unit * (3_000 // len(unit) + 1)
            started = time.process_time()
            pattern.search(text)
            assert time.process_time() - started < 1, f"{rule['id']}: {unit[:20]!r} repeated"


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


def test_the_engine_itself_finds_every_example():
    """What `mcpsec scan-secrets rules test` runs: keywords and everyday names wake the rules in every notation."""
    from mcpsec.leaks.examples import check

    assert check() == []


OWN = {
    "id": "own-key", "title": "Own key", "risk": "A secret.", "rotate": "As you do.", "confidence": "high",
    "keywords": ["own"], "pattern": r"\b(own[0-9]{2}-[a-z]{8})\b",
}  # fmt: skip


@pytest.mark.parametrize(
    ("beginning", "fits"), [(r"\bown[0-9]", True), (r"\bown7", False), (r"\b\d", False), (r"[0-9]{2}", False)]
)
def test_a_beginning_that_hides_matches_is_told(beginning: str, fits: bool) -> None:
    """A large input is looked through for the beginning only: `rules test` says when it leaves an example out."""
    from mcpsec.leaks.examples import check

    book = Rulebook(pack([row_of({**OWN, "beginning": beginning}, "own.toml")], []))
    found = check(book=book, own=[("own-key", ["own42-kqzvtwpx and own71-kqzvtwpx"], [])])
    assert found == ([] if fits else ["own-key: example 1 does not begin as the rule says, so large input hides it"])
