"""Deployments for policy tests, from dictionaries in the shape of the file; and the language of the case tables."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mcpsec.deployment.model import (
    Address,
    ArgumentFilter,
    Client,
    Deployment,
    Log,
    Role,
    Rule,
    RuleConditions,
    Server,
    Tls,
    Upstream,
)
from mcpsec.gateway.policy import Call, Context

__all__ = ["CONTEXT", "call", "context", "deployment"]

_HERE = Path("/nowhere")
CONTEXT = Context(None, "192.0.2.1", datetime(2026, 11, 23, 12, 0, tzinfo=UTC))  # a Monday


def deployment(
    upstreams: dict[str, dict[str, str]] | None = None,
    clients: dict[str, dict[str, Any]] | None = None,
    roles: dict[str, dict[str, Any]] | None = None,
    rules: list[dict[str, Any]] | None = None,
) -> Deployment:
    """``upstreams`` maps names to their ``access``, ``clients`` and ``roles`` names to their keys in the file."""
    return Deployment(
        version=1,
        server=Server(
            listen=Address("127.0.0.1", 0), tls=Tls(certificate=_HERE / "c", key=_HERE / "k", client_ca=_HERE / "ca")
        ),
        log=Log(file=_HERE / "log"),
        upstreams={
            name: Upstream(name=name, url="http://127.0.0.1:1/mcp", access=access)  # type: ignore[arg-type]
            for name, access in (upstreams or {}).items()
        },
        roles={name: Role(name=name, **_grants(keys)) for name, keys in (roles or {}).items()},
        clients=tuple(
            Client(id=name, roles=tuple(keys.get("roles", ())), **_grants(keys))
            for name, keys in (clients or {}).items()
        ),
        rules=tuple(
            Rule(
                resources=tuple(rule["resources"]),
                require=RuleConditions(
                    **{
                        key: value if key in ("window", "confirmation_header") else tuple(value)
                        for key, value in rule.items()
                        if key != "resources"
                    }
                ),
            )
            for rule in rules or []
        ),
    )


def _grants(keys: dict[str, Any]) -> dict[str, Any]:
    filters = keys.get("resource_filters", {})
    until = keys.get("until")
    return {
        "until": datetime.fromisoformat(until) if isinstance(until, str) else until,
        "allow_resources": tuple(keys.get("allow_resources", ())),
        "allow_methods": tuple(keys.get("allow_methods", ())),
        "allow_server_requests": tuple(keys.get("allow_server_requests", ())),
        "resource_filters": {
            glob: {name: _wanted(value) for name, value in wanted.items()} for glob, wanted in filters.items()
        },
    }


def _wanted(value: Any) -> Any:
    return ArgumentFilter(**value) if isinstance(value, dict) else tuple(value)


def call(text: str, arguments: Any = None) -> Call:
    """``up/tool``, ``up/resource:URI``, ``up/prompt:NAME``, ``up/complete:WHAT`` or ``up/method:NAME``."""
    upstream, _, what = text.partition("/")
    for prefix, kind in (
        ("resource", "resource"),
        ("prompt", "prompt"),
        ("complete", "completion"),
        ("method", "method"),
    ):
        if what.startswith(prefix + ":"):
            return Call(upstream, kind, what[len(prefix) + 1 :], arguments)  # type: ignore[arg-type]
    return Call(upstream, "tool", what, arguments)


def context(**changes: Any) -> Context:
    """The ordinary context with something else in it; ``now`` may be ISO text."""
    if isinstance(changes.get("now"), str):
        changes["now"] = datetime.fromisoformat(changes["now"])
    changes["confirmed"] = frozenset(changes.get("confirmed", ()))
    known = {"certificate_sha256": CONTEXT.certificate_sha256, "address": CONTEXT.address, "now": CONTEXT.now}
    return Context(**(known | changes))


def rows(table: str) -> list[tuple[str, str, Any, str]]:
    """``client | what | arguments as JSON or - | rule`` for each line; ``#`` starts a heading."""
    found = []
    for line in table.strip().splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        client, what, arguments, rule = (cell.strip() for cell in line.split(" | "))
        found.append((client, what, None if arguments == "-" else json.loads(arguments), rule))
    return found


def written(table: Deployment) -> dict[str, Any]:
    """A deployment as the dictionaries that it was made from."""

    def holder(entry: Role | Client) -> dict[str, Any]:
        keys: dict[str, Any] = {
            name: list(getattr(entry, name)) for name in ("allow_resources", "allow_methods", "allow_server_requests")
        }
        keys["resource_filters"] = {
            glob: {
                name: list(value)
                if isinstance(value, tuple)
                else {key: part for key in ("min", "max", "regex") if (part := getattr(value, key)) is not None}
                for name, value in wanted.items()
            }
            for glob, wanted in entry.resource_filters.items()
        }
        return keys | ({} if entry.until is None else {"until": entry.until.isoformat()})

    return {
        "upstreams": {name: dict(upstream.access) for name, upstream in table.upstreams.items()},
        "roles": {name: holder(role) for name, role in table.roles.items()},
        "clients": {client.id: holder(client) | {"roles": list(client.roles)} for client in table.clients},
        "rules": [
            {"resources": list(rule.resources)}
            | {
                name: value
                for name in ("certificate_sha256", "networks", "window", "confirmation_header")
                if (value := getattr(rule.require, name))
            }
            for rule in table.rules
        ],
    }
