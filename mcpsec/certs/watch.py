"""Renewal that runs by itself: look, renew what is due, tell, sleep until the next thing is due."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mcpsec.certs.leaf import now_utc
from mcpsec.certs.pki import renewal_moment

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from mcpsec.certs.ledger import Purpose
    from mcpsec.certs.pki import Pki, Renewal

__all__ = ["next_look", "watch"]

_SHORTEST = timedelta(seconds=1)
_AFTER_FAILURE = timedelta(minutes=1)


def next_look(pki: Pki, interval: timedelta) -> timedelta:
    """How long to sleep: until the next certificate or CRL is due, and no longer than ``interval``."""
    now = now_utc()
    moments = [renewal_moment(entry) for entry in pki.entries() if entry.state(now) == "valid"]
    for authority in pki.readable_authorities():
        stored = [authority.ledger.crl(signer.id) for signer in authority.ledger.signers()]
        moments += [crl.this_update + (crl.next_update - crl.this_update) / 2 for crl in stored if crl is not None]
    soonest = min(moments, default=now + interval)
    return max(_SHORTEST, min(interval, soonest - now))


def watch(
    open_pki: Callable[[], Pki],
    interval: timedelta,
    stop: Event,
    report: Callable[[list[Renewal]], None],
    failed: Callable[[Exception], None],
    *,
    purpose: Purpose | None = None,
) -> None:
    """Renew until ``stop`` is set. Each round opens the PKI anew, so that changes to its settings count.

    ``report`` hears what each round renewed; ``failed`` hears what kept a whole round from running, and the next round
    comes within a minute then.
    """
    while not stop.is_set():
        sleep = min(interval, _AFTER_FAILURE)
        try:
            with open_pki() as pki:
                renewals = pki.renew_due(purpose=purpose)
                report(renewals)
                if all(renewal.error is None for renewal in renewals):
                    sleep = next_look(pki, interval)
        except Exception as error:  # a full disk or a CA that is away for now must not end the watch
            failed(error)
        stop.wait(sleep.total_seconds())
