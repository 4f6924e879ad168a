"""PRM005: grants against what the audit log says was used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from mcpsec.audit.evidence import deployed
from mcpsec.audit.model import Finding
from mcpsec.audit.registry import across
from mcpsec.audit.subjects import Context, Subject

__all__: list[str] = []

ENOUGH = timedelta(days=30)
"""How long a log has to reach back before a grant that it does not show is called unused."""


@across
def unused_grants(context: Context) -> Iterator[Finding]:
    """PRM005 of each deployment file whose log is at hand."""
    for subject in deployed(context.subjects):
        loaded = subject.model.deployment
        logs = [each for each in context.of_kind("log") if each.facts.get("deployment") is subject]
        if loaded is None or not loaded.clients:
            continue
        events = [event for log in logs for event in _events(log)]
        begun = min((when for event in events if (when := _moment(event)) is not None), default=None)
        if begun is None or context.now - begun < ENOUGH:
            days = 0 if begun is None else (context.now - begun).days
            yield subject.skip("PRM005", f"the log covers {days} days: too few to call a grant unused")
            continue
        from mcpsec.gateway.policy.suggest import suggest

        for number, suggestion in enumerate(suggest(loaded, events)):
            name = f"client {suggestion.client}"
            for holder, pattern in suggestion.unused:
                text = f"{pattern} ({holder}) was not used in {(context.now - begun).days} days"
                yield subject.fail("PRM005", ("clients", number), text, name=name, key=f"{holder} {pattern}")
            if not suggestion.unused:
                yield subject.ok("PRM005", ("clients", number), "every grant was used", name=name)


def _events(log: Subject) -> Iterator[dict[str, Any]]:
    for line in log.raw.splitlines():
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            yield event


def _moment(event: dict[str, Any]) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(event.get("time")))
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
