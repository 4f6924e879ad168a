"""What a scan reports: where a secret stands and what to do, never the secret itself."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from mcpsec.leaks.rulebook import Rule, Rulebook

__all__ = ["LEVELS", "Finding", "Match", "fingerprint", "level", "mask", "merge"]

LEVELS = ("low", "medium", "high")
FINGERPRINT_KEY = b"mcpsec.secrets/1"
VISIBLE = 4


def level(name: str) -> int:
    """The rank of a confidence name; ValueError for anything else."""
    if name not in LEVELS:
        raise ValueError(f"no such confidence: {name}")
    return LEVELS.index(name)


def merge(spans: Iterable[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """Join overlapping spans, given in order of their starts, cut to the text."""
    joined: list[tuple[int, int]] = []
    first, last = 0, -1
    for begin, end in spans:
        begin, end = begin if begin > 0 else 0, end if end < size else size  # cut to the text  # noqa: PLW2901
        if begin > last or last < 0:
            joined.append((begin, end))
            first, last = begin, end
        elif end > last:
            joined[-1] = (first, end)
            last = end
    return joined


class Match:
    """One secret inside a buffer, known only inside the engine: ``value`` is the secret."""

    __slots__ = ("confidence", "end", "note", "rule", "start", "value")

    def __init__(self, rule: Rule, start: int, end: int, value: str, confidence: int, note: str = "") -> None:
        self.rule = rule
        self.start = start
        self.end = end
        self.value = value
        self.confidence = confidence
        self.note = note


class Finding:
    """One reported secret.

    ``line`` and ``column`` are 1-based and those of the value's first byte; ``end`` and ``start`` are byte offsets in
    the text that was scanned. ``fingerprint`` depends on the value and its rule family only, so it survives moves,
    renames and rebases. ``origin`` says what the text had to be taken out of (``base64``, ``a.zip!b.env``), and
    ``commit``, ``author``, ``date`` are set for findings in history.
    """

    __slots__ = (
        "author",
        "column",
        "commit",
        "confidence",
        "date",
        "email",
        "end",
        "fingerprint",
        "line",
        "origin",
        "path",
        "redacted",
        "rule",
        "start",
    )

    def __init__(
        self,
        rule: Rule,
        *,
        path: str,
        line: int,
        column: int,
        start: int,
        end: int,
        confidence: int,
        fingerprint: str,
        redacted: str,
        origin: str = "",
    ) -> None:
        self.rule = rule
        self.path = path
        self.line = line
        self.column = column
        self.start = start
        self.end = end
        self.confidence = LEVELS[confidence]
        self.fingerprint = fingerprint
        self.redacted = redacted
        self.origin = origin
        self.commit = self.author = self.email = self.date = ""

    def __repr__(self) -> str:
        return f"<Finding {self.rule.id} {self.path}:{self.line}:{self.column} {self.redacted}>"

    def pack(self) -> tuple[object, ...]:
        """Plain values for another process."""
        return (self.rule.id, *(getattr(self, name) for name in _PLAIN))

    @classmethod
    def unpack(cls, row: tuple[Any, ...], book: Rulebook) -> Finding:
        """The finding that :meth:`pack` took apart."""
        finding = cls.__new__(cls)
        finding.rule = book.rule(book.ids[row[0]])
        for name, value in zip(_PLAIN, row[1:], strict=True):
            setattr(finding, name, value)
        return finding

    def as_dict(self) -> dict[str, object]:
        """The finding as the JSON contract has it."""
        rule = self.rule
        document: dict[str, object] = {
            "rule": rule.id,
            "title": rule.title,
            "provider": rule.provider,
            "path": self.path,
            "line": self.line,
            "column": self.column,
            "confidence": self.confidence,
            "fingerprint": self.fingerprint,
            "redacted": self.redacted,
            "risk": rule.risk,
            "rotate": rule.rotate,
        }
        for name in ("origin", "commit", "author", "email", "date"):
            if getattr(self, name):
                document[name] = getattr(self, name)
        return document


_PLAIN = tuple(name for name in Finding.__slots__ if name != "rule")


def fingerprint(family: str, value: str, key: bytes = FINGERPRINT_KEY) -> str:
    """A keyed hash of the value and its rule family, 128 bits in hex."""
    from hashlib import blake2b

    message = family.encode() + b"\0" + value.encode("utf-8", "surrogateescape")
    return blake2b(message, digest_size=16, key=key[:64]).hexdigest()


def mask(value: str, *, full: bool = False) -> str:
    """``…`` and at most the last four characters of a value long enough that they give nothing away."""
    if full or len(value) < 16:
        return "****"
    return "****" + "".join(c if c.isprintable() else "." for c in value[-VISIBLE:])
