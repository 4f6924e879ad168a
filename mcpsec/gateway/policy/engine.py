"""Who may do what: one decision for each call, from the deployment file alone. Default deny.

The meaning of every line here is written down in docs/policy.md, and a second evaluator that was written from that page
alone is compared with this one. A ``Policy`` never changes; a new file makes a new one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mcpsec.errors import ConfigurationError
from mcpsec.gateway.policy.conditions import ContextRule
from mcpsec.gateway.policy.filters import ArgumentTest
from mcpsec.gateway.policy.globs import Glob, ResourceGlob

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpsec.deployment.model import Client, Deployment, MethodClass, Role, Upstream
    from mcpsec.gateway.policy.conditions import Context

__all__ = ["LIFECYCLE", "Call", "Decision", "Policy", "Step", "what_of"]

Kind = Literal["tool", "resource", "prompt", "completion", "method"]

LIFECYCLE = frozenset(
    {
        "initialize",
        "logging/setLevel",
        "ping",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "server/discover",
        "subscriptions/listen",
        "tools/list",
    }
)
"""Requests that any known client may send, as every notification; what the lists among them show is filtered."""

_SERVER_REQUESTS = {
    "elicitation/create": "elicitation",
    "roots/list": "roots",
    "sampling/createMessage": "sampling",
}
_STRICTNESS = ("read", "write", "execute")
_CACHED = 2048  # resources remembered for each client
_CACHED_NAME = 512  # characters of a name worth remembering


class Call(NamedTuple):
    """What a client wants to do.

    ``name`` is the tool's name, the resource's URI, the prompt's name, the method, or for a completion what it is for:
    ``prompt:NAME`` or ``resource:URI-TEMPLATE``.
    """

    upstream: str
    kind: Kind
    name: str
    arguments: Mapping[str, Any] | None = None


class Step(NamedTuple):
    """One step of an explanation; ``passed`` is None for what only informs."""

    passed: bool | None
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """``rule`` is the stable name of what decided, ``reason`` one sentence without anything from the call in it."""

    allowed: bool
    rule: str
    reason: str
    method_class: MethodClass | None = None
    steps: tuple[Step, ...] = ()


_UNKNOWN_CLIENT = Decision(False, "unknown-client", "the client is not in the policy")
_UNKNOWN_UPSTREAM = Decision(False, "unknown-upstream", "the upstream is not in the policy")
_LIFECYCLE = Decision(True, "lifecycle", "any known client may send this method")
_METHOD = Decision(False, "method-not-listed", "the method is not one that the policy knows")
_NAME = Decision(False, "name-not-acceptable", "the name could be taken for something of another kind")

Trace = list[Step] | None


class _Entry:
    """What one role, or the client itself, grants: its resources with its method classes."""

    def __init__(self, label: str, holder: Role | Client) -> None:
        self.label = label
        self.resources = tuple(map(ResourceGlob, holder.allow_resources))
        self.methods = frozenset(holder.allow_methods)


class _Filter:
    def __init__(self, label: str, pattern: str, wanted: Mapping[str, Any]) -> None:
        self.label = label
        self.resource = ResourceGlob(pattern)
        self.tests = tuple(ArgumentTest(path, values) for path, values in wanted.items())


class _Standing(NamedTuple):
    """All that can be said about a client and a resource before a call's arguments and context are known."""

    outcome: Decision
    filters: tuple[_Filter, ...]
    rules: tuple[ContextRule, ...]


class _View:
    """The policy as one client meets it."""

    def __init__(self, client: Client, roles: Mapping[str, Role]) -> None:
        holders: list[tuple[str, Role | Client]] = []
        for name in client.roles:
            if name not in roles:
                raise ConfigurationError(f"client {client.id} has the role {name}, which is not defined")
            holders.append((f"role {name}", roles[name]))
        holders.append((f"client {client.id}", client))
        self.entries = tuple(_Entry(label, holder) for label, holder in holders)
        self.filters = tuple(
            _Filter(label, pattern, wanted)
            for label, holder in holders
            for pattern, wanted in holder.resource_filters.items()
        )
        self.server_requests = frozenset(name for _, holder in holders for name in holder.allow_server_requests)
        self.standings: dict[tuple[str, str, str], _Standing] = {}


