"""Telemetry: audit events, the tamper-evident log, metrics, alerts, the dashboard.

Imported here is what a gateway always needs; ``metrics``, ``alerts``, ``dashboard``, ``verify``, ``query`` and
``export`` are imported by name where they are used.
"""

from mcpsec.telemetry.events import Event
from mcpsec.telemetry.log import AuditLog, LogUnavailable

__all__ = ["AuditLog", "Event", "LogUnavailable"]
