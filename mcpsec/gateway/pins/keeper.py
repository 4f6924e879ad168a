"""The pins of a running deployment: read from the lock file, followed when it is written anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.errors import ConfigurationError
from mcpsec.gateway.pins.lock import Lock, UpstreamPins
from mcpsec.gateway.pins.watch import PinWatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.deployment.model import Deployment
    from mcpsec.gateway.pins.definitions import Change

__all__ = ["PinKeeper"]


class PinKeeper:
    """Makes the watches of all upstreams. Raises ConfigurationError when the lock file can't be used.

    ``changed`` hears of each difference with the upstream's name, ``say`` takes sentences for the operator.
    """

    def __init__(
        self, deployment: Deployment, *, changed: Callable[[str, Change], None], say: Callable[[str], None]
    ) -> None:
        self._settings = deployment.pins
        self._changed = changed
        self._say = say
        self._watches: dict[str, PinWatch] = {}
        self._lock = Lock()
        self._stamp: tuple[int, int, int] | None = None
        if self._settings is not None:
            self._stamp = self._current_stamp()
            self._lock = Lock.read(self._settings.file)

    def watch(self, upstream: str) -> PinWatch | None:
        """The watch over one upstream; None without ``[pins]``. One that is not in the lock file has nothing pinned."""
        if self._settings is None:
            return None
        pins = self._lock.upstreams.get(upstream)
        if pins is None:
            self._say(f"the upstream {upstream!r} is not in the lock file: nothing of it is used until `mcpsec pin`")
            pins = UpstreamPins()
        watch = PinWatch(pins, self._settings, lambda change: self._changed(upstream, change))
        self._watches[upstream] = watch
        return watch

    async def maintain(self) -> None:
        """Read the lock file again when it was written anew; one that can't be used leaves the old pins in force."""
        if self._settings is None:
            return
        stamp = self._current_stamp()
        if stamp is None or stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._lock = Lock.read(self._settings.file)
        except ConfigurationError as error:
            self._say(f"the changed lock file can't be used, the old pins stay: {error}")
            return
        for name, watch in self._watches.items():
            watch.renew(self._lock.upstreams.get(name, UpstreamPins()))
        self._say("the lock file of the pins changed: in use now")

    def _current_stamp(self) -> tuple[int, int, int] | None:
        try:
            status = self._settings.file.stat() if self._settings else None
        except OSError:
            return None
        return None if status is None else (status.st_mtime_ns, status.st_size, status.st_ino)