class Access:
    """The method classes of one upstream's tools, resources and prompts, as its operator set them."""

    def __init__(self, upstream: Upstream) -> None:
        ranked = [(Glob(pattern), given) for pattern, given in upstream.access.items()]
        ranked.sort(key=lambda item: (item[0].exact, item[0].weight, _STRICTNESS.index(item[1])), reverse=True)
        self._ranked = tuple(ranked)

    def classify(self, what: str) -> tuple[MethodClass, str | None]:
        """The class of the most specific glob that matches, and that glob; None when it is the default."""
        for glob, given in self._ranked:
            if glob.matches(what):
                return given, glob.pattern
        return ("read" if what.startswith(("resource:", "prompt:")) else "execute"), None


class Policy:
    """The policy of one deployment, compiled.

    Raises ``ConfigurationError`` when the deployment holds something that can't be compiled (a window, an expression).
    """

    def __init__(self, deployment: Deployment) -> None:
        self._access = {name: Access(upstream) for name, upstream in deployment.upstreams.items()}
        self._views = {client.id: _View(client, deployment.roles) for client in deployment.clients}
        self._rules = tuple(ContextRule(rule, number) for number, rule in enumerate(deployment.rules))

    def decide(self, client_id: str, call: Call, context: Context, *, explain: bool = False) -> Decision:
        """Whether this call is allowed, and what decided; ``explain`` adds every step on the way."""
        if explain:
            trace: list[Step] = []
            decision = self._decide(client_id, call, context, trace)
            return Decision(decision.allowed, decision.rule, decision.reason, decision.method_class, steps=tuple(trace))
        return self._decide(client_id, call, context, None)

    def visible(self, client_id: str, upstream: str, kind: str, name: str) -> bool:
        """Whether it may stand in a list for this client; argument filters and context rules come with the call."""
        view = self._views.get(client_id)
        if view is None or upstream not in self._access or kind not in ("tool", "resource", "prompt"):
            return False
        return self._standing(view, upstream, kind, name).outcome.allowed

    def allows_server_request(self, client_id: str, upstream: str, method: str) -> bool:
        """Whether this upstream may ask this client for sampling, elicitation or its roots."""
        view = self._views.get(client_id)
        return view is not None and upstream in self._access and _SERVER_REQUESTS.get(method) in view.server_requests

    def _decide(self, client_id: str, call: Call, context: Context, trace: Trace) -> Decision:
        upstream, kind, name, arguments = call
        view = self._views.get(client_id)
        if view is None:
            return _ended(trace, _UNKNOWN_CLIENT)
        if kind == "method":
            listed = name in LIFECYCLE or name.startswith("notifications/")
            return _ended(trace, _LIFECYCLE if listed else _METHOD)
        if upstream not in self._access:
            return _ended(trace, _UNKNOWN_UPSTREAM)
        outcome, filters, rules = (
            self._standing(view, upstream, kind, name)
            if trace is None
            else self._resolve(view, upstream, what_of(kind, name), trace)
        )
        if not outcome.allowed or (not filters and not rules):
            return _ended(trace, outcome)
        refused = _check_filters(filters, kind, arguments, outcome, trace) if filters else None
        if refused is None or trace is not None:
            broken = _check_rules(rules, context, outcome, trace)
            refused = refused or broken
        return _ended(trace, refused or outcome)

    def _standing(self, view: _View, upstream: str, kind: str, name: str) -> _Standing:
        """``_resolve``, remembered for names of ordinary length; the oldest entry makes room."""
        key = (upstream, kind, name)
        known = view.standings.get(key)
        if known is not None:
            return known
        found = self._resolve(view, upstream, what_of(kind, name), None)
        if len(name) <= _CACHED_NAME:
            if len(view.standings) >= _CACHED:
                view.standings.pop(next(iter(view.standings)), None)
            view.standings[key] = found
        return found

    def _resolve(self, view: _View, upstream: str, what: str | None, trace: Trace) -> _Standing:
        if what is None:
            return _Standing(_NAME, (), ())
        method_class, pattern = self._access[upstream].classify(what)
        if trace is not None:
            how = f"access glob {pattern!r}" if pattern is not None else "no access glob names it"
            trace.append(Step(None, f"{upstream}/{what} is {method_class}: {how}"))
        outcome = _granted(view, upstream, what, method_class, trace)
        filters = tuple(filter_ for filter_ in view.filters if filter_.resource.matches(upstream, what))
        rules = tuple(rule for rule in self._rules if rule.applies(upstream, what))
        return _Standing(outcome, filters, rules)


