"""Redaction at the log's one door: every text of an event is made safe to keep before a byte of it is written.

Nearly every text of an event can be influenced by a peer: a method or tool name is whatever the request said, a
resource URI may carry a token in its query, a certificate's names are chosen by whoever made it, and an exception's
text repeats its input. So no field is trusted by its name. What makes this cheap is that texts repeat: one that was
found clean is remembered (the secret ones never are), and the fields that are new in every request have a shape that
is checked instead (hexadecimal identifiers, IP addresses).
"""

from __future__ import annotations

import re
import socket
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import re2

from mcpsec.telemetry.events import FIELDS, SCHEMA, Event, timestamp
from mcpsec.telemetry.likeness import Likeness

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Cleaner"]

_LIMITS = {"detail": 512, "resource": 512}
_LIMIT = 256
"""Characters kept of a text; what is longer is cut and marked."""
_SCAN = 1024
_EDGE = 512
"""Only the first ``_SCAN`` characters of a text are looked at, and what is kept stays ``_EDGE`` away from that cut, so
that no secret is kept because the cut made it unrecognisable. It bounds what a peer with long names can cost."""
_REMEMBERED = 4096
"""Clean texts remembered, each of at most ``_LIMIT`` characters: at most a few MiB."""
_OPAQUE = frozenset({"session", "certificate", "digest"})
_is_opaque = re.compile(r"(?:(?:sha256|hmac):)?[0-9a-f]{1,64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
_IDENTIFIER = 64
_IDENTIFIER_DIGITS = "0123456789abcdef-"
"""What identifiers made by the gateway (and those of W3C Trace Context) consist of, and at most how many."""
_SHAPES = tuple(
    (re2.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?s)-----BEGIN [A-Z0-9 ]{1,40}-----(?:.*?-----END [A-Z0-9 ]{1,40}-----|.*)", "[redacted:pem]"),
        (r"(?:MII|LS0tLS1CRUdJTi)[A-Za-z0-9+/=_\\-]{60,}", "[redacted:certificate-or-key]"),
        (r"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)*", "[redacted:jwt]"),
        (r"://[^\s/?#]+@", "://[redacted]@"),
        (
            r"([?&][\w.-]{0,32}(?:token|secret|passw|pwd|key|sig|credential|code|auth|session)[\w.-]{0,32}=)[^&\s#\"']+",
            r"\1[redacted]",
        ),
        (
            r"(?i)\b(bearer|basic|dpop|digest|negotiate)\s+(?:[\w.~+/=-]*\d[\w.~+/=-]{7,}|[\w.~+/=-]{7,}\d[\w.~+/=-]*)",
            r"\1 [redacted]",
        ),
    )
)
"""Shapes that are kept out of a log whatever ``redact`` thinks of them: a scanner may pass the credentials of
documentation by, and knows no certificates. RE2, whose time is linear in the text, because peers choose the text."""
_any_shape = re2.compile("|".join(f"(?:{shape.pattern})" for shape, _ in _SHAPES))
_REST = tuple(
    name
    for name in FIELDS
    if name.endswith(("_ms", "_bytes"))
    or name in {"request_id", "trace_id", "span_id", "arguments_digest", "status", "code", "count", "retry_after"}
)
"""Fields that differ from one request to the next: identifiers and numbers."""
_TEXTS = tuple(name for name in FIELDS if name not in {*_REST, "time"})
"""Fields whose combinations repeat: who, what, decided how."""
_rest, _texts = attrgetter(*_REST), attrgetter(*_TEXTS)
_FRAME = frozenset({"schema", "seq", "prev", "time"})
_DEPTH = 4
_ENTRIES = 32


