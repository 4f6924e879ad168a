"""What becomes of an exchange in the audit log, the metrics and the traces: exactly one event for each request."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from operator import itemgetter
from time import perf_counter, time
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from mcpsec.gateway.guarding import guard_events
from mcpsec.gateway.steps.trace import context_of
from mcpsec.protocol.eras import Era
from mcpsec.telemetry import Event, LogUnavailable
from mcpsec.telemetry.likeness import Figures, Finished, together

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mcpsec.gateway.message import Exchange, Peer, Refusal
    from mcpsec.gateway.named_arguments import NamedArguments
    from mcpsec.gateway.steps.trace import TraceContext
    from mcpsec.telemetry import AuditLog
    from mcpsec.telemetry.counts import Series
    from mcpsec.telemetry.likeness import Likeness, Row
    from mcpsec.telemetry.metrics import Metrics
    from mcpsec.telemetry.otel import OpenTelemetryExport

__all__ = ["Recorder"]

_KINDS: dict[int, Any] = {
    401: "authentication-failed",
    403: "authorization",
    408: "timeout",
    429: "rate-limited",
    504: "timeout",
}
_LIKENESSES = 1024
_ALIKE = 64
"""Of the requests of one shortened way."""
_WAITING = 48
"""Finished requests that are written together: each costs a third of what it costs alone. None is above 1 KiB."""
_LARGE_BYTES = 16 * 1024
"""A request's body above which its arguments are not kept waiting."""
_SORTED = orjson.OPT_SORT_KEYS
_Repeat: TypeAlias = "tuple[Likeness, float, float, str, Any, int, int, float]"
"""A request that repeats others: what it has in common with them, when it ended and began, and its own figures."""
_LIKENESS, _DURATION, _UPSTREAM = itemgetter(0), itemgetter(2), itemgetter(3)
_RULE_KINDS: dict[str, Any] = {
    "authentication-failures": "authentication-failed",
    "protocol": "request",
    "origin": "request",
}