def what_of(kind: str, name: str) -> str | None:
    """How globs see the thing: ``NAME``, ``resource:URI`` or ``prompt:NAME``; None when the name isn't acceptable."""
    prefixed = name.startswith(("resource:", "prompt:"))
    if not name or (kind == "tool" and prefixed) or (kind == "completion" and not prefixed):
        return None
    return name if kind in ("tool", "completion") else f"{kind}:{name}"


def _granted(view: _View, upstream: str, what: str, method_class: MethodClass, trace: Trace) -> Decision:
    """Look for one entry that grants both the resource and the class: grants of different entries don't mix."""
    named = allowed = False
    for entry in view.entries:
        glob = next((glob for glob in entry.resources if glob.matches(upstream, what)), None)
        if glob is not None:
            named = True
            allowed = allowed or method_class in entry.methods
        if trace is not None and entry.resources:
            trace.append(_entry_step(entry, glob, method_class))
    if allowed:
        return Decision(True, "granted", "the policy grants this", method_class)
    if named:
        return Decision(False, "method-class-not-granted", "the policy doesn't grant this kind of use", method_class)
    return Decision(False, "resource-not-granted", "the policy doesn't grant this resource", method_class)


def _entry_step(entry: _Entry, glob: ResourceGlob | None, method_class: MethodClass) -> Step:
    if glob is None:
        return Step(False, f"{entry.label}: none of its {len(entry.resources)} resource globs matches")
    if method_class not in entry.methods:
        return Step(False, f"{entry.label}: {glob.pattern!r} matches, but its methods lack {method_class}")
    return Step(True, f"{entry.label}: {glob.pattern!r} matches and its methods hold {method_class}")


def _check_filters(
    filters: tuple[_Filter, ...], kind: str, arguments: Mapping[str, Any] | None, outcome: Decision, trace: Trace
) -> Decision | None:
    if kind == "completion":
        if trace is not None:
            trace.append(Step(False, "an argument filter applies, so its values are not completed"))
        reason = "what an argument filter narrows is not completed"
        return Decision(False, "completion-filtered", reason, outcome.method_class)
    failed = False
    for filter_ in filters:
        for test in filter_.tests:
            holds = test.holds(arguments)
            failed = failed or not holds
            if trace is not None:
                text = f"{filter_.label}: filter {filter_.resource.pattern!r} on the argument {test.path}"
                trace.append(Step(holds, text + (" holds" if holds else " does not hold")))
    if not failed:
        return None
    return Decision(
        False, "argument-not-allowed", "an argument is not one that the policy allows", outcome.method_class
    )


def _check_rules(rules: tuple[ContextRule, ...], context: Context, outcome: Decision, trace: Trace) -> Decision | None:
    failed: str | None = None
    for rule in rules:
        for condition, holds in rule.check(context):
            if trace is not None:
                trace.append(Step(holds, f"{rule.label}: the {condition} {'is' if holds else 'is not'} as required"))
            if not holds and failed is None:
                failed = condition
        if failed is not None and trace is None:
            break
    if failed is None:
        return None
    return Decision(
        False, f"context-{failed}", f"a context rule demands another {failed} for this", outcome.method_class
    )


def _ended(trace: Trace, decision: Decision) -> Decision:
    if trace is not None:
        trace.append(Step(decision.allowed, f"{decision.rule}: {decision.reason}"))
    return decision
