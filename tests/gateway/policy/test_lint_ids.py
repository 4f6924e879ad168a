"""``policy check`` by its command, one finding after the other: the file with the flaw, and the file without it."""

from __future__ import annotations

import copy
import inspect
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from mcpsec.cli.root import main
from mcpsec.gateway.policy import lint

Document = dict[str, Any]
PRINT, OTHER_PRINT = "ab" * 32, "cd" * 32
BASE: Document = {
    "version": 1,
    "server": {
        "listen": "127.0.0.1:8443",
        "tls": {"certificate": "chain.pem", "key": "key.pem", "client_ca": "ca.pem"},
    },
    "auth": {"require": ["mtls"]},
    "log": {"file": "events.jsonl"},
    "upstreams": {
        "t": {"url": "http://127.0.0.1:1/mcp", "access": {"get_*": "read", "delete_*": "write"}},
        "u": {"url": "http://127.0.0.1:2/mcp"},
    },
    "roles": {"reader": {"allow_resources": ["t/get_*"], "allow_methods": ["read"]}},
    "clients": [{"id": "c", "certificate": {"sha256": PRINT}, "roles": ["reader"]}],
    "rules": [{"resources": ["t/get_*"], "require": {"networks": ["10.0.0.0/8"]}}],
}


def client(**keys: Any) -> Callable[[Document], None]:
    return lambda document: document["clients"][0].update(keys)


def role(**keys: Any) -> Callable[[Document], None]:
    return lambda document: document["roles"]["reader"].update(keys)


def rules(*wanted: tuple[str, dict[str, Any]]) -> Callable[[Document], None]:
    return lambda document: document.update(rules=[{"resources": [what], "require": need} for what, need in wanted])


def another_client(**keys: Any) -> Callable[[Document], None]:
    added = {"id": "d", "certificate": {"sha256": OTHER_PRINT}, **keys}
    return lambda document: document["clients"].append(added)


def another_role(used: bool) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        document["roles"]["other"] = {"allow_resources": ["t/delete_x"], "allow_methods": ["write"]}
        document["clients"][0]["roles"] = ["reader", "other"] if used else ["reader"]

    return change


def approval(header: str | None) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        document["approval"] = {"secret": {"env": "APPROVAL"}}
        if header is not None:
            document["rules"][0]["require"] = {"confirmation_header": header}

    return change


PAST, FUTURE = datetime(2026, 1, 1, tzinfo=UTC), datetime.now(UTC).replace(microsecond=0) + timedelta(days=3650)
TOKEN = {"authorization": {"env": "TOKEN", "prefix": "Bearer "}}
FINDINGS: dict[str, tuple[str, Callable[[Document], None], Callable[[Document], None], str]] = {
    "grant-incomplete": (
        "error", client(allow_resources=["t/get_x"]), client(allow_resources=["t/get_x"], allow_methods=["read"]),
        "clients[0].allow_resources",
    ),
    "upstream-unknown": (
        "error", role(allow_resources=["t/get_*", "tickets*/get_*"]), role(allow_resources=["t/get_*", "t*/resource:x"]),
        "roles.reader.allow_resources[1]",
    ),
    "filter-without-grant": (
        "error", client(resource_filters={"t/gat_x": {"a": ["1"]}}), client(resource_filters={"t/get_x": {"a": ["1"]}}),
        "clients[0].resource_filters",
    ),
    "filter-on-resource": (
        "error",
        client(allow_resources=["t/resource:*"], allow_methods=["read"], resource_filters={"t/resource:*": {"a": ["1"]}}),
        client(allow_resources=["t/prompt:*"], allow_methods=["read"], resource_filters={"t/prompt:*": {"a": ["1"]}}),
        "clients[0].resource_filters",
    ),
    "filters-contradict": (
        "error", client(resource_filters={"t/get_x": {"a": ["1"]}, "t/get_*": {"a": ["2*"]}}),
        client(resource_filters={"t/get_x": {"a": ["21"]}, "t/get_*": {"a": ["2*"]}}), "clients[0]",
    ),
    "rules-contradict": (
        "error", rules(("t/get_*", {"networks": ["10.0.0.0/8"]}), ("t/*_x", {"networks": ["192.0.2.0/24"]})),
        rules(("t/get_*", {"networks": ["10.0.0.0/8"]}), ("t/*_x", {"networks": ["10.9.0.0/16"]})), "rules[1]",
    ),
    "rule-refuses-everybody": (
        "error", rules(("t/get_*", {"certificate_sha256": [OTHER_PRINT]})),
        rules(("t/get_*", {"certificate_sha256": [OTHER_PRINT, ":".join(["AB"] * 32)]})), "rules[0].require",
    ),
    "wildcard": (
        "warning", client(allow_resources=["u/*"], allow_methods=["execute"]),
        client(allow_resources=["u/run*"], allow_methods=["execute"]), "clients[0].allow_resources[0]",
    ),
    "class-never-given": (
        "warning", client(allow_resources=["t/delete_x"], allow_methods=["read"]),
        client(allow_resources=["t/delete_x"], allow_methods=["write"]), "clients[0].allow_resources[0]",
    ),
    "grant-repeated": (
        "warning", role(allow_resources=["t/get_*", "t/get_a"]), role(allow_resources=["t/get_b*", "t/get_a"]),
        "roles.reader.allow_resources[1]",
    ),
    "role-unused": ("warning", another_role(False), another_role(True), "roles.other"),
    "client-without-grant": ("warning", another_client(), another_client(roles=["reader"]), "clients[1]"),
    "grant-ended": ("warning", role(until=PAST), role(until=FUTURE), "roles.reader.until"),
    "credential-without-grant": (
        "warning", client(upstream_headers={"u": TOKEN}), client(upstream_headers={"t": TOKEN}),
        "clients[0].upstream_headers",
    ),
    "approval-unused": ("warning", approval(None), approval("x-confirm"), "approval"),
    "rule-without-grant": (
        "warning", rules(("t/delete_*", {"networks": ["10.0.0.0/8"]})), rules(("t/get_x", {"networks": ["10.0.0.0/8"]})),
        "rules[0].resources[0]",
    ),
}  # fmt: skip


