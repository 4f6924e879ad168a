"""The guard on the way back: every message of an upstream passes here before a client sees it.

Lists are cut down to what the client may use; they, and all else that may be kept, are marked private so that no shared
cache hands one client's answer to another. Handles are sealed for the client that gets them, and tasks are noted as its
own. Requests of the server to the client pass only if the policy grants them, also those that an unfinished answer of
2026-07-28 carries (``inputRequests``). Decisions rest on what a message is, not on what it claims to answer: an
event stream may deliver any response at any time.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import orjson

from mcpsec.gateway.one_reading import DOUBLED, settle
from mcpsec.gateway.tasks import STATUS_NOTIFICATIONS, TaskTable, task_made_by
from mcpsec.gateway.upstreams.asked import withdrawn_by
from mcpsec.protocol import codes
from mcpsec.protocol.jsonrpc import has_doubled_members

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcpsec.gateway.cleaning import AnswerCleaner
    from mcpsec.gateway.handles import HandleSeal
    from mcpsec.gateway.message import Exchange
    from mcpsec.gateway.pins import PinWatch
    from mcpsec.gateway.policy import Policy

__all__ = ["ANSWERS_ANOTHER", "AnswerGuard", "Inspected", "Ordinary"]

_LISTS = {
    "tools": ("tool", "name"),
    "resources": ("resource", "uri"),
    "resourceTemplates": ("resource", "uriTemplate"),
    "prompts": ("prompt", "name"),
}

_ORDINARY = frozenset({"content", "isError", "structuredContent", "resultType", "ttlMs", "cacheScope", "_meta"})
"""Members of a tool's result about which there is nothing to judge, of ``cacheScope`` if it is private."""
_FRAME = frozenset({"jsonrpc", "id", "result"})
_IDS = (int, str, type(None))
"""Types of an id as they are: ``true`` is no number in JSON."""
_GREETINGS = frozenset({"initialize", "server/discover"})
_VERSION = re.compile(r"[!-~]{1,64}")
ANSWERS_ANOTHER = "answer-to-another"
"""The rule for what answers another request than the one it came for."""


class Inspected(NamedTuple):
    """What became of one message.

    ``data`` is what to pass on (None: nothing), ``answers`` says whether it answers a call, ``server_request`` is the
    id of a request that the server sent in it, ``withdrawn`` of one that it wants no answer to any more.
    """

    data: bytes | None
    answers: bool = False
    server_request: Any = None
    rule: str = ""
    withdrawn: Any = None


class Ordinary:
    """Tells whether a message answers the call of an id and may be passed on as it is, with nothing more to look at.

    Nearly all answers to a tool's call are so; of any other ``AnswerGuard.inspect`` has to say what becomes of it.
    ``cleaner`` is that of its upstream.
    """

    __slots__ = ("cleaner",)

    def __init__(self, cleaner: AnswerCleaner | None) -> None:
        self.cleaner = cleaner

    def __call__(self, data: bytes, id: Any) -> bool:
        """Whether it is one, and clean."""
        frame = self.result(data, id)
        return frame is not None and (self.cleaner is None or self.cleaner.is_clean(frame, data))

    @staticmethod
    def result(data: bytes, id: Any) -> dict[str, Any] | None:
        """The message, if there is nothing to it but perhaps something to take out of its text."""
        try:
            frame = orjson.loads(data)
        except orjson.JSONDecodeError:
            return None
        if not _is_ordinary(frame) or (named := frame.get("id")) != id or type(named) is not type(id):
            return None
        if has_doubled_members(data, frame):
            return None
        return frame


