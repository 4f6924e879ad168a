"""CSV (RFC 4180) for spreadsheets; a cell that a spreadsheet would run as a formula is disarmed."""

from __future__ import annotations

import csv
import io

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcpsec.report.entry import Entry

__all__ = ["render"]

COLUMNS = (
    "rule",
    "title",
    "severity",
    "confidence",
    "path",
    "line",
    "column",
    "fingerprint",
    "message",
    "commit",
    "author",
    "date",
    "help",
)


def render(entries: Sequence[Entry]) -> str:
    """The whole table, with a header."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for e in entries:
        row = (
            e.topic.id, e.topic.title, e.severity, e.confidence, e.path, e.line, e.column, e.fingerprint, e.message,
            e.commit, e.author, e.date, e.topic.help,
        )  # fmt: skip
        writer.writerow([_disarmed(cell) for cell in row])
    return stream.getvalue()


def _disarmed(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@\t\r" and cell else cell
