"""Who may do what: one decision for each call, from the deployment file alone. Default deny.

The meaning of every line here is written down in docs/policy.md, and a second evaluator that was written from that page
alone is compared with this one. A ``Policy`` never changes; a new file makes a new one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mcpsec.errors import ConfigurationError
from mcpsec.gateway.policy.conditions import ContextRule
from mcpsec.gateway.policy.filters import ArgumentTest
from mcpsec.gateway.policy.globs import Glob, ResourceGlob, has_dot_segment, plain_form

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcpsec.deployment.model import Client, Deployment, MethodClass, Role, Upstream
    from mcpsec.gateway.policy.conditions import Context

__all__ = ["LIFECYCLE", "Call", "Decision", "Policy", "Step", "what_of"]

Kind = Literal["tool", "resource", "prompt", "completion", "task", "method"]

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
        "tasks/list",
        "tools/list",
    }
)
"""Requests that any known client may send, as every notification; what the lists among them show is filtered."""

_SERVER_REQUESTS = {
    "elicitation/create": "elicitation",
    "roots/list": "roots",
    "sampling/createMessage": "sampling",
}
_WITH_ARGUMENTS = frozenset({"tool", "prompt", "task"})
_STRICTNESS = ("read", "write", "execute")
_CACHED = 2048  # resources remembered for each client
_CACHED_NAME = 512  # characters of a name worth remembering


class Call(NamedTuple):
    """What a client wants to do.

    ``name`` is the tool's name, the resource's URI, the prompt's name, the method, or for a completion what it is for:
    ``prompt:NAME`` or ``resource:URI-TEMPLATE``; for the use of a task it is the tool whose call made it.
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
    """``rule`` is the stable name of what decided, ``reason`` one sentence without anything from the call in it.

    ``confirmations`` are the headers whose confirmations an allowed call uses up, or the one that a refused call lacks.
    """

    allowed: bool
    rule: str
    reason: str
    method_class: MethodClass | None = None
    steps: tuple[Step, ...] = ()
    confirmations: tuple[str, ...] = ()


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
        self.server_requests = frozenset(holder.allow_server_requests)
        self.until = holder.until

    def over(self, now: datetime) -> bool:
        """Whether its grants have ended."""
        return self.until is not None and now >= self.until


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
        self.timed = any(entry.until is not None for entry in self.entries)
        self.standings: dict[tuple[str, str, str, int], _Standing] = {}

    def ended(self, now: datetime | None) -> int:
        """Which entries are over, as a bit for each; ``now`` is None for this moment."""
        if not self.timed:
            return 0
        now = now or datetime.now(UTC)
        return sum(1 << number for number, entry in enumerate(self.entries) if entry.over(now))