class AnswerGuard:
    """Inspects messages on their way to a client.

    ``policy`` gives the policy of the moment, ``seal`` seals handles, ``cleaners`` has for each upstream what takes
    secrets out, ``tasks`` knows whose tasks are whose.
    """

    def __init__(
        self,
        policy: Callable[[], Policy],
        seal: HandleSeal,
        cleaners: Mapping[str, AnswerCleaner] | None = None,
        tasks: TaskTable | None = None,
    ) -> None:
        self._policy = policy
        self.seal = seal
        self._cleaners = cleaners or {}
        self._tasks = tasks or TaskTable()

    def ordinary(self, upstream: str) -> Ordinary:
        """What tells whether a message of that upstream is a clean result of a tool, in which nothing has to change."""
        return Ordinary(self._cleaners.get(upstream))

    def inspect(self, exchange: Exchange, data: bytes, *, alone: bool = False) -> Inspected:
        """Inspect one message as bytes; when nothing had to change, ``data`` of the result is the very same object.

        One that comes ``alone`` must answer the exchange's own request. An answer to another, or to what is none, shows
        that the connection is out of step, and may be meant for another client.
        """
        try:
            frame = orjson.loads(data)
        except orjson.JSONDecodeError:
            return Inspected(None, rule="answer-not-json")
        if exchange.kind == "tool" and _is_ordinary(frame) and not (alone and _answers_another(exchange, frame)):
            cleaner = self._cleaners.get(exchange.upstream)
            if (cleaner is None or cleaner.is_clean(frame, data)) and not has_doubled_members(data, frame):
                return Inspected(data, answers=True)
        if not isinstance(frame, dict):
            return Inspected(None, rule="answer-not-a-message")
        id, has_method = frame.get("id"), "method" in frame
        if type(id) not in _IDS or (has_method and not isinstance(frame["method"], str)):
            return Inspected(None, rule="answer-not-a-message")
        if alone and _answers_another(exchange, frame):
            return Inspected(None, rule=ANSWERS_ANOTHER)
        passed, changed = self.check(exchange, frame, data)
        request = id if has_method else None
        if not passed:
            return Inspected(None, server_request=request, rule="server-request-not-granted")
        if changed:
            try:
                data = orjson.dumps(frame)
            except orjson.JSONEncodeError:  # it reads four times the depth that it writes
                return Inspected(None, server_request=request, rule="answer-too-deep")
        answers = not has_method and ("result" in frame or "error" in frame)
        return Inspected(data, answers, request, withdrawn=withdrawn_by(frame) if has_method else None)

    def check(self, exchange: Exchange, frame: dict[str, Any], data: bytes | None = None) -> tuple[bool, bool]:
        """Whether a message may pass, and whether it was changed in place. ``data`` is its text, if it is at hand.

        A message without a text is written anew.
        """
        odd = settle(frame)
        state = _take_state(frame)
        passed, changed = self._judge(exchange, frame)
        changed = changed or state is not None or bool(odd)
        if not changed and data is not None and has_doubled_members(data, frame):
            odd, changed = DOUBLED, True
        if odd:
            exchange.guard("answer-ambiguous", odd)
        cleaner = self._cleaners.get(exchange.upstream)
        if passed and cleaner is not None and cleaner.clean(exchange, frame, None if changed else data):
            changed = True
        if isinstance(state, str) and "result" in frame:  # sealed when all is clean: nobody can read or change it
            frame["result"]["requestState"] = self.seal.seal_state(exchange, state)
        return passed, changed

    def _judge(self, exchange: Exchange, frame: dict[str, Any]) -> tuple[bool, bool]:
        if "method" in frame:
            if frame["method"] == "notifications/tools/list_changed":
                _list_changed(exchange)
            if "id" in frame:
                return self._server_request_passes(exchange, frame), False
            return self._notification_passes(exchange, frame), False
        result = frame.get("result")
        if not isinstance(result, dict):
            return True, False
        if "inputRequests" in result and not self._inputs_pass(exchange, result["inputRequests"]):
            _refuse_inputs(exchange, frame)
            return True, True
        changed = result.get("cacheScope", "private") != "private"
        if changed:  # what one client may read is no answer for another
            result["cacheScope"] = "private"
        if "capabilities" in result and "content" not in result:
            _introduced(exchange, result)
        pins, message = exchange.endpoint.catalogue.pins, exchange.message
        if pins is not None and message is not None and message.method in _GREETINGS:
            changed = _greeting(pins, result) or changed
        if "task" in result or "tasks" in result or "taskId" in result:
            changed = self._tasks_shown(exchange, result) or changed
        # A tool's own answer may have any members; no client reads a list out of it. Without content it is none: a
        # client that used one id twice may get the answer to its other request here.
        if result.keys().isdisjoint(_LISTS) or (exchange.kind == "tool" and "content" in result):
            return True, changed
        self._cut_down(exchange, frame, result)
        return True, True

    def _cut_down(self, exchange: Exchange, frame: dict[str, Any], result: dict[str, Any]) -> None:
        for member, (kind, key) in _LISTS.items():
            if isinstance(result.get(member), list):
                if member == "tools":
                    _tools_listed(exchange, frame, result)
                result[member] = self._visible(exchange, member, result[member], kind, key)

    def _visible(self, exchange: Exchange, member: str, items: list[Any], kind: str, key: str) -> list[Any]:
        items = exchange.endpoint.catalogue.admit(member, items)
        if exchange.client is None:
            return []
        visible, client, upstream = self._policy().visible, exchange.client.id, exchange.upstream
        return [
            item
            for item in items
            if isinstance(item, dict) and isinstance(item.get(key), str) and visible(client, upstream, kind, item[key])
        ]

    def _server_request_passes(self, exchange: Exchange, frame: dict[str, Any]) -> bool:
        return frame["method"] == "ping" or self._may_ask(exchange, frame["method"])

    def _may_ask(self, exchange: Exchange, method: object) -> bool:
        client = exchange.client
        return client is not None and self._policy().allows_server_request(client.id, exchange.upstream, str(method))

    def _may_see(self, exchange: Exchange, kind: str, name: object) -> bool:
        client = exchange.client
        return (
            client is not None
            and isinstance(name, str)
            and self._policy().visible(client.id, exchange.upstream, kind, name)
        )

    def _inputs_pass(self, exchange: Exchange, wanted: object) -> bool:
        """Whether the client may be asked all of it: with half of its answers the server would only ask again."""
        return isinstance(wanted, dict) and all(
            isinstance(each, dict) and self._may_ask(exchange, each.get("method")) for each in wanted.values()
        )

    def _notification_passes(self, exchange: Exchange, frame: dict[str, Any]) -> bool:
        """News of a resource are for those who may see it, by the policy of the moment: a stream lasts for hours.

        Those of a task are its client's alone, while it may use the tool, and what the task asks in them only if it may
        be asked.
        """
        method, params = frame["method"], frame.get("params")
        if method == "notifications/resources/updated":
            return isinstance(params, dict) and self._may_see(exchange, "resource", params.get("uri"))
        if method not in STATUS_NOTIFICATIONS:
            return True
        tools = self._tasks.tools_of(exchange, params.get("taskId")) if isinstance(params, dict) else ()
        if not isinstance(params, dict) or not tools:
            return False
        if not all(self._may_see(exchange, "tool", tool) for tool in tools):
            return False
        return "inputRequests" not in params or self._inputs_pass(exchange, params["inputRequests"])

    def _tasks_shown(self, exchange: Exchange, result: dict[str, Any]) -> bool:
        """Note the task that a call was answered with; leave the client's own in a list. True when it was changed."""
        if exchange.kind == "tool" and (made := task_made_by(result)) is not None:
            self._tasks.note(exchange, made)
        listed = result.get("tasks")
        if not isinstance(listed, list) or "content" in result:
            return False
        result["tasks"] = [
            each for each in listed if isinstance(each, dict) and self._tasks.tools_of(exchange, each.get("taskId"))
        ]
        return True


