"""The admin listener: health and metrics for the operator's own tools, on an address of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from mcpsec.gateway.message import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from mcpsec.gateway.message import Peer, Request
    from mcpsec.telemetry.metrics import Metrics

__all__ = ["AdminHandler"]


class AdminHandler:
    """Answers ``/healthz`` (the process lives), ``/readyz`` (it serves) and ``/metrics``.

    ``hosts`` are the authorities accepted in Host: a web page that rebinds its name to loopback is refused.
    """

    def __init__(self, metrics: Metrics, *, ready: Callable[[], dict[str, bool]], hosts: Collection[str]) -> None:
        self._metrics = metrics
        self._ready = ready
        self._hosts = frozenset(host.encode() for host in hosts)

    async def __call__(self, request: Request, peer: Peer) -> Answer:
        """Answer one request."""
        if request.fields.get(b"host", b"").lower() not in self._hosts or b"origin" in request.fields:
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
            return Answer(status, [(name.encode(), value.encode()) for name, value in headers.items()], body)
        return _text(404, "not found")


def _text(status: int, text: str) -> Answer:
    return Answer(status, [(b"content-type", b"text/plain; charset=utf-8")], text.encode() + b"\n")
