"""Replay protection: each nonce of each key is served once."""

from __future__ import annotations

import threading
import time
from array import array
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MemoryReplayStore", "ReplayStore", "ReplayStoreError"]


class ReplayStoreError(Exception):
    """The store can't tell whether a nonce is new, so the request must be refused."""


class ReplayStore(Protocol):
    """Remembers nonces until the messages that carry them are too old to be accepted anyway."""

    def claim(self, key_id: str, nonce: str, expires_at: float) -> bool:
        """Claim a nonce; True the first time only. ``expires_at`` is a Unix time in seconds.

        Raises:
            Exception: any failure; the verifier refuses the request then.
        """
        ...


class _Second:
    """The nonces that expire within one second: their hashes, whose they are, and when that is on the steady clock."""

    __slots__ = ("due", "hashes", "owners")

    def __init__(self, due: float) -> None:
        self.due = due
        self.hashes = array("q")
        self.owners = array("H")


class MemoryReplayStore:
    """A bounded store for one process. Every claim costs the same, and a full store refuses.

    A nonce is kept as Python's 64-bit keyed SipHash of it (about 80 bytes with its bookkeeping); a collision can only
    refuse a good request. No key may hold more than half of the store, so one flooding client leaves room.

    What has expired is forgotten a few at a time, at each claim, when both the time of day and a clock that nobody sets
    say so: a time of day that goes ahead and comes back lets nothing be served twice. What was claimed meanwhile,
    within the bounds above, keeps its place until that time has come, or a restart: the time may go ahead again, and a
    copy would be good then. A message whose expiry lies before what was already forgotten is refused, so a clock that
    was set back can't bring old messages to life; one set back by more than messages may be old refuses all of them
    until it has caught up. A restart forgets everything: where that matters, or with several gateways, use a shared
    store.
    """

    _FORGET_PER_CLAIM = 64
    _MOST_KEYS = 65_000

    def __init__(self, capacity: int = 2_000_000, *, clock: Callable[[], float] = time.time) -> None:
        self._capacity = capacity
        self._per_key = max(1, capacity // 2)
        self._clock = clock
        self._steady: Callable[[], float] = time.monotonic if clock is time.time else clock
        self._lock = threading.Lock()
        self._seen: set[int] = set()
        self._seconds: dict[int, _Second] = {}
        self._forgotten = self._looked = int(clock())  # every second that is kept comes after the latter
        self._key_numbers: dict[str, int] = {}
        self._key_counts: list[int] = []

    def __len__(self) -> int:
        return len(self._seen)

    def claim(self, key_id: str, nonce: str, expires_at: float) -> bool:
        """Claim a nonce; True the first time only.

        Raises:
            ReplayStoreError: the store, or the key's half of it, is full; or the message expired before the store's
                memory begins.
        """
        mark = hash(f"{key_id}\n{nonce}")
        second = int(expires_at) + 1
        clock = self._clock
        with self._lock:
            if self._looked < int(clock()):
                self._forget()
            seen = self._seen
            if mark in seen:
                return False
            if second <= self._forgotten:
                raise ReplayStoreError("the message is older than the replay store's memory: was the clock set back?")
            number, counts = self._key_numbers.get(key_id), self._key_counts
            if number is None:
                number = self._number(key_id)
            if len(seen) >= self._capacity or counts[number] >= self._per_key:
                raise ReplayStoreError("the replay store is full")
            bucket = self._seconds.get(second)
            if bucket is None:
                bucket = self._seconds[second] = _Second(self._steady() + second - self._clock())
                self._looked = min(self._looked, second - 1)
            bucket.hashes.append(mark)
            bucket.owners.append(number)
            seen.add(mark)
            counts[number] += 1
            return True

    def _number(self, key_id: str) -> int:
        """The number of a key that is seen for the first time."""
        number = len(self._key_counts)
        if number >= self._MOST_KEYS:
            raise ReplayStoreError("the replay store has seen too many keys")
        self._key_numbers[key_id] = number
        self._key_counts.append(0)
        return number

    def _forget(self) -> None:
        """Forget expired nonces, so few at a time that no request waits for it."""
        now, steady = int(self._clock()), self._steady()
        for _ in range(self._FORGET_PER_CLAIM):
            if self._looked >= now:
                return
            second = self._looked + 1
            bucket = self._seconds.get(second)
            if bucket is None:
                self._looked = min([now, *(later - 1 for later in self._seconds)])  # past the empty seconds
            elif bucket.due > steady:
                return
            elif bucket.hashes:
                self._forgotten = max(self._forgotten, second)
                self._seen.discard(bucket.hashes.pop())
                self._key_counts[bucket.owners.pop()] -= 1
            else:
                del self._seconds[second]
                self._looked = second
