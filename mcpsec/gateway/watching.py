"""The picture of several workers for the supervisor's dashboard: their logs, followed as they are written.

A worker's log is all that it says about itself, so this needs nothing else of it, and what is shown is what was logged:
at most a second late.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any

from cryptography import x509

from mcpsec import __version__
from mcpsec.certs.crl import load_crl
from mcpsec.certs.identity import UNREADABLE
from mcpsec.deployment import load
from mcpsec.errors import Error
from mcpsec.gateway.explaining import explanation
from mcpsec.gateway.policy import Policy
from mcpsec.telemetry.dashboard import Aggregate, Dashboard
from mcpsec.telemetry.query import Query, follow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mcpsec.deployment.model import Deployment, Tls

__all__ = ["WorkersPicture", "certificate_lives"]

_AT_ONCE = 20_000
"""Events of one log that are looked at before the next one has its turn."""
_CERTIFICATES_SECONDS = 60.0
_AVAILABLE = re.compile(r"(?m)^mcpsec_log_available (\S+)$")


def certificate_lives(tls: Tls) -> Iterator[tuple[str, float, float]]:
    """Begin and end (Unix seconds) of a gateway's certificate, client CA and CRL, as far as they can be read."""
    for name, file in (("gateway", tls.certificate), ("client CA", tls.client_ca)):
        with suppress(OSError, *UNREADABLE):
            certificate = x509.load_pem_x509_certificates(file.read_bytes())[0]
            yield name, certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    if tls.crl is not None:
        with suppress(OSError, Error):
            revocation_list = load_crl(tls.crl)
            yield "revocation list", revocation_list.this_update.timestamp(), revocation_list.next_update.timestamp()


class WorkersPicture:
    """A dashboard of what is written to ``logs`` from now on. ``metrics`` gives the workers' metrics, summed."""

    def __init__(self, deployment: Deployment, logs: Sequence[Path], metrics: Callable[[], str]) -> None:
        self._deployment = deployment
        self._metrics = metrics
        self._aggregate = Aggregate()
        self._aggregate.set_upstreams(deployment.upstreams)
        self._seen = 0
        self._certificates_at = 0.0
        # A log that is there already is opened now, at its end; one that is not is read from its beginning.
        self._streams: dict[Path, Iterator[dict[str, Any] | None] | None] = {
            path: follow(path, _ALL, poll=0) if path.is_file() else None for path in logs
        }
        explain = None if deployment.path is None else self._explain
        self.dashboard = Dashboard(self._aggregate, facts=self._facts, explain=explain)

    def look(self) -> None:
        """Take in what was written since the last look."""
        for path in self._streams:
            try:
                self._read(path)
            except (Error, OSError):  # it was taken away: whatever comes in its place is read from its beginning
                self._streams[path] = None
        now = time.monotonic()
        if now >= self._certificates_at:
            self._certificates_at = now + _CERTIFICATES_SECONDS
            for name, begins, ends in certificate_lives(self._deployment.server.tls):
                self._aggregate.set_certificate(name, begins, ends)

    def _read(self, path: Path) -> None:
        stream = self._streams[path]
        if stream is None:
            if not path.is_file():
                return
            stream = self._streams[path] = follow(path, _ALL, poll=0, whole=True)
        for event in islice(stream, _AT_ONCE):
            if event is None:
                return
            self._seen += 1  # each log numbers its own: the page knows by the number what it has not seen
            self._aggregate.feed({**event, "seq": self._seen}, log=str(path))

    def _facts(self) -> dict[str, Any]:
        available = _AVAILABLE.search(self._metrics())
        log = {"available": available is None or float(available[1]) > 0, "sequence": self._seen, "lag": 0, "head": ""}
        return {"version": __version__, "log": log}

    def _explain(self, client: str, resource: str, address: str) -> dict[str, Any]:
        """By the file as it is now: the workers follow it."""
        deployment = self._deployment
        with suppress(Error):  # one that can't be used is not in use either
            deployment = deployment if deployment.path is None else load(deployment.path)
        return explanation(Policy(deployment), client, resource, address)


_ALL = Query(own=True)
