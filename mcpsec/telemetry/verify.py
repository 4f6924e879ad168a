"""Is this log what its writer wrote? Reads a log, or a part of one, and names the line where it stops being true.

Needs no deployment file: the public key travels beside the log. What is found: a changed, removed, moved, repeated or
added line, anything that is not an event, a missing or forged checkpoint, a missing first part, a torn end, and, with
the head file beside the log, an exported checkpoint or ``expect``, a tail that was cut away. What cannot be found
without one of those three: a tail cut away back to an earlier line. What nobody can find from the log alone: lines
rewritten since the last checkpoint by someone who could write the file then, and a whole log re-signed with another
key (pin the key).
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mcpsec.errors import ConfigurationError, advice
from mcpsec.reading import read_file
from mcpsec.telemetry.chain import GENESIS, MAX_LINE, SIGNED_KINDS, Damage, Line, parse
from mcpsec.telemetry.head import head_path
from mcpsec.telemetry.keys import PublicKey, key_paths
from mcpsec.telemetry.parts import base_of, no_log, open_part, rotated_parts

__all__ = ["Finding", "Verification", "raw_line", "verify"]

_MAX_FINDINGS = 100
_SLACK = 16
"""Lines by which the writer may be late with a checkpoint: what it says about itself does not count."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. ``line`` is 1-based in ``path``; None when the fault is in no line."""

    path: Path
    line: int | None
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}" if self.line is None else f"{self.path}:{self.line}: {self.what}"


@dataclass(slots=True)
class Verification:
    """The result. ``unsigned`` counts the lines after the last checkpoint, which only the chain protects."""

    files: list[Path]
    key: str
    chain: str | None = None
    events: int = 0
    first: int = 0
    last: int = 0
    head: str = GENESIS
    checkpoints: int = 0
    unsigned: int = 0
    torn: bool = False
    findings: list[Finding] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        """True when nothing is wrong."""
        return not self.findings


def verify(
    path: Path,
    *,
    key: Path | None = None,
    expect: str | None = None,
    checkpoint: Path | None = None,
    only_this_file: bool = False,
) -> Verification:
    """Verify the log ``path`` with its rotated parts, or one part with ``only_this_file``.

    ``expect`` is a head (64 hexadecimal digits, or their beginning, at least 16) that the chain must contain;
    ``checkpoint`` a file with an exported checkpoint; ``key`` a public key (PEM) instead of the one beside the log.

    Raises:
        ConfigurationError: there is no such file, or the public key or the exported checkpoint can't be used.
    """
    if not path.is_file():
        raise no_log(path)
    base = base_of(path)
    public = PublicKey.load(key or key_paths(base)[1])
    files = [path] if only_this_file else _files(path, base)
    result = Verification(files, public.fingerprint)
    wanted = _wanted(base, public, expect, checkpoint, result, beside=path == base and not only_this_file)
    size = path.stat().st_size
    _Walk(result, public, wanted, alone=only_this_file).all()
    if len(result.findings) == 1 and result.torn and _grew(path, size):
        return verify(path, key=key, expect=expect, checkpoint=checkpoint, only_this_file=only_this_file)
    return result


def _grew(path: Path, size: int) -> bool:
    """True when somebody is writing the log right now, so that a half line at its end means nothing."""
    time.sleep(0.3)
    return path.stat().st_size != size


def _files(path: Path, base: Path) -> list[Path]:
    """The parts up to ``path``, oldest first."""
    parts = rotated_parts(base)
    if path == base:
        return [*parts.values(), path]
    number = next((number for number, part in parts.items() if part == path), 0)
    return [part for other, part in parts.items() if other < number] + [path]


@dataclass(slots=True)
class _Wanted:
    """A head that must be in the chain, with where the demand comes from."""

    source: str
    digest: str
    seq: int | None = None
    found: bool = False


def _wanted(
    base: Path, key: PublicKey, expect: str | None, checkpoint: Path | None, result: Verification, *, beside: bool
) -> list[_Wanted]:
    wanted: list[_Wanted] = []
    if expect is not None:
        digest = expect.strip().lower()
        if len(digest) < 16 or digest.strip("0123456789abcdef"):
            raise ConfigurationError("a head is 64 hexadecimal digits, or at least the first 16 of them")
        wanted.append(_Wanted("--expect", digest))
    if checkpoint is not None:
        try:
            line = parse(read_file(checkpoint).strip())
        except OSError as error:
            raise ConfigurationError(
                f"the checkpoint can't be read: {error.strerror}", path=checkpoint, hint=advice(error)
            ) from None
        except Damage as error:
            raise ConfigurationError(f"this is not an exported checkpoint: {error}", path=checkpoint) from None
        if not line.signature_is_good(key):
            result.findings.append(Finding(checkpoint, None, "the exported checkpoint is not signed by the log's key"))
        wanted.append(_Wanted(str(checkpoint), line.hash, line.seq))
    head = head_path(base)
    if beside and head.is_file():
        try:
            line = parse(read_file(head).rstrip(b"\n"))
        except (ConfigurationError, Damage) as damage:
            result.findings.append(Finding(head, None, f"the head file is damaged: {damage}"))
        else:
            wanted.append(_Wanted(head.name, line.hash, line.seq))
    return wanted


