"""Audit events: what the gateway writes down, as one typed record. The published form is ``data/event.schema.json``.

An event says who wanted what, what was decided, by which rule, and what it cost. It has no place for a request's
arguments or an answer's text: arguments are named by their digest, and only fields that the deployment asks for by
name are written (``arguments``). Of every request there is exactly one event with a ``status``; its ``kind`` names
the step that ended it (``request`` when it went all the way).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

import orjson

__all__ = ["FIELDS", "KINDS", "LOG_KINDS", "SCHEMA", "Decision", "Event", "Kind", "event_schema", "timestamp"]

SCHEMA = "mcpsec.event/1"
"""The name and version of the line format; every line carries it."""

Kind = Literal[
    "request",
    "handshake",
    "handshake-refused",
    "authentication-failed",
    "authorization",
    "rate-limited",
    "timeout",
    "breaker",
    "guard",
    "pin",
    "configuration",
    "certificate",
    "server-start",
    "server-stop",
    "upstream",
    "session",
    "alert",
]
Decision = Literal["allowed", "refused", "failed"]
"""``refused`` is our no; ``failed`` is a request that was let through and came to nothing (upstream, deadline)."""

KINDS: tuple[str, ...] = get_args(Kind)
LOG_KINDS = ("log-start", "log-part", "log-checkpoint", "log-recovered", "log-gap", "log-retention")
"""What the log says about itself; only the log writes these."""


@dataclass(slots=True)
class Event:
    """One thing that happened. Only fields that are set are written; every text is redacted and bounded on the way.

    Times are Unix seconds, durations milliseconds, sizes bytes. ``request_id``, ``session`` and the digests are made
    by the gateway; ``trace_id`` and ``span_id`` are those of W3C Trace Context. ``claimed`` is an identity that a peer
    named but did not prove: never put it into ``client``.
    """

    kind: Kind
    time: float = field(default_factory=time.time)
    decision: Decision | None = None
    client: str | None = None
    identified_by: str | None = None
    """The factors that proved the client, joined by ``+``: ``mtls``, ``mtls+signature``, ``bearer`` …"""
    claimed: str | None = None
    upstream: str | None = None
    resource: str | None = None
    """``upstream/tool``, ``upstream/resource:URI`` or ``upstream/prompt:NAME``, as policy names it."""
    method: str | None = None
    """The JSON-RPC method."""
    method_class: Literal["read", "write", "execute"] | None = None
    rule: str | None = None
    """The policy rule, limit or check that decided."""
    reason: str | None = None
    """A short word for why, from a small vocabulary (``unknown-ca``, ``replayed``, ``client-rate`` …)."""
    status: int | None = None
    """The HTTP status of the answer."""
    code: int | None = None
    """The JSON-RPC error code of the answer."""
    request_id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    session: str | None = None
    address: str | None = None
    """The peer's IP address."""
    era: str | None = None
    """The MCP protocol version that the request was spoken in."""
    http_method: str | None = None
    tls_version: str | None = None
    user_agent: str | None = None
    certificate: str | None = None
    """SHA-256 of the peer's (or, of a certificate event, the) certificate in DER form, hexadecimal."""
    certificate_name: str | None = None
    """A subject alternative name."""
    certificate_days_left: float | None = None
    """Of a client that connects: how long its certificate lives, once no more than a third of its life is left."""
    key_id: str | None = None
    duration_ms: float | None = None
    upstream_ms: float | None = None
    authentication_ms: float | None = None
    queue_ms: float | None = None
    request_bytes: int | None = None
    response_bytes: int | None = None
    redactions: int | None = None
    """How many secrets were taken out of the answer."""
    arguments_digest: str | None = None
    """A keyed digest of the arguments (``AuditLog.digest``): equal arguments, equal digest, nothing to guess."""
    arguments: dict[str, Any] | None = None
    """Only the argument fields that the deployment names; redacted and bounded like everything else."""
    state: str | None = None
    """The state that something changed to: of a breaker, an upstream, a pin, a session, a certificate."""
    previous_state: str | None = None
    count: int | None = None
    limit: str | None = None
    retry_after: float | None = None
    name: str | None = None
    """What a non-request event is about: an alert rule, a certificate, a changed setting."""
    severity: Literal["info", "low", "medium", "high", "critical"] | None = None
    pid: int | None = None
    version: str | None = None
    digest: str | None = None
    """SHA-256, hexadecimal, of what the event is about: the deployment file, a tool's definition."""
    detail: str | None = None
    """One sentence for people."""


FIELDS: tuple[str, ...] = tuple(each.name for each in fields(Event))
"""The names of an event's fields, in the order in which they are written."""


def timestamp(seconds: float) -> str:
    """Unix seconds as RFC 3339 in UTC with microseconds, the form of a line's ``time``."""
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{micros:06d}Z"


def event_schema() -> dict[str, Any]:
    """The published JSON Schema (2020-12) of one line of the log."""
    text = Path(__file__).with_name("data").joinpath("event.schema.json").read_bytes()
    schema: dict[str, Any] = orjson.loads(text)
    return schema
