"""Why a denial on the dashboard is one: the policy's own explanation, as `mcpsec policy explain` gives it."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mcpsec.gateway.policy import Call, Context

if TYPE_CHECKING:
    from mcpsec.gateway.policy import Policy

__all__ = ["explanation"]

_KINDS = ("resource", "prompt")


def explanation(policy: Policy, client: str, resource: str, address: str) -> dict[str, Any]:
    """What the policy of this moment says about ``client`` using ``resource`` (named as in the log) from ``address``.

    The log has no arguments and no certificate, so conditions on those are explained as not met.
    """
    upstream, _, name = resource.partition("/")
    prefix, _, rest = name.partition(":")
    kind: Any = prefix if prefix in _KINDS else "tool"
    name = rest if prefix in _KINDS else name
    context = Context(None, address or "127.0.0.1", datetime.now(UTC))
    decision = policy.decide(client, Call(upstream, kind, name, {}), context, explain=True)
    words = ["mcpsec", "policy", "explain", "--client", client, f"--{kind}", f"{upstream}/{name}"]
    return {
        "schema": "mcpsec.dashboard-explanation/1",
        "client": client,
        "resource": resource,
        "allowed": decision.allowed,
        "rule": decision.rule,
        "reason": decision.reason,
        "steps": [{"passed": step.passed, "text": step.text} for step in decision.steps],
        "command": shlex.join(words),
    }
