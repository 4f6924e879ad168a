"""The outcome of a check in the forms that monitors read: Prometheus text, and a plugin's line and exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcpsec.certs.expiry import Level
from mcpsec.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mcpsec.certs.expiry import Item

__all__ = ["nagios", "prometheus"]


def prometheus(items: Sequence[Item], unread: int, now: datetime) -> bytes:
    """Metrics for the node exporter's textfile collector. Alert on ``… - time() < 7 * 86400`` and on staleness."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()
    labels = ("name", "kind", "purpose", "serial", "place")
    end = Gauge("mcpsec_certificate_not_after_seconds", "When it ends (Unix time).", labels, registry=registry)
    level = Gauge(
        "mcpsec_certificate_level",
        "0 well, 1 due, 2 late or expired, as certs check judged.",
        labels,
        registry=registry,
    )
    for item in items:
        values = (item.name, item.kind, item.purpose or "", item.serial or "", item.place)
        end.labels(*values).set(item.not_after.timestamp())
        level.labels(*values).set(list(Level).index(item.level))
    count = Gauge("mcpsec_certificates", "How many there are at each level.", ("level",), registry=registry)
    for one in Level:
        count.labels(one.value).set(sum(item.level is one for item in items))
    Gauge("mcpsec_certificates_unread", "Targets that could not be read.", registry=registry).set(unread)
    Gauge("mcpsec_certificates_checked_seconds", "When this check ran (Unix time).", registry=registry).set(
        now.timestamp()
    )
    return generate_latest(registry)


def nagios(items: Sequence[Item], unread: Sequence[str], now: datetime) -> tuple[str, int]:
    """Return one status line with performance data, a line for each bad thing, and the plugin's exit code.

    0 is OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN (Monitoring Plugins development guidelines).
    """
    late = [item for item in items if item.level is Level.LATE]
    due = [item for item in items if item.level is Level.DUE]
    if late:
        word, code = "CRITICAL", 2
    elif unread:
        word, code = "UNKNOWN", 3
    elif due:
        word, code = "WARNING", 1
    else:
        word, code = "OK", 0
    soonest = min((item.not_after for item in items), default=None)
    days = "" if soonest is None else f"{(soonest - now).total_seconds() / 86400:.2f}"
    status = f"CERTS {word} - {len(items)} checked, {len(late)} late, {len(due)} due, {len(unread)} unread"
    lines = [f"{status} | late={len(late)} due={len(due)} unread={len(unread)} soonest_days={days or 'U'}"]
    lines += [_plain(f"{item.level}: {item.name} ({item.place}): {item.reason}") for item in (*late, *due)]
    lines += [_plain(f"unread: {text}") for text in unread]
    return "\n".join(lines), code


def _plain(text: str) -> str:
    """Keep outside text from starting performance data or a line of its own."""
    return plain(" ".join(text.replace("|", "/").split()))
