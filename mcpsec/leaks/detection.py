"""The engine for one buffer: wake rules by keyword, match, judge, drop duplicates.

Small input needs nothing native: keywords are looked for with ``in``, and only the patterns of rules that woke are
compiled. Large input goes through :mod:`mcpsec.leaks.bulk`, which finds the places to look at and confirms them with
the same code, so both ways report the same findings.
"""

from __future__ import annotations

from mcpsec.leaks import assignments, connections, keyblocks
from mcpsec.leaks.findings import FINGERPRINT_KEY, Finding, Match, fingerprint, level, mask
from mcpsec.leaks.rulebook import packaged
from mcpsec.leaks.values import entropy, is_placeholder, looks_random, wordiness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mcpsec.leaks.rulebook import Rule, Rulebook

__all__ = ["DETECTORS", "confirm", "find", "locate", "resolve", "scan_bytes"]

DETECTORS = (assignments, connections, keyblocks)
WHOLE = 16 * 1024
"""Below this size a pattern runs over the whole text; above, only near its keywords."""


def find(data: bytes, *, path: str | None = None, floor: int = 1, book: Rulebook | None = None) -> list[Match]:
    """Every secret in ``data`` at or above the confidence ``floor``, in order, each place once."""
    book = book or packaged()
    lower = data.lower()
    where = assignments.surroundings(path)
    matches: list[Match] = []
    for index, spans in _awake(book, lower):
        for begin, end in spans:
            matches.extend(confirm(book, index, data, begin, end))
    for detector in DETECTORS:
        matches.extend(detector.detect(book, data, lower, where, 0, len(data)))
    return resolve(matches, floor)


def _awake(book: Rulebook, lower: bytes) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Each rule with a keyword in the text, and where its pattern may match."""
    size = len(lower)
    for index, keywords in book.awake(lower).items():
        width = book.pattern(index).width
        if size <= WHOLE or width * 4 > size:
            yield index, [(0, size)]
        else:
            yield index, _windows(lower, keywords, width + 16)


def _windows(lower: bytes, keywords: Iterable[bytes], reach: int) -> list[tuple[int, int]]:
    places: list[int] = []
    for keyword in keywords:
        at = lower.find(keyword)
        while at >= 0:
            places.append(at)
            at = lower.find(keyword, at + len(keyword))
    return merge(((at - reach, at + reach) for at in sorted(places)), len(lower))


def merge(spans: Iterable[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """Join overlapping spans, given in order of their starts, cut to the text."""
    joined: list[tuple[int, int]] = []
    for begin, end in spans:
        begin, end = max(0, begin), min(size, end)  # noqa: PLW2901 # cut to the text
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined


def confirm(book: Rulebook, index: int, data: bytes, begin: int, end: int) -> Iterator[Match]:
    """The matches of one rule in a window, each judged."""
    rule, pattern = book.rules[index], book.pattern(index)
    group = pattern.group
    for found in pattern.compiled.finditer(data, begin, end):
        start, stop = found.span(group)
        if start < 0 or start == stop:
            continue
        value = data[start:stop].decode("utf-8", "replace")
        confidence = _grade(rule, value)
        if confidence is not None:
            yield Match(rule, start, stop, value, confidence)


def _grade(rule: Rule, value: str) -> int | None:
    """The confidence that a matched value deserves; None to drop it."""
    if rule.entropy and entropy(value) < rule.entropy:
        return None
    if rule.check:
        from mcpsec.leaks import checks

        verdict = checks.run(rule.check, value)
        if verdict is False:
            return None
        return rule.confidence if verdict else max(0, rule.confidence - 1)
    body = _body(rule, value)
    if len(body) < 6:
        return rule.confidence
    if is_placeholder(body):
        return None
    if looks_random(body):
        return rule.confidence
    if wordiness(body) > 0.7 and not any(map(str.isdigit, body)):
        return None
    return max(0, rule.confidence - 1)


def _body(rule: Rule, value: str) -> str:
    """The value without the literal that its format begins with."""
    low = value.lower()
    for keyword in rule.keywords:
        if low.startswith(keyword):
            return value[len(keyword) :]
    return value


def resolve(matches: list[Match], floor: int) -> list[Match]:
    """Drop what is below the floor, and keep the best of matches that overlap: surest, then provider's, then longest."""
    kept: list[Match] = []
    ranked = sorted(matches, key=lambda m: (-m.confidence, bool(m.rule.detector), m.start - m.end, m.start, m.rule.id))
    taken: list[tuple[int, int]] = []
    for match in ranked:
        if match.confidence < floor:
            break
        if any(match.start < end and start < match.end for start, end in taken):
            continue
        taken.append((match.start, match.end))
        kept.append(match)
    kept.sort(key=lambda m: (m.start, m.end))
    return kept


def locate(
    data: bytes, matches: list[Match], path: str, *, key: bytes = FINGERPRINT_KEY, full: bool = False
) -> list[Finding]:
    """Turn matches of one text into findings with line and column; the secret stays behind."""
    findings = []
    line, counted = 1, 0
    for match in matches:
        line += data.count(b"\n", counted, match.start)
        counted = match.start
        column = match.start - data.rfind(b"\n", 0, match.start)
        findings.append(
            Finding(
                match.rule,
                path=path,
                line=line,
                column=column,
                start=match.start,
                end=match.end,
                confidence=match.confidence,
                fingerprint=fingerprint(match.rule.family, match.value, key),
                redacted=mask(match.value, full=full),
                origin=match.note,
            )
        )
    return findings


def scan_bytes(data: bytes, *, path: str | None = None, confidence: str = "medium") -> list[Finding]:
    """Find secrets in ``data``.

    ``path`` names the text (its extension decides what an unquoted value means), ``confidence`` is the lowest tier
    reported: ``high``, ``medium`` or ``low``. ValueError for another tier.
    """
    return locate(data, find(data, path=path, floor=level(confidence)), path or "")
