"""How `certs` shows what it knows: one JSON shape and one table for certificates, whatever command asks."""

from __future__ import annotations

import contextlib
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mcpsec.cli.output import out
from mcpsec.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mcpsec.certs import AuthorityInfo, Entry, Issued, Pki, Renewal

__all__ = [
    "SCHEMA",
    "authority_json",
    "entry_json",
    "moment",
    "progress",
    "show_entries",
    "show_issued",
    "show_table",
    "time_left",
]

SCHEMA = "mcpsec.certs/1"


def moment(when: datetime | None) -> str | None:
    """RFC 3339 in UTC, to the second."""
    return None if when is None else when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_left(until: datetime, now: datetime | None = None) -> str:
    """How long it is until a moment, in the one unit that people would use."""
    seconds = (until - (now or datetime.now(UTC))).total_seconds()
    if seconds <= 0:
        return "over"
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def entry_json(pki: Pki, entry: Entry, now: datetime) -> dict[str, Any]:
    """One certificate of the ledger. Paths are null when the name bears a newer certificate by now."""
    from mcpsec.certs.identity import sha256_of
    from mcpsec.certs.pki import renewal_moment

    files = pki.files_of(entry)
    return {
        "name": entry.name,
        "serial": entry.serial,
        "sans": list(entry.sans),
        "purpose": entry.purpose.value,
        "not_before": moment(entry.not_before),
        "not_after": moment(entry.not_after),
        "state": entry.state(now),
        "certificate": None if files is None else str(files.certificate),
        "chain": None if files is None else str(files.chain),
        "key": None if files is None or files.key is None else str(files.key),
        "profile": entry.profile,
        "issued": moment(entry.issued),
        "renew_after": moment(renewal_moment(entry)),
        "revoked": moment(entry.revoked),
        "reason": entry.reason,
        "sha256": sha256_of(entry.der),
    }


def warn_unpublished(pki: Pki) -> None:
    """Say which published files lag behind the ledger because this account may not write them."""
    for path in pki.unpublished():
        out.warn(
            f"{path} lags behind the ledger: this account may not write it (run any certs command as one that may)"
        )


def authority_json(info: AuthorityInfo) -> dict[str, Any]:
    """One CA certificate."""
    from mcpsec.certs.identity import sha256_of

    return {
        "name": info.name,
        "role": info.role,
        "serial": info.serial,
        "not_before": moment(info.not_before),
        "not_after": moment(info.not_after),
        "state": info.state,
        "certificate": str(info.certificate),
        "sha256": sha256_of(info.der),
    }


def show_issued(
    pki: Pki, certificates: Iterable[Issued], *, as_json: bool, verb: str, failed: Sequence[Renewal] | None = None
) -> None:
    """Say what was just issued; ``failed`` stand in the JSON document only (a warning tells of them otherwise)."""
    issued = list(certificates)
    if as_json:
        now = datetime.now(UTC)
        entries = [pki.authority(one.purpose).ledger.by_serial(one.serial) for one in issued]
        documents = [entry_json(pki, entry, now) for entry in entries if entry is not None]
        failures = [
            {"name": one.name, "purpose": one.purpose.value, "kind": one.kind, "error": str(one.error)}
            for one in failed or ()
        ]
        out.json({"schema": SCHEMA, "certificates": documents, **({} if failed is None else {"failed": failures})})
        return
    for one in issued:
        lines = [f"{verb} {one.purpose} certificate {one.name}, until {one.not_after:%Y-%m-%d %H:%M} UTC"]
        lines += [f"  {san}" for san in one.sans]
        lines += [f"  {path}" for path in (one.certificate, one.chain, one.key) if path is not None]
        out.result("\n".join(lines))
        if one.shortened:
            out.warn(f"{one.name}: cut short, because its CA itself ends on {one.not_after:%Y-%m-%d}")


_COLORS = {"valid": "32", "expired": "31", "revoked": "31", "superseded": "2", "abandoned": "2"}


def show_entries(entries: Iterable[Entry], now: datetime) -> None:
    """Write the table of certificates, one line each, nothing cut off."""
    rows = []
    for entry in entries:
        state = entry.state(now)
        left = time_left(entry.not_after, now) if state in ("valid", "superseded") else "-"
        head = (entry.name, entry.purpose.value, state, f"{entry.not_after:%Y-%m-%d}", left, entry.serial)
        rows.append((*head, ", ".join(entry.sans)))
    show_table(("NAME", "PURPOSE", "STATE", "ENDS", "LEFT", "SERIAL", "NAMES"), rows, _COLORS)


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]], colors: Mapping[str, str]) -> None:
    """Write rows in aligned columns, as wide as they need; words in ``colors`` are painted on a terminal."""
    shown = [header, *([plain(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    painted = out.colored(sys.stdout)
    lines = []
    for row in shown:
        cells = []
        for cell, width in zip(row, widths, strict=True):
            padded = cell.ljust(width)
            cells.append(f"\x1b[{colors[cell]}m{padded}\x1b[0m" if painted and cell in colors else padded)
        lines.append("  ".join(cells).rstrip())
    out.painted("\n".join(lines))


@contextlib.contextmanager
def progress(total: int, what: str) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error: none when that is no terminal, or in quiet runs."""
    if out.quiet or not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out.console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)