class Recorder:
    """Writes events. ``healthy`` turns False when the log can't be written: then no request is served (fail closed).

    ``arguments`` are those that are written in clear; ``traces`` exports a span for each request of a trace.
    """

    def __init__(
        self,
        log: AuditLog,
        metrics: Metrics,
        *,
        arguments: NamedArguments | None = None,
        traces: OpenTelemetryExport | None = None,
    ) -> None:
        self._log = log
        self._metrics = metrics
        self._arguments = arguments
        self._traces = traces
        self._whole = bool(arguments) or traces is not None
        self._known: dict[tuple[Any, ...], tuple[Likeness, Series]] = {}
        self._repeats: list[_Repeat] = []
        self._waiting: list[Finished] = []
        self._most = _WAITING if log.patient else 1
        self.healthy = True
        metrics.before_scrape(self.settle)

    def event(self, kind: Any, **facts: Any) -> None:
        """Write an event that is not about a request."""
        self.write(Event(kind=kind, **facts))

    def request(self, exchange: Exchange) -> None:
        """Note that a request has been answered. Its event is written before any other, at the latest by ``maintain``.

        What was refused, failed or guarded is written at once, and so is everything while the log has no time to give.
        """
        ended, alike = perf_counter(), exchange.alike
        # What else an event is made of is the same in all requests that came this way.
        known = None if alike is None else alike.get(
            (exchange.status, exchange.peer.address, exchange.rule, exchange.decision, exchange.identified_by)
        )  # fmt: skip
        arguments, request, repeats = exchange.arguments, exchange.request, self._repeats
        if known is None or exchange.detail or exchange.guarded or exchange.trace is not None or not arguments:
            return self._unusual(exchange, ended)
        size, answered, upstream_ms = len(request.body), exchange.answer_bytes, exchange.upstream_ms
        repeats.append((known[0], ended, request.started, exchange.id, arguments, size, answered, upstream_ms))
        if len(repeats) >= self._most or size > _LARGE_BYTES:
            self.settle()
        return None

    def _finish_repeats(self) -> None:
        """Write out what differs in requests that repeat others: many at a time, since the first costs the most."""
        repeats, self._repeats = self._repeats, []
        waiting, keyed, clock = self._waiting, self._log.digest, time() - perf_counter()
        dumps, new = orjson.dumps, tuple.__new__  # as Finished(…) does it, without the call in between
        for likeness, ended, started, id, arguments, size, answer_bytes, upstream_ms in repeats:
            duration, digest = (ended - started) * 1000, keyed(dumps(arguments, None, _SORTED))
            if upstream_ms:
                known: float | None = upstream_ms
                text = likeness.usual % (id.encode(), duration, size, answer_bytes, upstream_ms, digest.encode())
            else:  # it took none: a server of the gateway's own
                known = None
                text = likeness.own % (id.encode(), duration, size, answer_bytes, digest.encode())
            waiting.append(new(Finished, (likeness, clock + ended, duration, known, text)))

    def _unusual(self, exchange: Exchange, ended: float) -> None:
        """The same for a request of which not all is known yet, or that must not wait."""
        unlike = self._whole or exchange.detail or exchange.redactions or exchange.guarded
        like = None if unlike else self._look_up(exchange)
        if like is None:
            self.settle()
            self._settle(exchange, ended)
            return
        likeness, series = like
        likeness.series = series
        if self._repeats:
            self._finish_repeats()  # they came before
        self._waiting.append(likeness.finished(time(), self._figures(exchange, ended)))
        if exchange.decision != "allowed" or not likeness.brief or len(self._waiting) >= self._most:
            self.settle()
        elif exchange.alike is not None:
            if len(exchange.alike) >= _ALIKE:
                exchange.alike.clear()
            key = exchange.status, exchange.peer.address, exchange.rule, exchange.decision, exchange.identified_by
            exchange.alike[key] = like

    def settle(self) -> None:
        """Write the events of the requests that wait, and count them."""
        if self._repeats:
            self._finish_repeats()
        waiting = self._waiting
        if not waiting:
            return
        self._waiting = []
        self._write_requests(waiting)
        self._most = _WAITING if self._log.patient else 1
        for alike in together(waiting, list(map(_LIKENESS, waiting))):
            series = alike[0].likeness.series
            if series is not None:
                series.add(list(map(_DURATION, alike)), list(map(_UPSTREAM, alike)))

    def _figures(self, exchange: Exchange, ended: float) -> Figures:
        request, arguments = exchange.request, exchange.arguments
        trace = exchange.trace if request.known is not None else _trace_of(exchange)
        return Figures(
            exchange.id,
            (ended - request.started) * 1000,
            len(request.body),
            exchange.answer_bytes,
            exchange.upstream_ms or None,
            self._log.digest(orjson.dumps(arguments, None, _SORTED)) if arguments else None,
            None if trace is None else trace.trace_id,
            None if trace is None else trace.span_id,
        )

    def _settle(self, exchange: Exchange, ended: float) -> None:
        """The event of one request, with all that may come with it."""
        figures, trace, when = self._figures(exchange, ended), _trace_of(exchange), time()
        named = self._arguments.of(exchange.resource, exchange.arguments) if self._arguments else None
        like = None if exchange.detail or exchange.redactions else self._look_up(exchange)
        if like is None or named is not None:
            event = replace(_event(exchange), time=when, arguments=named, **figures._asdict())
            record = self._write(event)
        else:
            likeness, series = like
            series.add([figures.duration_ms], [figures.upstream_ms])
            row = self._write_request(likeness, figures, when)
            record = row.record() if row is not None and trace is not None else None
        if self._traces is not None and trace is not None and record is not None:
            self._traces.span(record, sampled=trace.sampled, parent_id=trace.parent_id)
        if exchange.guarded:
            for event in guard_events(exchange):
                self._write(event)

    def _look_up(self, exchange: Exchange) -> tuple[Likeness, Series] | None:
        client, message, peer, session = exchange.client, exchange.message, exchange.peer, exchange.session
        key = (
            exchange.resource,
            exchange.status,
            None if client is None else client.id,
            "" if message is None else message.method,
            peer.address,
            exchange.rule,
            exchange.decision,
            exchange.upstream,
            exchange.era is Era.MODERN,
            exchange.method_class,
            exchange.identified_by,
            exchange.request.method,
            exchange.claimed,
            exchange.era is None,
            None if session is None else session.id,
            peer.fingerprint if client is None else None,
        )
        known = self._known.get(key)
        if known is not None:
            return known
        event = _event(exchange)
        if event.kind != "request":
            return None  # rarer, and counted by kind as well
        likeness = self._log.likeness(event)
        if likeness is None:
            return None
        labels = (event.upstream, event.method_class, event.decision, event.status, event.client)
        if len(self._known) >= _LIKENESSES:
            self._known.clear()
        made = self._known[key] = (likeness, self._metrics.requests.series(labels))
        return made

    def refused_bytes(self, refusal: Refusal, peer: Peer) -> None:
        """Write the event of something that never became a request."""
        client = peer.client
        self.write(
            Event(
                kind=_KINDS.get(refusal.status, "request"),
                decision="refused",
                client=None if client is None else client.id,
                rule=refusal.rule,
                status=refusal.status,
                address=peer.address,
            )
        )

    def connected(self, peer: Peer) -> None:
        """Write the event of a TLS handshake: an authentication that succeeded so far."""
        client = peer.client
        self.write(
            Event(
                kind="handshake",
                decision="allowed",
                client=None if client is None else client.id,
                identified_by="mtls" if client is not None else None,
                address=peer.address,
                tls_version=peer.tls,
                certificate=peer.fingerprint,
                certificate_name=peer.sans[0] if peer.sans else None,
                certificate_days_left=_days_left(peer, time()),
                detail=peer.cipher,
            )
        )

    def configured(self, state: str, path: Path | None, detail: str | None = None) -> None:
        """Write the event of a deployment file that is in use now: its digest tells one state of it from another."""
        digest = None
        if path is not None:
            with contextlib.suppress(OSError):
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
        name = None if path is None else path.name
        self.write(Event(kind="configuration", state=state, name=name, digest=digest, detail=detail))

    def _write_requests(self, requests: list[Finished]) -> None:
        try:
            self._log.write_requests(requests)
            self.healthy = self._log.available
        except LogUnavailable:
            self.healthy = False

    def _write_request(self, likeness: Likeness, figures: Figures, when: float) -> Row | None:
        row = None
        try:
            row = self._log.write_request(likeness, figures, when)
            self.healthy = self._log.available
        except LogUnavailable:
            self.healthy = False
        return row

    def write(self, event: Event) -> Mapping[str, Any] | None:
        """Count and write an event; the record as it was written, None when it could not be."""
        self.settle()
        return self._write(event)

    def _write(self, event: Event) -> Mapping[str, Any] | None:
        self._metrics.observe(event)
        record = None
        try:
            record = self._log.write(event)
            self.healthy = self._log.available  # taken into the buffer is not yet written
        except LogUnavailable:
            self.healthy = False
        return record

    async def maintain(self) -> None:
        """Flush, sign and rotate; called a few times a second."""
        self.settle()
        try:
            await self._log.maintain()
            self.healthy = self._log.available
        except LogUnavailable:
            self.healthy = False
        self._most = _WAITING if self._log.patient else 1

    def close(self) -> None:
        """Sign the end and close."""
        self.settle()
        self._log.close()


