"""A task's id leads to its task only for the client that got it; for anyone else it does not exist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcpsec.gateway.message import Exchange, Refusal
from mcpsec.gateway.state import StoreUnavailableError
from mcpsec.gateway.steps.session import store_unavailable
from mcpsec.gateway.tasks import ABOUT_ONE_TASK, RELATED_TASK, related_task
from mcpsec.protocol import codes
from mcpsec.protocol.eras import Era
from mcpsec.protocol.jsonrpc import Kind

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from mcpsec.gateway.steps import Repeated
    from mcpsec.gateway.tasks import TaskTable
    from mcpsec.protocol.jsonrpc import Message

__all__ = ["FindTask"]

_ABOUT_TASKS = frozenset({"initialize", "subscriptions/listen"})
_WITH_TASKS = "2025-11-25"  # the only revision before 2026-07-28 that has them


class FindTask:
    """Finds the tool behind every task that a message names: what may be done with a task hangs on its tool."""

    def __init__(self, tasks: TaskTable) -> None:
        self._tasks = tasks

    def __call__(self, exchange: Exchange) -> Refusal | Awaitable[Refusal | None] | None:
        """Set ``exchange.tools``; refuse a message that names a task of somebody else."""
        message = exchange.message
        if message is None:
            return None
        method = message.method
        if method not in _ABOUT_TASKS and message.kind is not Kind.RESPONSE and not method.startswith("tasks/"):
            meta = message.params.get("_meta")
            if not isinstance(meta, dict) or RELATED_TASK not in meta:
                return None
        if method == "initialize":
            _without_own_tasks(exchange, message)
            return None
        if method.startswith("tasks/") and exchange.era is Era.LEGACY and _version(exchange) != _WITH_TASKS:
            return Refusal(200, codes.METHOD_NOT_FOUND, "Method not found", "method-unknown")
        named = _named(message)
        if not named and method != "tasks/list":
            return None
        if self._tasks.is_shared and not all(self._tasks.tools_of(exchange, id) for id in named or [None]):
            return self._look_elsewhere(exchange, named)
        return self._own(exchange, named)

    def again(self, exchange: Exchange) -> Repeated | None:
        """Nothing for the form of a call that has no place for a task's name."""
        message = exchange.message
        if message is None or message.method != "tools/call":
            return self
        meta = message.params.get("_meta")
        return self if isinstance(meta, dict) and RELATED_TASK in meta else None

    def _own(self, exchange: Exchange, named: list[Any]) -> Refusal | None:
        for id in named:
            tools = self._tasks.tools_of(exchange, id)
            if not tools:
                return Refusal(400, codes.INVALID_PARAMS, "there is no such task", "task-unknown")
            exchange.tools += tools
        return None

    async def _look_elsewhere(self, exchange: Exchange, named: list[Any]) -> Refusal | None:
        try:
            await self._tasks.learn(exchange)
        except StoreUnavailableError as error:
            return store_unavailable(error)
        return self._own(exchange, named)


def _named(message: Message) -> list[Any]:
    """Every task id in a message of a client, or what stands in the place of one."""
    params = message.params
    related = related_task(message.result if message.kind is Kind.RESPONSE else params)
    named = [] if related is None else [related]
    if message.method in ABOUT_ONE_TASK:
        named.append(params.get("taskId"))
    elif message.method == "subscriptions/listen":
        wanted = params.get("notifications")
        ids = wanted.get("taskIds") if isinstance(wanted, dict) else None
        if ids is not None:
            named += ids if isinstance(ids, list) else [None]
    return named


def _version(exchange: Exchange) -> str:
    if exchange.session is not None and exchange.session.version:
        return str(exchange.session.version)
    return exchange.request.fields.get(b"mcp-protocol-version", b"").decode("ascii", "replace")


def _without_own_tasks(exchange: Exchange, message: Message) -> None:
    """A client's own tasks, for what a server asks of it, aren't relayed: the server doesn't hear of them."""
    capabilities = message.params.get("capabilities")
    if isinstance(capabilities, dict) and "tasks" in capabilities:
        left = {name: each for name, each in capabilities.items() if name != "tasks"}
        exchange.rewrite({**message.params, "capabilities": left})
