"""The engine for one buffer: wake rules by keyword, match, judge, drop duplicates.

Small input needs nothing native: keywords are looked for with ``in``, and only the patterns of rules that woke are
compiled. Large input goes through :mod:`mcpsec.leaks.bulk`, which finds the places to look at and confirms them with
the same code, so both ways report the same findings.
"""

from __future__ import annotations

from _bisect import bisect_left

from mcpsec.leaks import assignments, columns, commands, connections, decoding, keyblocks, manifests, slots
from mcpsec.leaks.expressions import expression
from mcpsec.leaks.findings import FINGERPRINT_KEY, Finding, Match, fingerprint, level, mask, merge
from mcpsec.leaks.rulebook import SHORT_GAP, SHORTEST_LONG, SLOT_BEFORE_GAP, SLOT_GAP, SLOT_WORDS, is_common, packaged
from mcpsec.leaks.secrecy import password_strength
from mcpsec.leaks.surroundings import surroundings
from mcpsec.leaks.values import entropy, is_counted, is_jumbled, kinds, randomness, wordiness

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mcpsec.leaks.rulebook import Pattern, Rule, Rulebook

__all__ = [
    "DETECTORS",
    "beside_slot",
    "confirm",
    "direct",
    "find",
    "finish",
    "locate",
    "mentions",
    "resolve",
    "scan_bytes",
]

DETECTORS = (assignments, connections, keyblocks, commands, manifests, columns)
LOW, MEDIUM, HIGH = 0, 1, 2
KEY_SIZE = 32
"""128 bits in hex: what has this length, in a provider's form and beside its name, was put where a key belongs."""
NAMED_BEFORE = 360
"""The most text from a provider's name to the value that a template finds beside it."""
NAMED_REACH = 96
"""How far a provider's name and a secret-like word may be apart, with the words themselves."""
_SLOT_AFTER = expression(SLOT_GAP.encode() + rb"(?:" + SLOT_WORDS.encode() + rb")")
_SHORT_SLOT_AFTER = expression(SHORT_GAP.encode() + rb"(?:" + SLOT_WORDS.encode() + rb")")
_SLOT_BEFORE = expression(rb"(?:" + SLOT_WORDS.encode() + rb")" + SLOT_BEFORE_GAP.encode() + rb"$")
_RUN = expression(rb"[A-Za-z0-9_+/=.~-]{12,}")
_DIGIT = expression(rb"[0-9]")
_BLOB = expression(rb"[A-Za-z0-9+/]{60}\Z")
WHOLE = 16 * 1024
"""Below this size a pattern runs over the whole text; above, only near its keywords."""


def find(data: bytes, *, path: str | None = None, floor: int = 1, book: Rulebook | None = None) -> list[Match]:
    """Every secret in ``data`` at or above the confidence ``floor``, in order, each place once."""
    book = book or packaged()
    lower = data.lower()
    matches = direct(book, data, lower, path, floor)
    if len(data) >= 32:
        matches.extend(
            decoding.hidden(data, lambda plain: resolve(direct(book, plain, plain.lower(), None, floor), floor))
        )
    return finish(book, data, lower, path, matches, floor)


def direct(book: Rulebook, data: bytes, lower: bytes, path: str | None, floor: int = LOW) -> list[Match]:
    """Every match in the text as it stands, overlaps included; those below the ``floor`` may be left out."""
    where = surroundings(path)
    matches: list[Match] = []
    for index, spans in _awake(book, lower):
        for begin, end in spans:
            matches.extend(confirm(book, index, data, begin, end))
    for detector in DETECTORS:
        matches.extend(detector.detect(book, data, lower, where, [(0, len(data))], floor))
    return matches


def finish(
    book: Rulebook, data: bytes, lower: bytes, path: str | None, matches: list[Match], floor: int
) -> list[Match]:
    """What both ways of looking end with: the slots of client configurations, then one match a place."""
    if surroundings(path) != "code" and slots.is_configuration(lower):
        matches = slots.judged(book, data, path, matches)
    matches = [_shown(match, data) for match in matches]
    return [m for m in resolve(matches, floor) if not book.is_public(m.value)] if matches else []


