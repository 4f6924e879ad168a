"""Whether the shared store is there, for whoever has to know: operators, health checks, metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.deployment.model import Deployment

__all__ = ["StorePresence", "needs_store"]

_PATIENCE_SECONDS = 5.0
"""A store that restarts or fails over is away for less, and no gateway should be taken out for it."""


def needs_store(deployment: Deployment) -> bool:
    """Whether there are clients that nobody may serve without the shared store.

    Their signatures and DPoP proofs (which is what tokens without a certificate are bound by) could be copies, or their
    rates count nowhere (``on_failure = "refuse"``).
    """
    state = deployment.state
    if state.url == "memory://":
        return False
    wanted = [deployment.factors_of(client) for client in deployment.clients]
    return state.on_failure == "refuse" or any(
        "signature" in factors or ("bearer" in factors and "mtls" not in factors) for factors in wanted
    )


class StorePresence:
    """Hears when the store goes away or comes back.

    ``needed`` says whether the gateway has to have it, ``say`` and ``record`` tell the operator and the log, ``show``
    the metrics.
    """

    def __init__(
        self,
        *,
        needed: Callable[[], bool],
        say: Callable[[str], None],
        record: Callable[..., object],
        show: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._needed = needed
        self._say, self._record, self._show = say, record, show
        self._clock = clock
        self._away_since: float | None = None

    def changed(self, reason: str | None) -> None:
        """The store can't be used any more, for this reason (that may change while it is away), or can again (None)."""
        was_away = self._away_since is not None
        if reason is not None:
            self._away_since = self._away_since if was_away else self._clock()
            self._say(f"the state store can't be used: {reason}; signed requests are refused until it can")
            self._record("configuration", name="state", state="down", severity="high", detail=reason)
        elif was_away:
            self._away_since = None
            self._say("the state store can be used again")
            self._record("configuration", name="state", state="up")
        self._show(0 if self._away_since is not None else 1)

    @property
    def ready(self) -> bool:
        """False once a store without which clients can't be served has been away for more than a moment."""
        since = self._away_since
        return since is None or self._clock() - since < _PATIENCE_SECONDS or not self._needed()
