"""``policy suggest``: the least privilege that the calls of a log needed, beside what is granted now."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mcpsec.gateway.policy.globs import ResourceGlob

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcpsec.deployment.model import Client, Deployment, MethodClass, Role

__all__ = ["Suggestion", "suggest"]

_CLASSES: tuple[MethodClass, ...] = ("read", "write", "execute")


@dataclass
class Suggestion:
    """What one client used. ``unused`` are its present grants that no call needed: who grants, and the glob."""

    client: str
    calls: Counter[str] = field(default_factory=Counter)
    methods: set[str] = field(default_factory=set)
    unused: list[tuple[str, str]] = field(default_factory=list)
    refused: int = 0
    granted_now: tuple[str, ...] = ()
    methods_now: tuple[str, ...] = ()

    @property
    def resources(self) -> list[str]:
        """What to allow: every thing that was used, by its own name."""
        return sorted(name for name in self.calls if "*" not in name)

    @property
    def allow_methods(self) -> list[str]:
        """The classes that were used, in the order of the file."""
        return [name for name in _CLASSES if name in self.methods]


def suggest(deployment: Deployment, events: Iterable[dict[str, Any]]) -> list[Suggestion]:
    """One suggestion for each client of the deployment, from audit events (docs of the log: ``mcpsec.event/1``)."""
    found = {client.id: Suggestion(client.id) for client in deployment.clients}
    for event in events:
        suggestion = found.get(str(event.get("client")))
        resource, method_class = event.get("resource"), event.get("method_class")
        if suggestion is None or not isinstance(resource, str) or method_class not in _CLASSES:
            continue
        if event.get("decision") == "refused":
            suggestion.refused += event.get("kind") == "authorization"
            continue
        suggestion.calls[resource] += 1
        suggestion.methods.add(method_class)
    for client in deployment.clients:
        _compare(deployment, client, found[client.id])
    return list(found.values())


def _compare(deployment: Deployment, client: Client, suggestion: Suggestion) -> None:
    holders: list[tuple[str, Role | Client]] = [(f"role {name}", deployment.roles[name]) for name in client.roles]
    holders.append((f"client {client.id}", client))
    used = [name.partition("/")[::2] for name in suggestion.calls]
    for label, holder in holders:
        for pattern in holder.allow_resources:
            glob = ResourceGlob(pattern)
            if not any(glob.matches(upstream, what) for upstream, what in used):
                suggestion.unused.append((label, pattern))
    suggestion.granted_now = tuple(sorted({pattern for _, holder in holders for pattern in holder.allow_resources}))
    given = {name for _, holder in holders for name in holder.allow_methods}
    suggestion.methods_now = tuple(name for name in _CLASSES if name in given)
