"""Reading the log back: which events, from which file, in which order, and following the one being written."""

from __future__ import annotations

import os
import re
import sys
import time
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from glob import escape
from itertools import islice
from pathlib import Path
from typing import IO, Any

import orjson

from mcpsec.errors import ConfigurationError, UsageError
from mcpsec.telemetry.chain import MAX_LINE
from mcpsec.telemetry.events import Event, timestamp
from mcpsec.telemetry.parts import base_of, no_log, open_part, rotated_parts

__all__ = ["Query", "follow", "follow_all", "last", "logs_of", "parse_time", "read"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_WINDOW = 1 << 18
_COMPOUND = frozenset({dict, list})
"""What only the arguments of an event are made of."""
_NUMBERS = frozenset(each.name for each in fields(Event) if each.type in ("int | None", "float | None"))


@dataclass(frozen=True, slots=True)
class Query:
    """Which events: every condition that is set must hold; the values of one condition are alternatives.

    Clients, resources, rules and upstreams are globs; times are RFC 3339 texts in UTC, as in the log.
    """

    clients: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    upstreams: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()
    request_id: str | None = None
    trace_id: str | None = None
    since: str | None = None
    until: str | None = None
    text: str | None = None
    own: bool = False
    """Also the log's own lines (checkpoints and the like)."""

    def matches(self, event: dict[str, Any]) -> bool:
        """True when ``event`` is one of those asked for."""
        when = event.get("time", "")
        return (
            (self.since is None or when >= self.since)
            and (self.until is None or when < self.until)
            and (self.own or bool(self.kinds) or not str(event.get("kind")).startswith("log-"))
            and (not self.kinds or event.get("kind") in self.kinds)
            and (not self.decisions or event.get("decision") in self.decisions)
            and (not self.statuses or event.get("status") in self.statuses)
            and (self.request_id is None or event.get("request_id") == self.request_id)
            and (self.trace_id is None or event.get("trace_id") == self.trace_id)
            and _any_glob(event.get("client"), self.clients)
            and _any_glob(event.get("resource"), self.resources)
            and _any_glob(event.get("upstream"), self.upstreams)
            and _any_glob(event.get("rule"), self.rules)
            and (self.text is None or self.text.casefold() in orjson.dumps(event).decode().casefold())
        )


def parse_time(text: str, now: float | None = None) -> str:
    """``15m``, ``2h``, ``7d`` ago, a date, or a date and time (local when it names no zone), as the log writes times.

    Nothing was logged before 1970: what lies before is that moment.

    Raises:
        UsageError: it is none of these.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip())
    if match:
        return timestamp(max(0.0, (time.time() if now is None else now) - float(match[1]) * _UNITS[match[2]]))
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.year < 1969:  # the first days of the calendar have no time in another zone
            return timestamp(0.0)
        return timestamp(max(0.0, moment.astimezone(UTC).timestamp()))
    except (OverflowError, ValueError):
        raise UsageError(
            f"{text!r} is no time", hint="write 15m, 2h or 7d (ago), 2026-11-23, or 2026-11-23T08:00:00Z"
        ) from None


def read(path: Path, query: Query) -> Iterator[dict[str, Any]]:
    """The events asked for, oldest first: of the log with all its rotated parts, or of the one part that ``path`` is.

    A line that is no event is passed over; ``verify`` is what judges a log.

    Raises:
        ConfigurationError: there is no such log, or the file is none.
    """
    for part in _parts(path, query):
        try:
            with open_part(part) as file:
                yield from (event for event in _events(file) if query.matches(event))
        except (EOFError, OSError, zlib.error) as error:
            raise _unreadable(part, error) from None


def last(path: Path, query: Query, count: int) -> list[dict[str, Any]]:
    """The newest ``count`` events asked for, oldest of them first.

    Raises:
        ConfigurationError: there is no such log, or the file is none.
    """
    found: list[dict[str, Any]] = []
    count = min(count, sys.maxsize)  # what the standard library counts to
    for part in reversed(_parts(path, query)):
        try:
            found += _last_of(part, query, count - len(found))
        except (EOFError, OSError, zlib.error) as error:
            raise _unreadable(part, error) from None
        if len(found) >= count:
            break
    return found[::-1]


def logs_of(path: Path) -> list[Path]:
    """The log of a deployment, and those of its workers: each writes one of its own, in a directory beside it."""
    workers = sorted(path.parent.glob(f"worker-*/{escape(path.name)}"))
    return [path, *workers] if path.is_file() or not workers else workers


def _last_of(part: Path, query: Query, count: int) -> list[dict[str, Any]]:
    """The newest events of one part, newest first; a compressed one can only be read forwards."""
    with open_part(part) as file:
        if part.suffix == ".gz":
            return list(deque(filter(query.matches, _events(file)), maxlen=count))[::-1]
        return list(islice(filter(query.matches, _backwards(file)), count))


def follow(path: Path, query: Query, *, poll: float = 0.25, whole: bool = False) -> Iterator[dict[str, Any] | None]:
    """Events as they are written, from now on and across rotations; None each time that nothing new was there.

    With ``whole``, those that the file holds already come first. Raises ConfigurationError, at once, for a log that
    can't be read.
    """
    return _follow(path, _open_to_follow(path, whole=whole), query, poll)


def _follow(path: Path, file: IO[bytes], query: Query, poll: float) -> Iterator[dict[str, Any] | None]:
    rest = b""
    try:
        while True:
            block = file.read(_WINDOW)
            if block:
                *lines, rest = (rest + block).split(b"\n")
                yield from (event for line in lines if (event := _event(line)) is not None and query.matches(event))
                continue
            yield None
            if _replaced(path, file):
                following = path.open("rb")
                final = (rest + file.read()).split(b"\n")  # written between the last look and the rotation
                yield from (event for line in final if (event := _event(line)) is not None and query.matches(event))
                file.close()
                file, rest = following, b""
            else:
                time.sleep(poll)
    finally:
        file.close()


def follow_all(
    paths: Sequence[Path], query: Query, *, poll: float = 0.25
) -> Iterator[tuple[Path, dict[str, Any]] | None]:
    """Events of several logs as they are written, each with its log; None when no log had any.

    Raises ConfigurationError, at once, for a log that can't be read.
    """
    return _taking_turns({path: follow(path, query, poll=poll / len(paths)) for path in paths})


def _taking_turns(streams: dict[Path, Iterator[dict[str, Any] | None]]) -> Iterator[tuple[Path, dict[str, Any]] | None]:
    while True:
        for path, stream in streams.items():
            for event in stream:
                if event is None:
                    break
                yield path, event
        yield None


def _parts(path: Path, query: Query) -> list[Path]:
    if base_of(path) != path:
        parts = [path]
    else:
        parts = [part for part in rotated_parts(path).values() if not _is_older(part, query.since)] + [path]
    existing = [part for part in parts if part.is_file()]
    if not existing:
        raise no_log(path)
    if not any(map(_may_be_log, existing)):
        raise ConfigurationError("this is no audit log: no line of it is an event", path=path)
    return existing


def _may_be_log(part: Path) -> bool:
    """Whether a file holds an event, or nothing at all yet; what can't be read is said by its reader."""
    try:
        if not part.stat().st_size:
            return True
        with open_part(part) as file:
            return next(_events(file), None) is not None
    except (EOFError, OSError, zlib.error):
        return True


def _is_older(part: Path, since: str | None) -> bool:
    """True when the part's last write was before ``since``: nothing in it can be asked for."""
    return since is not None and timestamp(part.stat().st_mtime) < since


def _events(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    while raw := file.readline(MAX_LINE):
        event = _event(raw)
        if event is not None:
            yield event


def _backwards(file: IO[bytes]) -> Iterator[dict[str, Any]]:
    """The events of a file from its end, without reading what nobody asks for."""
    position = file.seek(0, os.SEEK_END)
    rest = b""
    while position > 0:
        step = min(_WINDOW, position)
        position -= step
        file.seek(position)
        first, *lines = (file.read(step) + rest).split(b"\n")
        rest = first[:MAX_LINE]
        yield from (event for line in reversed(lines) if (event := _event(line)) is not None)
    if (event := _event(rest)) is not None:
        yield event


def _event(raw: bytes) -> dict[str, Any] | None:
    try:
        event = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return event if isinstance(event, dict) and _is_event(event) else None


def _is_event(line: dict[str, Any]) -> bool:
    """Whether this is as the log writes it, as far as whoever counts, groups and sorts events relies on that."""
    values = [line[name] for name in line if name != "arguments"] if "arguments" in line else line.values()
    return (
        isinstance(line.get("kind"), str)
        and _is_moment(line.get("time"))
        and _COMPOUND.isdisjoint(map(type, values))
        and not any(isinstance(line[name], str) for name in _NUMBERS & line.keys())
    )


def _is_moment(when: object) -> bool:
    """Whether this is a time as the log writes them."""
    try:
        return isinstance(when, str) and when.endswith("Z") and datetime.fromisoformat(when).year > 0
    except ValueError:
        return False


def _open_to_follow(path: Path, *, whole: bool) -> IO[bytes]:
    try:
        file = path.open("rb")
    except OSError as error:
        if not path.is_file():
            raise no_log(path) from None
        raise ConfigurationError(f"the log cannot be read: {error.strerror}", path=path) from None
    file.seek(0, os.SEEK_SET if whole else os.SEEK_END)
    return file


def _replaced(path: Path, file: IO[bytes]) -> bool:
    """True when ``path`` is another file by now (rotation) or was cut."""
    try:
        there = path.stat()
    except OSError:
        return False
    here = os.fstat(file.fileno())
    return (there.st_ino, there.st_dev) != (here.st_ino, here.st_dev) or there.st_size < file.tell()


def _unreadable(part: Path, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"the log cannot be read: {error}", path=part, hint="`mcpsec log verify` says where it is damaged"
    )


def _any_glob(value: object, globs: tuple[str, ...]) -> bool:
    return not globs or (isinstance(value, str) and any(fnmatchcase(value, glob) for glob in globs))
