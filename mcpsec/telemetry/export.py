"""The log's events in other people's forms: OCSF, syslog (RFC 5424), OpenTelemetry logs (OTLP/HTTP JSON).

Mappings only; ``shipping`` sends. The event itself always travels along whole (``unmapped``, the message, the body), so
that a collector can still check the chain.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import orjson

from mcpsec import __version__

__all__ = ["ocsf", "otlp", "severity", "syslog"]

_FAILED_AUTHENTICATION = frozenset({"handshake-refused", "authentication-failed"})
_AUTHENTICATION = _FAILED_AUTHENTICATION | {"handshake"}
_LIFECYCLE = frozenset({"server-start", "server-stop", "configuration"})
_ACTIVITY = {"read": 2, "write": 3}

_FACILITY = 13
"""Syslog's "log audit"."""
_SYSLOG = {"info": 6, "low": 5, "medium": 4, "high": 3, "critical": 2}
_OCSF_SEVERITY = {"info": 1, "low": 2, "medium": 3, "high": 4, "critical": 5}
_OTEL_SEVERITY = {"info": 9, "low": 10, "medium": 13, "high": 17, "critical": 21}
_ENTERPRISE = "mcpsec@32473"
"""Structured data's name; 32473 is the enterprise number that RFC 5612 keeps for those who have none."""


def severity(event: dict[str, Any]) -> str:
    """``info`` to ``critical``: the event's own, else what its kind and decision mean."""
    own = event.get("severity")
    if isinstance(own, str) and own in _SYSLOG:
        return own
    kind = event.get("kind")
    if kind in _FAILED_AUTHENTICATION or kind in {"pin", "log-gap", "log-recovered"}:
        return "medium"
    if event.get("decision") == "refused":
        return "medium"
    if event.get("decision") == "failed" or kind in {"breaker", "timeout"}:
        return "low"
    return "info"


def ocsf(event: dict[str, Any]) -> dict[str, Any]:
    """An event of the Open Cybersecurity Schema Framework 1.6: API Activity, Authentication, Detection Finding or
    Application Lifecycle."""  # noqa: D205, D209
    category, klass, activity = _ocsf_class(event)
    level = severity(event)
    bad = event.get("decision") in {"refused", "failed"} or event.get("kind") in _FAILED_AUTHENTICATION
    document: dict[str, Any] = {
        "category_uid": category,
        "class_uid": klass,
        "activity_id": activity,
        "type_uid": klass * 100 + activity,
        "severity_id": _OCSF_SEVERITY[level],
        "time": int(_seconds(event) * 1000),
        "status_id": 2 if bad else 1,
        "message": _sentence(event),
        "metadata": {
            "version": "1.6.0",
            "uid": event.get("request_id") or f"{event.get('seq')}",
            "sequence": event.get("seq"),
            "log_name": "mcpsec",
            "product": {"name": "mcpsec", "vendor_name": "mcpsec", "version": __version__},
        },
        "unmapped": event,
    }
    if event.get("reason") or event.get("rule"):
        document["status_detail"] = event.get("reason") or event.get("rule")
    if klass in {6003, 3002}:  # the classes that have one; API Activity requires it
        document["src_endpoint"] = {"ip": event["address"]} if event.get("address") else {"name": "mcpsec"}
    user = event.get("client") or event.get("claimed")
    if klass == 6003:
        document["actor"] = {"user": {"name": user or "unknown", "type_id": 3 if user else 0}}
        document["api"] = {
            "operation": event.get("method") or event.get("http_method") or event.get("kind"),
            "service": {"name": event.get("upstream") or "mcpsec"},
            "response": {"code": event.get("status", 0)},
        }
        document["resources"] = [{"name": event["resource"]}] if event.get("resource") else []
    elif klass == 3002:
        document["user"] = {"name": user or "unknown", "type_id": 3 if user else 0}
        document["is_remote"] = True
        document["service"] = {"name": event.get("upstream") or "mcpsec"}
    elif klass == 2004:
        document["finding_info"] = {"uid": f"{event.get('seq')}", "title": event.get("name") or "alert"}
    elif klass == 6002:
        document["app"] = {"name": "mcpsec", "vendor_name": "mcpsec"}
    if event.get("duration_ms") is not None:
        document["duration"] = round(event["duration_ms"])
    return document


