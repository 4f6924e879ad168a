"""Secrets behind an encoding: base64 (twice), percent, hex, ``\\u`` escapes, UTF-16.

Only stretches that can hide something are decoded, each once, and only printable results are looked at; so the cost is
that of one expression over the text.
"""

from __future__ import annotations

from mcpsec.leaks.expressions import expression
from mcpsec.leaks.findings import Match, merge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["GATES", "around", "at_beginning", "hidden", "utf16"]

DEPTH = 2
LONGEST = 64 * 1024
_BASE64 = expression(
    rb"(?:(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/]{32,}={0,2}|(?<![A-Za-z0-9+/_-])[A-Za-z0-9_-]{36,}={0,2})(?![A-Za-z0-9+/_-])"
)
_RUNS_ONLY = bytes(
    byte if byte in b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/_-" else 32 for byte in range(256)
)
_HEX = expression(rb"(?<![0-9A-Za-z])(?:0[9aAdD]|[2-7][0-9a-fA-F]){24,}(?![0-9A-Za-z])")
_ESCAPE = expression(rb"%[0-9A-Fa-f]{2}")
_URL_TEXT = expression(rb"[\w.~!$&'()*+,;=:@/?%-]{8,4096}")
_URL_BYTES = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._~!$&'()*+,;=:@/?%-"
_URL_BEFORE = 200
_UNPRINTABLE = expression(rb"%(?:0[0-8bcBCeEfF]|1[0-9A-Fa-f]|7[fF]|[89A-Fa-f][0-9A-Fa-f])")
_TOGETHER = 256
_SO_FEW = 8
_UNIT = expression(rb"\\u00([0-9a-fA-F]{2})")
_UNICODE = expression(rb"(?:\\u00[2-7][0-9a-fA-F]){4,}(?:\\u00[2-7][0-9a-fA-F]|[\w.+/=-]){0,400}")
_TEXT_QUAD = (
    "[CDIJKLMNOPQRSTUVWXYZabcdef][ACDEFGHQSTUVWXgijklmnwyz0123][ABEFIJMNQRUVYZcdghklopstwx014589][A-Za-z0-9+/_-]"
)
"""Four digits of base64 whose three bytes are printable ASCII or white space: the high bits of such bytes are few."""
_HEX_BYTE = "(?:0[9aAdD]|[2-7][0-9a-fA-F])"
"""The same of two digits in hex."""
GATES = (
    rf"[^A-Za-z0-9+/_-](?:{_TEXT_QUAD}){{8}}",
    rf"[^0-9A-Za-z]{_HEX_BYTE}{{24}}",
    rf"%{_HEX_BYTE}[^\s%]{{0,80}}%{_HEX_BYTE}",
    r"(?:\\u00[2-7][0-9a-fA-F]){4}",
)
"""One for each of :data:`_DECODERS`; a text's beginning is for :func:`at_beginning`, since ``^`` costs every byte."""
_REACHES = (
    (33, expression(rb"[A-Za-z0-9+/_-]*={0,2}")),
    (256, expression(rb"[0-9A-Za-z]*")),
    (256, expression(rb"[\w.~!$&'()*+,;=:@/?%-]{0,4096}")),
    (256, expression(rb"[\w.+/=\\-]*")),
)
"""How far before a hit of each gate its decoder may begin, and what it may take behind."""
_BEGINS_ENCODED = (expression(rf"(?:{_TEXT_QUAD}){{8}}".encode()), expression(rf"{_HEX_BYTE}{{24}}".encode()))
_RUN_BYTES = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/_-"
_SHORTEST = 32
_PRINTABLE = expression(rb"[\t\n\r -~]*\Z")


def utf16(data: bytes) -> bytes | None:
    """The text as UTF-8 when it begins with a UTF-16 byte order mark."""
    if data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return None
    return data.decode("utf-16", "replace").encode("utf-8", "replace")


def hidden(
    data: bytes,
    look: Callable[[bytes], list[Match]],
    *,
    depth: int = DEPTH,
    spans: Sequence[tuple[int, int, int]] | None = None,
    quiet: Callable[[bytes], bool] | None = None,
) -> Iterator[Match]:
    """Matches of ``look`` in what the text hides; each stands where its encoded form does.

    ``spans`` are stretches to look at, each with the number of the gate that it is for; by default all of the text is
    looked at for everything. ``quiet`` tells of a text whether ``look`` and the gates would find nothing in any line of
    it: a log of requests hides tens of thousands of texts, nearly all of them with nothing in them.
    """
    found = _encoded(data, spans or [(0, len(data), gate) for gate in range(len(GATES))])
    for start, end, plain, how in found if quiet is None else _speaking(found, quiet):
        for match in look(plain):
            yield Match(match.rule, start, end, match.value, match.confidence, f"{how} {match.note}".strip())
        if depth > 1:
            for match in hidden(plain, look, depth=depth - 1):
                yield Match(match.rule, start, end, match.value, match.confidence, f"{how} in {match.note}".strip())


