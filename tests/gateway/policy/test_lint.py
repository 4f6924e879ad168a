"""``policy check``: each flaw beside the policy that differs in it alone, and the algebra of globs behind it."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpsec.gateway.policy.globs import Glob, covers, overlap
from mcpsec.gateway.policy.lint import check
from tests.gateway.policy.build import deployment

TEXTS = ["".join(letters) for length in range(7) for letters in product("ab", repeat=length)]
MORE_TEXTS = ["".join(letters) for length in range(5) for letters in product("abc", repeat=length)]


@settings(max_examples=300, deadline=None)
@given(st.text("ab*", max_size=3), st.text("ab*", max_size=3))
def test_overlap_agrees_with_all_texts_that_are_long_enough(one: str, other: str) -> None:
    first, second = Glob(one), Glob(other)
    assert overlap(one, other) is any(first.matches(text) and second.matches(text) for text in TEXTS)


@settings(max_examples=300, deadline=None)
@given(st.text("ab*", max_size=4), st.text("ab*", max_size=4))
def test_cover_agrees_with_all_texts_that_are_long_enough(wide: str, narrow: str) -> None:
    first, second = Glob(wide), Glob(narrow)
    assert covers(wide, narrow) is all(first.matches(text) for text in MORE_TEXTS if second.matches(text))


READ: dict[str, Any] = {"allow_resources": ["t/get_*"], "allow_methods": ["read"]}
BASE: dict[str, Any] = {
    "upstreams": {"t": {"get_*": "read", "delete_*": "write"}, "u": {}},
    "roles": {"reader": READ},
    "clients": {"c": {"roles": ["reader"]}},
    "rules": [{"resources": ["t/get_*"], "networks": ["10.0.0.0/8"]}],
}


def found(**changes: Any) -> list[tuple[str, str]]:
    return [(finding.severity, finding.check) for finding in check(deployment(**(BASE | changes)))]


def test_a_sound_policy_has_no_findings() -> None:
    assert found() == []


def client(**keys: Any) -> dict[str, Any]:
    return {"clients": {"c": {"roles": ["reader"]} | keys}}


@pytest.mark.parametrize(
    ("changes", "severity", "name"),
    [
        (client(allow_resources=["t/get_x"]), "error", "grant-incomplete"),
        (client(allow_methods=["read"]), "error", "grant-incomplete"),
        (client(allow_resources=["tickets/get_*"], allow_methods=["read"]), "error", "upstream-unknown"),
        (client(allow_resources=["t/delete_*"], allow_methods=["read"]), "warning", "class-never-given"),
        (client(allow_resources=["u/*"], allow_methods=["read"]), "warning", "class-never-given"),
        (client(allow_resources=["*/get_*"], allow_methods=["read"]), "warning", "wildcard"),
        (client(allow_resources=["u/*"], allow_methods=["execute"]), "warning", "wildcard"),
        (client(allow_resources=["t/get_*", "t/get_a"], allow_methods=["read"]), "warning", "grant-repeated"),
        (client(allow_resources=["t/get_a", "t/get_a"], allow_methods=["read"]), "warning", "grant-repeated"),
        ({"roles": {"reader": READ, "other": READ}}, "warning", "role-unused"),
        ({"clients": {"c": {"roles": ["reader"]}, "d": {}}}, "warning", "client-without-grant"),
        (client(resource_filters={"t/delete_x": {"a": ["1"]}}), "error", "filter-without-grant"),
        (client(resource_filters={"x/get_x": {"a": ["1"]}}), "error", "upstream-unknown"),
        (client(resource_filters={"t/get_x": {"a": ["1"]}, "t/get_*": {"a": ["2"]}}), "error", "filters-contradict"),
        (
            client(resource_filters={"t/get_x": {"a": {"max": 1}}, "t/get_*": {"a": {"min": 2}}}),
            "error",
            "filters-contradict",
        ),
        ({"rules": [{"resources": ["t/delete_*"], "networks": ["10.0.0.0/8"]}]}, "warning", "rule-without-grant"),
        ({"rules": [{"resources": ["x/get_*"], "networks": ["10.0.0.0/8"]}]}, "error", "upstream-unknown"),
    ],
)
def test_flaws(changes: dict[str, Any], severity: str, name: str) -> None:
    assert (severity, name) in found(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        client(allow_resources=["t/delete_*"], allow_methods=["write"]),
        client(allow_resources=["u/resource:*"], allow_methods=["read"]),
        client(allow_resources=["u/prompt:p"], allow_methods=["read"]),
        client(allow_resources=["u/run"], allow_methods=["execute"]),
        client(allow_resources=["t/get_*", "t/delete_x"], allow_methods=["read", "write"]),
        client(resource_filters={"t/get_x": {"a": ["1*"]}, "t/get_*": {"a": ["*2"]}}),
        client(resource_filters={"t/get_x": {"a": ["1"]}, "t/get_y": {"a": ["2"]}}),
        client(resource_filters={"t/get_x": {"a": ["1"]}, "t/get_*": {"b": ["2"]}}),
        client(resource_filters={"t/get_x": {"a": {"max": 2}}, "t/get_*": {"a": {"min": 2}}}),
        client(resource_filters={"t/get_x": {"a": {"regex": "a"}}, "t/get_*": {"a": {"min": 2}}}),
    ],
)
def test_their_twins(changes: dict[str, Any]) -> None:
    assert found(**changes) == []


def test_a_filter_on_reading_a_resource_refuses_every_read() -> None:
    changes = client(
        allow_resources=["t/resource:*"], allow_methods=["read"], resource_filters={"t/resource:*": {"a": ["1"]}}
    )
    assert found(**changes) == [("error", "filter-on-resource")]


@pytest.mark.parametrize(
    ("one", "other", "contradict"),
    [
        ({"networks": ["10.0.0.0/8"]}, {"networks": ["192.0.2.0/24"]}, True),
        ({"networks": ["10.0.0.0/8"]}, {"networks": ["10.1.0.0/16"]}, False),
        ({"networks": ["10.0.0.0/8"]}, {"networks": ["2001:db8::/32"]}, True),
        ({"certificate_sha256": ["ab" * 32]}, {"certificate_sha256": ["cd" * 32]}, True),
        ({"certificate_sha256": ["ab" * 32]}, {"certificate_sha256": ["cd" * 32, "ab" * 32]}, False),
        ({"window": "Sun 02:00-04:00 UTC"}, {"window": "Mon 02:00-04:00 UTC"}, True),
        ({"window": "Sun 22:00-04:00 UTC"}, {"window": "Mon 02:00-04:00 UTC"}, False),
        ({"window": "daily 09:00-10:00 UTC"}, {"window": "daily 11:00-12:00 Europe/Berlin"}, False),  # in summer
        ({"window": "daily 09:00-10:00 UTC"}, {"networks": ["10.0.0.0/8"]}, False),
    ],
)
def test_rules_that_never_hold_together(one: dict[str, Any], other: dict[str, Any], contradict: bool) -> None:
    rules = [{"resources": ["t/get_*"]} | one, {"resources": ["t/*_x"]} | other]
    assert (("error", "rules-contradict") in found(rules=rules)) is contradict
    apart = [{"resources": ["t/get_y"]} | one, {"resources": ["t/get_x"]} | other]
    assert found(rules=apart) == []


def test_a_finding_says_where_it_stands() -> None:
    (finding,) = check(deployment(**(BASE | client(allow_resources=["x/y"], allow_methods=["read"]))))
    assert finding.key == ("clients", 0, "allow_resources", 0)
    assert "t, u" in finding.hint
