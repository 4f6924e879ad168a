"""Alerts: rules over the stream of events, each alert once per subject and cool-down.

The engine sees records as the log writes them, so nothing in an alert is unredacted. ``feed`` is called for every
event and only looks things up; what is due is sent from ``maintain``. Every table here has a bound, and a hostile peer
that fills one only makes the engine forget the oldest subject.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import Any, Literal, Protocol

from mcpsec.frozen import dataclass
from mcpsec.telemetry.baseline import Baselines
from mcpsec.telemetry.events import Event
from mcpsec.telemetry.likeness import Row

__all__ = ["RULES", "Alert", "AlertEngine", "Channel", "Thresholds"]

Severity = Literal["low", "medium", "high", "critical"]

RULES: dict[str, str] = {
    "authentication-failures": "A client, claimed identity or address failed to authenticate repeatedly.",
    "write-by-reader": "A client that only ever reads tried to write or execute and was refused.",
    "rate-limit-hits": "A client ran into its rate limit again and again.",
    "new-resource": "A client used something it had never used while its normal pattern was learned.",
    "new-hour": "A client was active at an hour of the day at which it never was.",
    "rate-above-baseline": "A client sends far more requests a minute than it ever did.",
    "breaker-open": "The circuit breaker of an upstream opened, for all clients or for one.",
    "upstream-down": "An upstream stopped answering.",
    "pin-changed": "A tool's definition is not the one that was pinned.",
    "certificate-due": "A certificate in use, the gateway's or a client's, ends soon.",
    "revocation-list-due": "The clients' revocation list ends soon; every client is refused from then on.",
    "log-trouble": "The audit log could not be written, lost events, or was found damaged.",
    "test": "Sent by `mcpsec alerts test`.",
}
"""Every rule with what it means."""

_SUBJECTS = 10_000
_PENDING = 1000
_SENDING = 200
"""Deliveries under way at once; with receivers that hang, what comes on top is in the log only."""
_DAY = 86400.0
_LIST_SHARES = (1 / 3, 1 / 10, 0.0)
"""What is left of a revocation list's life when an alert is due. Upkeep signs it again at one half."""


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person should look at. ``suppressed`` counts its repetitions during the last cool-down."""

    rule: str
    severity: Severity
    subject: str
    summary: str
    time: float
    suppressed: int = 0
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The alert as JSON, ``mcpsec.alert/1``."""
        return {
            "schema": "mcpsec.alert/1",
            "rule": self.rule,
            "severity": self.severity,
            "subject": self.subject,
            "summary": self.summary,
            "meaning": RULES.get(self.rule, ""),
            "time": self.time,
            "suppressed": self.suppressed,
            "event": dict(self.evidence),
        }

    def event(self) -> Event:
        """The alert as it is written into the log."""
        return Event(
            "alert",
            time=self.time,
            name=self.rule,
            severity=self.severity,
            detail=self.summary,
            client=self.evidence.get("client"),
            upstream=self.evidence.get("upstream"),
            resource=self.evidence.get("resource"),
            request_id=self.evidence.get("request_id"),
            count=self.suppressed or None,
        )


class Channel(Protocol):
    """Somewhere that alerts go. ``name`` is shown; ``send`` raises when the alert did not arrive."""

    name: str

    async def send(self, alert: Alert) -> None:
        """Deliver one alert."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a rule fires. Windows and cool-down in seconds."""

    authentication_failures: int = 5
    authentication_window: float = 300.0
    rate_limit_hits: int = 20
    rate_limit_window: float = 60.0
    certificate_days: tuple[float, ...] = (30.0, 7.0, 1.0)
    cooldown: float = 900.0


