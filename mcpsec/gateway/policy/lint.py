"""``policy check``: what in a policy contradicts itself, grants nothing, or grants more than it seems to.

An error is something that can't be meant: it refuses every call that it is about, or does nothing. A warning is worth a
look: a wildcard, a role that nobody has.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from itertools import combinations
from typing import TYPE_CHECKING, Literal

from mcpsec.gateway.policy.globs import Glob, covers, overlap
from mcpsec.gateway.policy.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcpsec.deployment.model import ArgumentFilter, Client, Deployment, MethodClass, Role, Rule, Values

__all__ = ["Finding", "check"]

Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """``check`` is the stable name of what was found, ``key`` where in the file it stands."""

    severity: Literal["error", "warning"]
    check: str
    message: str
    hint: str
    key: Key


def check(deployment: Deployment, now: datetime | None = None) -> list[Finding]:
    """Everything that is wrong or doubtful, errors first. ``now`` is this moment unless given."""
    found = [
        *_entries(deployment),
        *_ended(deployment, now or datetime.now(UTC)),
        *_credentials(deployment),
        *_roles_and_clients(deployment),
        *_filters(deployment),
        *_contradicting_filters(deployment),
        *_rules(deployment),
        *_refusing_rules(deployment),
        *_confirmations(deployment),
    ]
    return sorted(found, key=lambda finding: finding.severity)


# --- grants ---


def _holders(deployment: Deployment) -> Iterator[tuple[str, Key, Role | Client]]:
    for role in deployment.roles.values():
        yield f"role {role.name}", ("roles", role.name), role
    for index, client in enumerate(deployment.clients):
        yield f"client {client.id}", ("clients", index), client


def _of_client(deployment: Deployment, client: Client) -> list[Role | Client]:
    return [*(deployment.roles[name] for name in client.roles if name in deployment.roles), client]


def _entries(deployment: Deployment) -> Iterator[Finding]:
    for label, key, holder in _holders(deployment):
        resources, methods = holder.allow_resources, holder.allow_methods
        if bool(resources) != bool(methods):
            has, lacks = ("allow_resources", "allow_methods") if resources else ("allow_methods", "allow_resources")
            yield Finding(
                "error",
                "grant-incomplete",
                f"{label} has {has} but no {lacks}, so it grants nothing",
                "each role, and each client, grants by its own two lists; lists of different ones don't mix",
                (*key, has),
            )
            continue
        for index, pattern in enumerate(resources):
            yield from _grant(deployment, label, (*key, "allow_resources", index), pattern, methods)
            others = (*resources[:index], *resources[index + 1 :])
            wider = next(
                (other for other in others if covers(other, pattern) and _earlier(other, pattern, index)), None
            )
            if wider is not None:
                at = (*key, "allow_resources", index)
                message = f"{label} grants {pattern} twice: {wider} covers it"
                yield Finding("warning", "grant-repeated", message, "one of the two can go", at)


def _earlier(other: str, pattern: str, index: int) -> bool:
    return other != pattern or index > 0


def _grant(
    deployment: Deployment, label: str, at: Key, pattern: str, methods: tuple[MethodClass, ...]
) -> Iterator[Finding]:
    upstream_glob, _, what = pattern.partition("/")
    upstreams = _matched(deployment, upstream_glob)
    if not upstreams:
        yield _unknown_upstream(deployment, f"{label} grants {pattern}", at)
        return
    if not upstream_glob.strip("*") or (not what.strip("*") and {"write", "execute"} & set(methods)):
        whole = "every upstream" if not upstream_glob.strip("*") else f"everything of {upstream_glob}"
        kinds = ", ".join(methods)
        message = f"{label} grants {pattern} ({kinds}): {whole}, also what will be added later"
        yield Finding("warning", "wildcard", message, "name what is needed: `mcpsec policy suggest` finds it", at)
    if what.startswith(("resource:", "prompt:")):
        return
    if not any(_gives(deployment, upstream, what, wanted) for upstream in upstreams for wanted in methods):
        kinds = " or ".join(methods)
        yield Finding(
            "warning",
            "class-never-given",
            f"{label} grants {pattern} for {kinds}, but no tool that it names is {kinds}",
            f'say what the tools do: [upstreams.{upstreams[0]}.access] "{what}" = "{methods[0]}"',
            at,
        )


def _gives(deployment: Deployment, upstream: str, what: str, wanted: MethodClass) -> bool:
    """Whether a tool that ``what`` names can have this class; what is not classified is execute."""
    access = deployment.upstreams[upstream].access
    return wanted == "execute" or any(given == wanted and overlap(glob, what) for glob, given in access.items())


def _matched(deployment: Deployment, pattern: str) -> list[str]:
    glob = Glob(pattern)
    return [name for name in deployment.upstreams if glob.matches(name)]


def _unknown_upstream(deployment: Deployment, what: str, at: Key) -> Finding:
    known = ", ".join(deployment.upstreams) or "none"
    return Finding("error", "upstream-unknown", f"{what}, but no upstream has such a name", f"upstreams: {known}", at)


def _ended(deployment: Deployment, now: datetime) -> Iterator[Finding]:
    for label, key, holder in _holders(deployment):
        if holder.until is not None and holder.until <= now:
            message = f"what {label} grants ended at {holder.until.isoformat(sep=' ')}"
            yield Finding("warning", "grant-ended", message, "remove it, or give it a new end", (*key, "until"))


def _credentials(deployment: Deployment) -> Iterator[Finding]:
    for label, key, holder in _holders(deployment):
        for member in ("upstream_headers", "upstream_environment"):
            for upstream in getattr(holder, member):
                if not _grants_overlap(deployment, _clients_of(deployment, holder), f"{upstream}/*"):
                    message = f"{label} has a credential for {upstream}, of which its clients are granted nothing"
                    hint = "remove it, or grant what it is for"
                    yield Finding("warning", "credential-without-grant", message, hint, (*key, member, upstream))


def _clients_of(deployment: Deployment, holder: Role | Client) -> list[Client]:
    return [
        client for client in deployment.clients if client is holder or getattr(holder, "name", None) in client.roles
    ]


def _roles_and_clients(deployment: Deployment) -> Iterator[Finding]:
    used = {name for client in deployment.clients for name in client.roles}
    for name in deployment.roles:
        if name not in used:
            yield Finding("warning", "role-unused", f"no client has the role {name}", "remove it", ("roles", name))
    for index, client in enumerate(deployment.clients):
        if not any(holder.allow_resources for holder in _of_client(deployment, client)):
            message = f"client {client.id} is granted nothing"
            hint = "give it a role, or allow_resources and allow_methods"
            yield Finding("warning", "client-without-grant", message, hint, ("clients", index))


def _grants_overlap(deployment: Deployment, clients: list[Client], pattern: str) -> bool:
    """Whether something that these clients are granted is named by ``pattern``."""
    return any(
        _resources_overlap(deployment, pattern, granted)
        for client in clients
        for holder in _of_client(deployment, client)
        for granted in holder.allow_resources
    )


def _resources_overlap(deployment: Deployment, one: str, other: str) -> bool:
    (upstream, _, what), (other_upstream, _, other_what) = one.partition("/"), other.partition("/")
    shared = set(_matched(deployment, upstream)) & set(_matched(deployment, other_upstream))
    return bool(shared) and overlap(what, other_what)


# --- argument filters ---


def _filters(deployment: Deployment) -> Iterator[Finding]:
    for label, key, holder in _holders(deployment):
        clients = _clients_of(deployment, holder)
        for pattern in holder.resource_filters:
            at = (*key, "resource_filters", pattern)
            if not _matched(deployment, pattern.partition("/")[0]):
                yield _unknown_upstream(deployment, f"{label} has a filter for {pattern}", at)
            elif clients and not _grants_overlap(deployment, clients, pattern):
                message = f"{label} has a filter for {pattern}, which nothing grants"
                yield Finding("error", "filter-without-grant", message, "correct its name, or remove it", at)
            elif pattern.partition("/")[2].startswith("resource:"):
                message = f"{label} has an argument filter for {pattern}, but reading a resource has no arguments"
                hint = "it refuses every read; narrow allow_resources instead"
                yield Finding("error", "filter-on-resource", message, hint, at)


def _contradicting_filters(deployment: Deployment) -> Iterator[Finding]:
    """Two filters of one client on one argument, of which no value passes both."""
    seen: set[tuple[str, str, str]] = set()
    for index, client in enumerate(deployment.clients):
        tests = [
            (pattern, argument, values)
            for holder in _of_client(deployment, client)
            for pattern, wanted in holder.resource_filters.items()
            for argument, values in wanted.items()
        ]
        for (one, argument, values), (other, other_argument, other_values) in combinations(tests, 2):
            if argument != other_argument or not _resources_overlap(deployment, one, other):
                continue
            if not _compatible(values, other_values) and (client.id, one, argument) not in seen:
                seen.add((client.id, one, argument))
                yield Finding(
                    "error",
                    "filters-contradict",
                    f"client {client.id}: no value passes both filters on {argument}, for {one} and for {other}",
                    "all filters of its roles and its own must hold; give each role's filter to the clients instead",
                    ("clients", index),
                )


def _compatible(one: Values | ArgumentFilter, other: Values | ArgumentFilter) -> bool:
    """Whether some value may pass both; True where that isn't known."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return any(overlap(value, other_value) for value in one for other_value in other)
    if isinstance(one, tuple) or isinstance(other, tuple) or one.regex is not None or other.regex is not None:
        return True
    low = max(bound for bound in (one.min, other.min, float("-inf")) if bound is not None)
    high = min(bound for bound in (one.max, other.max, float("inf")) if bound is not None)
    return low <= high


