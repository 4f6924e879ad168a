"""What ends when: certificates, CAs and revocation lists, judged against the moment of the check.

By default a leaf is due when a third of its life is left (the moment its renewal was due) and late with a tenth; a CA
with half a year and 90 days (it could not issue a full leaf any more); a CRL, signed again at half of its life, with a
third and a tenth.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from cryptography import x509

from mcpsec.certs.identity import UNREADABLE, sans_of_certificate, serial_text
from mcpsec.certs.leaf import now_utc
from mcpsec.certs.pki import Pki, renewal_moment
from mcpsec.certs.reading import title_of
from mcpsec.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcpsec.certs.leaf import Issued
    from mcpsec.certs.ledger import Entry
    from mcpsec.certs.reading import Found, FoundList

__all__ = ["Item", "Level", "Margin", "check_found", "check_found_list", "check_pki", "parse_margin"]

_MARGIN = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>[smhdw%]?)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "": 86400, "w": 604800}


class Level(StrEnum):
    """How bad it is; ``due`` is a warning, ``late`` a failure."""

    OK = "ok"
    DUE = "due"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Margin:
    """How much time has to be left: a fixed time, or a part of the whole life, and of several the shortest."""

    fixed: timedelta | None = None
    part: float | None = None

    def before(self, start: datetime, end: datetime) -> datetime:
        """The moment before ``end`` at which less than the margin is left."""
        spans = [self.fixed] if self.fixed is not None else []
        spans += [(end - start) * self.part] if self.part is not None else []
        return end - min(spans)


_LEAF = {Level.DUE: Margin(part=1 / 3), Level.LATE: Margin(part=0.1)}
_CA = {Level.DUE: Margin(timedelta(days=180), 1 / 3), Level.LATE: Margin(timedelta(days=90), 0.1)}
_CRL = {Level.DUE: Margin(part=1 / 3), Level.LATE: Margin(part=0.1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that ends. ``kind`` is leaf, ca or crl; ``place`` the file or endpoint."""

    name: str
    kind: str
    place: str
    serial: str | None
    purpose: str | None
    not_before: datetime
    not_after: datetime
    level: Level
    reason: str
    renew_after: datetime | None = None


def parse_margin(text: str) -> Margin:
    """Read ``30d``, ``12h``, ``2w`` or ``25%`` (of the whole life); a bare number is days.

    Raises:
        UsageError: it is none of these.
    """
    match = _MARGIN.fullmatch(text)
    if match is None or (match["unit"] == "%" and float(match["number"]) > 100):
        raise UsageError(f"{text!r} is no length of time", hint="30d, 12h, 2w, or 25% of the life")
    if match["unit"] == "%":
        return Margin(part=float(match["number"]) / 100)
    seconds = float(match["number"]) * _UNITS[match["unit"]]
    try:
        return Margin(fixed=timedelta(seconds=seconds))
    except OverflowError as error:
        raise UsageError(f"{text!r} is too long a time") from error


def check_pki(
    pki: Pki, *, warn: Margin | None = None, fail: Margin | None = None, now: datetime | None = None
) -> Iterator[Item]:
    """Judge a PKI's current certificates (revoked ones aside), its CAs and its CRLs."""
    moment = now or now_utc()
    for entry in pki.entries():
        if entry.revoked is not None:
            continue
        files = pki.files_of(entry)
        renew_after = renewal_moment(entry)
        level, reason = _judge(entry.issued, entry.not_after, _limits(_LEAF, warn, fail), moment)
        if level is Level.OK and warn is None and moment >= renew_after:
            level, reason = Level.DUE, f"its renewal has been due since {renew_after:%Y-%m-%d %H:%M}"
        if files is not None and (trouble := _trouble_of(pki, entry, files)):
            level, reason = Level.LATE, trouble
        yield Item(
            name=entry.name,
            kind="leaf",
            place=str(files.certificate) if files else "",
            serial=entry.serial,
            purpose=entry.purpose.value,
            not_before=entry.not_before,
            not_after=entry.not_after,
            level=level,
            reason=reason,
            renew_after=renew_after,
        )
    yield from _check_authorities(pki, moment)