class Cleaner:
    """Turns events into records that are safe to write. ``redact`` takes secrets out of a text (``mcpsec.leaks``)."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact
        self._clean: dict[str, str] = {}
        self._combinations: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._second = -1
        self._prefix = ""

    def record(self, event: Event, seq: int, prev: str) -> dict[str, Any]:
        """The set fields of ``event`` as a line's members, cleaned. Raises nothing."""
        texts = _texts(event)
        try:
            known = self._combinations.get(texts)
        except TypeError:  # a field that can't be hashed: arguments
            known = None
        record = self._combine(texts) if known is None else known.copy()
        record["seq"] = seq
        record["prev"] = prev
        record["time"] = self.time(event.time)
        for name, value in zip(_REST, _rest(event), strict=False):
            if value is None:
                continue
            kind = type(value)
            if kind is int:
                record[name] = value
            elif kind is float:
                record[name] = round(value, 3)
            elif kind is str and len(value) <= _IDENTIFIER and not value.strip(_IDENTIFIER_DIGITS):
                record[name] = value
            else:
                record[name] = self._any(value, 0)
        return record

    def _combine(self, texts: tuple[Any, ...]) -> dict[str, Any]:
        """Clean the texts of an event one by one; a combination that needed no change is remembered as a whole."""
        result: dict[str, Any] = {"schema": SCHEMA, "seq": 0, "prev": "", "time": ""}
        same = True
        for name, value in zip(_TEXTS, texts, strict=True):
            if value is not None:
                clean = self._new_text(name, value) if type(value) is str else self._any(value, 0)
                same = same and isinstance(value, str | int | float) and clean == value
                result[name] = clean
        if same:
            if len(self._combinations) >= _REMEMBERED:
                self._combinations.clear()
            self._combinations[texts] = result.copy()
        return result

    def text(self, text: str, limit: int = _LIMIT) -> str:
        """One text, redacted, then cut to ``limit`` characters."""
        if not text.isascii():
            text = text.encode("utf-8", "backslashreplace").decode()  # a lone surrogate is not writable as UTF-8
        head = text[:_SCAN]
        try:
            clean = self._redact(head)
            if _any_shape.search(clean):
                for shape, replacement in _SHAPES:
                    clean = shape.sub(replacement, clean)
        except Exception:
            return "[unreadable: redaction failed]"  # fail closed: a text that could not be examined is not written
        if len(text) > _SCAN:
            clean = clean[: max(0, len(clean) - _EDGE)]
        if len(clean) > limit or len(text) > _SCAN:
            clean = clean[:limit] + "…"
        if clean == text and len(text) <= _LIMIT:
            if len(self._clean) >= _REMEMBERED:
                self._clean.clear()
            self._clean[text] = text
        return clean

    def _new_text(self, name: str, text: str) -> str:
        known = self._clean.get(text)
        if known is not None:
            return known
        if name in _OPAQUE and _is_opaque(text):
            return text
        if name == "address" and _is_address(text):
            return text
        return self.text(text, _LIMITS.get(name, _LIMIT))

    def likeness(self, event: Event) -> Likeness | None:
        """What a request's event has in common with others, its status included; None when any of it was unclean."""
        texts = _texts(event)
        self._combine(texts)
        known = self._combinations.get(texts)
        if known is None:
            return None
        common = {name: value for name, value in known.items() if name not in _FRAME}
        if type(event.status) is int:
            common["status"] = event.status
        return Likeness(common)

    def time(self, seconds: float) -> str:
        """``timestamp``, with the text of the running second remembered."""
        try:
            whole = int(seconds)
            if whole != self._second:
                self._prefix = timestamp(whole)[:-7]
                self._second = whole
            return "%s%06dZ" % (self._prefix, (seconds - whole) * 1_000_000)  # noqa: UP031  # every request: half the time
        except (OverflowError, TypeError, ValueError, OSError):
            return timestamp(0)

    def _any(self, value: Any, depth: int) -> Any:
        """A value of any type as bounded, redacted JSON."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, float | int) and -(2**53) < value < 2**53:
            return value
        if isinstance(value, dict | list | tuple | set | frozenset):
            return self._nested(value, depth)
        return self.text(str(value))

    def _nested(self, value: Any, depth: int) -> Any:
        if depth >= _DEPTH:
            return "[deeper values left out]"
        if isinstance(value, dict):
            return {self.text(str(key)): self._member(key, each, depth) for key, each in list(value.items())[:_ENTRIES]}
        return [self._any(each, depth + 1) for each in list(value)[:_ENTRIES]]

    def _member(self, key: Any, value: Any, depth: int) -> Any:
        """A member's value; a text is also redacted beside its name, as rules like ``password = …`` need."""
        clean = self._any(value, depth + 1)
        if isinstance(value, str) and clean == value:
            pair = f'{key}="{value}"'
            try:
                if self._redact(pair) != pair:
                    return "[redacted]"
            except Exception:
                return "[unreadable: redaction failed]"
        return clean


def _is_address(text: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return True
    return False
