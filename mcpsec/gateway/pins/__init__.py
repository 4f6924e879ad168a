"""What an upstream was reviewed to be: its definitions in a lock file, and what happens when they change.

A server that behaved well at review may describe its tools differently tomorrow, and descriptions are instructions to
the model that reads them (OWASP MCP03, "rug pull"). ``mcpsec pin`` records them; the gateway holds what it hears
against the record.
"""

from __future__ import annotations

from mcpsec.gateway.pins.definitions import KINDS, Change, digest
from mcpsec.gateway.pins.keeper import PinKeeper
from mcpsec.gateway.pins.lock import Lock, UpstreamPins
from mcpsec.gateway.pins.watch import PinWatch

__all__ = ["KINDS", "Change", "Lock", "PinKeeper", "PinWatch", "UpstreamPins", "digest"]
