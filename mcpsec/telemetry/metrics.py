"""Prometheus metrics of one gateway, in a registry of their own. What a request costs here is a few microseconds.

Labels come from bounded sets: upstreams, method classes, decisions, reasons and clients of the deployment. Whatever a
peer could choose freely (tool names, URIs, addresses) is no label, and beyond ``max_series`` values of a label what
comes next is counted as ``other``: a hostile client can't make a time series database grow.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Info,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import choose_encoder

from mcpsec.telemetry.counts import RequestCounts
from mcpsec.telemetry.events import Event

__all__ = ["Metrics"]

_LABEL = 128
BREAKER_STATES = {"closed": 0, "half-open": 1, "open": 2}


class Metrics:
    """The gateway's counters. ``observe`` takes every audit event; gauges have setters of their own."""

    def __init__(
        self, *, version: str = "", max_series: int = 500, redact: Callable[[str], str] = lambda text: text
    ) -> None:
        self.registry = registry = CollectorRegistry()
        self._max_series = max_series
        self._redact = redact
        self._known: dict[str, dict[str, str]] = {}
        self._settle: Callable[[], None] = lambda: None
        Info("mcpsec_build", "The version that is running.", registry=registry).info({"version": version})
        self.requests = RequestCounts(self._bounded)
        registry.register(self.requests)
        counters = {
            "handshake-refused": ("mcpsec_handshakes_refused", "TLS handshakes refused, by reason.", "reason"),
            "authentication-failed": ("mcpsec_authentication_failures", "Failed authentications, by reason.", "reason"),
            "authorization": ("mcpsec_authorization_denials", "Requests that policy refused, by reason.", "reason"),
            "rate-limited": ("mcpsec_rate_limited", "Requests refused by a limit, by limit.", "reason"),
            "timeout": ("mcpsec_timeouts", "Requests that missed a deadline, by upstream.", "upstream"),
            "guard": ("mcpsec_answers_guarded", "Answers that were changed or refused, by reason.", "reason"),
            "pin": ("mcpsec_pin_changes", "Tool definitions that changed against their pin, by upstream.", "upstream"),
            "alert": ("mcpsec_alerts", "Alerts raised, by rule.", "name"),
        }
        self._by_kind = {
            kind: (Counter(name, text, [label], registry=registry), label)
            for kind, (name, text, label) in counters.items()
        }
        self._breaker = Gauge(
            "mcpsec_breaker_state", "Circuit breaker: 0 closed, 1 half-open, 2 open.", ["upstream"], registry=registry
        )
        self._up = Gauge(
            "mcpsec_upstream_up", "1 when the upstream answered last time.", ["upstream"], registry=registry
        )
        self._certificate = Gauge(
            "mcpsec_certificate_expiry_timestamp_seconds",
            "When a certificate in use ends, Unix time.",
            ["name"],
            registry=registry,
        )
        self._days = Gauge(
            "mcpsec_certificate_days_left", "Days until a certificate in use ends.", ["name"], registry=registry
        )
        self._list_begin = Gauge(
            "mcpsec_crl_this_update_timestamp_seconds",
            "When the revocation list in use was signed, Unix time.",
            ["name"],
            registry=registry,
        )
        self._list_end = Gauge(
            "mcpsec_crl_next_update_timestamp_seconds",
            "When the revocation list in use ends and everyone is refused, Unix time.",
            ["name"],
            registry=registry,
        )
        self.connections = Gauge("mcpsec_connections", "Open client connections.", registry=registry)
        self.sessions = Gauge("mcpsec_sessions", "Open MCP sessions.", registry=registry)
        self.in_flight = Gauge("mcpsec_requests_in_flight", "Requests being worked on.", registry=registry)
        self.log_lag = Gauge("mcpsec_log_lag_seconds", "Age of the oldest event not yet written.", registry=registry)
        self.log_buffered = Gauge("mcpsec_log_buffered_bytes", "Bytes of events not yet written.", registry=registry)
        self.log_sequence = Gauge("mcpsec_log_sequence", "Number of the newest line of the log.", registry=registry)
        self.log_dropped = Gauge(
            "mcpsec_log_dropped_events", "Events lost since the start (disk full).", registry=registry
        )
        self.log_available = Gauge("mcpsec_log_available", "1 when the audit log can be written.", registry=registry)
        self.log_available.set(1)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)

    def observe(self, event: Event) -> None:
        """Count one event. A finished request is an event with a ``status``."""
        if event.status is not None:
            key = (event.upstream, event.method_class, event.decision, event.status, event.client)
            self.requests.series(key).add([event.duration_ms], [event.upstream_ms])
        kind = event.kind
        if kind != "request":
            self._observe_kind(kind, event)

    def set_breaker(self, upstream: str, state: str) -> None:
        """Note a breaker's state: ``closed``, ``half-open`` or ``open``."""
        self._breaker.labels(self._bounded("upstream", upstream)).set(BREAKER_STATES.get(state, 2))

    def set_upstream(self, upstream: str, *, up: bool) -> None:
        """Note whether an upstream answers."""
        self._up.labels(self._bounded("upstream", upstream)).set(up)

    def set_certificate(self, name: str, not_after: float) -> None:
        """Note when a certificate that is in use ends (Unix seconds)."""
        label = self._bounded("certificate", name)
        self._certificate.labels(label).set(not_after)
        self._days.labels(label).set_function(lambda: (not_after - time.time()) / 86400)

    def set_revocation_list(self, name: str, this_update: float, next_update: float) -> None:
        """Note the life of a revocation list that is in use (Unix seconds)."""
        label = self._bounded("certificate", name)
        self._list_begin.labels(label).set(this_update)
        self._list_end.labels(label).set(next_update)

    def before_scrape(self, settle: Callable[[], None]) -> None:
        """Have ``settle`` called before figures are read: what waits to be counted is counted then."""
        self._settle = settle

    def watch_log(self, log: Any) -> None:
        """Read the log's own figures (an ``AuditLog``) whenever metrics are asked for."""
        self.log_lag.set_function(lambda: log.lag)
        self.log_buffered.set_function(lambda: log.buffered_bytes)
        self.log_sequence.set_function(lambda: log.sequence)
        self.log_dropped.set_function(lambda: log.dropped)
        self.log_available.set_function(lambda: float(log.trouble is None))

    def exposition(self, accept: str = "") -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of a scrape; ``accept`` is the request's Accept header (OpenMetrics or text)."""
        self._settle()
        encoder, content_type = choose_encoder(accept)
        return 200, {"content-type": content_type, "cache-control": "no-store"}, encoder(self.registry)

    def _observe_kind(self, kind: str, event: Event) -> None:
        counted = self._by_kind.get(kind)
        if counted is not None:
            counter, label = counted
            value = getattr(event, label) or event.rule
            counter.labels(self._bounded(f"{kind}/{label}", value)).inc()
        elif event.upstream is not None and event.state is not None:
            if kind == "breaker":
                self.set_breaker(event.upstream, event.state)
            elif kind == "upstream":
                self.set_upstream(event.upstream, up=event.state == "up")

    def _bounded(self, label: str, value: object) -> str:
        """``value`` as a label value, or ``other`` once the label has as many values as it may."""
        if value is None:
            return ""
        text = str(value)
        known = self._known.setdefault(label, {})
        if text not in known:
            if len(known) >= self._max_series or len(text) > _LABEL:
                return "other"
            known[text] = self._redact(text)
        return known[text]