def checked(change: Callable[[Document], None], path: Path, capsys: Any, *words: str) -> tuple[int, list[Any]]:
    document = copy.deepcopy(BASE)
    change(document)
    path.write_text(tomli_w.dumps(document))
    code = main(["policy", "check", "-c", str(path), "--format", "json", *words])
    streams = capsys.readouterr()
    assert code in (0, 1), streams.err
    return code, json.loads(streams.out)["findings"]


@pytest.mark.parametrize("name", FINDINGS)
def test_the_flaw_is_found_and_its_twin_has_none(name: str, tmp_path: Path, capsys: Any) -> None:
    severity, flaw, twin, key = FINDINGS[name]
    path = tmp_path / "mcpsec.toml"
    code, found = checked(flaw, path, capsys)
    assert [(each["severity"], each["check"]) for each in found] == [(severity, name)], found
    assert code == (1 if severity == "error" else 0)
    assert checked(flaw, path, capsys, "--strict")[0] == 1
    (finding,) = found
    assert finding["key"].startswith(key), finding
    lines, words = path.read_text().splitlines(), re.findall(r"[a-z_]+", key)
    assert any(word in " ".join(lines[: finding["line"]][-6:]) for word in words), "it says where"
    assert finding["message"] and finding["hint"]
    assert checked(twin, path, capsys, "--strict") == (0, [])


def test_every_finding_of_the_code_and_of_the_page_is_here() -> None:
    told = re.findall(r'Finding\(\s*"(?:error|warning)",\s*"([a-z-]+)"', inspect.getsource(lint))
    assert set(told) == set(FINDINGS)
    page = Path(__file__).parents[3].joinpath("docs", "policy.md").read_text()
    table = page[page.index("`mcpsec policy check` finds") : page.index("```console\n$ mcpsec policy check")]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)} == set(FINDINGS)


@pytest.mark.parametrize(
    ("flaw", "said"),
    [
        (client(resource_filters={"t/get_x": {"a": []}}), "must not be empty"),
        (client(resource_filters={"t/get_x": {"a": {"min": 2, "max": 1}}}), "min is above max"),
        (rules(("t/get_*", {})), "require is empty"),
        (role(allow_resources=["tickets/get_*"]), "there is no upstream tickets"),
    ],
)
def test_what_can_not_even_be_loaded_is_told_with_its_line(flaw: Any, said: str, tmp_path: Path, capsys: Any) -> None:
    document = copy.deepcopy(BASE)
    flaw(document)
    path = tmp_path / "mcpsec.toml"
    path.write_text(tomli_w.dumps(document))
    assert main(["policy", "check", "-c", str(path)]) == 2
    error = capsys.readouterr().err
    assert said in error and re.search(r"mcpsec\.toml:[0-9]+: ", error)