class AlertEngine:
    """Decides what is an alert and sees to its delivery.

    ``record`` writes an alert's event into the log. ``disabled`` names rules that are off. ``readers`` are the clients
    that policy grants reading only; a client that was never allowed anything else counts as one too.
    """

    def __init__(
        self,
        channels: Iterable[Channel] = (),
        *,
        record: Callable[[Event], object] | None = None,
        thresholds: Thresholds | None = None,
        baselines: Baselines | None = None,
        disabled: Collection[str] = (),
        readers: Collection[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.channels = list(channels)
        self.recent: deque[Alert] = deque(maxlen=100)
        self.failed_deliveries = 0
        self.lost = 0
        self._record = record
        self._thresholds = thresholds or Thresholds()
        self.baselines = Baselines() if baselines is None else baselines
        self._disabled = frozenset(disabled)
        self._readers = frozenset(readers)
        self._clock = clock
        self._times: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()
        self._fired: OrderedDict[tuple[str, str], list[float]] = OrderedDict()
        self._writers: OrderedDict[str, None] = OrderedDict()
        self._certificates: dict[str, float] = {}
        self._revocation_list: tuple[float, float] | None = None
        self._pending: deque[Alert] = deque()
        self._sending: set[asyncio.Task[None]] = set()
        self._log_trouble: Callable[[], str | None] = lambda: None

    # -- what it is told -------------------------------------------------------------------------------------------

    def feed(self, record: Mapping[str, Any]) -> None:
        """Look at one record of the log (``AuditLog.subscribe``)."""
        kind = record["kind"]
        if kind == "request" and record.get("decision") == "allowed":
            self._allowed(record)
            return
        handler = _HANDLERS.get(kind)
        if handler is not None:
            handler(self, record)

    def feed_rows(self, rows: Sequence[Row]) -> None:
        """Look at like requests together (``AuditLog.subscribe``)."""
        last = rows[-1].record()
        allowed = last["kind"] == "request" and last.get("decision") == "allowed"
        if allowed and rows[0].minute == rows[-1].minute:
            self._allowed(last, len(rows))
            return
        for row in rows:
            self.feed(row.record())

    def watch_certificate(self, name: str, not_after: float) -> None:
        """Alert when this certificate comes close to its end (Unix seconds)."""
        if self._certificates.get(name, not_after) != not_after:  # renewed: its next end is to be told again
            for limit in self._thresholds.certificate_days:
                self._fired.pop(("certificate", f"{name}/{limit}"), None)
        if name in self._certificates or len(self._certificates) < _SUBJECTS:
            self._certificates[name] = not_after

    def watch_revocation_list(self, begins: float, ends: float) -> None:
        """Alert when a third, and again when a tenth, of the revocation list's life is left (Unix seconds)."""
        self._revocation_list = (begins, ends)

    def watch_log(self, trouble: Callable[[], str | None]) -> None:
        """Ask ``trouble`` regularly what keeps the log from being written."""
        self._log_trouble = trouble

    def raise_alert(
        self, rule: str, severity: Severity, subject: str, summary: str, evidence: Mapping[str, Any] | None = None
    ) -> bool:
        """Alert unless the rule is off or this subject's cool-down is running; True when the alert will be sent."""
        if rule in self._disabled:
            return False
        now, key = self._clock(), (rule, subject)
        fired = self._fired.get(key)
        if fired is not None and 0 <= now - fired[0] < self._thresholds.cooldown:  # it may be of a clock set back since
            fired[1] += 1
            return False
        suppressed = 0 if fired is None else int(fired[1])
        _remember(self._fired, key, [now, 0.0])
        alert = Alert(rule, severity, subject, summary, now, suppressed, evidence or {})
        self.recent.append(alert)
        if len(self._pending) >= _PENDING:
            self.lost += 1
            return False
        self._pending.append(alert)
        return True

    # -- what it does ----------------------------------------------------------------------------------------------

    async def maintain(self) -> None:
        """Look at clocks and the log, then start sending what is due. The gateway awaits this about once a second."""
        self._check_certificates()
        self._check_revocation_list()
        trouble = self._log_trouble()
        if trouble is not None:
            self.raise_alert("log-trouble", "critical", "log", f"the audit log cannot be written: {trouble}")
        self.baselines.save_if_due(self._clock())
        for alert in self.take():
            if self._record is not None:
                self._record(alert.event())
            for channel in self.channels:
                if len(self._sending) >= _SENDING:
                    self.lost += 1
                    continue
                task = asyncio.get_running_loop().create_task(self._send(channel, alert))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)

    def take(self) -> list[Alert]:
        """The alerts that wait for delivery, which is then the caller's."""
        taken = list(self._pending)
        self._pending.clear()
        return taken

    async def drain(self, timeout: float = 5.0) -> None:
        """Wait for what is being sent, at most ``timeout`` seconds; what is not through by then is given up."""
        if self._sending:
            _, late = await asyncio.wait(self._sending, timeout=timeout)
            for task in late:
                task.cancel()
        self.baselines.save()

    async def _send(self, channel: Channel, alert: Alert) -> None:
        try:
            await channel.send(alert)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self.failed_deliveries += 1
            if self._record is not None:
                text = f"the alert {alert.rule} did not reach {channel.name}: {error}"
                self._record(Event("alert", name=alert.rule, severity="medium", reason="undelivered", detail=text))

    # -- rules -----------------------------------------------------------------------------------------------------

    def _allowed(self, record: Mapping[str, Any], times: int = 1) -> None:
        client = record.get("client")
        if client is None:
            return
        if record.get("method_class") in {"write", "execute"} and client not in self._writers:
            _remember(self._writers, client, None)
        for deviation in self.baselines.observe(record, times):
            self.raise_alert(deviation.rule, "medium", deviation.subject, deviation.summary, record)

    def _authentication(self, record: Mapping[str, Any]) -> None:
        subject = record.get("client") or record.get("claimed") or record.get("address")
        if subject is None:
            return
        limits = self._thresholds
        count = self._repeated(
            "authentication-failures", subject, limits.authentication_failures, limits.authentication_window
        )
        if count:
            why = record.get("reason") or record.get("rule") or record["kind"]
            within = _span(limits.authentication_window)
            summary = f"{subject}: {count} failed authentications within {within}, last: {why}"
            self.raise_alert("authentication-failures", "high", str(subject), summary, record)

    def _refused_by_policy(self, record: Mapping[str, Any]) -> None:
        client, wanted = record.get("client"), record.get("method_class")
        if client is None or wanted not in {"write", "execute"}:
            return
        if client in self._readers or client not in self._writers:
            what = record.get("resource") or record.get("method")
            summary = f"{client}, which only reads, tried to {wanted} {what} and was refused"
            self.raise_alert("write-by-reader", "high", str(client), summary, record)

    def _limited(self, record: Mapping[str, Any]) -> None:
        subject = record.get("client") or record.get("address")
        limits = self._thresholds
        if subject is None:
            return
        if self._repeated("rate-limit-hits", subject, limits.rate_limit_hits, limits.rate_limit_window):
            within = _span(limits.rate_limit_window)
            summary = f"{subject} ran into its rate limit {limits.rate_limit_hits} times within {within}"
            self.raise_alert("rate-limit-hits", "medium", str(subject), summary, record)

    def _breaker(self, record: Mapping[str, Any]) -> None:
        if record.get("state") == "open":
            name, client = str(record.get("upstream")), record.get("client")
            subject, whose = (name, "") if client is None else (f"{name}/{client}", f" for {client}")
            self.raise_alert("breaker-open", "high", subject, f"the circuit breaker of {name} opened{whose}", record)

    def _upstream(self, record: Mapping[str, Any]) -> None:
        if record.get("state") in {"down", "failed", "stopped"}:
            name = str(record.get("upstream"))
            self.raise_alert("upstream-down", "high", name, f"the upstream {name} does not answer", record)

    def _pin(self, record: Mapping[str, Any]) -> None:
        if record.get("state") in {"approved", "pinned"}:  # a person's own doing
            return
        name = str(record.get("resource") or record.get("upstream"))
        self.raise_alert("pin-changed", "critical", name, f"the definition of {name} is not the pinned one", record)

    def _handshake(self, record: Mapping[str, Any]) -> None:
        days, certificate = record.get("certificate_days_left"), str(record.get("certificate") or "")
        if isinstance(days, int | float):
            name = f"of client {record.get('client') or record.get('certificate_name') or certificate}"
            self._certificate_days(name, days, record, certificate)

    def _own_trouble(self, record: Mapping[str, Any]) -> None:
        summary = f"the audit log: {record.get('detail', record['kind'])}"
        self.raise_alert("log-trouble", "critical", str(record["kind"]), summary, record)

    def _check_certificates(self) -> None:
        now = self._clock()
        for name, not_after in self._certificates.items():
            self._certificate_days(name, (not_after - now) / _DAY, {})

    def _check_revocation_list(self) -> None:
        if self._revocation_list is None:
            return
        begins, ends = self._revocation_list
        left = ends - self._clock()
        passed = [share for share in _LIST_SHARES if left <= (ends - begins) * share]
        for share in set(_LIST_SHARES).difference(passed):
            self._fired.pop(("revocation-list", f"{ends}/{share}"), None)  # told under a clock that was set back
        key = ("revocation-list", f"{ends}/{min(passed, default=1)}")
        if not passed or key in self._fired:
            return
        _remember(self._fired, key, [self._clock(), 0.0])
        what = "has ended, so no client is let in" if left <= 0 else f"ends in {left / _DAY:.1f} days"
        summary = f"the clients' revocation list {what}; sign it again: mcpsec certs crl"
        severity: Severity = "high" if min(passed) == max(_LIST_SHARES) else "critical"
        self.raise_alert("revocation-list-due", severity, f"client/{min(passed):.2f}/{ends:.0f}", summary)

    def _certificate_days(
        self, name: str, days: float, record: Mapping[str, Any], certificate: str | None = None
    ) -> None:
        """Alert once per threshold passed, not once per cool-down; ``certificate`` is what tells it from its next."""
        passed = [limit for limit in self._thresholds.certificate_days if days <= limit]
        for limit in self._thresholds.certificate_days:
            if days > limit:
                self._fired.pop(("certificate", f"{certificate or name}/{limit}"), None)  # as above
        if not passed:
            return
        key = ("certificate", f"{certificate or name}/{min(passed)}")
        if key in self._fired:
            return
        _remember(self._fired, key, [self._clock(), 0.0])
        what = "has ended" if days <= 0 else f"ends in {days:.1f} days"
        severity: Severity = "critical" if days <= 1 else "high" if days <= 7 else "medium"
        self.raise_alert(
            "certificate-due", severity, f"{name}/{min(passed):g}", f"the certificate {name} {what}", record
        )

    def _repeated(self, rule: str, subject: object, times: int, window: float) -> int:
        """How often within the window, once it is often enough; else 0."""
        key, now = (rule, str(subject)), self._clock()
        seen = self._times.get(key)
        if seen is None:
            seen = deque(maxlen=times)
            _remember(self._times, key, seen)
        seen.append(now)
        return len(seen) if len(seen) == times and now - seen[0] <= window else 0


_HANDLERS: dict[str, Callable[[AlertEngine, Mapping[str, Any]], None]] = {
    "authentication-failed": AlertEngine._authentication,
    "handshake-refused": AlertEngine._authentication,
    "authorization": AlertEngine._refused_by_policy,
    "rate-limited": AlertEngine._limited,
    "breaker": AlertEngine._breaker,
    "upstream": AlertEngine._upstream,
    "pin": AlertEngine._pin,
    "handshake": AlertEngine._handshake,
    "log-gap": AlertEngine._own_trouble,
    "log-recovered": AlertEngine._own_trouble,
}


def _remember(table: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    """Put in as the newest; forget the oldest beyond the bound."""
    table[key] = value
    table.move_to_end(key)
    if len(table) > _SUBJECTS:
        table.popitem(last=False)


def _span(seconds: float) -> str:
    return f"{seconds / 60:g} minutes" if seconds >= 120 else f"{seconds:g} s"


def parse_record_time(record: Mapping[str, Any]) -> float:
    """The Unix time of a record read back from a log."""
    return datetime.fromisoformat(record["time"]).timestamp()
