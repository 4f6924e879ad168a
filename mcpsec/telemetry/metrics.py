"""Prometheus metrics of one gateway, in a registry of their own. What a request costs here is a few microseconds.

Labels come from bounded sets: upstreams, method classes, decisions, reasons and clients of the deployment. Whatever a
peer could choose freely (tool names, URIs, addresses) is no label, and beyond ``max_series`` values of a label what
comes next is counted as ``other``: a hostile client can't make a time series database grow.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mcpsec.telemetry.counts import RequestCounts
from mcpsec.telemetry.figures import Family

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from mcpsec.telemetry.events import Event

__all__ = ["Metrics"]

_LABEL = 128
BREAKER_STATES = {"closed": 0, "half-open": 1, "open": 2}


class Metrics:
    """The gateway's counters. ``observe`` takes every audit event; gauges have setters of their own."""

    def __init__(
        self, *, version: str = "", max_series: int = 500, redact: Callable[[str], str] = lambda text: text
    ) -> None:
        self._version = version
        self._max_series = max_series
        self._redact = redact
        self._known: dict[str, dict[str, str]] = {}
        self._settle: Callable[[], None] = lambda: None
        self._registry: CollectorRegistry | None = None
        self._families: list[Family] = []
        self.requests = RequestCounts(self._bounded)
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
        self._by_kind = {kind: self.counter(*described) for kind, described in counters.items()}
        gauge = self.gauge
        self._breaker = gauge(
            "mcpsec_breaker_state", "Circuit breaker for all clients: 0 closed, 1 half-open, 2 open.", "upstream"
        )
        self._breaker_clients = gauge(
            "mcpsec_breaker_clients", "Clients whose own circuit breaker at this upstream is not closed.", "upstream"
        )
        self._stopped: dict[str, set[str]] = {}
        self._up = gauge("mcpsec_upstream_up", "1 when the upstream answered last time.", "upstream")
        self.state_up = gauge("mcpsec_state_up", "1 when the state store can be used; one in memory always can.")
        self.state_up.set(1)
        self._certificate = gauge(
            "mcpsec_certificate_expiry_timestamp_seconds", "When a certificate in use ends, Unix time.", "name"
        )
        self._days = gauge("mcpsec_certificate_days_left", "Days until a certificate in use ends.", "name")
        self._list_begin = gauge(
            "mcpsec_crl_this_update_timestamp_seconds", "When the revocation list in use was signed, Unix time.", "name"
        )
        self._list_end = gauge(
            "mcpsec_crl_next_update_timestamp_seconds",
            "When the revocation list in use ends and everyone is refused, Unix time.",
            "name",
        )
        self.connections = gauge("mcpsec_connections", "Open client connections.")
        self.sessions = gauge("mcpsec_sessions", "Open MCP sessions.")
        self.in_flight = gauge("mcpsec_requests_in_flight", "Requests being worked on.")
        self.log_lag = gauge("mcpsec_log_lag_seconds", "Age of the oldest event not yet written.")
        self.log_buffered = gauge("mcpsec_log_buffered_bytes", "Bytes of events not yet written.")
        self.log_sequence = gauge("mcpsec_log_sequence", "Number of the newest line of the log.")
        self.log_dropped = gauge("mcpsec_log_dropped_events", "Events lost since the start (disk full).")
        self.log_available = gauge("mcpsec_log_available", "1 when the audit log can be written.")
        self.log_available.set(1)

    def counter(self, name: str, text: str, label: str = "") -> Family:
        """A figure that only grows; a scrape shows it with ``_total`` behind its name."""
        self._families.append(Family("counter", name, text, label))
        return self._families[-1]

    def gauge(self, name: str, text: str, label: str = "") -> Family:
        """A figure that goes up and down."""
        self._families.append(Family("gauge", name, text, label))
        return self._families[-1]

    @property
    def registry(self) -> CollectorRegistry:
        """Everything as ``prometheus_client`` has it; that is imported when somebody asks first."""
        if self._registry is None:
            from mcpsec.telemetry.exposition import registry_of

            self._registry = registry_of(self._version, self._families, self.requests)
        return self._registry

    def observe(self, event: Event) -> None:
        """Count one event. A finished request is an event with a ``status``."""
        if event.status is not None:
            key = (event.upstream, event.method_class, event.decision, event.status, event.client)
            self.requests.series(key).add([event.duration_ms], [event.upstream_ms])
        kind = event.kind
        if kind != "request":
            self._observe_kind(kind, event)

    def set_breaker(self, upstream: str, state: str) -> None:
        """Note the state of an upstream's breaker for all clients: ``closed``, ``half-open`` or ``open``."""
        self._breaker.set(BREAKER_STATES.get(state, 2), self._bounded("upstream", upstream))

    def set_client_breaker(self, upstream: str, client: str, state: str) -> None:
        """The same of a client's own. Clients are those of the deployment, so there is an end to them."""
        stopped = self._stopped.setdefault(upstream, set())
        (stopped.discard if state == "closed" else stopped.add)(client)
        self._breaker_clients.set(len(stopped), self._bounded("upstream", upstream))

    def set_upstream(self, upstream: str, *, up: bool) -> None:
        """Note whether an upstream answers."""
        self._up.set(up, self._bounded("upstream", upstream))

    def set_certificate(self, name: str, not_after: float) -> None:
        """Note when a certificate that is in use ends (Unix seconds). The name is the program's own, no peer's."""
        self._certificate.set(not_after, name)
        self._days.set(lambda: (not_after - time.time()) / 86400, name)

    def set_revocation_list(self, name: str, this_update: float, next_update: float) -> None:
        """Note the life of a revocation list that is in use (Unix seconds)."""
        self._list_begin.set(this_update, name)
        self._list_end.set(next_update, name)

    def before_scrape(self, settle: Callable[[], None]) -> None:
        """Have ``settle`` called before figures are read: what waits to be counted is counted then."""
        self._settle = settle

    def watch_log(self, log: Any) -> None:
        """Read the log's own figures (an ``AuditLog``) whenever metrics are asked for."""
        self.log_lag.set(lambda: log.lag)
        self.log_buffered.set(lambda: log.buffered_bytes)
        self.log_sequence.set(lambda: log.sequence)
        self.log_dropped.set(lambda: log.dropped)
        self.log_available.set(lambda: float(log.trouble is None))

    def exposition(self, accept: str = "") -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of a scrape; ``accept`` is the request's Accept header (OpenMetrics or text)."""
        self._settle()
        from mcpsec.telemetry.exposition import encode

        body, content_type = encode(self.registry, accept)
        return 200, {"content-type": content_type, "cache-control": "no-store"}, body

    def _observe_kind(self, kind: str, event: Event) -> None:
        counted = self._by_kind.get(kind)
        if counted is not None:
            value = getattr(event, counted.label) or event.rule
            counted.inc(self._bounded(f"{kind}/{counted.label}", value))
        elif event.upstream is not None and event.state is not None:
            if kind == "breaker" and event.client is None:
                self.set_breaker(event.upstream, event.state)
            elif kind == "breaker":
                self.set_client_breaker(event.upstream, event.client or "", event.state)
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
