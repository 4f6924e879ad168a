"""The examples inside the rules: read, joined, and run against the engine."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from mcpsec.leaks.detection import direct
from mcpsec.leaks.linear import ByteExpression
from mcpsec.leaks.rulebook import packaged, rule_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpsec.leaks.rulebook import Rule, Rulebook

__all__ = ["check", "examples", "text_of"]


def text_of(example: str | dict[str, Any]) -> str:
    """An example's text; ``{ parts = [...] }`` is joined, which keeps other scanners quiet about the rule files."""
    return example if isinstance(example, str) else "".join(example["parts"])


def examples() -> list[tuple[str, list[str], list[str]]]:
    """Each packaged rule's id, what it must find and what it must not."""
    found = []
    for file in rule_files():
        with open(file, "rb") as stream:  # noqa: PTH123
            for table in tomllib.load(stream).get("rules", []):
                found.append(  # noqa: PERF401
                    (
                        table["id"],
                        [text_of(e) for e in table.get("examples", [])],
                        [text_of(e) for e in table.get("counter_examples", [])],
                    )
                )
    return found


def check(
    name: str | None = None, *, book: Rulebook | None = None, own: Sequence[tuple[str, list[str], list[str]]] = ()
) -> list[str]:
    """What fails: one line for each example that its rule does not find, or counter-example that it finds.

    An example in which the rule's ``beginning`` does not stand where its pattern matches fails, too.

    A counter-example counts as refused when the rule gives it less than its own confidence (a wrong checksum).
    ``own`` are the examples of rules that ``book`` has beside the packaged ones.
    """
    book = book or packaged()
    failures = []
    for rule_id, wanted, unwanted in (*examples(), *own):
        if name not in (None, rule_id) or rule_id not in book.ids:
            continue
        rule = book.rule(book.ids[rule_id])
        for number, text in enumerate(wanted, 1):
            if not any(m.rule.id == rule_id for m in _matches(text, book)):
                failures.append(f"{rule_id}: example {number} is not found")
            elif rule.beginning and not _begins(rule, text):
                failures.append(f"{rule_id}: example {number} does not begin as the rule says, so large input hides it")
        for number, text in enumerate(unwanted, 1):
            if any(m.rule.id == rule_id and m.confidence >= max(1, rule.confidence) for m in _matches(text, book)):
                failures.append(f"{rule_id}: counter-example {number} is found")
    return failures


def _matches(text: str, book: Rulebook) -> list[Any]:
    data = text.encode()
    return direct(book, data, data.lower(), None)


def _begins(rule: Rule, text: str) -> bool:
    """Whether the rule's beginning stands wherever its pattern matches in a text."""
    data, beginning = text.encode(), ByteExpression(rule.beginning)
    places = [found.start() for found in ByteExpression(rule.pattern).finditer(data)]
    return {found.start() for found in beginning.finditer(data)}.issuperset(places)
