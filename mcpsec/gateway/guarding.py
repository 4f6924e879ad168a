"""What the audit log says of an answer that was changed: which rule, how often, and nothing of what it held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.telemetry import Event

if TYPE_CHECKING:
    from mcpsec.gateway.message import Exchange

__all__ = ["guard_events"]


def guard_events(exchange: Exchange) -> list[Event]:
    """One event for each way in which an answer was changed: ``count`` places, ``rule`` the most frequent of the rules.

    It has the request's id and trace, and no status: the request has its own event.
    """
    by_reason: dict[str, dict[str, int]] = {}
    for (reason, rule), count in exchange.guarded.items():
        by_reason.setdefault(reason, {})[rule] = count
    trace, message, session = exchange.trace, exchange.message, exchange.session
    return [
        Event(
            kind="guard",
            decision="refused" if reason == "secret-blocked" else None,
            client=None if exchange.client is None else exchange.client.id,
            upstream=exchange.upstream or None,
            resource=exchange.resource or None,
            method=None if message is None else message.method or None,
            rule=max(rules, key=lambda rule: rules[rule]),
            reason=reason,
            request_id=exchange.id,
            trace_id=None if trace is None else trace.trace_id,
            span_id=None if trace is None else trace.span_id,
            session=None if session is None else session.id[:8],
            count=sum(rules.values()),
            detail=", ".join(f"{rule} {count}" for rule, count in rules.items()) if len(rules) > 1 else None,
        )
        for reason, rules in by_reason.items()
    ]
