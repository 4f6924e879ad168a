"""The streams that are open: none outlives what its caller has proven itself with.

A request is checked once, when it begins; a stream may go on for hours. So its caller's certificate and token are
looked at again while it is open, by the clock of the wall, which goes on while a machine sleeps.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcpsec.gateway.message import Exchange
    from mcpsec.gateway.steps.identity import ClientDirectory

__all__ = ["OpenStream", "OpenStreams"]


class OpenStream:
    """One of them; ``ended`` is the rule that has ended it."""

    __slots__ = ("_deadline", "ended", "exchange")

    def __init__(self, exchange: Exchange, deadline: asyncio.Timeout) -> None:
        self.exchange = exchange
        self._deadline = deadline
        self.ended = ""

    def over(self, now: float) -> str:
        """The rule by which a request of its caller's would be refused at this time of the wall clock."""
        until = self.exchange.peer.not_after
        if until is not None and now > until:
            return "certificate-expired"
        return "token-expired" if now > self.exchange.token_end else ""

    def end(self, rule: str) -> None:
        """Wake whoever waits for its next part: there will be none."""
        self.ended = rule
        self._deadline.reschedule(asyncio.get_running_loop().time())


class OpenStreams:
    """All of one gateway."""

    def __init__(self) -> None:
        self._open: set[OpenStream] = set()
        self._unknown: Callable[[OpenStream], str] = lambda _stream: ""

    @contextmanager
    def holding(self, exchange: Exchange, deadline: asyncio.Timeout) -> Iterator[OpenStream]:
        """Count a stream among them while it is open; ``deadline`` is entered by whoever waits for its parts."""
        stream = OpenStream(exchange, deadline)
        self._open.add(stream)
        self._judge(stream, self._unknown)  # its request may be older than the clients that are known now
        try:
            yield stream
        finally:
            self._open.discard(stream)

    def sweep(self, now: float) -> None:
        """End those whose caller would be refused by now; called a few times a second."""
        self.end_where(lambda stream: stream.over(now))

    def know(self, directory: ClientDirectory) -> None:
        """Other clients are known from now on: end the streams of those that are none any more."""
        self._unknown = _no_longer_known(directory)
        self.end_where(self._unknown)

    def end_where(self, rule_of: Callable[[OpenStream], str]) -> None:
        """End those for which there is a rule."""
        for stream in tuple(self._open):
            self._judge(stream, rule_of)

    @staticmethod
    def _judge(stream: OpenStream, rule_of: Callable[[OpenStream], str]) -> None:
        rule = "" if stream.ended else rule_of(stream)
        if rule:
            stream.end(rule)


def _no_longer_known(directory: ClientDirectory) -> Callable[[OpenStream], str]:
    """Who is nobody's client any more, or another's, after the deployment was read again."""

    def rule_of(stream: OpenStream) -> str:
        exchange = stream.exchange
        client = exchange.client
        if client is None:
            return ""
        if not directory.has(client.id):
            return "client-removed"
        if "mtls" not in exchange.identified_by:
            return ""
        now = directory.find(exchange.peer)
        return "" if now is not None and now.id == client.id else "client-removed"

    return rule_of
