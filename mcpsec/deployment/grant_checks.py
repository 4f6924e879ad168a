"""What must hold between grants, rules and upstreams: whose credential a call carries, who can confirm one."""

from __future__ import annotations

from collections.abc import Iterator

from mcpsec.clientfiles.toml import KeyPath
from mcpsec.deployment.checks import Parts
from mcpsec.deployment.model import Approval, Client, Role, Upstream
from mcpsec.deployment.problems import Report

__all__ = ["check_grants"]

_MEMBERS = (("upstream_headers", "url"), ("upstream_environment", "command"))


def check_grants(parts: Parts, report: Report) -> None:
    """Report confirmations that nobody can make, and credentials for no upstream or in two values for one call."""
    if ("approval",) not in report.tables and not report.touched(("approval",)):
        for rule in parts.rules:
            if rule.require.confirmation_header is not None:
                report.add(
                    (*report.origin(rule), "require", "confirmation_header"),
                    "a rule demands a confirmation, but there is no key that one could be made with",
                    'add [approval] secret = { file = "secrets/approval.key" }, which no client may read',
                )
    _check_key(parts, report)
    upstreams = {upstream.name: upstream for upstream in parts.upstreams}
    holders: tuple[Role | Client, ...] = (*parts.roles, *parts.clients)
    for holder in holders:
        for at, member, kind, name in _named(holder, report):
            _check_upstream(at, member, kind, name, upstreams, report)
    roles = {role.name: role for role in parts.roles}
    for client in parts.clients:
        _check_one_value(client, [roles[name] for name in client.roles if name in roles], report)


def _check_key(parts: Parts, report: Report) -> None:
    """The key of confirmations must be nobody's signing key: a client could confirm its own calls with it."""
    approval = report.tables.get(("approval",))
    if not isinstance(approval, Approval):
        return
    for client in parts.clients:
        if any(key.secret == approval.secret for key in client.signing_keys):
            report.add(
                ("approval", "secret"),
                f"the approval secret is a signing key of client {client.id}, which could confirm its own calls",
                "make one that operators and the gateway alone can read: `mcpsec sign keygen FILE`",
            )


def _named(holder: Role | Client, report: Report) -> Iterator[tuple[KeyPath, str, str, str]]:
    for member, kind in _MEMBERS:
        for name in getattr(holder, member):
            yield (*report.origin(holder), member, name), member, kind, name


def _check_upstream(
    at: KeyPath, member: str, kind: str, name: str, upstreams: dict[str, Upstream], report: Report
) -> None:
    if name not in upstreams:
        from difflib import get_close_matches

        close = get_close_matches(name, upstreams, 1)
        known = f"defined here: {', '.join(upstreams)}" if upstreams else "no upstream is defined in this file"
        report.add(at, f"there is no upstream {name}", f"did you mean {close[0]}?" if close else known)
    elif getattr(upstreams[name], kind) is None:
        other = next(other for other, wanted in _MEMBERS if wanted != kind)
        inside = upstreams[name].builtin is not None or upstreams[name].app is not None
        hint = "a server inside the gateway takes no credential" if inside else f"write {other}"
        report.add(at, f"upstream {name} has no {kind}, so it takes no {member}", hint)


def _check_one_value(client: Client, roles: list[Role], report: Report) -> None:
    """Two roles may not give one call two values; the client's own value stands above them."""
    for member, _ in _MEMBERS:
        own = getattr(client, member)
        seen: dict[tuple[str, str], Role] = {}
        for role in roles:
            for upstream, values in getattr(role, member).items():
                for name, value in values.items():
                    first = seen.setdefault((upstream, name), role)
                    if name in own.get(upstream, {}) or getattr(first, member)[upstream][name] == value:
                        continue
                    report.add(
                        (*report.origin(client), "roles"),
                        f"client {client.id} has two values of {name} for {upstream}: of the roles {first.name} and "
                        f"{role.name}",
                        f"give the client its own: {member} = {{ {upstream} = {{ {name} = … }} }}",
                    )
