"""What a deployment file says about its log, its alerts and where telemetry is sent. Part of ``model``.

Every path is absolute here, every duration is in seconds, every size in bytes.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Literal

from mcpsec.frozen import dataclass

if TYPE_CHECKING:
    from pathlib import Path

    from mcpsec.secretrefs import SecretRef

__all__ = [
    "AlertChannel",
    "AlertLearning",
    "AlertRule",
    "AlertThresholds",
    "Alerts",
    "Fsync",
    "Log",
    "OnFull",
    "OpenTelemetry",
    "Severity",
]

Fsync = Literal["never", "checkpoint", "event"]
OnFull = Literal["refuse", "drop"]
Severity = Literal["low", "medium", "high", "critical"]
AlertRule = Literal[
    "authentication-failures",
    "write-by-reader",
    "rate-limit-hits",
    "new-resource",
    "new-hour",
    "rate-above-baseline",
    "breaker-open",
    "upstream-down",
    "pin-changed",
    "certificate-due",
    "log-trouble",
]
Values = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """``[log]``: the hash-chained audit log. ``arguments`` maps globs over ``upstream/tool`` to argument names."""

    file: Path
    fsync: Fsync = "checkpoint"
    on_full: OnFull = "refuse"
    buffer: int = 1 << 20
    checkpoint_events: int = 1000
    checkpoint_age: float = 5.0
    rotate_size: int = 100 << 20
    rotate_age: float | None = None
    keep_parts: int | None = None
    keep_age: float | None = None
    compress: bool = True
    arguments: dict[str, Values] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertChannel:
    """``[[alerts.channels]]``: one place that alerts go to, exactly one of webhook, slack, syslog and command."""

    webhook: str | None = None
    slack: SecretRef | None = None
    syslog: str | None = None
    command: Values | None = None
    secret: SecretRef | None = None
    key_id: str = "alerts"
    ca: Path | None = None
    severity: Severity = "low"
    rules: tuple[AlertRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertThresholds:
    """``[alerts.thresholds]``: how often within how long, and how many days before a certificate ends."""

    authentication_failures: int = 5
    authentication_window: float = 300.0
    rate_limit_hits: int = 20
    rate_limit_window: float = 60.0
    certificate_days: tuple[int, ...] = (30, 7, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertLearning:
    """``[alerts.learning]``: when a client's pattern counts as learned, and what is far above it."""

    period: float = 7 * 86400.0
    requests: int = 500
    rate_factor: float = 3.0
    clients: int = 2000
    resources: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """``[alerts]``: which rules are off, how often a subject may alert, and where alerts go besides the log."""

    disable: tuple[AlertRule, ...] = ()
    cooldown: float = 900.0
    channels: tuple[AlertChannel, ...] = ()
    thresholds: AlertThresholds = field(default_factory=AlertThresholds)
    learning: AlertLearning = field(default_factory=AlertLearning)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTelemetry:
    """``[opentelemetry]``: traces and metrics to an OTLP/HTTP collector. Needs the extra ``otel``."""

    endpoint: str
    headers: dict[str, str | SecretRef] = field(default_factory=dict)
    ca: Path | None = None
    service_name: str = "mcpsec"
    traces: bool = True
    metrics: bool = True
    sample: float = 1.0
    interval: float = 15.0
