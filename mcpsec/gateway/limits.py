"""Token buckets and counters, in this process's memory and of bounded number."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from mcpsec.protocol.jsonrpc import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.deployment.model import Rate
    from mcpsec.gateway.message import Exchange

__all__ = ["BucketTable", "Buckets", "InFlight", "Place", "Taken", "is_aside"]

_ROUNDING = 1e-6  # of a token: what adding up fractions of seconds may lose


class Taken(NamedTuple):
    """What became of taking one token: seconds until there is one (0: taken), tokens left, seconds until all are."""

    wait: float
    remaining: int
    reset: float


class Buckets:
    """Token buckets of any rate, each kept as one number: the time at which it will be full again.

    (The generic cell rate algorithm, ITU-T I.371: the same as a bucket of ``burst`` tokens, refilled evenly.) Holds
    ``size`` keys at most; beyond that the one used longest ago is forgotten, which gives it a full bucket again. Keys
    are therefore identities that were proven, or are counted with ample ``size``.
    """

    def __init__(self, *, size: int = 100_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._clock = clock
        self._full_at: dict[str, float] = {}
        self.keys = self._full_at.keys()
        """Those whose buckets may not be full."""

    def take(self, key: str, rate: Rate) -> Taken:
        """Take a token, if there is one."""
        return Taken(*self.bucket(key, rate)())

    def bucket(self, key: str, rate: Rate) -> Callable[[], tuple[float, int, float]]:
        """``take`` for one key and rate, for whoever takes often: what it gives are the members of ``Taken``."""
        clock, kept, pop, size = self._clock, self._full_at, self._full_at.pop, self._size
        each = rate.seconds / rate.count
        whole = each * rate.burst
        most = whole + _ROUNDING * each

        def take() -> tuple[float, int, float]:
            now = clock()
            used = pop(key, now) - now  # seconds until it is full again: what is missing in it
            if used < 0.0:
                used = 0.0
            elif used > whole:
                used = whole
            after = used + each
            if after > most:
                kept[key] = now + used
                return after - whole, 0, used
            kept[key] = now + after
            if len(kept) > size:
                del kept[next(iter(kept))]
            return 0.0, int((most - after) / each), after

        return take

    def wait_for(self, key: str, rate: Rate) -> float:
        """Seconds until one token is there; 0 when it is. Nothing is taken."""
        now = self._clock()
        each = rate.seconds / rate.count
        wait = self._full_at.get(key, now) + each - now - each * rate.burst
        return wait if wait > _ROUNDING * each else 0.0


class BucketTable:
    """A token bucket of one rate for each key."""

    def __init__(self, rate: Rate, *, size: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._buckets = Buckets(size=size, clock=clock)
        self.keys = self._buckets.keys

    def wait_for(self, key: str) -> float:
        """Seconds until one token is there; 0 when it is."""
        return self._buckets.wait_for(key, self._rate)

    def take(self, key: str) -> float:
        """Take a token: 0 when there was one, else the seconds until there is (and nothing is taken)."""
        return self._buckets.take(key, self._rate).wait


def is_aside(exchange: Exchange) -> bool:
    """Whether a message has room of its own beside the calls: a notification, or an answer to what a server has asked.

    It may be what ends the calls that take up all of theirs (``notifications/cancelled``), or what they wait for; and
    it takes no call's room.
    """
    message = exchange.message
    return message is not None and message.kind is not Kind.REQUEST


class Place:
    """How many requests of one client run now."""

    __slots__ = ("running",)

    def __init__(self) -> None:
        self.running = 0


class InFlight:
    """How many requests run at once for each client of the deployment, with one bound for all of them.

    What runs ``is_aside`` is counted for itself, with the same bound.
    """

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self._places: dict[str, Place] = {}
        self._asides: dict[str, Place] = {}

    def __len__(self) -> int:
        return sum(place.running for places in (self._places, self._asides) for place in places.values())

    def aside(self, key: str) -> Place:
        """``place`` of what has room of its own."""
        return self._asides.setdefault(key, Place())

    def place(self, key: str) -> Place:
        """The count of one client, the same each time: whoever adds to it looks at ``bound`` before."""
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = Place()
        return place
