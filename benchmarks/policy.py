"""One decision of the policy, beside the plain evaluator of the tests.

Run: python benchmarks/policy.py
"""

from __future__ import annotations

import sys
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from mcpsec.gateway.policy import Call, Policy
from tests.gateway.policy import reference
from tests.gateway.policy.build import context, deployment

READER: dict[str, Any] = {"allow_resources": ["tickets/get_*", "tickets/list_*"], "allow_methods": ["read"]}
POLICY: dict[str, Any] = {
    "upstreams": {"tickets": {"get_*": "read", "list_*": "read", "delete_*": "write"}},
    "roles": {"reader": READER},
    "clients": {
        "agent": {
            "roles": ["reader"],
            "resource_filters": {
                "tickets/get_ticket": {"project": ["WEB", "API-*"]},
                "tickets/get_file": {"path": ["/data/*"]},
            },
        }
    },
    "rules": [
        {
            "resources": ["tickets/get_report"],
            "window": "daily 00:00-23:59 Europe/Berlin",
            "networks": ["10.0.0.0/8"],
        }
    ],
}
CALLS = {
    "granted, nothing to look at": Call("tickets", "tool", "get_user", {"id": 5}),
    "granted, a value": Call("tickets", "tool", "get_ticket", {"project": "WEB", "number": 4711}),
    "granted, a list of values": Call("tickets", "tool", "get_ticket", {"project": ["API-1", "API-2", "WEB"]}),
    "granted, a path": Call("tickets", "tool", "get_file", {"path": "/data/a/b/c.txt"}),
    "granted, network and window": Call("tickets", "tool", "get_report", {}),
    "refused": Call("tickets", "tool", "delete_ticket", {}),
    "a name never seen before": Call("tickets", "tool", "get_" + "x" * 600, {}),
    "a method of the protocol": Call("tickets", "method", "tools/list"),
}


def microseconds(work: Callable[[], object]) -> float:
    """The best of seven rounds, which is the one that was disturbed least."""
    return min(timeit.repeat(work, number=5000, repeat=7)) / 5000 * 1e6


def main() -> None:
    """Print the table."""
    policy, around = Policy(deployment(**POLICY)), context(address="10.1.2.3")
    for title, call in CALLS.items():
        rule = policy.decide("agent", call, around).rule
        assert rule == reference.decide(POLICY, "agent", call, around)
        mine = microseconds(lambda call=call: policy.decide("agent", call, around))
        theirs = microseconds(lambda call=call: reference.decide(POLICY, "agent", call, around))
        print(f"{title:32} {rule:22} {mine:7.2f} µs   plain evaluator x{theirs / mine:.1f}")


if __name__ == "__main__":
    main()