def around(data: bytes, gate: int, ends: Iterable[int]) -> Iterator[tuple[int, int, int]]:
    """The stretches to look at for the hits of a gate, in order and apart: what its decoder takes goes no further."""
    before, rest = _REACHES[gate]
    spans: list[tuple[int, int]] = []
    done = -1
    for at in ends:
        if at > done:
            run = rest.match(data, at)
            done = run.end() if run else at
            spans.append((at - before, done + 1))
    for begin, end in merge(spans, len(data)):
        yield begin, end, gate


def at_beginning(data: bytes) -> Sequence[int]:
    """The gates that would find something at the text's beginning if they did not want another character before it."""
    begin = data[:_SHORTEST]
    if b" " in begin or begin.translate(None, _RUN_BYTES):  # few texts begin without a blank
        return ()
    return [gate for gate, begins in enumerate(_BEGINS_ENCODED) if begins.match(data)]


def _encoded(data: bytes, spans: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int, bytes, str]]:
    for begin, stop, gate in spans:
        yield from _DECODERS[gate](data, begin, stop)


def _speaking(
    stretches: Iterator[tuple[int, int, bytes, str]], quiet: Callable[[bytes], bool]
) -> Iterator[tuple[int, int, bytes, str]]:
    """Without those that have nothing to say: they are asked together."""
    batch, size = [], 0
    for stretch in stretches:
        batch.append(stretch)
        size += len(stretch[2])
        if len(batch) >= _TOGETHER or size >= LONGEST:
            yield from _not_quiet(batch, quiet)
            batch, size = [], 0
    yield from _not_quiet(batch, quiet)


def _not_quiet(
    batch: list[tuple[int, int, bytes, str]], quiet: Callable[[bytes], bool]
) -> list[tuple[int, int, bytes, str]]:
    if len(batch) < 2:
        return batch
    text = b"\n".join([b"", *[plain for _, _, plain, _ in batch]])
    # two escapes of one text may stand further apart than the gate looks
    if text.count(b"%") < 2 and quiet(text):
        return []
    if len(batch) <= _SO_FEW:
        return batch
    half = len(batch) // 2
    return _not_quiet(batch[:half], quiet) + _not_quiet(batch[half:], quiet)


def _long_runs(data: bytes, begin: int, stop: int, least: int) -> Iterator[tuple[int, int]]:
    """Where so many digits of base64, in either alphabet, or of hex stand in a row; without trying every byte."""
    begin = max(begin, 0)
    text = data[begin:stop].translate(_RUNS_ONLY)
    at = 0
    for run in text.split():
        if len(run) >= least:
            at = text.find(run, at)
            yield begin + at, begin + at + len(run)
            at += len(run)


def _base64s(data: bytes, begin: int, stop: int) -> Iterator[tuple[int, int, bytes, str]]:
    for start, _ in _long_runs(data, begin, stop, 32):
        found = _BASE64.match(data, start, stop)
        plain = _base64(found.group()) if found else None
        if found and plain is not None:
            yield found.start(), found.end(), plain, "base64"


def _hexadecimals(data: bytes, begin: int, stop: int) -> Iterator[tuple[int, int, bytes, str]]:
    for start, end in _long_runs(data, begin, stop, 48):
        for found in _HEX.finditer(data, start, end):
            plain = bytes.fromhex(found.group()[: LONGEST * 2].decode())
            if _readable(plain):
                yield found.start(), found.end(), plain, "hex"


def _escapes(data: bytes, begin: int, stop: int) -> Iterator[tuple[int, int, bytes, str]]:
    if data.find(b"\\u00", begin, stop) < 0:
        return
    for found in _UNICODE.finditer(data, begin, stop):
        plain = _UNIT.sub(lambda m: bytes.fromhex(m[1].decode()), found.group())
        if _readable(plain):
            yield found.start(), found.end(), plain, "unicode escapes"


def _percent(data: bytes, begin: int, stop: int) -> Iterator[tuple[int, int, bytes, str]]:
    from mcpsec.leaks.urlquote import unquote

    if data.find(b"%", begin, stop) < 0:
        return
    done = begin
    while mark := _ESCAPE.search(data, done, stop):
        at = mark.start()
        before = data[max(done, at - _URL_BEFORE) : at]
        start = at - len(before) + len(before.rstrip(_URL_BYTES))
        found = _URL_TEXT.match(data, start, stop)
        if found is None:
            done = mark.end()
            continue
        done = found.end()
        text = found.group()
        if text.count(b"%") >= 2 and not _UNPRINTABLE.search(text):
            plain = unquote(text.decode("latin-1")).encode("utf-8", "replace")
            if _readable(plain):
                yield start, done, plain, "percent"


_DECODERS = (_base64s, _hexadecimals, _percent, _escapes)


def _base64(text: bytes) -> bytes | None:
    from mcpsec.leaks.checks import unbase64

    sample = unbase64(text[:32].decode())
    if sample is None or not _readable(sample):
        return None
    plain = unbase64(text[:LONGEST].decode())
    return plain if plain is not None and _readable(plain) else None


def _readable(plain: bytes) -> bool:
    return len(plain) >= 8 and _PRINTABLE.match(plain) is not None
