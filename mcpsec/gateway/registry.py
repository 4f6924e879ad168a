"""The connections of one listener: what they share, and what is done to all of them or to some."""

from __future__ import annotations

from contextlib import contextmanager
from email.utils import formatdate
from typing import TYPE_CHECKING

from mcpsec.gateway.heads import KnownHeads
from mcpsec.gateway.outbox import Outbox
from mcpsec.gateway.reading import read_buffer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from mcpsec.deployment.model import Limits
    from mcpsec.gateway.connection import Connection
    from mcpsec.gateway.message import Answer, Peer, Refusal, Request, StreamAnswer
    from mcpsec.gateway.turns import Turn

    Handler = Callable[[Request, Peer], Awaitable[Answer | StreamAnswer]]

__all__ = ["ConnectionRegistry"]


class ConnectionRegistry:
    """Every live connection, the deadlines that a sweep enforces, and what all of them share.

    ``handler`` answers requests; where there is a ``turn``, what arrives is begun there, if that can be.
    """

    def __init__(self, handler: Handler, limits: Limits, *, turn: Turn | None = None) -> None:
        self.handler = handler
        self.turn = turn
        self.use(limits)
        self.connections: set[Connection] = set()
        self._arriving: dict[Connection, list[Callable[[Peer], bool]]] = {}
        """Those whose handshake goes on, each with the tests for peers that must go since it began."""
        self.draining = False
        self.stamp()
        self.buffer = read_buffer()
        self.outbox = Outbox()
        if turn is not None:
            turn.outboxes.append(self.outbox)
        self.refused: Callable[[Refusal, Peer], None] = lambda _refusal, _peer: None

    @contextmanager
    def arriving(self, connection: Connection) -> Iterator[None]:
        """While its handshake goes on: what it verifies is what was in force when it began."""
        self._arriving[connection] = []
        try:
            yield
        finally:
            self._arriving.pop(connection, None)

    def admit(self, connection: Connection) -> bool:
        """Count a connection whose handshake is over; False when its peer must go as those that were open already."""
        self.connections.add(connection)
        return not any(unwelcome(connection.peer) for unwelcome in self._arriving.pop(connection, ()))

    def use(self, limits: Limits) -> None:
        """Hold every request from now on to these."""
        self.limits = limits
        self.heads = KnownHeads(limits)

    def stamp(self) -> None:
        """Tell the time in the header lines that every answer has."""
        self.fields = f"date: {formatdate(usegmt=True)}\r\nx-content-type-options: nosniff\r\n".encode()

    def sweep(self, now: float) -> None:
        """Enforce every connection's deadline; called a few times a second."""
        self.stamp()
        for connection in tuple(self.connections):
            connection.enforce_deadline(now)

    def drain(self) -> None:
        """Let running requests finish and close everything else."""
        self.draining = True
        for connection in tuple(self.connections):
            connection.close_when_idle()

    def identify_again(self, identify: Callable[[Peer], Peer], *, require_client: bool) -> None:
        """Other clients are known now: look every peer up again, and cut those that are nobody's any more."""
        for connection in tuple(self.connections):
            before = connection.peer.client
            connection.peer = identify(connection.peer)
            if require_client and before is not None and connection.peer.client is None:
                connection.abort()

    def abort_where(self, predicate: Callable[[Peer], bool]) -> int:
        """Cut every connection whose peer is no longer welcome, one in its handshake at the end of that.

        Returns how many were cut now.
        """
        for tests in self._arriving.values():
            tests.append(predicate)
        unwelcome = [connection for connection in self.connections if predicate(connection.peer)]
        for connection in unwelcome:
            connection.abort()
        return len(unwelcome)
