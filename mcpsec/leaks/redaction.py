"""Taking secrets out of text before it is written or answered.

Two engines give the same answers. The one that needs nothing loaded suits a log line now and then; the one behind
:func:`prepare` looks through 64 KiB of clean text in about a millisecond, so a service that redacts what it answers
calls that once when it starts.
"""

from __future__ import annotations

from functools import partial

from mcpsec.leaks.detection import find
from mcpsec.leaks.expressions import keep

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from mcpsec.leaks.findings import Match

__all__ = ["RedactingFilter", "clean", "holds_secret", "is_quiet", "prepare", "redact", "redact_bytes"]

FAILED = b"[REDACTED: text could not be examined]"
MEDIUM = 1
ENOUGH = 64 << 10
"""After so many bytes a database that is in the cache is worth loading."""


class _Engine:
    """The engine of this process: the simple one until the database is there."""

    def __init__(self) -> None:
        self.find: Callable[[bytes], list[Match]] = _simple
        self.quiet: Callable[[bytes], bool] | None = None
        """Tells of nearly all texts with nothing in them, at less than what ``find`` costs."""
        self.examined = 0
        self.settled = False

    def load(self, *, compile_it: bool) -> None:
        """Take the database from the cache, or compile it. Where there is no Hyperscan the simple engine stays."""
        from mcpsec.leaks import bulk
        from mcpsec.leaks.rulebook import packaged

        book = packaged()
        if bulk.available() and (compile_it or bulk.cached(book)):
            database = bulk.Bulk(book)
            self.find = partial(database.find, path=None, floor=MEDIUM)
            self.quiet = database.is_quiet
        self.settled = True

    def look(self, data: bytes) -> list[Match]:
        """The secrets in a text."""
        if not self.settled:
            self.examined += len(data)
            if self.examined >= ENOUGH:
                self.settled = True
                self.load(compile_it=False)
        return self.find(data)


def _simple(data: bytes) -> list[Match]:
    return find(data)


_engine = _Engine()


def prepare(*, background: bool = False) -> None:
    """Load the fast engine for this process, once; the first time ever for a user it is compiled, in about 2 s.

    With ``background`` a thread does it, and texts are examined by the simple engine meanwhile. Never raises: without
    Hyperscan, or without a place for its cache, redaction works all the same, more slowly.
    """
    if background:
        from threading import Thread

        Thread(target=prepare, name="mcpsec-redaction", daemon=True).start()
        return
    try:
        _engine.load(compile_it=True)
        keep()  # the next start needs not compile an expression: 60 ms
    except Exception:  # noqa: BLE001,RUF100 # the simple engine is there
        _engine.settled = True


def clean(data: bytes) -> tuple[bytes, list[str]]:
    """``data`` with every secret replaced by ``[REDACTED:rule]``, and the rules of what was taken out, in order.

    Secrets are findings of medium confidence and above. Never raises: text that can't be examined is replaced whole,
    since what is not known to be clean is not passed on, and the list then holds ``unexamined``.
    """
    try:
        matches = _engine.look(data)
        if not matches:
            return data, []
        pieces, at = [], 0
        for match in matches:
            pieces += [data[at : match.start], b"[REDACTED:" + match.rule.id.encode() + b"]"]
            at = match.end
        pieces.append(data[at:])
        return b"".join(pieces), [match.rule.id for match in matches]
    except Exception:  # noqa: BLE001,RUF100 # a log line must not bring its writer down
        return FAILED, ["unexamined"]


def holds_secret(data: bytes) -> bool:
    """Whether ``clean`` would take anything out of ``data``. Never raises: what can't be examined may hold one."""
    try:
        quiet = _engine.quiet
        if quiet is not None and quiet(data):
            return False
        return bool(_engine.look(data))
    except Exception:  # noqa: BLE001,RUF100
        return True


def is_quiet(data: bytes) -> bool:
    """Whether nothing at all in ``data`` looks like the beginning of a secret, so that no part of it holds one.

    More than that ``holds_secret`` is False, which may be so for what stands around. Never raises; False where the fast
    engine is not there to tell.
    """
    try:
        quiet = _engine.quiet
        return quiet is not None and quiet(data)
    except Exception:  # noqa: BLE001,RUF100
        return False


def redact_bytes(data: bytes) -> bytes:
    """Replace every secret found by ``[REDACTED:rule]``; the same object when there is none. Never raises."""
    return clean(data)[0]


def redact(text: str) -> str:
    """The same for text."""
    try:
        raw = text.encode("utf-8", "surrogatepass")
    except Exception:  # noqa: BLE001,RUF100
        return FAILED.decode()
    cleaned = redact_bytes(raw)
    return text if cleaned is raw else cleaned.decode("utf-8", "replace")


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
        cleaned = redact(message)
        if cleaned is not message:
            record.msg, record.args = cleaned, None
        if record.exc_info and not record.exc_text:
            import logging as module

            record.exc_text = module.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        return True