class Access:
    """The method classes of one upstream's tools, resources and prompts, as its operator set them."""

    def __init__(self, upstream: Upstream) -> None:
        ranked = [(Glob(pattern), given) for pattern, given in upstream.access.items()]
        ranked.sort(key=lambda item: (item[0].exact, item[0].weight, _STRICTNESS.index(item[1])), reverse=True)
        self._ranked = tuple(ranked)

    def classify(self, what: str) -> tuple[MethodClass, str | None]:
        """The class of the most specific glob that matches, and that glob; None when it is the default.

        What is written in another way is never of a milder class than its plain form.
        """
        found, plain = self._closest(what, ""), plain_form(what)
        other = self._closest(what, plain) if plain else found
        return max(found, other, key=lambda each: _STRICTNESS.index(each[0]))

    def _closest(self, what: str, plain: str) -> tuple[MethodClass, str | None]:
        for glob, given in self._ranked:
            if glob.concerns(what, plain):
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
        self.confirmation_headers = frozenset(
            rule.confirmation_header for rule in self._rules if rule.confirmation_header is not None
        )

    def decide(
        self, client_id: str, call: Call, context: Context, *, explain: bool = False, made: bool = False
    ) -> Decision:
        """Whether this call is allowed, and what decided; ``explain`` adds every step on the way.

        One that was ``made`` before had its arguments judged, and was confirmed, then: without them it is judged by
        all the rest.
        """
        if explain:
            trace: list[Step] = []
            decision = self._decide(client_id, call, context, trace, made=made)
            return replace(decision, steps=tuple(trace))
        return self._decide(client_id, call, context, None, made=made)

    def settled(self, client_id: str, call: Call) -> Decision | None:
        """What ``decide`` says about this call at any time and whatever its arguments and circumstances.

        None when these matter, or when nobody has asked about the like before.
        """
        view = self._views.get(client_id)
        if view is None or view.timed:
            return None
        known = view.standings.get((call.upstream, call.kind, call.name, 0))
        if known is None:
            return None
        outcome, filters, rules = known
        return outcome if not outcome.allowed or (not filters and not rules) else None

    def confirmations_of(self, upstream: str, what: str) -> tuple[str, ...]:
        """The headers that must carry an operator's confirmation of a use of this, by the rules about it."""
        headers = [rule.confirmation_header for rule in self._rules if rule.applies(upstream, what)]
        return tuple(dict.fromkeys(header for header in headers if header is not None))

    def visible(self, client_id: str, upstream: str, kind: str, name: str, now: datetime | None = None) -> bool:
        """Whether it may stand in a list for this client; argument filters and context rules come with the call."""
        view = self._views.get(client_id)
        if view is None or upstream not in self._access or kind not in ("tool", "resource", "prompt"):
            return False
        return self._standing(view, upstream, kind, name, view.ended(now)).outcome.allowed

    def allows_server_request(self, client_id: str, upstream: str, method: str, now: datetime | None = None) -> bool:
        """Whether this upstream may ask this client for sampling, elicitation or its roots."""
        view, wanted = self._views.get(client_id), _SERVER_REQUESTS.get(method)
        if view is None or upstream not in self._access or wanted is None:
            return False
        now = now or datetime.now(UTC)
        return any(wanted in entry.server_requests and not entry.over(now) for entry in view.entries)

    def _decide(self, client_id: str, call: Call, context: Context, trace: Trace, *, made: bool) -> Decision:
        upstream, kind, name, arguments = call
        view = self._views.get(client_id)
        if view is None:
            return _ended(trace, _UNKNOWN_CLIENT)
        if kind == "method":
            listed = name in LIFECYCLE or name.startswith("notifications/")
            return _ended(trace, _LIFECYCLE if listed else _METHOD)
        if upstream not in self._access:
            return _ended(trace, _UNKNOWN_UPSTREAM)
        ended = view.ended(context.now)
        outcome, filters, rules = (
            self._standing(view, upstream, kind, name, ended)
            if trace is None
            else self._resolve(view, upstream, what_of(kind, name), ended, trace)
        )
        if not outcome.allowed or (not filters and not rules):
            return _ended(trace, outcome)
        made = made or kind == "task"  # its arguments were judged, and confirmed, when it was made
        judged = made and kind in _WITH_ARGUMENTS
        refused = _check_filters(filters, kind, arguments, outcome, trace) if filters and not judged else None
        if refused is None or trace is not None:
            checked = _check_rules(rules, context, outcome, trace, confirmed=made)
            refused = refused or checked
        return _ended(trace, refused or outcome)

    def _standing(self, view: _View, upstream: str, kind: str, name: str, ended: int) -> _Standing:
        """``_resolve``, remembered for names of ordinary length; the oldest entry makes room."""
        key = (upstream, kind, name, ended)
        known = view.standings.get(key)
        if known is not None:
            return known
        found = self._resolve(view, upstream, what_of(kind, name), ended, None)
        if len(name) <= _CACHED_NAME:
            if len(view.standings) >= _CACHED:
                view.standings.pop(next(iter(view.standings)), None)
            view.standings[key] = found
        return found

    def _resolve(self, view: _View, upstream: str, what: str | None, ended: int, trace: Trace) -> _Standing:
        if what is None:
            return _Standing(_NAME, (), ())
        method_class, pattern = self._access[upstream].classify(what)
        if trace is not None:
            how = f"access glob {pattern!r}" if pattern is not None else "no access glob names it"
            trace.append(Step(None, f"{upstream}/{what} is {method_class}: {how}"))
        outcome = _granted(view, upstream, what, method_class, ended, trace)
        plain = plain_form(what)
        filters = tuple(filter_ for filter_ in view.filters if filter_.resource.concerns(upstream, what, plain))
        rules = tuple(rule for rule in self._rules if rule.applies(upstream, what))
        return _Standing(outcome, filters, rules)