# --- context rules ---


def _rules(deployment: Deployment) -> Iterator[Finding]:
    for index, rule in enumerate(deployment.rules):
        for position, pattern in enumerate(rule.resources):
            at = ("rules", index, "resources", position)
            if not _matched(deployment, pattern.partition("/")[0]):
                yield _unknown_upstream(deployment, f"rules[{index}] is about {pattern}", at)
            elif not _grants_overlap(deployment, list(deployment.clients), pattern):
                message = f"rules[{index}] is about {pattern}, which nobody is granted"
                yield Finding("warning", "rule-without-grant", message, "correct its name, or remove it", at)
    for (index, rule), (other_index, other) in combinations(enumerate(deployment.rules), 2):
        condition = _contradiction(rule, other)
        shared = any(_resources_overlap(deployment, one, two) for one in rule.resources for two in other.resources)
        if condition and shared:
            message = f"rules[{index}] and rules[{other_index}] demand {condition} that never hold together"
            hint = "all rules about a resource must hold: what both name is refused to everybody"
            yield Finding("error", "rules-contradict", message, hint, ("rules", other_index))


def _refusing_rules(deployment: Deployment) -> Iterator[Finding]:
    """Rules for certificates that none of the clients concerned has, as far as the file knows their certificates."""
    for index, rule in enumerate(deployment.rules):
        wanted = {print_.replace(":", "").lower() for print_ in rule.require.certificate_sha256}
        concerned = [
            client
            for client in deployment.clients
            if any(_grants_overlap(deployment, [client], pattern) for pattern in rule.resources)
        ]
        known = [client.certificate.sha256 for client in concerned if client.certificate is not None]
        if wanted and known and all(print_ is not None and print_ not in wanted for print_ in known):
            message = f"rules[{index}] demands a certificate that no client has which is granted what it is about"
            hint = "it refuses everybody: name the fingerprint of a client that may"
            yield Finding("error", "rule-refuses-everybody", message, hint, ("rules", index, "require"))


