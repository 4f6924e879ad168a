"""Waivers: findings that somebody answers for, with an owner, a reason and an end.

::

    [[waivers]]
    check = "DEP001"
    subject = "inspector"            # a glob over subjects
    path = "deploy/*.yaml"           # optional: a glob over files
    kind = "risk-accepted"
    reason = "reachable from the build network only"
    owner = "platform@example.com"
    expires = 2027-01-31
    ticket = "SEC-118"               # optional
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mcpsec.audit.catalogue import checks
from mcpsec.audit.model import Finding, Location, Result, State
from mcpsec.clientfiles.toml import locate
from mcpsec.errors import ConfigurationError, advice
from mcpsec.reading import read_file

__all__ = ["KINDS", "NAME", "Waiver", "Waivers", "apply_waivers", "load"]

NAME = "mcpsec-waivers.toml"
KINDS = ("test-data", "remediated", "not-applicable", "not-supported", "not-detected", "risk-accepted")
"""Why a finding stands: the reasons of OpenSSF Scorecard's annotations, and an accepted risk."""
LONGEST = timedelta(days=180)
NOTICE = timedelta(days=14)
_KEYS = {"check", "subject", "path", "kind", "reason", "owner", "expires", "ticket"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """One waiver; ``line`` is where it stands."""

    check: str
    subject: str
    path: str
    kind: str
    reason: str
    owner: str
    expires: date
    ticket: str
    line: int

    def covers(self, result: Result) -> bool:
        """True when it is about this result."""
        place = result.location.path if result.location else ""
        return (
            result.check == self.check and fnmatchcase(result.subject, self.subject) and fnmatchcase(place, self.path)
        )


@dataclass
class Waivers:
    """A file of waivers, and which of them were of use."""

    path: str
    entries: list[Waiver]
    used: set[int] = field(default_factory=set)

    def findings(self, today: date) -> Iterator[Finding]:
        """What AUD003 has to say about the waivers themselves."""
        for waiver in self.entries:
            name = f"{waiver.check} {waiver.subject}"
            where = Location(self.path, line=waiver.line, column=1)
            if waiver.expires < today:
                yield Finding("AUD003", State.FAIL, f"ended on {waiver.expires}", name, where, severity="medium")
            elif waiver.line not in self.used:
                yield Finding("AUD003", State.FAIL, "waives nothing that was found", name, where, severity="low")
            elif waiver.expires - today <= NOTICE:
                text = f"in use, and ends on {waiver.expires}: renew or mend"
                yield Finding("AUD003", State.MANUAL, text, name, where, severity="low")
            else:
                text = f"{waiver.owner}, until {waiver.expires}: {waiver.reason}"
                yield Finding("AUD003", State.PASS, text, name, where)


def load(path: Path, label: str | None = None) -> Waivers:
    """Read a file of waivers.

    Raises:
        ConfigurationError: it is not TOML, or a waiver lacks an owner, a reason or an end, or asks for too long.
    """
    try:
        text = read_file(path).decode("utf-8")
        document = tomllib.loads(text)
        places = locate(text)
    except OSError as error:
        raise ConfigurationError(f"can't be read: {error.strerror}", path=path, hint=advice(error)) from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"not TOML: {error}", path=path) from None
    entries = []
    rows = document.get("waivers", [])
    if set(document) - {"waivers"} or not isinstance(rows, list):
        raise ConfigurationError("a file of waivers holds [[waivers]] tables and nothing else", path=path, line=1)
    for index, row in enumerate(rows):
        place = places.get(("waivers", index))
        entries.append(_waiver(row, path, place.line if place else 1))
    return Waivers(label or str(path), entries)


def _waiver(row: Any, path: Path, line: int) -> Waiver:
    def wrong(message: str, hint: str | None = None) -> ConfigurationError:
        return ConfigurationError(message, hint=hint, path=path, line=line)

    if not isinstance(row, dict) or set(row) - _KEYS:
        raise wrong(f"a waiver has the keys {', '.join(sorted(_KEYS))}")
    for name in ("check", "reason", "owner", "expires"):
        if not row.get(name):
            raise wrong(f"the waiver has no {name}", f"every waiver says {name}")
    if row["check"] not in checks():
        raise wrong(f"there is no check {row['check']}", "see: mcpsec audit list")
    if not isinstance(row["reason"], str) or len(row["reason"].strip()) < 10:
        raise wrong("the reason is too short to be one", "say in a sentence why the finding may stay")
    if row.get("kind", "risk-accepted") not in KINDS:
        raise wrong(f"there is no kind {row['kind']!r}", f"one of {', '.join(KINDS)}")
    expires = row["expires"]
    if type(expires) is not date:
        raise wrong("expires is no date", "write it without quotes: expires = 2027-01-31")
    if expires - date.today() > LONGEST:  # a day more or less is of no matter
        raise wrong(f"the waiver lasts longer than {LONGEST.days} days", "shorten it; it can be renewed")
    texts = {name: row.get(name, "") for name in ("check", "reason", "owner", "ticket")}
    if not all(isinstance(value, str) for value in texts.values()):
        raise wrong("check, reason, owner and ticket are texts")
    return Waiver(
        **texts,
        subject=str(row.get("subject", "*")),
        path=str(row.get("path", "*")),
        kind=row.get("kind", "risk-accepted"),
        expires=expires,
        line=line,
    )


def apply_waivers(results: list[Result], waivers: Waivers, today: date) -> list[Result]:
    """Mark the results that a waiver in force covers; an expired one covers nothing."""
    judged = []
    for result in results:
        waiver = next((each for each in waivers.entries if each.covers(result)), None)
        if waiver is None or result.state is not State.FAIL:
            judged.append(result)
            continue
        waivers.used.add(waiver.line)
        if waiver.expires < today:
            judged.append(result)
            continue
        note = {
            "kind": waiver.kind,
            "reason": waiver.reason,
            "owner": waiver.owner,
            "expires": waiver.expires.isoformat(),
        }
        judged.append(replace(result, state=State.WAIVED, waiver=note))
    return judged
