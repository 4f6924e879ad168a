"""Regular expressions that need no compiling: their code is kept in the user's cache.

Compiling what the scanner needs for one small file costs 80 ms, more than the whole rest of a commit hook. So the code
of each expression that was ever used is kept as :mod:`marshal` data, tied to the interpreter's engine version. The
caches are trusted only when the user owns them and nobody else may write there.
"""

from __future__ import annotations

import _sre  # type: ignore[import-not-found] # typeshed leaves out the module behind re
import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re  # at run time it costs a hook as much as the interpreter's own start, and is needed to compile only
    from typing import Any, AnyStr

__all__ = ["cache_directory", "compiled", "expression", "keep", "let_go", "read_cache", "tag", "write_cache"]

FORMAT = 10
"""Counts changes of what the caches hold."""
_AMPLE = 12 << 20
"""Bytes of kept expressions, twice what all rules of one version need; what this run did not use is then let go."""
_OLD_SECONDS = 30 * 86_400
"""A cache file written so long ago is made again when it is missed, so that files of old versions don't pile up."""


class _Codes:
    """The cache of this process: expression to packed code; ``fresh`` when one was added, ``asked`` when needed."""

    def __init__(self) -> None:
        self.rows: dict[str | bytes, bytes] | None = None
        self.used: set[str | bytes] = set()
        self.fresh = False
        self.asked = False


_codes = _Codes()


def cache_directory() -> str | None:
    """The directory for our caches, made with mode 0700; None when there is no safe one."""
    base = os.environ.get("MCPSEC_CACHE_DIR")
    if not base:
        home = os.environ.get("HOME") or os.environ.get("LOCALAPPDATA") or ""
        root = os.environ.get("XDG_CACHE_HOME") or (home and f"{home}/.cache")
        base = root and f"{root}/mcpsec"
    if not base:
        return None
    try:
        os.makedirs(base, mode=0o700, exist_ok=True)  # noqa: PTH103
        info = os.stat(base)  # noqa: PTH116
    except OSError:
        return None
    if hasattr(os, "getuid") and (info.st_uid != os.getuid() or info.st_mode & 0o022):
        return None
    return base


def read_cache(name: str) -> bytes | None:
    """The bytes of a cache file that only this user can have written, else None."""
    base = cache_directory()
    if base is None:
        return None
    try:
        handle = os.open(f"{base}/{name}", os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    except OSError:
        return None
    try:
        info = os.fstat(handle)
        if hasattr(os, "getuid") and (info.st_uid != os.getuid() or info.st_mode & 0o022):
            return None
        chunks = []
        while chunk := os.read(handle, 1 << 20):
            chunks.append(chunk)
        return b"".join(chunks)
    except OSError:
        return None
    finally:
        os.close(handle)


def write_cache(name: str, content: bytes) -> None:
    """Put a cache file in place atomically with mode 0600; a cache that can't be written is no error."""
    base = cache_directory()
    if base is None:
        return
    scratch = f"{base}/.{name}.{os.getpid()}"
    try:
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        try:
            os.write(handle, content) if len(content) < 1 << 20 else _write_all(handle, content)
        finally:
            os.close(handle)
        os.replace(scratch, f"{base}/{name}")  # noqa: PTH105
        _drop_old(base, name.partition("-")[0])
    except OSError:
        return


def _drop_old(base: str, kind: str) -> None:
    """Delete the files of a kind that no version of ours has written for long."""
    from time import time

    for entry in os.scandir(base):
        if entry.name.startswith(f"{kind}-") and entry.stat(follow_symlinks=False).st_mtime < time() - _OLD_SECONDS:
            os.unlink(entry.path)  # noqa: PTH108


def _write_all(handle: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]


def tag() -> str:
    """What a cache depends on: the interpreter, its expression engine, and our own format."""
    return f"{sys.implementation.cache_tag}-{_sre.MAGIC}-{FORMAT}"


def compiled(source: str | bytes) -> tuple[re.Pattern[Any], int]:
    """The expression, and the width of the longest text that it can match (a million for unbounded ones)."""
    rows = _codes.rows  # another thread may let go of them
    if rows is None:
        rows = _codes.rows = _read()
    _codes.asked = True
    _codes.used.add(source)
    row = rows.get(source)
    if row is not None:
        try:
            all_flags, code, groups, index, names, width = marshal.loads(row)  # noqa: S302 # only what this user wrote
            return _sre.compile(source, all_flags, code, groups, index, names), width
        except (RuntimeError, TypeError, OverflowError, ValueError, EOFError):
            rows.pop(source, None)
    made, plain = _compile(source)
    rows[source] = marshal.dumps(plain)
    _codes.fresh = True
    return made, plain[-1]


class _Promise:
    """An expression that is made when it is first used; what it was asked for once it then has itself."""

    def __init__(self, source: str | bytes) -> None:
        self.pattern = source

    def __getattr__(self, name: str) -> Any:
        made = getattr(compiled(self.pattern)[0], name)
        setattr(self, name, made)
        return made


def expression(source: AnyStr) -> re.Pattern[AnyStr]:
    """As :func:`re.compile`, but from the cache, and not before it is used: so it never raises here."""
    promise: Any = _Promise(source)
    pattern: re.Pattern[AnyStr] = promise
    return pattern


def keep() -> None:
    """Remember what this run had to compile, for the next process, beside what others have written meanwhile."""
    if _codes.fresh and _codes.rows is not None:
        rows = _read() | _codes.rows
        packed = marshal.dumps(rows)
        if len(packed) > _AMPLE:
            packed = marshal.dumps({key: row for key, row in rows.items() if key in _codes.used})
        write_cache(f"patterns-{tag()}", packed)
        _codes.fresh = False


def let_go() -> bool:
    """Forget the kept code unless something was made of it since the last call; True when that frees memory.

    For a process that runs on: all rules' code is several MiB, and each expression is made once. What is needed later
    is read again.
    """
    asked, _codes.asked = _codes.asked, False
    if asked or _codes.rows is None:
        return False
    _codes.rows, _codes.fresh = None, False
    return True


def _read() -> dict[str | bytes, bytes]:
    cached = read_cache(f"patterns-{tag()}")
    if cached:
        try:
            rows: dict[str | bytes, bytes] = marshal.loads(cached)  # noqa: S302 # only what this user wrote
            return rows
        except (ValueError, EOFError, TypeError):
            pass
    return {}


def _compile(source: str | bytes) -> tuple[re.Pattern[Any], tuple[Any, ...]]:
    """Compile, and give beside it what is needed to make the same again without the compiler."""
    import warnings
    from re import _compiler, _parser  # type: ignore[attr-defined] # typeshed leaves out what is private

    with warnings.catch_warnings():
        # Two marks in a class, as in [a--z], may be an operator on sets one day; in gitleaks' expressions they aren't.
        warnings.simplefilter("ignore", FutureWarning)
        parsed = _parser.parse(source)
    all_flags = int(parsed.state.flags)
    width = parsed.getwidth()[1]
    code = [int(word) for word in _compiler._code(parsed, 0)]
    groups, index = parsed.state.groups - 1, dict(parsed.state.groupdict)
    names: list[str | None] = [None] * parsed.state.groups
    for name, number in index.items():
        names[number] = name
    row = (all_flags, code, groups, index, tuple(names), min(int(width), 1 << 20))
    return _sre.compile(source, all_flags, code, groups, index, tuple(names)), row
