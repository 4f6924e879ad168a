"""Write the bill of materials of an installation.

    python .ci/sbom.py [--extra NAME]… > mcpsec.cdx.json

CycloneDX 1.6: mcpsec, every distribution that it needs here, which needs which, their licences, and the hashes that
`.ci/requirements.txt` pins. Run it with the Python of the environment that is shipped. Equal installations give equal
bytes: there is no time in it but SOURCE_DATE_EPOCH's.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import sys
import uuid
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = "mcpsec-toolkit"
LOCK = Path(__file__).with_name("requirements.txt")
_CLASSIFIED = {  # trove classifiers that say one SPDX identifier
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD-3-Clause",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: ISC License (ISCL)": "ISC",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "License :: OSI Approved :: Python Software Foundation License": "PSF-2.0",
}


def hashes(lock: Path) -> dict[str, list[str]]:
    """``name==version`` → the SHA-256 of every file that may be installed for it."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lock.read_text().splitlines():
        if match := re.match(r"([\w.-]+)==([\w.+!-]+)", line):
            current = found.setdefault(f"{canonicalize_name(match[1])}=={match[2]}", [])
        current += re.findall(r"--hash=sha256:([0-9a-f]{64})", line)
    return found


def needed(extras: list[str]) -> dict[str, tuple[Distribution, list[str]]]:
    """Every distribution that mcpsec needs on this machine, with what it needs itself."""
    found: dict[str, tuple[Distribution, list[str]]] = {}
    pending: list[tuple[str, frozenset[str]]] = [(ROOT, frozenset(extras))]
    seen = set(pending)
    while pending:
        name, wanted = pending.pop()
        try:
            there = distribution(name)
        except PackageNotFoundError:
            raise SystemExit(f"{name} is not installed here: pip install it, or leave its extra out") from None
        below = found.setdefault(name, (there, []))[1]
        for requirement in map(Requirement, there.requires or ()):
            if requirement.marker and not any(requirement.marker.evaluate({"extra": each}) for each in ("", *wanted)):
                continue
            other = canonicalize_name(requirement.name)
            if other not in below:
                below.append(other)
            if (key := (other, frozenset(requirement.extras))) not in seen:
                seen.add(key)
                pending.append(key)
    return found


def licence(there: Distribution) -> list[dict[str, Any]]:
    expression = there.metadata.get("License-Expression")
    if expression:
        return [{"expression": expression}]
    named = [_CLASSIFIED[each] for each in there.metadata.get_all("Classifier") or () if each in _CLASSIFIED]
    return [{"license": {"id": each}} for each in sorted(set(named))]


def component(name: str, there: Distribution, pinned: dict[str, list[str]]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": "application" if name == ROOT else "library",
        "bom-ref": f"{name}@{there.version}",
        "name": name,
        "version": there.version,
        "purl": f"pkg:pypi/{name}@{there.version}",
    }
    if found := licence(there):
        made["licenses"] = found
    if files := pinned.get(
        f"{name}=={there.version}"
    ):  # one distribution has many files: each is a reference of its own
        made["externalReferences"] = [
            {
                "type": "distribution",
                "url": f"pkg:pypi/{name}@{there.version}",
                "hashes": [{"alg": "SHA-256", "content": each}],
            }
            for each in sorted(files)
        ]
    return made


def document(extras: list[str], lock: Path) -> dict[str, Any]:
    pinned = hashes(lock)
    found = needed(extras)
    components = {name: component(name, there, pinned) for name, (there, _) in sorted(found.items())}
    root = components.pop(ROOT)
    made: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root},
        "components": list(components.values()),
        "dependencies": [
            {
                "ref": f"{name}@{there.version}",
                "dependsOn": sorted(f"{each}@{found[each][0].version}" for each in below),
            }
            for name, (there, below) in sorted(found.items())
        ],
    }
    if "SOURCE_DATE_EPOCH" in os.environ:
        moment = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.UTC)
        made["metadata"]["timestamp"] = moment.isoformat()
    made["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(made, sort_keys=True)).urn
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a CycloneDX bill of materials to standard output.")
    parser.add_argument("--extra", action="append", default=[], help="An optional part that is shipped, too.")
    parser.add_argument("--lock", type=Path, default=LOCK, help="The lock file with the hashes.")
    given = parser.parse_args()
    json.dump(document(given.extra, given.lock), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
