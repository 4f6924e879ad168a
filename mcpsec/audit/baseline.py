"""A baseline: the fingerprints of findings that are known. Critical ones are never hidden by it.

::

    # mcpsec audit baseline 1
    0f3a… DEP001 inspector deploy/compose.yaml

The fingerprint alone decides; the rest is for the reader, and holds no line numbers, so that branches merge.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mcpsec.audit.model import State
from mcpsec.errors import ConfigurationError
from mcpsec.reading import LARGE, read_file

if TYPE_CHECKING:
    from mcpsec.audit.runner import Audit

__all__ = ["load", "write"]

HEADER = "# mcpsec audit baseline 1"


def load(path: Path) -> frozenset[str]:
    """Read a baseline. Raises ConfigurationError when it is none."""
    try:
        lines = read_file(path, LARGE).decode("utf-8").splitlines()
    except OSError as error:
        raise ConfigurationError(
            f"the baseline can't be read: {error.strerror}", path=path, hint="--write-baseline makes one"
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError("not a baseline of mcpsec", path=path) from None
    if not lines or lines[0].strip() != HEADER:
        raise ConfigurationError(f"not a baseline of mcpsec: the first line is not {HEADER!r}", path=path, line=1)
    found = set()
    for number, line in enumerate(lines[1:], 2):
        word = line.partition(" ")[0]
        if not line.strip() or line.startswith("#"):
            continue
        if not re.fullmatch(r"[0-9a-f]{32}", word):
            raise ConfigurationError("not a line of a baseline", path=path, line=number)
        found.add(word)
    return frozenset(found)


def write(found: Audit, path: Path) -> int:
    """Write a baseline of what fails and is not critical; returns how many findings it holds."""
    from mcpsec.writing import write_output

    rows = sorted(
        {
            f"{r.fingerprint} {r.check} {r.subject} {r.location.path if r.location else ''}".rstrip()
            for r in found.results
            if r.state is State.FAIL and r.severity != "critical"
        }
    )
    write_output(path, "\n".join([HEADER, *rows, ""]).encode("utf-8", "replace"))
    return len(rows)
