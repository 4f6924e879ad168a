"""What of an upstream's words passes, by what was pinned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mcpsec.deployment.model import Pins
from mcpsec.gateway.pins import Change, PinWatch, UpstreamPins
from tests.gateway.pins.conftest import tool

PINNED = UpstreamPins({"tools": {"echo": tool("echo"), "other": tool("other")}, "prompts": {}, "resourceTemplates": {}})


def watch(told: list[Change], **settings: Any) -> PinWatch:
    return PinWatch(PINNED, Pins(file=Path("lock"), **settings), told.append)


def deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    "changed",
    [
        tool("echo", "Repeats a text!"),
        tool("echo", annotations={"readOnlyHint": True}),
        tool("echo", title="Echo"),
        {**tool("echo"), "inputSchema": {"type": "object"}},
        tool("echo", _meta={"ui": "https://elsewhere.example"}),
        tool("echo", "Repeats a text.\u200b"),
        tool("echo", extra=deep(300)),
        {"name": "echo"},
    ],
)
def test_every_part_of_a_definition_counts(changed: dict[str, Any]) -> None:
    told: list[Change] = []
    judge = watch(told)
    assert judge.admit("tools", [changed, tool("other")]) == [tool("other")]
    assert [str(change) for change in told] == ["changed: tool echo"]
    assert (judge.refusal("tools", "echo"), judge.refusal("tools", "other")) == ("pin-changed", "")


def test_the_order_of_members_does_not_count() -> None:
    told: list[Change] = []
    turned = dict(reversed(tool("echo").items()))
    assert watch(told).admit("tools", [turned]) == [turned]
    assert told == []


@pytest.mark.parametrize("item", ["echo", None, 7, {}, {"name": 7}, {"title": "echo"}])
def test_what_has_no_name_does_not_pass(item: Any) -> None:
    assert watch([]).admit("tools", [item]) == []


def test_resources_are_data_and_pass() -> None:
    resources = [{"uri": "file:///a"}]
    assert watch([]).admit("resources", resources) is resources


def test_each_content_is_told_once_and_the_number_is_bounded() -> None:
    told: list[Change] = []
    judge = watch(told)
    for _ in range(3):
        for number in range(4000):
            judge.admit("tools", [tool(f"new-{number}"), tool("echo", str(number))])
    assert len(told) == 8000
    for number in range(4000, 9000):
        judge.admit("tools", [tool(f"new-{number}")])
    assert len(told) == 10_000


def test_a_schema_that_cannot_be_enforced_refuses_every_call() -> None:
    bad = {**tool("bad"), "inputSchema": {"$ref": "http://127.0.0.1:9/schema"}}
    judge = PinWatch(UpstreamPins({"tools": {"bad": bad}}), Pins(file=Path("lock")), lambda change: None)
    assert judge.argument_faults("bad", {}) == ["/: the pinned schema can't be enforced"]


def test_staleness() -> None:
    judge = watch([], recheck=10.0)
    assert judge.is_stale(0.0, 5.0)
    assert not judge.is_stale(1.0, 10.9)
    assert judge.is_stale(1.0, 11.0)
