"""A deployment file that changed under a running gateway: when it did, and what of it needs a restart.

The file is followed together with the files of signing keys that it names; SIGHUP reads all of it at once, changed or
not. What a broken file says changes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mcpsec.secretrefs import FileSource

if TYPE_CHECKING:
    from pathlib import Path

    from mcpsec.deployment.model import Deployment, Upstream
    from mcpsec.telemetry.metrics import Metrics

__all__ = ["FileWatch", "ReloadMetrics", "keep_fixed", "same_server"]

_Stamp = tuple[int, int, int] | None


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


class FileWatch:
    """Tells when a deployment's files changed, and came to rest: a file that is being written is left to settle."""

    def __init__(self, deployment: Deployment) -> None:
        self.follow(deployment)

    def follow(self, deployment: Deployment) -> None:
        """Watch the files of this deployment from now on, as they are."""
        self._paths = sorted(_files(deployment))
        self._seen = self._last = self._read()

    def _read(self) -> list[_Stamp]:
        return [_stamp(path) for path in self._paths]

    def changed(self) -> bool:
        """True once for each change; asked a few times a second."""
        last, self._last = self._last, self._read()
        if self._last == self._seen or self._last != last:
            return False
        self._seen = self._last
        return True


def _files(deployment: Deployment) -> set[Path]:
    files = set() if deployment.path is None else {deployment.path}
    for client in deployment.clients:
        for key in client.signing_keys:
            if key.public_key is not None:
                files.add(key.public_key)
            if key.secret is not None and isinstance(key.secret.source, FileSource):
                files.add(key.secret.source.path)
    return files


def keep_fixed(running: Deployment, wanted: Deployment) -> tuple[Deployment, list[str]]:
    """``wanted`` with what a running gateway can't change as it is, and the keys of which that is so."""
    kept = []
    server = wanted.server
    if server.listen != running.server.listen:
        kept.append("server.listen")
        server = replace(server, listen=running.server.listen)
    if server.admin != running.server.admin:
        kept.append("server.admin")
        server = replace(server, admin=running.server.admin)
    changes: dict[str, Any] = {"server": server}
    for name in ("log", "state", "pins", "opentelemetry"):
        if getattr(wanted, name) != getattr(running, name):
            kept.append(name)
            changes[name] = getattr(running, name)
    alerts = replace(running.alerts, channels=wanted.alerts.channels)  # where they go may change, what counts may not
    if alerts != wanted.alerts:
        kept.append("alerts")
        changes["alerts"] = alerts
    return replace(wanted, **changes), kept


def same_server(one: Upstream, other: Upstream | None) -> bool:
    """Whether two entries describe one running server, however its use is limited."""
    if other is None:
        return False
    use = {name: getattr(one, name) for name in ("access", "rate_limits", "breaker", "in_flight")}
    return replace(other, **use) == one


class ReloadMetrics:
    """Whether the running configuration is the one in the file."""

    def __init__(self, metrics: Metrics) -> None:
        self._count = metrics.counter("mcpsec_reloads", "Attempts to use a changed file.", "result")
        self._good = metrics.gauge("mcpsec_last_reload_successful", "1 when what is in the files is in use.")
        self._good.set(1)

    def note(self, *, successful: bool) -> None:
        """Count one attempt."""
        self._count.inc("applied" if successful else "refused")
        self._good.set(successful)
