"""From targets to subjects: a file, a directory to walk, an endpoint, or the configurations of this user."""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mcpsec.audit.detection import KINDS, candidate, detect
from mcpsec.audit.subjects import MAXIMUM_BYTES, Subject
from mcpsec.errors import UsageError
from mcpsec.leaks.files import VENDORED

if TYPE_CHECKING:
    from mcpsec.leaks.linear import TextExpression

__all__ = ["Collected", "collect", "is_endpoint", "open_subject"]

MAXIMUM_LOG = 64 << 20
MAXIMUM_FILES = 100_000
_URL = re.compile(r"(?i)https?://\S+")
_ENDPOINT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")


@dataclass
class Collected:
    """What was found, and what could not be looked at (path, reason)."""

    subjects: list[Subject] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    files: int = 0
    seen: set[Path] = field(default_factory=set)


def is_endpoint(target: str) -> bool:
    """True for a URL or HOST:PORT."""
    return bool(_URL.fullmatch(target) or (_ENDPOINT.fullmatch(target) and not Path(target).exists()))


def collect(targets: Iterable[str], root: Path, *, exclude: Iterable[str] = (), kind: str = "") -> Collected:
    """Turn targets into subjects; ``kind`` says what single files are when their look does not.

    Raises:
        UsageError: a target does not exist, or is of no kind that can be judged.
    """
    found = Collected()
    patterns = [_glob(text) for text in exclude]
    for target in targets:
        if is_endpoint(target):
            found.subjects.append(Subject("endpoint", Path(target), target, explicit=True))
            continue
        path = Path(os.path.abspath(root / target))  # noqa: PTH100 # links stay what they are
        if path.is_dir():
            _walk(path, root, found, patterns)
        elif path.exists():
            _named(path, root, found, kind)
        else:
            raise UsageError(f"there is no {target}", hint="a file, a directory, an https:// URL or HOST:PORT")
    return found


def _named(path: Path, root: Path, found: Collected, kind: str) -> None:
    subject = open_subject(path, root, found, kind=kind, explicit=True)
    if subject is None and not any(label == _label(path, root) for label, _ in found.unreadable):
        kinds = ", ".join(sorted(set(KINDS) - {"endpoint"}))
        raise UsageError(f"{path}: this is nothing that an audit judges", hint=f"--kind says what it is: {kinds}")


def _glob(pattern: str) -> TextExpression:
    from mcpsec.leaks.allow import glob

    return glob(pattern)


def _label(path: Path, root: Path) -> str:
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return path.as_posix()


def _walk(top: Path, root: Path, found: Collected, exclude: list[TextExpression]) -> None:
    for folder, folders, names in os.walk(top, onerror=lambda error: _denied(error, found)):
        folders[:] = sorted(
            name
            for name in folders
            if name not in VENDORED and not _excluded(Path(folder, name), top, exclude)  # links are not followed
        )
        for name in sorted(names):
            path = Path(folder, name)
            if candidate(name) and not _excluded(path, top, exclude):
                found.files += 1
                if found.files > MAXIMUM_FILES:
                    found.unreadable.append((str(top), f"more than {MAXIMUM_FILES} files: the rest was not looked at"))
                    return
                open_subject(path, root, found)


def _denied(error: OSError, found: Collected) -> None:
    found.unreadable.append((str(error.filename), error.strerror or "can't be read"))


def _excluded(path: Path, top: Path, exclude: list[TextExpression]) -> bool:
    return bool(exclude) and any(pattern.search(path.relative_to(top).as_posix()) for pattern in exclude)


def open_subject(
    path: Path, root: Path, found: Collected, *, kind: str = "", explicit: bool = False, quiet: bool = False
) -> Subject | None:
    """Read a file and add it when it is of a kind; what can't be read is noted unless ``quiet``."""
    if path in found.seen:
        return next((each for each in found.subjects if each.path == path), None)
    label = _label(path, root)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return None
        is_log = path.name.lower().endswith((".log", ".jsonl")) or kind == "log"
        limit = MAXIMUM_LOG if is_log else MAXIMUM_BYTES
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        if not quiet:
            found.unreadable.append((label, error.strerror or "can't be read"))
        return None
    if raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):  # what PowerShell's > writes
        raw = raw.decode("utf-16", "replace").encode("utf-8", "replace")
    what = kind or detect(path, raw)
    if what is None:
        return None
    if len(raw) > limit:
        found.unreadable.append((label, f"larger than {limit >> 20} MiB"))
        if not is_log:
            return None
        raw = raw[:limit]
    subject = Subject(what, path, label, raw, explicit)
    found.seen.add(path)
    found.subjects.append(subject)
    return subject
