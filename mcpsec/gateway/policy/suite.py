"""``policy test``: a file of calls and what must become of them, so that a policy has unit tests of its own."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from mcpsec.clientfiles.toml import locate
from mcpsec.errors import ConfigurationError, advice
from mcpsec.gateway.policy.conditions import Context
from mcpsec.gateway.policy.engine import Call
from mcpsec.reading import read_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mcpsec.gateway.policy.engine import Decision, Kind, Policy

__all__ = ["TARGETS", "Outcome", "PolicyTest", "junit", "read", "run"]

TARGETS: dict[str, Kind] = {
    "tool": "tool",
    "resource": "resource",
    "prompt": "prompt",
    "complete": "completion",
    "method": "method",
}
"""The key that says what a test (or ``policy explain``) is about → the kind of the call."""

_KEYS = ("name", "client", *TARGETS, "arguments", "at", "address", "certificate_sha256", "confirmed", "expect", "rule")
_MAXIMUM_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class PolicyTest:
    """One test: a call and its expectation. ``rule`` is the id that must decide, None for any."""

    name: str
    client: str
    call: Call
    context: Context
    allowed: bool
    rule: str | None
    line: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a test; ``problem`` is None when it passed."""

    test: PolicyTest
    decision: Decision
    problem: str | None


def read(path: Path) -> list[PolicyTest]:
    """The tests of a file. Raises ``ConfigurationError`` with the line of the first mistake."""
    try:
        text = read_file(path, _MAXIMUM_BYTES, "file of policy tests").decode("utf-8")
        document = tomllib.loads(text)
        lines = {key: location.line for key, location in locate(text).items()}
    except OSError as error:
        raise ConfigurationError(f"can't be read: {error.strerror}", path=path, hint=advice(error)) from None
    except (ValueError, RecursionError):
        raise ConfigurationError("is not a TOML file", hint="docs/policy.md shows one", path=path) from None
    tests = document.get("tests")
    if set(document) != {"tests"} or not isinstance(tests, list) or not tests:
        raise ConfigurationError("holds no [[tests]], or something besides", hint="docs/policy.md shows one", path=path)
    return [_Reader(path, lines, index).read(table) for index, table in enumerate(tests)]


class _Reader:
    """Reads one table, and says where it is wrong."""

    def __init__(self, path: Path, lines: Mapping[tuple[str | int, ...], int], index: int) -> None:
        self._path, self._lines, self._index = path, lines, index

    def read(self, table: Any) -> PolicyTest:
        if not isinstance(table, dict):
            raise self._wrong("a test is a table", None)
        for key in table:
            if key not in _KEYS:
                close = get_close_matches(key, _KEYS, 1)
                raise self._wrong(f"a test has no key {key!r}", key, f"did you mean {close[0]}?" if close else None)
        targets = [key for key in TARGETS if key in table]
        if len(targets) != 1:
            raise self._wrong("a test is about exactly one tool, resource, prompt, complete or method", None)
        upstream, slash, name = self._text(table, targets[0]).partition("/")
        if not slash:
            raise self._wrong(f"{targets[0]} is written UPSTREAM/NAME", targets[0])
        allowed, rule = self._expectation(table)
        return PolicyTest(
            name=self._text(table, "name", f"test {self._index + 1}"),
            client=self._text(table, "client"),
            call=Call(upstream, TARGETS[targets[0]], name, self._arguments(table)),
            context=Context(
                self._text(table, "certificate_sha256", "").replace(":", "").lower() or None,
                self._text(table, "address", "127.0.0.1"),
                self._moment(table),
                self._confirmed(table),
            ),
            allowed=allowed,
            rule=rule,
            line=self._line(None),
        )

    def _text(self, table: dict[str, Any], key: str, default: str | None = None) -> str:
        value = table.get(key, default)
        if not isinstance(value, str):
            raise self._wrong(f"a test lacks {key}" if value is None else f"{key} must be text", key)
        return value

    def _arguments(self, table: dict[str, Any]) -> dict[str, Any]:
        arguments = table.get("arguments", {})
        try:
            if not isinstance(arguments, dict):
                raise TypeError
            json.dumps(arguments, allow_nan=False)
        except (TypeError, ValueError):
            raise self._wrong("arguments must be a table of JSON values: no dates, inf or nan", "arguments") from None
        return arguments

    def _moment(self, table: dict[str, Any]) -> datetime:
        moment = table.get("at", datetime.now(UTC))
        if not isinstance(moment, datetime) or moment.tzinfo is None:
            raise self._wrong("at must be a time with its offset, as 2026-11-22T03:00:00+01:00", "at")
        return moment

    def _confirmed(self, table: dict[str, Any]) -> frozenset[str]:
        headers = table.get("confirmed", [])
        if not isinstance(headers, list) or not all(isinstance(header, str) for header in headers):
            raise self._wrong('confirmed must be a list of headers, as ["x-confirm-delete"]', "confirmed")
        return frozenset(map(str.lower, headers))

    def _expectation(self, table: dict[str, Any]) -> tuple[bool, str | None]:
        expect = self._text(table, "expect")
        if expect not in ("allowed", "refused"):
            raise self._wrong('expect must be "allowed" or "refused"', "expect")
        return expect == "allowed", self._text(table, "rule", "") or None

    def _line(self, key: str | None) -> int:
        at: tuple[str | int, ...] = ("tests", self._index)
        return self._lines.get((*at, key) if key else at) or self._lines.get(at) or 1

    def _wrong(self, message: str, key: str | None, hint: str | None = None) -> ConfigurationError:
        return ConfigurationError(message, hint=hint, path=self._path, line=self._line(key))


def run(policy: Policy, tests: list[PolicyTest]) -> list[Outcome]:
    """Decide every test."""
    outcomes = []
    for test in tests:
        decision = policy.decide(test.client, test.call, test.context, explain=True)
        problem = None
        if decision.allowed is not test.allowed:
            problem = f"expected {_word(test.allowed)}, but it is {_word(decision.allowed)} ({decision.rule})"
        elif test.rule is not None and decision.rule != test.rule:
            problem = f"expected the rule {test.rule}, but {decision.rule} decided"
        outcomes.append(Outcome(test, decision, problem))
    return outcomes


def _word(allowed: bool) -> str:
    return "allowed" if allowed else "refused"


def junit(outcomes: list[Outcome], file: str) -> str:
    """The outcomes as a JUnit XML document, as CI systems read it."""
    failures = sum(outcome.problem is not None for outcome in outcomes)
    suite = ElementTree.Element(
        "testsuite", name="mcpsec policy", tests=str(len(outcomes)), failures=str(failures), errors="0", skipped="0"
    )
    for outcome in outcomes:
        case = ElementTree.SubElement(
            suite, "testcase", classname="mcpsec.policy", name=_xml(outcome.test.name), file=file
        )
        case.set("line", str(outcome.test.line))
        if outcome.problem is not None:
            failure = ElementTree.SubElement(case, "failure", message=_xml(outcome.problem))
            failure.text = _xml("\n".join(step.text for step in outcome.decision.steps))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode")


def _xml(text: str) -> str:
    """Text without the characters that XML 1.0 has no form for."""
    return "".join(
        char if char in "\t\n" or (char >= " " and char not in "\ufffe\uffff") else "\ufffd" for char in text
    )
