"""Least privilege from a log: the suggested grants allow every call of the log, and nothing else."""

from __future__ import annotations

from typing import Any

from mcpsec.gateway.policy import Policy
from mcpsec.gateway.policy.suggest import suggest
from tests.gateway.policy.build import CONTEXT, call, deployment

UPSTREAMS = {"t": {"get_*": "read", "delete_*": "write"}}
NOW = deployment(
    UPSTREAMS,
    {"c": {"roles": ["all"], "allow_resources": ["t/prompt:*"], "allow_methods": ["read"]}, "idle": {"roles": ["all"]}},
    {"all": {"allow_resources": ["t/get_*", "t/delete_*"], "allow_methods": ["read", "write"]}},
)


def event(client: str, resource: str | None, method_class: str | None, **more: Any) -> dict[str, Any]:
    return {"kind": "request", "decision": "allowed", "client": client, "resource": resource} | {
        "method_class": method_class,
        **more,
    }


EVENTS = [
    event("c", "t/get_a", "read"),
    event("c", "t/get_a", "read"),
    event("c", "t/get_b", "read", decision="failed"),
    event("c", "t/resource:file:///x", "read"),
    event("c", None, None),
    event("c", "t/delete_a", "write", decision="refused", kind="authorization"),
    event("c", "t/get_b", "read", decision="refused", kind="rate-limited"),
    event("stranger", "t/delete_a", "write"),
    event("c", "t/a*", "read"),
    event("c", "t/get_c", "everything"),
    {"kind": "request", "client": ["c"], "resource": 5, "method_class": "read"},
]


def test_what_was_used() -> None:
    used, idle = suggest(NOW, EVENTS)
    assert used.resources == ["t/get_a", "t/get_b", "t/resource:file:///x"]
    assert used.allow_methods == ["read"]
    assert (used.calls["t/get_a"], used.refused) == (2, 1)
    assert used.unused == [("role all", "t/delete_*"), ("client c", "t/prompt:*")]
    assert used.granted_now == ("t/delete_*", "t/get_*", "t/prompt:*")
    assert used.methods_now == ("read", "write")
    assert (idle.resources, idle.allow_methods, len(idle.unused)) == ([], [], 2)


def test_the_suggestion_allows_the_calls_of_the_log_and_no_others() -> None:
    used, _ = suggest(NOW, EVENTS)
    policy = Policy(
        deployment(UPSTREAMS, {"c": {"allow_resources": used.resources, "allow_methods": used.allow_methods}})
    )
    for resource in used.resources:
        assert policy.decide("c", call(resource, {}), CONTEXT).allowed
    for resource in ("t/get_c", "t/delete_a", "t/prompt:p", "t/a*", "t/ab"):
        assert not policy.decide("c", call(resource, {}), CONTEXT).allowed
