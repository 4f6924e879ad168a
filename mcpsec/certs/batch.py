"""Lists of certificates to issue: CSV (with a header), a JSON array, or JSON Lines, one row a certificate.

Columns: ``name`` (needed), ``purpose`` (client, server), ``sans`` (in CSV separated by spaces or semicolons), ``days``,
``key``, ``profile``. Every row is checked before the first certificate is issued.
"""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mcpsec.certs.keys import KEY_KINDS
from mcpsec.certs.leaf import now_utc
from mcpsec.certs.ledger import Purpose
from mcpsec.certs.names import check_name
from mcpsec.errors import ConfigurationError, RefusedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mcpsec.certs.leaf import LeafRequest
    from mcpsec.certs.pki import Pki

__all__ = ["count_requests", "read_requests"]

_GROUP = 256
_COLUMNS = ("name", "purpose", "sans", "days", "key", "profile")


def count_requests(path: Path, pki: Pki, purpose: Purpose | None, *, skip_existing: bool = False) -> int:
    """Check every row of a list, as issuing will, and return how many there are.

    Raises:
        ConfigurationError: a row is wrong (file and line are named), a name comes twice, or there is no row.
        RefusedError: a CA that is needed can't sign now.
    """
    seen: dict[tuple[Purpose, str], int] = {}
    waiting: dict[Purpose, list[tuple[int, LeafRequest]]] = {}
    for line, request in _requests(path, pki, purpose):
        key = (request.profile.purpose, request.name.lower())
        if key in seen:
            raise ConfigurationError(f"{request.name!r} is in line {seen[key]} already", path=path, line=line)
        seen[key] = line
        group = waiting.setdefault(request.profile.purpose, [])
        group.append((line, replace(request, replace=skip_existing)))
        if len(group) == _GROUP:
            _check(path, pki, group)
            group.clear()
    for group in waiting.values():
        _check(path, pki, group)
    if not seen:
        raise ConfigurationError("there is no certificate in this list", path=path)
    return len(seen)


def _check(path: Path, pki: Pki, group: list[tuple[int, LeafRequest]]) -> None:
    """Check rows together, which is quick, and one by one when one of them is wrong, to tell which."""
    if not group:  # the last row filled one, which was checked then
        return
    authority = pki.authority(group[0][1].profile.purpose)
    authority.usable_signer(now_utc())
    try:
        authority.check([request for _, request in group])
    except (UsageError, RefusedError):
        for line, request in group:
            try:
                authority.check([request])
            except (UsageError, RefusedError) as error:
                raise ConfigurationError(error.message, hint=error.hint, path=path, line=line) from error
        raise


def read_requests(path: Path, pki: Pki, purpose: Purpose | None) -> Iterator[LeafRequest]:
    """Read the rows of a checked list one by one; ``purpose`` is for rows that name none.

    Raises:
        ConfigurationError: a row is wrong.
    """
    for _, request in _requests(path, pki, purpose):
        yield request


def _requests(path: Path, pki: Pki, purpose: Purpose | None) -> Iterator[tuple[int, LeafRequest]]:
    for line, row in _rows(path):
        try:
            yield line, _request(row, pki, purpose)
        except UsageError as error:
            raise ConfigurationError(error.message, hint=error.hint, path=path, line=line) from error


def _request(row: dict[str, Any], pki: Pki, purpose: Purpose | None) -> LeafRequest:
    unknown = [key for key in row if key not in _COLUMNS]
    if unknown:
        raise UsageError(f"there is no column {unknown[0]!r}", hint=f"columns: {', '.join(_COLUMNS)}")
    name, sans = row.get("name"), row.get("sans") or []
    if not isinstance(name, str):
        raise UsageError("a row needs a name")
    names = sans.replace(";", " ").split() if isinstance(sans, str) else sans
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise UsageError("sans has to be text, or a list of texts")
    key = row.get("key") or None
    if key is not None and key not in KEY_KINDS:
        raise UsageError(f"{key!r} is no kind of key", hint=f"one of {', '.join(KEY_KINDS)}")
    profile = row.get("profile") or None
    if profile is not None and not isinstance(profile, str):
        raise UsageError(f"{profile!r} names no profile")
    meant = _purpose(row.get("purpose"), profile, pki) or purpose
    if meant is None:
        raise UsageError("a row needs a purpose", hint="a column purpose (client or server), or --client or --server")
    return pki.request(check_name(name), meant, names, profile=profile, days=_days(row.get("days")), key_kind=key)


def _purpose(value: object, profile: str | None, pki: Pki) -> Purpose | None:
    if value in (None, ""):
        return pki.profiles[profile].purpose if profile in pki.profiles else None
    try:
        return Purpose(str(value))
    except ValueError as error:
        raise UsageError(f"{value!r} is no purpose", hint="client or server") from error


def _days(value: object) -> float | None:
    if value in (None, ""):
        return None
    try:
        days = float(str(value))
    except ValueError as error:
        raise UsageError(f"{value!r} is no number of days") from error
    if not 0 < days <= 36525:
        raise UsageError(f"a certificate can't live for {days:g} days")
    return days


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            start = file.read(1)
            file.seek(0)
            if start == "[":
                yield from _objects(enumerate(json.load(file), 1), path)
            elif start == "{":
                yield from _objects(_lines(file, path), path)
            else:
                reader = csv.DictReader(file, restkey="(too many)", strict=True)
                for row in reader:
                    yield (
                        reader.line_num,
                        {key: value.strip() if isinstance(value, str) else value for key, value in row.items()},
                    )
    except OSError as error:
        raise ConfigurationError(f"can't be read ({error.strerror})", path=path) from error
    except json.JSONDecodeError as error:
        raise _no_json(error, path, error.lineno) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ConfigurationError(f"this is no CSV: {error}", path=path) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets thousands deep
        raise ConfigurationError("this is no list of certificates: it can't be read", path=path) from error


def _lines(file: Iterable[str], path: Path) -> Iterator[tuple[int, Any]]:
    """The lines of JSON Lines; an error in one of them names it, and not the first line, which its own parser saw."""
    for at, line in enumerate(file, 1):
        if line.strip():
            try:
                yield at, json.loads(line)
            except json.JSONDecodeError as error:
                raise _no_json(error, path, at) from error


def _no_json(error: json.JSONDecodeError, path: Path, line: int) -> ConfigurationError:
    return ConfigurationError(f"this is no JSON: {error.msg}", path=path, line=line)


def _objects(rows: Iterator[tuple[int, Any]], path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, row in rows:
        if not isinstance(row, dict):
            raise ConfigurationError("a row has to be an object", path=path, line=line)
        yield line, row