def what_of(kind: str, name: str) -> str | None:
    """How globs see the thing: ``NAME``, ``resource:URI`` or ``prompt:NAME``; None when the name isn't acceptable.

    One with a dot segment is nobody's own way to name a thing, and servers differ in what they take it for.
    """
    prefixed = name.startswith(("resource:", "prompt:"))
    if not name or (kind in ("tool", "task") and prefixed) or (kind == "completion" and not prefixed):
        return None
    what = name if kind in ("tool", "task", "completion") else f"{kind}:{name}"
    return None if has_dot_segment(what) or has_dot_segment(plain_form(what)) else what


def _granted(view: _View, upstream: str, what: str, method_class: MethodClass, ended: int, trace: Trace) -> Decision:
    """Look for one entry that grants both the resource and the class: grants of different entries don't mix."""
    named = allowed = over = False
    for number, entry in enumerate(view.entries):
        glob = next((glob for glob in entry.resources if glob.matches(upstream, what)), None)
        entry_over = bool(ended >> number & 1)
        if glob is not None and entry_over:
            over = over or method_class in entry.methods
        elif glob is not None:
            named = True
            allowed = allowed or method_class in entry.methods
        if trace is not None and entry.resources:
            trace.append(_entry_step(entry, glob, method_class, over=entry_over))
    if allowed:
        return Decision(True, "granted", "the policy grants this", method_class)
    if over:
        return Decision(False, "grant-ended", "the time of the grant is over", method_class)
    if named:
        return Decision(False, "method-class-not-granted", "the policy doesn't grant this kind of use", method_class)
    return Decision(False, "resource-not-granted", "the policy doesn't grant this resource", method_class)


def _entry_step(entry: _Entry, glob: ResourceGlob | None, method_class: MethodClass, *, over: bool) -> Step:
    if glob is None:
        return Step(False, f"{entry.label}: none of its {len(entry.resources)} resource globs matches")
    if method_class not in entry.methods:
        return Step(False, f"{entry.label}: {glob.pattern!r} matches, but its methods lack {method_class}")
    if over and entry.until is not None:
        ended = entry.until.isoformat(sep=" ")
        return Step(False, f"{entry.label}: {glob.pattern!r} matches, but its grants ended at {ended}")
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


def _check_rules(
    rules: tuple[ContextRule, ...], context: Context, outcome: Decision, trace: Trace, *, confirmed: bool
) -> Decision | None:
    """What the rules make of a granted call; None when they add nothing to ``outcome``."""
    failed: str | None = None
    for rule in rules:
        for condition, holds in rule.check(context):
            if trace is not None:
                trace.append(Step(holds, f"{rule.label}: the {condition} {'is' if holds else 'is not'} as required"))
            if not holds and failed is None:
                failed = condition
        if failed is not None and trace is None:
            break
    if failed is not None:
        reason = f"a context rule demands another {failed} for this"
        return Decision(False, f"context-{failed}", reason, outcome.method_class)
    return None if confirmed else _check_confirmations(rules, context, outcome, trace)


def _check_confirmations(
    rules: tuple[ContextRule, ...], context: Context, outcome: Decision, trace: Trace
) -> Decision | None:
    """An operator is asked last: nobody is to confirm a call that would be refused all the same."""
    demanded: list[str] = []
    for rule in rules:
        header = rule.confirmation_header
        if header is None:
            continue
        if header not in demanded:
            demanded.append(header)
        if trace is not None:
            confirmed = header in context.confirmed
            trace.append(Step(confirmed, f"{rule.label}: {header} {'holds' if confirmed else 'lacks'} a confirmation"))
    lacking = next((header for header in demanded if header not in context.confirmed), None)
    if lacking is not None:
        reason = "an operator must confirm this very call"
        return Decision(False, "context-confirmation", reason, outcome.method_class, confirmations=(lacking,))
    return replace(outcome, confirmations=tuple(demanded)) if demanded else None


def _ended(trace: Trace, decision: Decision) -> Decision:
    if trace is not None:
        trace.append(Step(decision.allowed, f"{decision.rule}: {decision.reason}"))
    return decision
