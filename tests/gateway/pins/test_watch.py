"""What of an upstream's words passes, by what was pinned."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mcpsec.deployment.model import Pins
from mcpsec.gateway.pins import Change, Lock, PinWatch, UpstreamPins
from mcpsec.gateway.pins.definitions import changes, diff, digest, readable
from mcpsec.gateway.pins.keeper import PinKeeper
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


def test_however_many_names_are_made_up_what_changed_is_refused_and_told() -> None:
    told: list[Change] = []
    judge, changed = watch(told), tool("echo", "Poisoned.")
    assert judge.admit("tools", [*({"name": f"made-up-{each}"} for each in range(12_000)), changed]) == []
    assert (judge.refusal("tools", "echo"), judge.refusal("tools", "made-up-1")) == ("pin-changed", "pin-missing")
    assert told[-1] == Change("tools", "echo", "changed", tool("echo"), changed)
    assert len(told) == 10_001
    assert judge.admit("tools", [tool("echo"), tool("other")]) == [tool("echo"), tool("other")]
    assert judge.refusal("tools", "echo") == ""


def test_the_order_of_members_does_not_count() -> None:
    told: list[Change] = []
    turned = dict(reversed(tool("echo").items()))
    assert watch(told).admit("tools", [turned]) == [turned]
    assert told == []


def test_integers_of_more_than_64_bits_are_compared_rounded() -> None:
    """A lock file that was written before they were read exactly still holds; and they are shown to who reviews them."""
    large = tool("echo", maximum=2**70)
    rounded = tool("echo", maximum=float(2**70))
    assert digest(large) == digest(rounded) == digest(json.loads(json.dumps(large)))
    assert readable(large) == readable(rounded)
    assert digest(large) != digest(tool("echo", maximum=2**71))
    told: list[Change] = []
    pinned = UpstreamPins({"tools": {"echo": rounded}, "prompts": {}, "resourceTemplates": {}})
    judge = PinWatch(pinned, Pins(file=Path("lock")), told.append)
    assert judge.admit("tools", [large]) == [large] and told == []
    assert judge.admit("tools", [tool("echo", maximum=2**71)]) == []
    assert diff(told[0])


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
    for number in range(4000, 12_000):
        judge.admit("tools", [tool(f"new-{number}")])
    assert len(told) == 4000 + 10_000


def test_a_schema_that_cannot_be_enforced_refuses_every_call() -> None:
    bad = {**tool("bad"), "inputSchema": {"$ref": "http://127.0.0.1:9/schema"}}
    judge = PinWatch(UpstreamPins({"tools": {"bad": bad}}), Pins(file=Path("lock")), lambda change: None)
    assert judge.argument_faults("bad", {}) == ["/: the pinned schema can't be enforced"]


def test_staleness() -> None:
    judge = watch([], recheck=10.0)
    assert judge.is_stale(0.0, 5.0)
    assert not judge.is_stale(1.0, 10.9)
    assert judge.is_stale(1.0, 11.0)


@pytest.mark.parametrize(
    ("mode", "passed", "refusal", "blocked"),
    [
        ("report", ["echo", "other", "new"], ("", "", ""), False),
        ("hide", ["other"], ("pin-changed", "", "pin-missing"), False),
        ("block", [], ("pin-blocked",) * 3, True),
    ],
)
def test_what_becomes_of_a_changed_list(mode: str, passed: list[str], refusal: tuple[str, ...], blocked: bool) -> None:
    told: list[Change] = []
    judge = watch(told, on_change=mode)
    items = [tool("echo", "Now it does more."), tool("other"), tool("new")]
    assert [item["name"] for item in judge.admit("tools", items)] == passed
    assert [str(change) for change in told] == ["changed: tool echo", "added: tool new"]
    assert tuple(judge.refusal("tools", name) for name in ("echo", "other", "new")) == refusal
    assert judge.blocked is blocked
    assert judge.refusal("resources", "file:///a") == ("pin-blocked" if blocked else "")
    judge.renew(PINNED)  # a person looked at it
    assert judge.blocked is False and judge.refusal("tools", "echo") == ""


@pytest.mark.parametrize(
    ("pinned", "said", "told"),
    [
        ("Be kind.", "Be kind.", []),
        ("Be kind.", "Be quick.", ["changed: instructions"]),
        ("Be kind.", None, ["removed: instructions"]),
        (None, "Be quick.", ["added: instructions"]),
    ],
)
def test_instructions_pass_as_they_were_pinned(pinned: str | None, said: str | None, told: list[str]) -> None:
    for mode in ("hide", "report"):
        heard: list[Change] = []
        judge = PinWatch(UpstreamPins({}, pinned), Pins(file=Path("lock"), on_change=mode), heard.append)  # type: ignore[arg-type]
        assert judge.instructions(said) == (said if mode == "report" else pinned)
        assert [str(change) for change in heard] == told


def test_what_is_gone_is_told_when_a_list_was_read_to_its_end() -> None:
    told: list[Change] = []
    judge = watch(told)
    judge.complete("tools", {"echo", "other"})
    judge.complete("resources", set())
    assert told == []
    judge.complete("tools", {"echo"})
    assert [str(change) for change in told] == ["removed: tool other"]


def test_arguments_are_judged_only_where_there_is_a_pinned_schema() -> None:
    wrong = {"text": 7}
    assert watch([]).argument_faults("echo", wrong) == ["/text: type"]
    assert watch([], validate_arguments=False).argument_faults("echo", wrong) == []
    assert watch([], on_change="report").argument_faults("new", wrong) == []


def test_a_diff_shows_what_was_pinned_and_what_is_there_now() -> None:
    now = {"tools": {"echo": tool("echo", "Sends it elsewhere."), "new": tool("new")}}
    found = {str(change): diff(change) for change in changes(PINNED.definitions, now)}
    assert list(found) == ["changed: tool echo", "added: tool new", "removed: tool other"]
    text = "\n".join(found["changed: tool echo"])
    assert "Sends it elsewhere." in text and text.startswith("--- pinned\n+++ now")
    assert not any(line.startswith("-") for line in found["added: tool new"][2:])
    assert list(changes(PINNED.definitions, now, ("prompts",))) == []


@pytest.mark.anyio
async def test_the_keeper_follows_the_lock_file(tmp_path: Path) -> None:
    path = tmp_path / "pins.toml"
    Lock({"files": PINNED}).write(path)
    said: list[str] = []
    told: list[tuple[str, str]] = []
    deployment: Any = SimpleNamespace(pins=Pins(file=path))
    keeper = PinKeeper(deployment, changed=lambda name, change: told.append((name, str(change))), say=said.append)
    files, other = keeper.watch("files"), keeper.watch("other")
    assert files is not None and other is not None
    assert "'other' is not in the lock file" in said[0]
    assert other.admit("tools", [tool("echo")]) == [] and files.admit("tools", [tool("echo")]) == [tool("echo")]
    assert told == [("other", "added: tool echo")]
    await keeper.maintain()
    assert len(said) == 1
    path.write_text("nonsense = ")
    await keeper.maintain()
    assert "the old pins stay" in said[1] and files.refusal("tools", "echo") == ""
    path.unlink()
    await keeper.maintain()
    Lock({"other": PINNED}).write(path)
    await keeper.maintain()
    assert said[2:] == ["the lock file of the pins changed: in use now"]
    assert files.refusal("tools", "echo") == "pin-missing" and other.refusal("tools", "echo") == ""
    without = PinKeeper(SimpleNamespace(pins=None), changed=lambda *_: None, say=said.append)  # type: ignore[arg-type]
    await without.maintain()
    assert without.watch("files") is None and len(said) == 3