def syslog(event: dict[str, Any], *, host: str | None = None) -> bytes:
    """One RFC 5424 message (no framing): identifiers as structured data, the event's JSON as the text."""
    priority = _FACILITY * 8 + _SYSLOG[severity(event)]
    names = ("kind", "decision", "client", "upstream", "resource", "rule", "status", "address", "request_id", "seq")
    data = "".join(f' {name}="{_parameter(event[name])}"' for name in names if event.get(name) is not None)
    host = _printable(host or socket.gethostname())[:255] or "-"
    identifier = _printable(str(event.get("kind") or "-"))[:32]
    header = f"<{priority}>1 {event.get('time') or '-'} {host} mcpsec {os.getpid()} {identifier} [{_ENTERPRISE}{data}] "
    return header.encode() + orjson.dumps(event)


def otlp(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """An ``ExportLogsServiceRequest`` in the JSON form of OTLP/HTTP, for ``/v1/logs``."""
    return {
        "resourceLogs": [
            {
                "resource": {
                    "attributes": [_attribute("service.name", "mcpsec"), _attribute("service.version", __version__)]
                },
                "scopeLogs": [
                    {
                        "scope": {"name": "mcpsec.telemetry", "version": __version__},
                        "logRecords": [_log_record(event) for event in events],
                    }
                ],
            }
        ]
    }


def _log_record(event: dict[str, Any]) -> dict[str, Any]:
    level = severity(event)
    nanos = str(round(_seconds(event) * 1_000_000) * 1000)
    record: dict[str, Any] = {
        "timeUnixNano": nanos,
        "observedTimeUnixNano": nanos,
        "severityNumber": _OTEL_SEVERITY[level],
        "severityText": level.upper(),
        "eventName": f"mcpsec.{event.get('kind')}",
        "body": {"stringValue": orjson.dumps(event).decode()},
        "attributes": [
            _attribute(f"mcpsec.{name}", value)
            for name, value in event.items()
            if name not in {"schema", "prev", "crc", "signature", "time", "trace_id", "span_id"}
            and isinstance(value, str | int | float)
        ],
    }
    for ours, theirs, length in (("trace_id", "traceId", 32), ("span_id", "spanId", 16)):
        value = event.get(ours)
        if isinstance(value, str) and len(value) == length:
            record[theirs] = value
    return record


def _attribute(name: str, value: str | float) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"key": name, "value": {"boolValue": value}}
    if isinstance(value, int):
        return {"key": name, "value": {"intValue": str(value)}}
    if isinstance(value, float):
        return {"key": name, "value": {"doubleValue": value}}
    return {"key": name, "value": {"stringValue": value}}


def _ocsf_class(event: dict[str, Any]) -> tuple[int, int, int]:
    kind = event.get("kind")
    if kind in _AUTHENTICATION:
        return 3, 3002, 1
    if kind == "alert":
        return 2, 2004, 1
    if kind in _LIFECYCLE:
        return 6, 6002, {"server-start": 3, "server-stop": 4}.get(str(kind), 99)
    return 6, 6003, _ACTIVITY.get(event.get("method_class") or "", 99)


def _seconds(event: dict[str, Any]) -> float:
    try:
        return datetime.fromisoformat(event["time"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return 0.0


def _sentence(event: dict[str, Any]) -> str:
    if event.get("detail"):
        return str(event["detail"])
    who = event.get("client") or event.get("claimed") or event.get("address") or "mcpsec"
    what = event.get("resource") or event.get("method") or event.get("name") or ""
    return " ".join(str(part) for part in (event.get("kind"), event.get("decision"), who, what) if part)


def _parameter(value: object) -> str:
    """A PARAM-VALUE: backslash, quote and bracket escaped (RFC 5424 section 6.3.3), no control characters."""
    text = "".join(character if character.isprintable() else "?" for character in str(value))
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def _printable(text: str) -> str:
    return "".join(character for character in text if "!" <= character <= "~")
