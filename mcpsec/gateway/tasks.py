"""Whose task is which: handles of work that goes on after its call has been answered.

Tasks are an experimental part of 2025-11-25 (basic/utilities/tasks) and an extension of 2026-07-28
(``io.modelcontextprotocol/tasks``). Behind a gateway an upstream sees one caller only, so it can't tell whose task id
comes back. The gateway remembers to whom each id was given, and for which tool: for anybody else there is no such task.
Ids pass as they are; knowing one is of no use to another client (security best practices, state handle hijacking).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from mcpsec.gateway.state import StoreUnavailableError

if TYPE_CHECKING:
    from mcpsec.gateway.message import Exchange
    from mcpsec.gateway.state import SharedTasks

__all__ = ["ABOUT_ONE_TASK", "RELATED_TASK", "TaskTable", "related_task", "task_made_by"]

ABOUT_ONE_TASK = frozenset({"tasks/cancel", "tasks/get", "tasks/result", "tasks/update"})
"""Methods whose ``taskId`` names one task."""
RELATED_TASK = "io.modelcontextprotocol/related-task"
STATUS_NOTIFICATIONS = frozenset({"notifications/tasks", "notifications/tasks/status"})

_MOST = 1000  # tasks remembered for each client and upstream; the oldest makes room
_LONGEST_ID = 256
_MOST_TOOLS = 8  # a server may count its tasks anew in each session, so one id may name the tasks of several tools


def related_task(holder: Any) -> Any:
    """The id of the task that ``params`` or a ``result`` says it belongs to; None when it says nothing of one."""
    meta = holder.get("_meta") if isinstance(holder, dict) else None
    related = meta.get(RELATED_TASK) if isinstance(meta, dict) else None
    if related is None:
        return None
    return related.get("taskId", "") if isinstance(related, dict) else ""


def task_made_by(result: dict[str, Any]) -> Any:
    """The id of the task that the answer to a call says was made; None when it is an answer of another kind."""
    task = result.get("task")
    if isinstance(task, dict) and "content" not in result:
        return task.get("taskId")
    return result.get("taskId") if result.get("resultType") == "task" else None


class TaskTable:
    """The tasks of every client, bounded for each; what is unknown belongs to nobody.

    With ``shared``, other gateways' clients are the same: ``share`` tells them of a task, ``learn`` asks for theirs.
    """

    def __init__(self, shared: SharedTasks | None = None) -> None:
        self._shared = shared
        self._owned: dict[tuple[str, str], OrderedDict[str, tuple[str, ...]]] = {}

    @property
    def is_shared(self) -> bool:
        """Whether another gateway may know of a task that this one doesn't."""
        return self._shared is not None

    def note(self, exchange: Exchange, id: object) -> None:
        """A tool's call was answered with a task."""
        if exchange.client is None or not isinstance(id, str) or not 0 < len(id) <= _LONGEST_ID:
            return
        tool = exchange.resource.partition("/")[2]
        owned = self._owned.setdefault((exchange.client.id, exchange.upstream), OrderedDict())
        others = [other for other in owned.pop(id, ()) if other != tool]
        owned[id] = (*others[1 - _MOST_TOOLS :], tool)
        if len(owned) > _MOST:
            owned.popitem(last=False)
        if self._shared is not None:
            exchange.unshared = id

    def tools_of(self, exchange: Exchange, id: object) -> tuple[str, ...]:
        """The tools whose calls made this task of this client's; none when it isn't this client's."""
        if exchange.client is None or not isinstance(id, str):
            return ()
        owned = self._owned.get((exchange.client.id, exchange.upstream))
        return () if owned is None else owned.get(id, ())

    async def learn(self, exchange: Exchange) -> None:
        """Hear of the client's tasks that were made through other gateways. Raises StoreUnavailableError."""
        if self._shared is None or exchange.client is None:
            return
        key = (exchange.client.id, exchange.upstream)
        known = await self._shared.fetch(*key, _MOST)
        owned = self._owned.setdefault(key, OrderedDict())
        for id, tools in known.items():
            owned.setdefault(id, tools)
        while len(owned) > _MOST:
            owned.popitem(last=False)

    async def share(self, exchange: Exchange) -> None:
        """Tell every gateway of a new task before its client can name it; without the store only this one knows it."""
        id, exchange.unshared = exchange.unshared, ""
        if self._shared is None or exchange.client is None:
            return
        try:
            await self._shared.add(exchange.client.id, exchange.upstream, id, self.tools_of(exchange, id), _MOST)
        except StoreUnavailableError:
            return