def _is_ordinary(frame: Any) -> TypeGuard[dict[str, Any]]:
    """Whether a message is a tool's result, no error, in which ``check`` would find nothing: nearly always."""
    if type(frame) is not dict or not _FRAME.issuperset(frame):
        return False
    result = frame.get("result")
    return (
        type(result) is dict
        and _ORDINARY.issuperset(result)
        and result.get("isError") is not True
        and result.get("cacheScope", "private") == "private"
        and type(frame.get("id")) in _IDS
    )


def _answers_another(exchange: Exchange, frame: dict[str, Any]) -> bool:
    """Whether a message is the answer to another request.

    An error may say that it does not know to which (null). Servers that make a text of a number are common enough for
    the SDKs' clients to take it.
    """
    due, id = exchange.due, frame.get("id")
    if "method" in frame or id == due or (due is not None and str(id) == str(due)):
        return False
    return "result" in frame or ("error" in frame and id is not None)


def _tools_listed(exchange: Exchange, frame: dict[str, Any], result: dict[str, Any]) -> None:
    """Whether it is all that the server has, only the answer to a request for its list can say."""
    message = exchange.message
    asked = message is not None and message.method == "tools/list" and not _answers_another(exchange, frame)
    tools, more, now = result["tools"], result.get("nextCursor"), asyncio.get_running_loop().time()
    exchange.endpoint.catalogue.heard(exchange, tools, more, asked=asked, now=now)


def _list_changed(exchange: Exchange) -> None:
    if exchange.client is not None:
        catalogue = exchange.endpoint.catalogue
        catalogue.doubt(catalogue.listing(exchange.client.id, exchange.session))


def _greeting(pins: PinWatch, result: dict[str, Any]) -> bool:
    """Replace instructions that differ from the pinned ones; True when something was changed."""
    said = result.get("instructions")
    passed = pins.instructions(said if isinstance(said, str) else None)
    if passed == said:
        return False
    result.pop("instructions", None)
    if passed is not None:
        result["instructions"] = passed
    return True


def _take_state(frame: dict[str, Any]) -> Any:
    """Take the state of an unfinished call out of a message; what is no text is no state, and is dropped."""
    result = frame.get("result")
    return result.pop("requestState", None) if isinstance(result, dict) else None


def _refuse_inputs(exchange: Exchange, frame: dict[str, Any]) -> None:
    """An answer that asks its client for what it may not be asked is refused whole."""
    exchange.decision, exchange.rule = "refused", "server-request-not-granted"
    del frame["result"]
    frame["error"] = {
        "code": codes.ACCESS_DENIED,
        "message": "the server asks for something that this client may not be asked",
        "data": {"request": exchange.id},
    }


def _introduced(exchange: Exchange, result: dict[str, Any]) -> None:
    """A server says what it is: its session keeps the version that it speaks, if a header can hold it."""
    version = result.get("protocolVersion")
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        return
    if exchange.session is not None and isinstance(result["capabilities"], dict):
        exchange.session.version = exchange.session.version or version
