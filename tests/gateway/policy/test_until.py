"""Grants that end, and calls that an operator must confirm: decided by table, beside the page's own evaluator."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mcpsec.gateway.policy import Policy
from mcpsec.gateway.policy.lint import check
from tests.gateway.policy import reference
from tests.gateway.policy.build import call, context, deployment, written

END = "2026-11-23T12:00:00+00:00"
BEFORE, AT, AFTER = "2026-11-23T11:59:59+00:00", END, "2026-11-23T13:00:01+01:00"
POLICY = deployment(
    upstreams={"t": {"get_*": "read", "del_*": "write"}},
    roles={
        "reader": {"allow_resources": ["t/get_*"], "allow_methods": ["read"]},
        "incident": {
            "allow_resources": ["t/*"],
            "allow_methods": ["read", "write"],
            "allow_server_requests": ["sampling"],
            "resource_filters": {"t/del_*": {"id": ["1"]}},
            "until": END,
        },
        "later": {"allow_resources": ["t/del_*"], "allow_methods": ["write"], "until": "2026-11-24T00:00:00-05:00"},
    },
    clients={
        "c": {"roles": ["reader", "incident"]},
        "both": {"roles": ["incident", "later"]},
        "own": {"roles": ["reader"], "allow_resources": ["t/del_a"], "allow_methods": ["write"], "until": END},
        "ops": {"allow_resources": ["t/*"], "allow_methods": ["read", "write"]},
    },
    rules=[
        {"resources": ["t/del_*"], "confirmation_header": "x-confirm"},
        {"resources": ["t/del_two"], "confirmation_header": "x-second"},
        {"resources": ["t/del_also"], "confirmation_header": "x-confirm"},
        {"resources": ["t/del_net"], "networks": ["10.0.0.0/8"]},
    ],
)
CONFIRMED = {"confirmed": ["x-confirm"]}
CASES: list[tuple[str, str, Any, dict[str, Any], str]] = [
    ("c", "t/get_a", {}, {"now": AFTER}, "granted"),
    ("c", "t/del_a", {"id": "1"}, {"now": BEFORE, **CONFIRMED}, "granted"),
    ("c", "t/del_a", {"id": "1"}, {"now": AT, **CONFIRMED}, "grant-ended"),
    ("c", "t/del_a", {"id": "1"}, {"now": AFTER, **CONFIRMED}, "grant-ended"),
    ("c", "t/del_a", {"id": "2"}, {"now": BEFORE, **CONFIRMED}, "argument-not-allowed"),
    ("c", "t/other", {}, {"now": BEFORE}, "method-class-not-granted"),
    ("c", "t/other", {}, {"now": AFTER}, "resource-not-granted"),
    ("c", "t/resource:x:y", None, {"now": BEFORE}, "granted"),
    ("c", "t/resource:x:y", None, {"now": AFTER}, "grant-ended"),
    ("c", "t/complete:resource:x:y", None, {"now": AFTER}, "grant-ended"),
    ("both", "t/del_a", {"id": "1"}, {"now": AFTER, **CONFIRMED}, "granted"),
    ("both", "t/del_a", {"id": "2"}, {"now": AFTER, **CONFIRMED}, "argument-not-allowed"),
    ("both", "t/del_a", {"id": "1"}, {"now": "2026-11-24T05:00:00+00:00", **CONFIRMED}, "grant-ended"),
    ("both", "t/get_a", {}, {"now": AFTER}, "grant-ended"),
    ("own", "t/get_a", {}, {"now": AFTER}, "granted"),
    ("own", "t/del_a", {}, {"now": BEFORE, **CONFIRMED}, "granted"),
    ("own", "t/del_a", {}, {"now": AFTER, **CONFIRMED}, "grant-ended"),
    ("ops", "t/del_a", {}, {}, "context-confirmation"),
    ("ops", "t/del_a", {}, CONFIRMED, "granted"),
    ("ops", "t/del_a", {}, {"confirmed": ["x-second"]}, "context-confirmation"),
    ("ops", "t/del_a", {}, {"confirmed": ["X-Confirm"]}, "context-confirmation"),
    ("ops", "t/del_two", {}, CONFIRMED, "context-confirmation"),
    ("ops", "t/del_two", {}, {"confirmed": ["x-confirm", "x-second"]}, "granted"),
    ("ops", "t/del_also", {}, CONFIRMED, "granted"),
    ("ops", "t/del_net", {}, {}, "context-network"),
    ("ops", "t/del_net", {}, CONFIRMED, "context-network"),
    ("ops", "t/del_net", {}, {"address": "10.0.0.1"}, "context-confirmation"),
    ("ops", "t/del_net", {}, {"address": "10.0.0.1", **CONFIRMED}, "granted"),
    ("ops", "t/get_a", {}, {}, "granted"),
    ("ops", "t/other", {}, CONFIRMED, "method-class-not-granted"),
]


@pytest.mark.parametrize(("client", "what", "arguments", "changes", "rule"), CASES)
def test_cases(client: str, what: str, arguments: Any, changes: dict[str, Any], rule: str) -> None:
    policy, wanted, around = Policy(POLICY), call(what, arguments), context(**changes)
    for explain in (False, True):
        decision = policy.decide(client, wanted, around, explain=explain)
        assert (decision.rule, decision.allowed) == (rule, rule == "granted")
    assert reference.decide(written(POLICY), client, wanted, around) == rule


def test_one_policy_decides_before_and_after_the_end() -> None:
    """What is remembered of a client and a name must not outlive the grant."""
    policy, wanted = Policy(POLICY), call("t/resource:x:y")
    for now, rule in ((BEFORE, "granted"), (AFTER, "grant-ended"), (BEFORE, "granted")):
        assert policy.decide("c", wanted, context(now=now)).rule == rule
        moment = datetime.fromisoformat(now)
        assert policy.visible("c", "t", "resource", "x:y", moment) is (rule == "granted")
        assert policy.allows_server_request("c", "t", "sampling/createMessage", moment) is (rule == "granted")


def test_without_a_moment_the_clock_decides() -> None:
    for shift, seen in ((timedelta(hours=1), True), (timedelta(hours=-1), False)):
        role = {
            "allow_resources": ["t/*"],
            "allow_methods": ["read", "execute"],
            "allow_server_requests": ["roots"],
            "until": datetime.now(UTC) + shift,
        }
        policy = Policy(deployment({"t": {}}, {"c": {"roles": ["r"]}}, {"r": role}))
        assert policy.visible("c", "t", "tool", "x") is seen
        assert policy.allows_server_request("c", "t", "roots/list") is seen


def test_what_a_decision_uses_up_and_what_it_lacks() -> None:
    policy = Policy(POLICY)
    both = context(confirmed=["x-confirm", "x-second", "x-third"])
    assert policy.decide("ops", call("t/del_two"), both).confirmations == ("x-confirm", "x-second")
    assert policy.decide("ops", call("t/del_also"), both).confirmations == ("x-confirm",)
    assert policy.decide("ops", call("t/get_a"), both).confirmations == ()
    assert policy.decide("ops", call("t/del_two"), context(**CONFIRMED)).confirmations == ("x-second",)
    assert policy.confirmations_of("t", "del_two") == ("x-confirm", "x-second")
    assert policy.confirmation_headers == {"x-confirm", "x-second"}


def test_an_explanation_names_the_end_and_the_confirmation() -> None:
    steps = [step.text for step in Policy(POLICY).decide("c", call("t/del_a"), context(), explain=True).steps]
    assert "role incident: 't/*' matches, but its grants ended at 2026-11-23 12:00:00+00:00" in steps
    steps = [step.text for step in Policy(POLICY).decide("ops", call("t/del_a"), context(), explain=True).steps]
    assert "rules[0]: x-confirm lacks a confirmation" in steps


def test_policy_check_knows_what_is_over_and_who_is_refused() -> None:
    found = {finding.check for finding in check(POLICY, datetime.fromisoformat(AFTER))}
    assert "grant-ended" in found
    assert "grant-ended" not in {finding.check for finding in check(POLICY, datetime.fromisoformat(BEFORE))}