class _Walk:
    """Goes through the lines of all parts in order and notes what does not hold."""

    def __init__(self, result: Verification, key: PublicKey, wanted: list[_Wanted], *, alone: bool) -> None:
        self.result = result
        self.lost = False
        self._key = key
        self._wanted = wanted
        self._alone = alone
        self._previous: Line | None = None
        self._interval = 0
        self._first_part: int | None = None
        self._first_path = result.files[0]
        self._retained = 0
        self._damaged_before = False

    def all(self) -> None:
        """Walk every part, and say what shows only at the end."""
        for path in self.result.files:
            self._file(path)
            if self.lost:
                break
        self._finish()

    def _file(self, path: Path) -> None:
        """Walk one part."""
        number = 0
        try:
            for number, raw in enumerate(_lines(path), 1):
                self._line(path, number, raw)
                if len(self.result.findings) >= _MAX_FINDINGS:
                    self.lost = True
                    return
        except (EOFError, OSError, zlib.error) as error:
            self._find(path, number + 1, f"the file cannot be read further: {error}")
            self.lost = True
        if number == 0 and not self.lost:
            self._find(path, None, "the file is empty")

    def _finish(self) -> None:
        """What shows only at the end: parts missing at the front, a wanted head that never came."""
        result = self.result
        missing = (self._first_part or 1) - 1
        if missing > self._retained and not self._alone and self._first_part is not None:
            self._find(
                self._first_path,
                None,
                f"the log begins with part {missing + 1}: the parts before are missing (its "
                "retention did not delete them; one part by itself: --part)",
            )
        for each in self._wanted:
            if not each.found and not (self._alone and each.seq is not None and each.seq > result.last):
                place = "" if each.seq is None else f" (event {each.seq})"
                end = f"the log ends at event {result.last}"
                self._find(
                    result.files[-1],
                    None,
                    f"the head named by {each.source}{place} is not in the log: {end}; "
                    "a tail was cut away, or this is another log",
                )

    def _line(self, path: Path, number: int, raw: bytes) -> None:
        if not raw.endswith(b"\n") and len(raw) <= MAX_LINE:  # an endless line is cut by its reader, and no torn one
            self._find(path, number, "the last line is cut short (the next start of the gateway moves it aside)")
            self._damaged_before = self.result.torn = True
            return
        try:
            line = parse(raw[:-1])
        except Damage as damage:
            self._find(path, number, str(damage))
            self._damaged_before = True
            return
        if number == 1:
            self._begin(path, line)
        elif line.kind in {"log-start", "log-part"}:
            self._find(path, number, f"a {line.kind} line stands in the middle of a file")
        self._follow(path, number, line)
        self._signature(path, number, line)
        self._previous = line
        self._damaged_before = False
        self._count(line)

    def _begin(self, path: Path, line: Line) -> None:
        """The first line of a part names the chain, the part and the key."""
        names = (line.fields.get("chain"), line.fields.get("part"), line.fields.get("key"))
        chain, part, key = names
        if line.kind not in {"log-start", "log-part"} or type(part) is not int or not isinstance(chain, str):
            self._find(path, 1, "the file does not begin where its writer began it: lines before are missing")
            return
        if key != self._key.fingerprint:
            self._find(
                path, 1, f"the log was signed with another key ({key}) than the one given ({self._key.fingerprint})"
            )
        interval = line.fields.get("checkpoint_every")
        self._interval = interval if type(interval) is int else 0
        if self._first_part is None:
            self._first_part, self.result.chain, self._first_path = part, chain, path
        elif chain != self.result.chain:
            self._find(path, 1, "this part belongs to another log (chain)")

    def _follow(self, path: Path, number: int, line: Line) -> None:
        before = self._previous
        if before is None:
            if self._damaged_before:
                return
            starts = line.kind == "log-start"
            if starts != (line.seq == 1) or (line.prev == GENESIS) != starts:
                self._find(path, number, f"the log begins at event {line.seq}: lines before are missing")
            return
        expected = before.seq + 1
        if self._damaged_before and line.seq > expected:
            return  # the damaged lines between were named; what follows them can't be compared
        if line.seq > expected:
            self._find(path, number, f"events {expected} to {line.seq - 1} are missing before this line")
        elif line.seq < expected:
            self._find(path, number, f"event {line.seq} is repeated or out of order after event {before.seq}")
        elif line.prev != before.hash:
            self._find(
                path, number, "it does not carry the hash of the line before: that line or this one was replaced"
            )

    def _signature(self, path: Path, number: int, line: Line) -> None:
        if line.kind in SIGNED_KINDS or line.signed:
            if line.signature_is_good(self._key):
                self.result.checkpoints += 1
                self.result.unsigned = 0
                if line.kind == "log-retention":
                    self._retained = max(self._retained, int(line.fields.get("through_part", 0)))
                return
            self._find(path, number, f"the signature of this {line.kind} line is missing or not good")
        self.result.unsigned += 1
        if self._interval and self.result.unsigned == self._interval + _SLACK:
            self._find(path, number, f"no checkpoint in the {self._interval} lines before: checkpoints were removed")

    def _count(self, line: Line) -> None:
        result = self.result
        result.events += 1
        result.first = result.first or line.seq
        result.last, result.head = line.seq, line.hash
        for each in self._wanted:
            if not each.found and (each.seq is None or each.seq == line.seq):
                each.found = result.head.startswith(each.digest)

    def _find(self, path: Path, line: int | None, what: str) -> None:
        self.result.findings.append(Finding(path, line, what))


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a part, newline included; an endless one is cut so that memory stays bounded."""
    with open_part(path) as file:
        while raw := file.readline(MAX_LINE + 2):
            yield raw
            while raw and not raw.endswith(b"\n") and len(raw) == MAX_LINE + 2:
                raw = file.readline(MAX_LINE + 2)


def raw_line(path: Path, seq: int) -> bytes:
    """The exact bytes of line ``seq`` of a log or its parts, without the newline.

    Raises:
        ConfigurationError: there is no such line.
    """
    for part in reversed(_files(path, base_of(path))):
        for raw in _lines(part):
            if b'"seq":%d,' % seq in raw[:64]:
                return raw.rstrip(b"\n")
    raise ConfigurationError(f"there is no event {seq}", path=path)