def _trouble_of(pki: Pki, entry: Entry, files: Issued) -> str | None:
    """What is wrong with the files of a name, whatever the ledger says."""
    if not files.certificate.is_file():
        return "its file is gone"
    if not pki.authority(entry.purpose).on_disk(entry):
        return "its file is not the certificate that the ledger knows"
    return "its key is gone" if files.key is not None and not files.key.is_file() else None


def _check_authorities(pki: Pki, moment: datetime) -> Iterator[Item]:
    for info in pki.authorities():
        if info.state == "retired":
            continue
        level, reason = _judge(info.not_before, info.not_after, _CA, moment)
        yield Item(
            name=info.name,
            kind="ca",
            place=str(info.certificate),
            serial=info.serial,
            purpose=info.role,
            not_before=info.not_before,
            not_after=info.not_after,
            level=level,
            reason=reason,
        )
    for authority in pki.readable_authorities():
        for signer in authority.ledger.signers():
            stored = authority.ledger.crl(signer.id)
            if signer.state == "retired" or stored is None:
                continue
            level, reason = _judge(stored.this_update, stored.next_update, _CRL, moment)
            if stored.pem not in _bytes_of(authority.crl_file):
                level, reason = Level.LATE, "the newest list is not in its file: mcpsec certs crl"
            yield Item(
                name=f"CRL of {authority.describe_signer(signer)}",
                kind="crl",
                place=str(authority.crl_file),
                serial=None,
                purpose=authority.purpose.value,
                not_before=stored.this_update,
                not_after=stored.next_update,
                level=level,
                reason=reason,
            )


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def check_found_list(found: FoundList, *, now: datetime | None = None) -> Item:
    """Judge a revocation list that was read from somewhere, always by its own life: lists live shorter than margins.

    Without an end it is taken for expired (RFC 5280 section 5.1.2.5 demands one).
    """
    start = found.crl.last_update_utc
    end = found.crl.next_update_utc or start
    level, reason = _judge(start, end, _CRL, now or now_utc())
    return Item(
        name=f"CRL of {title_of(found.crl) or '(no name)'}",
        kind="crl",
        place=found.place,
        serial=None,
        purpose=None,
        not_before=start,
        not_after=end,
        level=level,
        reason=reason if found.crl.next_update_utc else "it states no end",
    )


def check_found(
    found: Found, *, warn: Margin | None = None, fail: Margin | None = None, now: datetime | None = None
) -> Item:
    """Judge a certificate that was read from somewhere."""
    certificate = found.certificate
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    is_ca = _is_ca(certificate)
    limits = _limits(_CA if is_ca else _LEAF, warn, fail)
    level, reason = _judge(start, end, limits, now or now_utc())
    names = sans_of_certificate(certificate)
    return Item(
        name=title_of(certificate) or (names[0] if names else "(no name)"),
        kind="ca" if is_ca else "leaf",
        place=found.place,
        serial=serial_text(certificate.serial_number),
        purpose=None,
        not_before=start,
        not_after=end,
        level=level,
        reason=reason,
    )


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, *UNREADABLE):
        return False


def _limits(usual: dict[Level, Margin], warn: Margin | None, fail: Margin | None) -> dict[Level, Margin]:
    return {Level.DUE: warn or usual[Level.DUE], Level.LATE: fail or usual[Level.LATE]}


def _judge(start: datetime, end: datetime, limits: dict[Level, Margin], now: datetime) -> tuple[Level, str]:
    if now >= end:
        return Level.LATE, f"expired on {end:%Y-%m-%d %H:%M}"
    if now < start:
        return Level.DUE, f"not valid before {start:%Y-%m-%d %H:%M}"
    left = _span(end - now)
    for level in (Level.LATE, Level.DUE):
        if now >= limits[level].before(start, end):
            return level, f"{left} left"
    return Level.OK, f"{left} left"


def _span(left: timedelta) -> str:
    seconds = left.total_seconds()
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
