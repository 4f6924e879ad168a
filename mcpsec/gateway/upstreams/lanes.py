"""Ways to one HTTP upstream, one for each credential: its own headers, and connections that carry no others.

A server may tie what it knows of a caller to the connection, so requests with different credentials never share one.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Protocol, cast

from mcpsec import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mcpsec.gateway.outbox import Outbox
    from mcpsec.gateway.upstreams.http_client import UpstreamConnection, UpstreamResponse

__all__ = ["ClientLanes", "Lane", "Lanes", "Pool"]


_MOST_BEFORE = 16
"""Lanes of former credentials that are kept: whatever still runs there has long ended when one is closed."""


class Pool(Protocol):
    """Takes whole requests to one origin."""

    @property
    def outbox(self) -> Outbox | None:
        """Where what its connections are sent is put, if it has any."""

    async def send(self, data: bytes, *, timeout: float, repeatable: bool) -> UpstreamResponse:
        """The answer to one request. Raises UpstreamFault or UpstreamTimeout."""

    def take_idle(self) -> UpstreamConnection | None:
        """A connection that can take a request now; it is the taker's then."""

    def close(self) -> None:
        """Cut everything."""


class PoolOfClients(Pool, Protocol):
    """One that tells the requests of its clients apart."""

    def of_client(self, client_id: str) -> Pool:
        """The same, for the requests of one client."""


class Lane:
    """One credential: the head lines that every request of it has, and its pool of connections."""

    __slots__ = ("former", "head", "pool")

    def __init__(self, host: str, headers: Mapping[str, str], pool: Pool) -> None:
        own = {"host": host, "user-agent": f"mcpsec/{__version__}", **headers}
        self.head = "".join(f"{name}: {value}\r\n" for name, value in own.items()).encode()
        self.pool = pool
        self.former = False
        """Whether others have taken its place: only what runs on it runs on."""


class Lanes:
    """The lane of each client; clients without a credential of their own share the upstream's."""

    def __init__(
        self,
        host: str,
        headers: Mapping[str, str],
        by_client: Mapping[str, Mapping[str, str]],
        pool: Callable[[], Pool],
    ) -> None:
        self._host = host
        self._new_pool = pool
        self._before: list[Lane] = []
        self._all: tuple[Lane, ...] = ()
        self._credentials: tuple[Mapping[str, str], Mapping[str, Mapping[str, str]]] | None = None
        self.renew(headers, by_client)

    def renew(self, headers: Mapping[str, str], by_client: Mapping[str, Mapping[str, str]]) -> None:
        """Use other credentials, over connections of their own; what runs under the former ones runs on."""
        credentials = (dict(headers), {client: dict(values) for client, values in by_client.items()})
        if credentials == self._credentials:
            return
        self._credentials = credentials
        for lane in self._all:
            lane.former = True
        self._before += self._all
        while len(self._before) > _MOST_BEFORE:
            self._before.pop(0).pool.close()
        self.own = Lane(self._host, headers, self._new_pool())
        same = {frozenset(headers.items()): self.own}
        self._by_client: dict[str, Lane] = {}
        for client, values in by_client.items():
            key = frozenset(values.items())
            if key not in same:
                same[key] = Lane(self._host, values, self._new_pool())
            self._by_client[client] = same[key]
        self._all = tuple(same.values())

    def of(self, client_id: str | None) -> Lane:
        """The lane that a client's requests take; None is the gateway itself."""
        return self._by_client.get(client_id or "", self.own)

    def __iter__(self) -> Iterator[Lane]:
        return iter((*self._all, *self._before))


class ClientLanes(Lanes):
    """The same with pools that tell the requests of their clients apart (``PoolOfClients``)."""

    def __init__(
        self,
        host: str,
        headers: Mapping[str, str],
        by_client: Mapping[str, Mapping[str, str]],
        pool: Callable[[], PoolOfClients],
    ) -> None:
        self._views: dict[str, tuple[Lane, Lane]] = {}
        super().__init__(host, headers, by_client, pool)

    def of(self, client_id: str | None) -> Lane:
        """The lane that a client's requests take; None is the gateway itself."""
        lane = super().of(client_id)
        if client_id is None:
            return lane
        of, view = self._views.get(client_id, (None, lane))
        if of is not lane:
            view = copy(lane)
            view.pool = cast("PoolOfClients", lane.pool).of_client(client_id)
            self._views[client_id] = lane, view
        return view