_EXAMPLE_KEY = expression(rb"""[ \t]*(?:-[ \t]{1,4})?["']?examples?["']?[ \t]{0,4}:""")
"""Under this key OpenAPI and JSON Schema keep a sample (https://spec.openapis.org/oas/v3.1.1#schema-object)."""
EXAMPLE_BYTES = 4096
"""How far above a value the key of the example that holds it may stand."""


def _shown(match: Match, data: bytes) -> Match:
    """The match, of less weight where its place says that it is an example, or its password is its user's name."""
    start = match.start
    if match.note:
        return match
    if data[start - 1 : start] == b":":
        value = data[start : match.end]
        user = start - 1 - len(value)
        named_alike = user > 0 and data[user - 1] in b"/\"'" and data[user : start - 1] == value
        if (named_alike or data[match.end : match.end + 1] == b"@") and _is_sample_login(match, data, named_alike):
            return Match(match.rule, start, match.end, match.value, LOW)
    if match.confidence == HIGH and _in_example(data, start):
        return Match(match.rule, start, match.end, match.value, MEDIUM)
    return match


SURELY_WORD = 0.5


def _is_sample_login(match: Match, data: bytes, named_alike: bool) -> bool:
    """True for the user's name as password, unless at somebody's own host, and for a word at the host of an example."""
    from mcpsec.leaks.hosting import host_behind, is_hosted

    host = host_behind(data, match.end)
    if named_alike:
        return not is_hosted(host)
    word = match.value.isalpha() and match.value.islower() and wordiness(match.value) > SURELY_WORD
    return word and password_strength(match.value) == LOW and connections.HOSTS_OF_EXAMPLES.match(host) is not None


def _in_example(data: bytes, start: int) -> bool:
    """True for a value of an ``example:``, or in the block below it: ever lesser indentation leads up to its key."""
    above = data[max(0, start - EXAMPLE_BYTES) : start]
    if b"example" not in above:
        return False
    lines = above.split(b"\n")
    depth = len(lines[-1]) + 1
    for line in reversed(lines):
        indent = len(line) - len(line.lstrip())
        if indent < depth and line.strip():
            if _EXAMPLE_KEY.match(line):
                return True
            depth = indent
    return False


def _awake(book: Rulebook, lower: bytes) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Each rule with a keyword in the text, and where its pattern may match."""
    size = len(lower)
    for index, keywords in book.awake(lower).items():
        rule = book.rule(index)
        if rule.gate:
            spans = _named(lower, keywords)
            if spans:
                yield index, spans
            continue
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
            at += len(keyword)
            places.append(at)
            at = lower.find(keyword, at)
    return merge(((end - reach, end + reach) for end in sorted(places)), len(lower))


def _named(lower: bytes, keywords: Iterable[bytes]) -> list[tuple[int, int]]:
    """Where a provider's name stands, for an everyday name only beside a secret-like word."""
    spans: list[tuple[int, int]] = []
    for keyword in keywords:
        everyday = is_common(keyword.decode())
        at = lower.find(keyword)
        while at >= 0:
            after = at + len(keyword)
            if not everyday or beside_slot(lower, at, after):
                spans.append((at - NAMED_REACH, after + NAMED_REACH + NAMED_BEFORE))
            at = lower.find(keyword, after)
    spans.sort()
    return merge(spans, len(lower))


def beside_slot(lower: bytes, at: int, after: int) -> bool:
    """True when a secret-like word stands beside the everyday name between the two offsets."""
    if after - at >= SHORTEST_LONG:
        return bool(_SLOT_AFTER.match(lower, after) or _SLOT_BEFORE.search(lower, max(0, at - 24), at))
    return not lower[max(0, at - 1) : at].isalnum() and _SHORT_SLOT_AFTER.match(lower, after) is not None


