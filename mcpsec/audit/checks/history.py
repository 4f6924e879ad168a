"""CRT006 by the ledger of a PKI: whether certificates really were issued anew, not only set up to be."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from mcpsec.audit.checks.crt import LONGEST
from mcpsec.audit.model import Finding
from mcpsec.audit.readers.deployment import pki_of
from mcpsec.audit.registry import examines
from mcpsec.audit.subjects import Context, Subject
from mcpsec.reading import is_file

__all__: list[str] = []


@examines("certificate")
def renewals(subject: Subject, context: Context) -> Iterator[Finding]:
    """CRT006 of a leaf that ``mcpsec certs`` issued."""
    pki = pki_of(subject.path)
    if pki is None or subject.path.name != "cert.pem":
        return
    issued = _issued(pki / "private" / subject.path.parent.parent.name / "ledger.sqlite3", subject.path.parent.name)
    if not issued:
        return
    age = context.now - issued[-1]
    longest = max((after - before for before, after in pairwise(issued)), default=timedelta(0))
    if age > LONGEST:
        yield subject.fail("CRT006", None, f"the last one was issued {age.days} days ago", key="age")
    elif longest > LONGEST:
        yield subject.fail("CRT006", None, f"{longest.days} days went by without a new one", severity="low", key="gap")
    elif len(issued) == 1:
        yield subject.skip("CRT006", f"the first one, {age.days} days old: none was due yet")
    else:
        yield subject.ok("CRT006", None, f"issued {len(issued)} times, last {age.days} days ago")


def _issued(ledger: Path, name: str) -> list[datetime]:
    """When certificates of a name were issued, oldest first; nothing when the ledger is out of our reach.

    Opened without any write, so that an audit changes nothing of what it judges.
    """
    if not is_file(ledger):
        return []
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(f"{ledger.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as database,
    ):
        rows = database.execute(
            "SELECT issued FROM certificates WHERE name = ? AND state IN ('issued', 'superseded') ORDER BY issued",
            (name,),
        )
        return [datetime.fromtimestamp(row[0], UTC) for row in rows]
    return []
