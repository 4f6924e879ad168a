"""What becomes of an exchange in the audit log and the metrics: exactly one event for each request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson

from mcpsec.telemetry import Event, LogUnavailable

if TYPE_CHECKING:
    from mcpsec.gateway.message import Exchange, Peer, Refusal
    from mcpsec.telemetry import AuditLog
    from mcpsec.telemetry.metrics import Metrics

__all__ = ["Recorder"]

_KINDS = {401: "authentication-failed", 403: "authorization", 429: "rate-limited", 504: "timeout"}
_RULE_KINDS = {"authentication-failures": "authentication-failed", "protocol": "request", "origin": "request"}


class Recorder:
    """Writes events. ``healthy`` turns False when the log can't be written: then no request is served (fail closed)."""

    def __init__(self, log: AuditLog, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics
        self.healthy = True

    def event(self, kind: Any, **facts: Any) -> None:
        """Write an event that is not about a request."""
        self.write(Event(kind=kind, **facts))

    def request(self, exchange: Exchange) -> None:
        """Write the event of a request that has been answered."""
        client, message, peer, request = exchange.client, exchange.message, exchange.peer, exchange.request
        kind: Any = "request"
        if exchange.decision != "allowed":
            kind = _RULE_KINDS.get(exchange.rule) or _KINDS.get(exchange.status, "request")
        arguments = exchange.arguments
        self.write(
            Event(
                kind=kind,
                decision=exchange.decision,  # type: ignore[arg-type] # one of the three words by construction
                client=None if client is None else client.id,
                identified_by=exchange.identified_by or None,
                claimed=exchange.claimed or None if client is None else None,
                upstream=exchange.upstream or None,
                resource=exchange.resource or None,
                method=None if message is None else message.method or None,
                method_class=exchange.method_class or None,  # type: ignore[arg-type]
                rule=exchange.rule or None,
                status=exchange.status,
                request_id=exchange.id,
                session=None if exchange.session is None else exchange.session.id[:8],
                address=peer.address,
                era=None if exchange.era is None else exchange.era.value,
                http_method=request.method.decode("ascii", "replace"),
                certificate=peer.fingerprint if client is None else None,
                duration_ms=round((time.perf_counter() - request.started) * 1000, 3),
                upstream_ms=round(exchange.upstream_ms, 3) if exchange.upstream_ms else None,
                request_bytes=len(request.body),
                response_bytes=exchange.answer_bytes,
                redactions=exchange.redactions or None,
                arguments_digest=self._log.digest(orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS))
                if arguments
                else None,
                detail=exchange.detail or None,
            )
        )

    def refused_bytes(self, refusal: Refusal, peer: Peer) -> None:
        """Write the event of something that never became a request."""
        client = peer.client
        self.write(
            Event(
                kind="request",
                decision="refused",
                client=None if client is None else client.id,
                rule=refusal.rule,
                status=refusal.status,
                address=peer.address,
            )
        )

    def write(self, event: Event) -> None:
        """Count and write an event."""
        self._metrics.observe(event)
        try:
            self._log.write(event)
            self.healthy = self._log.available  # taken into the buffer is not yet written
        except LogUnavailable:
            self.healthy = False

    async def maintain(self) -> None:
        """Flush, sign and rotate; called a few times a second."""
        try:
            await self._log.maintain()
            self.healthy = self._log.available
        except LogUnavailable:
            self.healthy = False

    def close(self) -> None:
        """Sign the end and close."""
        self._log.close()
