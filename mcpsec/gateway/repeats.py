"""Requests that repeat one: what its steps have left to do for the next with the same head, of the same client.

``steps`` says what ``again`` means there. A shortened ``Way`` holds for one list of steps (a reload makes another), one
client of the file (a reload makes others), one known head, and the form of body that ``ParseMessage`` has seen: a call
of one tool. Each of its parts stands for one step, so that a part that finds something changed hands over to the full
steps from its own on, and nothing is done twice or left out.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from mcpsec.gateway.steps import Changed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcpsec.deployment.model import Client
    from mcpsec.gateway.limits import Place
    from mcpsec.gateway.message import Exchange, Head
    from mcpsec.gateway.steps import Repeated, Step
    from mcpsec.gateway.upstreams.sending import Sender
    from mcpsec.telemetry.counts import Series
    from mcpsec.telemetry.likeness import Likeness

__all__ = ["Way", "remember_way", "remembered", "way_of"]

_WAYS = 64
"""Of each head: where more clients send the same one, those that come next are remembered."""
_CALLS = 16
"""Of each client for a head that names no tool: what its bodies seem to name may be anything."""
_LONGEST_NAME = 130
_CHANGES = 16
"""Where calls take turns in their form, or an upstream in its tools, a way is made anew so often in ``_SPELL``."""
_SPELL = 10.0
"""Seconds."""


class Way:
    """What a request has to pass: ``parts`` are steps, or parts of them, each with the place of its step.

    ``order`` has them without their places. ``whole`` is the way with all steps in full. ``client`` is whose requests
    may take a shortened one, ``place`` that client's among the running requests; ``changes`` counts how often it had to
    be made anew, of late: since ``since``. ``sender`` sends what has passed it, if its upstream has one. ``alike`` is
    the recorder's: what these requests have in common in the log.
    """

    __slots__ = ("alike", "changes", "client", "order", "parts", "place", "sender", "since", "whole")

    def __init__(
        self, parts: tuple[tuple[int, Repeated], ...], whole: Way | None = None, client: Client | None = None
    ) -> None:
        self.parts = parts
        self.order = tuple(part for _, part in parts)
        self.whole = whole or self
        self.client = client
        self.changes = 0
        self.since = monotonic()
        self.sender: Sender | None = None
        self.place: Place | None = None
        self.alike: dict[tuple[Any, ...], tuple[Likeness, Series]] = {}

    @classmethod
    def of(cls, steps: Iterable[Step]) -> Way:
        """All of them in full."""
        return cls(tuple(enumerate(steps)))


def way_of(exchange: Exchange, known: Head, whole: Way) -> Way:
    """The way of a request with a known head: shortened, when one like it has passed before."""
    client = exchange.client
    if client is not None:
        way = remembered(known, client, exchange.request.body)
        if way is not None and way.whole is whole and way.client is client:
            return way
    return whole


def remembered(known: Head, client: Client, body: bytes) -> Way | None:
    """The way of requests that had this head and came from this client, and whose bodies seem to name the same."""
    return known.ways.get((client.id, b"" if known.names else _seems_to_name(body)))


def _seems_to_name(body: bytes) -> bytes:
    """A guess at the tool that a body names, to choose a way by; whether it fits is found out on the way itself."""
    at = body.find(b'"name"') + 6
    end = body.find(b'"', at + 3, at + _LONGEST_NAME)
    return body[at:end] if at > 5 and end > 0 else b""


def _make_room(known: Head, client: Client) -> None:
    """For one more way: one that was made first goes, of the client's own if it has its share."""
    own = [key for key in known.ways if key[0] == client.id]
    if len(own) >= _CALLS:
        del known.ways[own[0]]
    elif len(known.ways) >= _WAYS:
        del known.ways[next(iter(known.ways))]


def remember_way(exchange: Exchange, whole: Way) -> None:
    """Have the next requests like this one, which has passed the whole way, take a shortened one."""
    known, client = exchange.request.known, exchange.peer.client
    if known is None or client is None or exchange.client is not client or exchange.kind != "tool":
        return
    message = exchange.message
    if known.agreement is None or message is None or not known.agreement.holds(message):
        return
    before = remembered(known, client, exchange.request.body)
    if before is not None and monotonic() >= before.since + _SPELL:
        before.changes, before.since = 0, monotonic()
    if before is not None and before.changes >= _CHANGES:
        return  # that one stays: what is not like it takes the whole way
    parts = _shortened(exchange, whole)
    if parts is None:
        return
    if before is None:
        _make_room(known, client)
    guess = b"" if known.names else _seems_to_name(exchange.request.body)
    known.ways[client.id, guess] = way = Way(parts, whole, client)
    if before is not None:
        way.changes, way.since = before.changes + 1, before.since
    sender = getattr(exchange.endpoint, "sender", None)
    way.sender = None if sender is None else sender(exchange)


def _shortened(exchange: Exchange, whole: Way) -> tuple[tuple[int, Repeated], ...] | None:
    """What is left to do of a way for requests like this one; None when nothing tells which ones would be."""
    parts: list[tuple[int, Repeated]] = []
    for place, step in whole.parts:
        again = getattr(step, "again", None)
        part = step if again is None else again(exchange)
        if isinstance(part, Changed):
            return None
        if part is not None:
            parts.append((place, part))
    return tuple(parts)