def _confirmations(deployment: Deployment) -> Iterator[Finding]:
    demanded = any(rule.require.confirmation_header for rule in deployment.rules)
    if deployment.approval is not None and not demanded:
        message = "there is an approval key, but no rule demands a confirmation"
        hint = 'name a header in a rule: require = { confirmation_header = "x-confirm-delete" }'
        yield Finding("warning", "approval-unused", message, hint, ("approval",))


def _contradiction(one: Rule, other: Rule) -> str | None:
    mine, theirs = one.require, other.require
    prints = [{print_.replace(":", "").lower() for print_ in side.certificate_sha256} for side in (mine, theirs)]
    if all(prints) and not prints[0] & prints[1]:
        return "certificates"
    networks = [[ip_network(network) for network in side.networks] for side in (mine, theirs)]
    if all(networks) and not any(a.version == b.version and a.overlaps(b) for a in networks[0] for b in networks[1]):
        return "networks"
    if mine.window and theirs.window and not _open_together(Window.parse(mine.window), Window.parse(theirs.window)):
        return "windows"
    return None


def _open_together(one: Window, other: Window) -> bool:
    """Whether both are open at some minute of a week in winter or in summer."""
    for start in (datetime(2026, 1, 12, tzinfo=UTC), datetime(2026, 7, 13, tzinfo=UTC)):
        moments = (start + timedelta(minutes=minute) for minute in range(7 * 24 * 60))
        if any(one.contains(moment) and other.contains(moment) for moment in moments):
            return True
    return False