def _days_left(peer: Peer, now: float) -> float | None:
    """How long a peer's certificate still lives, once its renewal is due: when a third of its life is left."""
    if peer.not_before is None or peer.not_after is None:
        return None
    left = peer.not_after - now
    return round(left / 86400, 3) if left <= (peer.not_after - peer.not_before) / 3 else None


def _trace_of(exchange: Exchange) -> TraceContext | None:
    if exchange.trace is None and b"traceparent" in exchange.request.fields:  # refused before its turn came
        return context_of(exchange.request, exchange.message)
    return exchange.trace


def _event(exchange: Exchange) -> Event:
    """A request's event without its figures."""
    client, message, peer, request = exchange.client, exchange.message, exchange.peer, exchange.request
    kind: Any = "request"
    if exchange.decision != "allowed":
        kind = _RULE_KINDS.get(exchange.rule) or _KINDS.get(exchange.status, "request")
    return Event(
        kind=kind,
        decision=exchange.decision,
        client=None if client is None else client.id,
        identified_by=exchange.identified_by or None,
        claimed=exchange.claimed or None if client is None else None,
        upstream=exchange.upstream or None,
        resource=exchange.resource or None,
        method=None if message is None else message.method or None,
        method_class=exchange.method_class or None,
        rule=exchange.rule or None,
        status=exchange.status,
        session=None if exchange.session is None else exchange.session.id[:8],
        address=peer.address,
        era=None if exchange.era is None else exchange.era.value,
        http_method=request.method.decode("ascii", "replace"),
        certificate=peer.fingerprint if client is None else None,
        certificate_name=peer.sans[0] if client is None and peer.sans else None,
        redactions=exchange.redactions or None,
        detail=exchange.detail or None,
    )
