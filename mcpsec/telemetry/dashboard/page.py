"""The dashboard as replies for the admin listener: the page, its two files, its data and its event stream.

No reply needs anything from another origin, and the Content-Security-Policy says so to the browser. Who may see them
is the admin listener's business.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import orjson

from mcpsec.telemetry.dashboard.aggregate import Aggregate

__all__ = ["Dashboard", "Reply"]

_VIEWERS = 32
# The listener's own header lines stand in every answer: date and x-content-type-options.
_SECURITY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_FILES = {
    "": ("index.html", "text/html; charset=utf-8"),
    "/": ("index.html", "text/html; charset=utf-8"),
    "/dashboard.js": ("dashboard.js", "text/javascript; charset=utf-8"),
    "/dashboard.css": ("dashboard.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


class Reply(NamedTuple):
    """One HTTP answer. ``body`` is bytes, or for the event stream an iterator that goes on until it is closed."""

    status: int
    headers: dict[str, str]
    body: bytes | AsyncIterator[bytes]


class Dashboard:
    """Answers GET requests under ``prefix``.

    ``facts`` adds what only the gateway knows to each picture: at least ``version``, and ``log`` with ``available``,
    ``lag``, ``sequence``, ``head``. ``explain`` says what policy thinks of a client using a resource.
    """

    def __init__(
        self,
        aggregate: Aggregate,
        *,
        prefix: str = "/dashboard",
        facts: Callable[[], dict[str, Any]] = dict,
        explain: Callable[[str, str, str], dict[str, Any]] | None = None,
        interval: float = 1.0,
    ) -> None:
        self.aggregate = aggregate
        self._prefix = prefix
        self._facts = facts
        self._explain = explain
        self._interval = interval
        self._viewers = 0

    def respond(self, path: str, query: str = "") -> Reply | None:
        """The reply for a path (without its query), or None when the path is not the dashboard's."""
        if path != self._prefix and not path.startswith(self._prefix + "/"):
            return None
        rest = path[len(self._prefix) :]
        if rest in _FILES:
            name, content_type = _FILES[rest]
            return Reply(200, {"content-type": content_type, **_SECURITY}, _file(name, self._prefix))
        if rest == "/data":
            return _json(200, self.aggregate.snapshot() | self._facts())
        if rest == "/search":
            text = parse_qs(query, max_num_fields=8).get("q", [""])[0][:200]
            return _json(200, {"schema": "mcpsec.dashboard-search/1", "events": self.aggregate.search(text)})
        if rest == "/explain" and self._explain is not None:
            asked = parse_qs(query, max_num_fields=8)
            words = [asked.get(name, [""])[0][:600] for name in ("client", "resource", "address")]
            return _json(200, self._explain(*words))
        if rest == "/events":
            return self._stream()
        return _json(404, {"error": "not found"})

    def _stream(self) -> Reply:
        if self._viewers >= _VIEWERS:
            return _json(503, {"error": f"{_VIEWERS} viewers are watching already"})
        headers = {"content-type": "text/event-stream", "x-accel-buffering": "no", **_SECURITY}
        return Reply(200, headers, self._events())

    async def _events(self) -> AsyncIterator[bytes]:
        """Server-sent events: one whole picture, then every second what is new."""
        self._viewers += 1
        try:
            picture = self.aggregate.snapshot() | self._facts()
            yield b"retry: 2000\nevent: snapshot\ndata: " + orjson.dumps(picture) + b"\n\n"
            seen = int(picture["seq"])
            while True:
                await asyncio.sleep(self._interval)
                tick = self.aggregate.tick(seen) | self._facts()
                seen = int(tick["seq"])
                yield b"event: tick\ndata: " + orjson.dumps(tick) + b"\n\n"
        finally:
            self._viewers -= 1


@cache
def _file(name: str, prefix: str) -> bytes:
    from importlib import resources

    content = resources.files(__package__).joinpath(f"data/{name}").read_bytes()
    return content.replace(b"{prefix}", prefix.encode()) if name == "index.html" else content


def _json(status: int, document: dict[str, Any]) -> Reply:
    return Reply(status, {"content-type": "application/json", **_SECURITY}, orjson.dumps(document))
