"""Finding leaked secrets, and taking them out of what is written.

``scan_bytes`` finds, ``redact`` and ``redact_bytes`` clean text on its way to a log or a client, ``clean`` also tells
what it took out, ``RedactingFilter`` does it for :mod:`logging`; ``prepare`` loads the engine for services that redact
much. Names are imported when first used, because a commit hook pays for every module.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mcpsec.leaks.detection import scan_bytes
    from mcpsec.leaks.findings import Finding
    from mcpsec.leaks.redaction import RedactingFilter, clean, prepare, redact, redact_bytes

__all__ = ["Finding", "RedactingFilter", "clean", "prepare", "redact", "redact_bytes", "scan_bytes"]

_HOMES = {
    "Finding": "findings",
    "RedactingFilter": "redaction",
    "clean": "redaction",
    "prepare": "redaction",
    "redact": "redaction",
    "redact_bytes": "redaction",
    "scan_bytes": "detection",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
