"""Known findings: one line each, sorted, without line numbers or dates, so that branches merge.

::

    # mcpsec secrets baseline 1
    key 0f3a…                                 (random; fingerprints of this file are keyed with it)
    5d41402abc4b2a76b9719d911017c592 generic-password config/old.yaml

The fingerprint alone decides; rule and path are for the reader. A file joined by ``merge=union`` may hold two keys:
a finding is known when its fingerprint under any of them is listed.
"""

from __future__ import annotations

import os

from mcpsec.leaks.findings import fingerprint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Baseline", "load", "write"]

HEADER = "# mcpsec secrets baseline 1"


class Baseline:
    """Keys and fingerprints of a baseline file."""

    def __init__(self, keys: list[bytes], entries: dict[str, str]) -> None:
        self.keys = keys
        self.entries = entries

    def knows(self, family: str, value: str) -> bool:
        """True when this value of this rule family is listed."""
        return any(fingerprint(family, value, key) in self.entries for key in self.keys)


def load(path: str) -> Baseline:
    """Read a baseline. Raises ConfigurationError when it is none."""
    from mcpsec.errors import ConfigurationError
    from mcpsec.reading import LARGE, read_file

    try:
        lines = read_file(path, LARGE).decode("utf-8").splitlines()
    except OSError as error:
        raise ConfigurationError(
            f"the baseline can't be read: {error.strerror}", path=path, hint="make one with --update-baseline"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError("not a baseline of mcpsec", path=path) from error
    keys: list[bytes] = []
    entries: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        word, _, rest = line.strip().partition(" ")
        if not word or word.startswith("#"):
            continue
        try:
            if word == "key":
                keys.append(bytes.fromhex(rest))
            else:
                bytes.fromhex(word)
                entries[word] = rest
        except ValueError as error:
            raise ConfigurationError("not a line of a baseline", path=path, line=number) from error
    if not keys:
        raise ConfigurationError("not a baseline of mcpsec: it has no key", path=path)
    return Baseline(keys, entries)


def write(path: str, found: Iterable[tuple[str, str, str, str]], known: Baseline | None) -> int:
    """Write a baseline of these findings (family, value, rule, path), keeping the key of the one before."""
    from pathlib import Path

    from mcpsec.writing import write_output

    key = known.keys[0] if known else os.urandom(16)
    entries = {fingerprint(family, value, key): f"{rule} {place}" for family, value, rule, place in found}
    lines = [HEADER, f"key {key.hex()}", *(f"{mark} {text}" for mark, text in sorted(entries.items()))]
    write_output(Path(path), "\n".join([*lines, ""]).encode("utf-8", "replace"))
    return len(entries)
