"""What watches a running gateway's log: the dashboard's picture and the alert rules.

Both get each event as it was written, redacted. An alert becomes an event of the log itself and shows on the dashboard;
``mcpsec alerts replay`` finds the same ones in a log afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cryptography import x509

from mcpsec import __version__
from mcpsec.certs.identity import UNREADABLE
from mcpsec.gateway.learning import LearningTogether
from mcpsec.telemetry.alerting import alert_engine
from mcpsec.telemetry.dashboard import Aggregate, Dashboard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mcpsec.certs import CrlFile
    from mcpsec.deployment.model import Deployment
    from mcpsec.gateway.state.base import SharedPatterns
    from mcpsec.secretrefs import SecretRef
    from mcpsec.telemetry import AuditLog, Event
    from mcpsec.telemetry.alerts import Channel
    from mcpsec.telemetry.metrics import Metrics

__all__ = ["Observers"]


class Observers:
    """The subscribers of one gateway's log.

    ``record`` writes an event of theirs into it; ``explain`` tells of a denial; through ``shared`` all gateways learn
    together what is normal.
    """

    def __init__(
        self,
        log: AuditLog,
        metrics: Metrics,
        deployment: Deployment,
        *,
        record: Callable[[Event], object],
        upstreams: Iterable[str],
        reveal: Callable[[SecretRef], bytes] = lambda reference: reference.resolve(),
        shared: SharedPatterns | None = None,
        explain: Callable[[str, str, str], dict[str, Any]] | None = None,
    ) -> None:
        self._log = log
        self._metrics = metrics
        self._aggregate = Aggregate()
        self._aggregate.set_upstreams(upstreams)
        patterns = log.path.with_name("baselines.json")
        self._alerts = alert_engine(
            deployment.alerts, patterns=patterns, record=record, readers=_readers(deployment), reveal=reveal
        )
        self._alerts.watch_log(lambda: log.trouble)
        most = deployment.alerts.learning.resources
        self._learning = None if shared is None else LearningTogether(self._alerts.baselines, shared, most)
        self.dashboard = Dashboard(self._aggregate, facts=self._facts, explain=explain)
        log.subscribe(self._aggregate.feed, batch=self._aggregate.feed_rows)
        log.subscribe(self._alerts.feed, batch=self._alerts.feed_rows)

    def _facts(self) -> dict[str, Any]:
        log = self._log
        state = {"available": log.available, "sequence": log.sequence, "lag": log.lag, "head": log.head}
        return {"version": __version__, "log": state}

    def watch_certificate(self, name: str, path: Path) -> None:
        """Show, export and alert on the end of the first certificate in a PEM file.

        One that is just being replaced is left for the next time: its change is noticed, and leads here again.
        """
        try:
            certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
        except (OSError, *UNREADABLE):
            return
        not_before, not_after = (
            certificate.not_valid_before_utc.timestamp(),
            certificate.not_valid_after_utc.timestamp(),
        )
        self._metrics.set_certificate(name, not_after)
        self._aggregate.set_certificate(name, not_before, not_after)
        self._alerts.watch_certificate(name, not_after)

    def watch_authority(self, name: str, path: Path, revocation_list: CrlFile | None) -> None:
        """The same for the CA that vouches for peers, and for its revocation list, whose end refuses them all."""
        self.watch_certificate(f"{name} CA", path)
        if revocation_list is None:
            return
        begins, ends = revocation_list.this_update.timestamp(), revocation_list.next_update.timestamp()
        self._metrics.set_revocation_list(name, begins, ends)
        self._aggregate.set_certificate(f"{name} revocation list", begins, ends)
        self._alerts.watch_revocation_list(begins, ends)

    def use_channels(self, channels: Iterable[Channel]) -> None:
        """Send the next alerts by these; what is on its way goes on as it began."""
        self._alerts.channels = list(channels)

    async def maintain(self) -> None:
        """Look at clocks; called about once a second."""
        await self._alerts.maintain()
        if self._learning is not None:
            self._learning.maintain()

    async def close(self) -> None:
        """Keep what was learned."""
        if self._learning is not None:
            await self._learning.close()
        await self._alerts.drain()


def _readers(deployment: Deployment) -> list[str]:
    """The clients that no grant lets do more than read."""
    return [
        client.id
        for client in deployment.clients
        if {*client.allow_methods, *(kind for name in client.roles for kind in deployment.roles[name].allow_methods)}
        <= {"read"}
    ]
