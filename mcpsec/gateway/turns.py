"""What comes in one turn of the event loop, worked on together.

Under load a turn brings a dozen requests and answers. Each, taken alone from its first check to its last, has the
processor fetch all of the gateway's code anew. Taken together, one check of all before the next one of all, they cost a
fifth less. A turn that brings one costs what it did.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mcpsec.gateway.message import Answer
from mcpsec.gateway.upstreams.http_client import UpstreamFault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcpsec.gateway.calls import Call
    from mcpsec.gateway.connection import Connection
    from mcpsec.gateway.message import Peer, Request
    from mcpsec.gateway.outbox import Outbox
    from mcpsec.gateway.upstreams.http_client import Cut
    from mcpsec.gateway.upstreams.known_answers import AnswerHead

    Hear = Callable[[Answer | None], None]
    Arrival = tuple[Request, Peer, Hear]
    Begin = Callable[[Sequence[Arrival]], Sequence[Answer | Call | None]]
    Come = tuple[Call, AnswerHead, bytes, Cut | None]

__all__ = ["Turn"]

_TOGETHER = 32
"""Requests, or answers: with a thousand in a turn, the first must not wait for the last."""


class Turn:
    """Keeps what comes until the end of the turn, in the order in which it came.

    ``begin`` begins requests that repeat others, as ``Chain.begin`` does; ``answer`` answers calls, as
    ``calls.answer``. What both write goes into ``outboxes``, which are flushed at the end.
    Whoever touches a connection whose bytes wait here calls ``run`` before.
    """

    __slots__ = ("_answer", "_answers", "_arrived", "_begin", "_due", "outboxes")

    def __init__(self, begin: Begin, answer: Callable[[Sequence[Come]], None]) -> None:
        self._begin = begin
        self._answer = answer
        self._arrived: list[tuple[Connection, bytes]] = []
        self._answers: list[Come] = []
        self._due = False
        self.outboxes: list[Outbox] = []

    def arrived(self, connection: Connection, data: bytes) -> None:
        """Bytes of a client of which nothing else is being worked on."""
        self._arrived.append((connection, data))
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self.run)

    def answered(self, call: Call, head: AnswerHead, body: bytes, source: Cut | None) -> None:
        """The answer to a call, which came over ``source``."""
        self._answers.append((call, head, body, source))
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self.run)

    def run(self) -> None:
        """Work on what waits, now."""
        answers, arrived = self._answers, self._arrived
        self._answers, self._arrived, self._due = [], [], False
        for outbox in self.outboxes:
            outbox.hold()
        try:
            for begin in range(0, len(answers), _TOGETHER):
                self._tell(answers[begin : begin + _TOGETHER])
            for begin in range(0, len(arrived), _TOGETHER):
                self._take(arrived[begin : begin + _TOGETHER])
        finally:
            for outbox in self.outboxes:
                outbox.flush()

    def _tell(self, answers: Sequence[Come]) -> None:
        try:
            self._answer(answers)
        except Exception as error:
            _report("answers could not be told", error)
            for call, *_ in answers:
                if not call.done():
                    call.set_exception(UpstreamFault("its answer could not be told"))

    def _take(self, arrived: Sequence[tuple[Connection, bytes]]) -> None:
        taken: list[tuple[Connection, Request]] = []
        for connection, data in arrived:
            try:
                request = connection.take(data)
            except Exception as error:
                _failed(connection, error)
                continue
            if request is not None:
                taken.append((connection, request))
        try:
            begun = self._begin([(request, connection.peer, connection.hear) for connection, request in taken])
        except Exception as error:
            for connection, _ in taken:
                _failed(connection, error)
            return
        for (connection, request), outcome in zip(taken, begun, strict=True):
            try:
                connection.begun(request, outcome)
            except Exception as error:
                if outcome is not None and not isinstance(outcome, Answer):
                    outcome.cancel()  # it may not have come to know of it
                _failed(connection, error)


def _failed(connection: Connection, error: Exception) -> None:
    """What nobody foresaw ends one connection, as it does in a callback of the event loop, and no other."""
    connection.abort()
    _report("a request could not be taken", error)


def _report(what: str, error: Exception) -> None:
    asyncio.get_running_loop().call_exception_handler({"message": what, "exception": error})