def confirm(book: Rulebook, index: int, data: bytes, begin: int, end: int) -> Iterator[Match]:
    """The matches of one rule in a window, each judged."""
    rule = book.rule(index)
    if not rule.gate:
        yield from _matches(rule, book.pattern(index), data, begin, end)
        return
    if rule.near and not mentions(data[max(0, begin) : end].lower(), rule.near):
        return
    value = book.value(index).search(data, begin, end)
    if value is None:
        return
    for inner_begin, inner_end in _near_values(data, max(begin, value.start() - NAMED_BEFORE), end):
        yield from _matches(rule, book.pattern(index), data, inner_begin, inner_end)


def mentions(lower: bytes, words: Iterable[bytes]) -> bool:
    """True when one of the words stands in the text."""
    return any(map(lower.__contains__, words))  # without a generator, which would cost more than the search


def _near_values(data: bytes, begin: int, end: int) -> list[tuple[int, int]]:
    """Where a named value may stand: before the end of a run of characters that is long, has a digit or is no word."""
    spans = []
    for run in _RUN.finditer(data, begin, end):
        start, stop = run.span()
        if stop - start >= 24 or _DIGIT.search(data, start, stop) or is_jumbled(data[start:stop].decode("latin-1")):
            spans.append((max(begin, start - NAMED_BEFORE), min(end, stop + 2)))
    return merge(spans, end)


def _matches(rule: Rule, pattern: Pattern, data: bytes, begin: int, end: int) -> Iterator[Match]:
    group = pattern.group
    for found in pattern.compiled.finditer(data, begin, end):
        start, stop = found.span(group)
        if start < 0 or start == stop:
            continue
        if data[start - 1 : start] in (b"+", b"/") and _BLOB.search(data, max(0, start - 80), start):
            continue  # chance made a prefix in an image's base64
        value = data[start:stop].decode("utf-8", "replace")
        confidence = _grade(rule, value)
        if confidence is not None:
            yield Match(rule, start, stop, value, confidence)


def _grade(rule: Rule, value: str) -> int | None:
    """The confidence that a matched value deserves; None to drop it."""
    if rule.entropy and entropy(value) < rule.entropy and not is_counted(value):
        return None
    if rule.check:
        from mcpsec.leaks import checks

        verdict = checks.run(rule.check, value)
        if verdict is False:
            return None
        return rule.confidence if verdict else min(MEDIUM, rule.confidence)
    body = _body(rule, value)
    verdict = randomness(body) if len(body) >= 6 else True
    if verdict is False or (verdict is None and body.isdigit()):
        return None  # counted on one's fingers
    if (
        rule.gate
        and rule.confidence == MEDIUM
        and (_is_unmistakable(value) if verdict else len(value) >= KEY_SIZE and is_counted(value) and kinds(value) >= 2)
    ):
        return HIGH
    return rule.confidence if verdict else min(MEDIUM, rule.confidence)


def _is_unmistakable(value: str) -> bool:
    """True for 16 characters or more, which beside their provider's name are no accident when they look random."""
    return len(value) >= 16 and kinds(value) >= 2


def _body(rule: Rule, value: str) -> str:
    """The value without the literal that its format begins with."""
    low = value.lower()
    for keyword in rule.keywords:
        if low.startswith(keyword):
            return value[len(keyword) :]
    return value


def resolve(matches: list[Match], floor: int) -> list[Match]:
    """Drop what is below the floor, and keep the best of matches that overlap: surest, then provider's, then longest."""  # noqa: E501
    kept: list[Match] = []
    ranked = sorted(
        matches,
        key=lambda m: (
            -m.confidence,
            bool(m.rule.detector),
            m.rule.detector == "assignments",
            m.start - m.end,
            m.start,
            m.rule.id,
        ),
    )
    starts: list[int] = []
    ends: list[int] = []
    for match in ranked:
        if match.confidence < floor:
            break
        place = bisect_left(ends, match.start + 1)  # the first kept match that ends after this one starts
        if place < len(starts) and starts[place] < match.end:
            continue
        starts.insert(place, match.start)
        ends.insert(place, match.end)
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
