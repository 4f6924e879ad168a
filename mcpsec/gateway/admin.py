"""The admin listener: health, metrics and the dashboard, for operators, on an address of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import orjson

from mcpsec.gateway.message import Answer, StreamAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping

    from mcpsec.gateway.message import Headers, Peer, Request
    from mcpsec.telemetry.dashboard import Dashboard

__all__ = ["AdminHandler", "Exposed"]


class Exposed(Protocol):
    """Metrics that can be scraped: one process's own, or the sums over workers."""

    def exposition(self, accept: str = "") -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer to a scrape that accepts these media types."""


class AdminHandler:
    """Answers ``/healthz`` (the process lives), ``/readyz`` (it serves), ``/metrics`` and ``/dashboard``.

    ``hosts`` are the authorities accepted in Host: a web page that rebinds its name to loopback is refused. ``welcome``
    says whether a peer may look.
    """

    def __init__(
        self,
        metrics: Exposed,
        dashboard: Dashboard,
        *,
        ready: Callable[[], dict[str, bool]],
        hosts: Collection[str],
        welcome: Callable[[Peer], bool] = lambda _peer: True,
    ) -> None:
        self._metrics = metrics
        self._dashboard = dashboard
        self._ready = ready
        self._welcome = welcome
        self._hosts = frozenset(host.encode() for host in hosts)

    async def __call__(self, request: Request, peer: Peer) -> Answer | StreamAnswer:
        """Answer one request."""
        if request.fields.get(b"host", b"").lower() not in self._hosts or b"origin" in request.fields:
            return _text(403, "forbidden")
        if not self._welcome(peer):
            return _text(403, "forbidden")
        if request.method != b"GET":
            return Answer(405, [(b"allow", b"GET")])
        if request.path == b"/healthz":
            return _text(200, "ok")
        if request.path == b"/readyz":
            facts = self._ready()
            return Answer(
                200 if all(facts.values()) else 503, [(b"content-type", b"application/json")], orjson.dumps(facts)
            )
        if request.path == b"/metrics":
            status, headers, body = self._metrics.exposition(request.fields.get(b"accept", b"").decode("latin-1"))
            return Answer(status, _encoded(headers), body)
        reply = self._dashboard.respond(request.path.decode("latin-1"), request.query.decode("latin-1"))
        if reply is None:
            return _text(404, "not found")
        if isinstance(reply.body, bytes):
            return Answer(reply.status, _encoded(reply.headers), reply.body)
        return StreamAnswer(reply.status, _encoded(reply.headers), _parts(reply.body), endless=True)


async def _parts(body: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    async for part in body:
        yield part


def _encoded(headers: Mapping[str, str]) -> Headers:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def _text(status: int, text: str) -> Answer:
    return Answer(status, [(b"content-type", b"text/plain; charset=utf-8")], text.encode() + b"\n")
