"""The policy: who may do what (docs/policy.md), decided for one call at a time, from the deployment file alone."""

from __future__ import annotations

from mcpsec.gateway.policy.conditions import Context
from mcpsec.gateway.policy.engine import LIFECYCLE, Call, Decision, Policy, Step, what_of

__all__ = ["LIFECYCLE", "Call", "Context", "Decision", "Policy", "Step", "what_of"]
