"""May this client do that? Decided by the policy on the parsed message; what nobody granted is denied."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from mcpsec.gateway.message import Exchange, Refusal
from mcpsec.gateway.policy import Call, Context
from mcpsec.gateway.steps import CHANGED
from mcpsec.gateway.tasks import ABOUT_ONE_TASK
from mcpsec.protocol import codes
from mcpsec.protocol.jsonrpc import Kind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    from mcpsec.deployment.model import MethodClass
    from mcpsec.gateway.policy import Decision, Policy
    from mcpsec.gateway.policy.confirmation import Confirmations, Presented
    from mcpsec.gateway.steps import Changed, Repeated
    from mcpsec.gateway.upstreams.aggregate import AggregateServer
    from mcpsec.protocol.jsonrpc import Message

__all__ = ["Authorise", "denied"]

_COMPLETED = {"ref/prompt": ("prompt", "name"), "ref/resource": ("resource", "uri")}
_MOST_SUBSCRIPTIONS = 1000  # in one request: each is a decision, and everybody waits meanwhile
_RESOURCE_METHODS = frozenset({"resources/read", "resources/subscribe", "resources/unsubscribe"})


def denied(rule: str, detail: str = "") -> Refusal:
    """The one answer to everything that a client may not do; it does not tell what exists."""
    return Refusal(403, codes.ACCESS_DENIED, "access denied", rule, detail)


class Authorise:
    """``policy`` and ``confirmations`` give those of the moment (the second None when the file has no [approval]).

    ``aggregate`` is there when several upstreams share ``/mcp``.
    """

    def __init__(
        self,
        policy: Callable[[], Policy],
        aggregate: AggregateServer | None,
        confirmations: Callable[[], Confirmations | None] = lambda: None,
    ) -> None:
        self._policy = policy
        self._aggregate = aggregate
        self._confirmations = confirmations

    def __call__(self, exchange: Exchange) -> Refusal | Awaitable[Refusal | None] | None:
        """Decide about the message; a message that names nothing usable never reaches an upstream."""
        message, client = exchange.message, exchange.client
        if message is None or message.kind is not Kind.REQUEST or client is None:
            return None
        policy, desk = self._policy(), self._confirmations()
        used: list[Presented] = []
        method, params = message.method, message.params
        if method == "tools/call":  # nearly always
            calls: Iterable[Call | None] = (self._tool_call(exchange, params),)
        else:
            calls = self._calls(exchange, method, params)
        for call in calls:
            if call is None:
                return Refusal(
                    400, codes.INVALID_PARAMS, "the request does not name what it is about", "target-missing"
                )
            shown: dict[str, Presented] = {}
            decision = policy.settled(client.id, call)
            if decision is None:
                shown = _shown(exchange, message, call, desk, policy.confirmation_headers)
                peer = exchange.peer
                context = Context(peer.fingerprint, peer.address, datetime.now(UTC), frozenset(shown))
                decision = policy.decide(client.id, call, context)
            exchange.method_class = decision.method_class or ""
            if not decision.allowed:
                if decision.rule == "context-confirmation" and desk is not None:
                    return _unconfirmed(decision, desk.digest(client.id, message.method, call, message.params))
                return denied(decision.rule, decision.reason)
            exchange.rule = decision.rule
            if decision.confirmations:
                used += [shown[header] for header in decision.confirmations]
        return _use_up(exchange, desk, used) if used and desk is not None else None

    def again(self, exchange: Exchange) -> Repeated:
        """Nothing but to name the call, for as long as the policy that grants it whatever its arguments is in force."""
        message, client, upstream = exchange.message, exchange.client, exchange.upstream
        if message is None or client is None or exchange.kind != "tool" or exchange.endpoint is self._aggregate:
            return self
        policy, policy_now = self._policy(), self._policy
        decision = policy.settled(client.id, Call(upstream, "tool", message.params["name"]))
        if decision is None or not decision.allowed or decision.confirmations:
            return self
        method_class: MethodClass | Literal[""] = decision.method_class or ""
        rule, resource = decision.rule, exchange.resource

        def repeated(exchange: Exchange) -> Changed | None:
            message = exchange.message
            arguments = None if message is None else message.params.get("arguments", {})
            if type(arguments) is not dict or policy_now() is not policy:
                return CHANGED
            exchange.kind, exchange.resource, exchange.arguments = "tool", resource, arguments
            exchange.method_class, exchange.rule = method_class, rule
            return None

        return repeated

    def _calls(self, exchange: Exchange, method: str, params: dict[str, Any]) -> Iterator[Call | None]:
        """Everything that a message asks for but a tool, as the policy names it; None for what it names wrongly."""
        upstream = exchange.upstream
        if method in _RESOURCE_METHODS:
            yield self._named(exchange, "resource", params.get("uri"))
        elif method == "prompts/get":
            yield self._named(exchange, "prompt", params.get("name"), params.get("arguments"))
        elif method == "completion/complete":
            yield self._completion(exchange, params.get("ref"))
        elif method in ABOUT_ONE_TASK:
            yield from self._task(exchange)
        elif method == "subscriptions/listen":
            wanted = params.get("notifications", {})
            uris = wanted.get("resourceSubscriptions", []) if isinstance(wanted, dict) else None
            if not isinstance(uris, list) or len(uris) > _MOST_SUBSCRIPTIONS:
                yield None
                return
            yield from self._task(exchange)
            for uri in uris:
                yield self._named(exchange, "resource", uri)
        else:
            exchange.kind = "method"
            yield Call(upstream, "method", method, None)

    def _tool_call(self, exchange: Exchange, params: dict[str, Any]) -> Call | None:
        name, arguments = params.get("name"), params.get("arguments", {})
        if not isinstance(name, str) or not isinstance(arguments, dict):
            return None
        upstream = exchange.upstream
        if self._aggregate is not None and exchange.endpoint is self._aggregate:
            found = self._aggregate.resolve(name)
            if found is not None:
                upstream, name = found[0].name, found[1]
        exchange.kind, exchange.resource, exchange.arguments = "tool", f"{upstream}/{name}", arguments
        return Call(upstream, "tool", name, arguments)

    def _task(self, exchange: Exchange) -> Iterator[Call]:
        """What a task has done is what its tool would show: it needs the right to that still."""
        for tool in exchange.tools:
            exchange.kind, exchange.resource = "task", f"{exchange.upstream}/{tool}"
            yield Call(exchange.upstream, "task", tool)

    def _named(self, exchange: Exchange, kind: Any, name: object, arguments: object = None) -> Call | None:
        if not isinstance(name, str) or not isinstance(arguments, dict | None):
            return None
        exchange.kind, exchange.resource, exchange.arguments = kind, f"{exchange.upstream}/{kind}:{name}", arguments
        return Call(exchange.upstream, kind, name, arguments)

    def _completion(self, exchange: Exchange, ref: object) -> Call | None:
        """Completing an argument shows what the prompt or resource would show: it needs the right to that."""
        if not isinstance(ref, dict):
            return None
        kind, name = _COMPLETED.get(str(ref.get("type")), ("", ""))
        if not kind or not isinstance(ref.get(name), str):
            return None
        exchange.kind, exchange.resource = "completion", f"{exchange.upstream}/{kind}:{ref[name]}"
        return Call(exchange.upstream, "completion", f"{kind}:{ref[name]}", None)


def _shown(
    exchange: Exchange, message: Message, call: Call, desk: Confirmations | None, headers: frozenset[str]
) -> dict[str, Presented]:
    """The valid confirmations of this call among the request's headers. A repeated header confirms nothing."""
    client, request = exchange.client, exchange.request
    if desk is None or client is None or not headers:
        return {}
    found: dict[str, Presented] = {}
    for header in headers:
        values = request.values(header.encode())
        if len(values) == 1:
            presented = desk.presented(values[0], client.id, message.method, call, message.params)
            if presented is not None:
                found[header] = presented
    return found


def _unconfirmed(decision: Decision, digest: str) -> Refusal:
    """The client was granted this call, so it may learn what is still missing, and an operator what to confirm."""
    header = decision.confirmations[0]
    data = {"approve": digest, "header": header}
    return Refusal(
        403,
        codes.CONFIRMATION_REQUIRED,
        "an operator must confirm this call",
        decision.rule,
        f"approve {digest} in {header}",
        data,
    )


async def _use_up(exchange: Exchange, desk: Confirmations, used: list[Presented]) -> Refusal | None:
    """Claim every confirmation, once all is decided; a store that can't tell lets nothing through."""
    try:
        for presented in used:
            claimed = desk.claim(presented)
            if not (claimed if isinstance(claimed, bool) else await claimed):
                return denied("confirmation-used", "a confirmation was shown before")
    except Exception:
        return Refusal(503, codes.UPSTREAM_UNAVAILABLE, "the service is not available", "store-unavailable")
    exchange.detail = f"confirmed by {', '.join(presented.nonce for presented in used)}"
    return None
