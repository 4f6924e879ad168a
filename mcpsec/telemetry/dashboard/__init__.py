"""The dashboard: a bounded picture of the last day, and the page that shows it live."""

from mcpsec.telemetry.dashboard.aggregate import Aggregate
from mcpsec.telemetry.dashboard.page import Dashboard, Reply

__all__ = ["Aggregate", "Dashboard", "Reply"]
