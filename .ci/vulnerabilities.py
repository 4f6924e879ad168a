"""Compare what CI installs with known vulnerabilities, offline.

    python .ci/vulnerabilities.py DATABASE [LOCK]

DATABASE is an export of OSV records for PyPI: a directory of JSON files, or the ZIP file that OSV publishes. LOCK is
`.ci/requirements.txt` by default. Exit codes: 0 none is known, 1 findings, 2 the database or the lock can't be read.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

LOCK = Path(__file__).with_name("requirements.txt")


def locked(path: Path) -> dict[str, list[Version]]:
    """Each distribution with its versions (more than one where markers part them)."""
    found: dict[str, list[Version]] = {}
    for line in path.read_text().splitlines():
        if match := re.match(r"([\w.-]+)==([\w.+!-]+)", line):
            found.setdefault(canonicalize_name(match[1]), []).append(Version(match[2]))
    if not found:
        raise Unreadable(f"{path} pins nothing")
    return found


class Unreadable(Exception):
    """What can't be read: exit code 2."""


def records(database: Path) -> Iterator[dict[str, Any]]:
    """Every record of the export."""
    count = 0
    try:
        if database.is_dir():
            texts = (path.read_bytes() for path in sorted(database.rglob("*.json")))
        else:
            archive = zipfile.ZipFile(database)
            texts = (archive.read(name) for name in sorted(archive.namelist()) if name.endswith(".json"))
        for text in texts:
            record = json.loads(text)
            if isinstance(record, dict) and "affected" in record:
                count += 1
                yield record
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise Unreadable(f"{database} can't be read as OSV records: {error}") from None
    if not count:
        raise Unreadable(f"{database} holds no OSV record: nothing was compared")


def _hit(version: Version, affected: dict[str, Any]) -> bool:
    if any(_same(version, each) for each in affected.get("versions", ())):
        return True
    return any(
        _within(version, each.get("events", ()))
        for each in affected.get("ranges", ())
        if each.get("type") == "ECOSYSTEM"
    )


def _same(version: Version, text: str) -> bool:
    try:
        return Version(text) == version
    except InvalidVersion:
        return False


def _within(version: Version, events: list[dict[str, str]]) -> bool:
    """The evaluation that the OSV schema describes: the last event at or below the version decides."""

    def place(event: dict[str, str]) -> tuple[Version, int]:
        kind, text = next(iter(event.items()))
        try:
            return Version("0.dev0" if text == "0" else text), {"introduced": 1, "fixed": 0}.get(kind, 2)
        except InvalidVersion:
            return Version("0.dev0"), 1  # what can't be read counts as affected from the beginning

    inside = False
    for event in sorted(events, key=place):
        at = place(event)[0]
        if "introduced" in event and version >= at:
            inside = True
        elif ("fixed" in event and version >= at) or ("last_affected" in event and version > at):
            inside = False
    return inside


def findings(pinned: dict[str, list[Version]], database: Path) -> list[str]:
    found = []
    for record in records(database):
        if record.get("withdrawn"):
            continue
        for affected in record["affected"]:
            package = affected.get("package", {})
            if package.get("ecosystem") != "PyPI":
                continue
            name = canonicalize_name(package.get("name", ""))
            for version in pinned.get(name, ()):
                if _hit(version, affected):
                    known = ", ".join(record.get("aliases", ()))
                    summary = str(record.get("summary", "")).splitlines()[:1]
                    found.append(f"{name} {version}: {record.get('id')} {known} {' '.join(summary)}".rstrip())
    return sorted(set(found))


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the lock file with an export of OSV records, offline.")
    parser.add_argument("database", type=Path, help="A directory of OSV records, or a ZIP file of them.")
    parser.add_argument("lock", type=Path, nargs="?", default=LOCK)
    given = parser.parse_args()
    try:
        found = findings(locked(given.lock), given.database)
    except (Unreadable, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line in found:
        print(line)
    print(f"{len(found)} known vulnerabilities in what {given.lock.name} pins", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
