"""Taking secrets out of text before it is written or answered."""

from __future__ import annotations

from mcpsec.leaks.detection import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging

__all__ = ["RedactingFilter", "redact", "redact_bytes"]

FAILED = b"[REDACTED: text could not be examined]"


def redact_bytes(data: bytes) -> bytes:
    """Replace every secret found (medium confidence and above) by ``[REDACTED:rule]``. Never raises.

    Text that can't be examined is replaced whole: what is not known to be clean is not written.
    """
    try:
        matches = find(data)
        if not matches:
            return data
        pieces, at = [], 0
        for match in matches:
            pieces += [data[at : match.start], b"[REDACTED:" + match.rule.id.encode() + b"]"]
            at = match.end
        pieces.append(data[at:])
        return b"".join(pieces)
    except Exception:  # noqa: BLE001,RUF100 # a log line must not bring its writer down
        return FAILED


def redact(text: str) -> str:
    """The same for text."""
    try:
        raw = text.encode("utf-8", "surrogatepass")
    except Exception:  # noqa: BLE001,RUF100
        return FAILED.decode()
    clean = redact_bytes(raw)
    return text if clean is raw else clean.decode("utf-8", "replace")


class RedactingFilter:
    """A :mod:`logging` filter that redacts each record's finished message and its exception text.

    Add it to handlers, so that it sees the records of every logger: ``handler.addFilter(RedactingFilter())``.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact in place and let the record through."""
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001,RUF100 # broken arguments are logging's to report, but without their values
            record.msg, record.args = "[REDACTED: message and arguments do not fit]", None
            return True
        clean = redact(message)
        if clean is not message:
            record.msg, record.args = clean, None
        if record.exc_info and not record.exc_text:
            import logging as module

            record.exc_text = module.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        return True
