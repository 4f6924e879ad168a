"""Large input: one Hyperscan database says where to look, the same code as for small input confirms.

Every rule's pattern (its gate, where it has one) and the gates of the detectors are one block-mode database. A hit only
gives an expression and an end offset; the confirmation runs in the text around it. Patterns must therefore be bounded.
The compiled database is kept in the user's cache. Without Hyperscan (no wheel for the platform) everything still works,
through keywords, more slowly: a test compares the findings.
"""

from __future__ import annotations

import re
from _thread import allocate_lock
from functools import partial

from mcpsec.leaks import assignments, columns, commands, connections, decoding, keyblocks, manifests, slots
from mcpsec.leaks.detection import (
    DETECTORS,
    NAMED_BEFORE,
    NAMED_REACH,
    beside_slot,
    confirm,
    finish,
    mentions,
    resolve,
)
from mcpsec.leaks.expressions import read_cache, write_cache
from mcpsec.leaks.findings import merge
from mcpsec.leaks.rulebook import FREQUENT, SLOT_BEFORE_GAP, SLOT_GAP, SLOT_WORDS, is_common, is_short
from mcpsec.leaks.surroundings import surroundings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mcpsec.leaks.findings import Match
    from mcpsec.leaks.rulebook import Rulebook

    _Woken = tuple[dict[tuple[bytes, ...], list[int]], list[tuple[int, int, int]]]

__all__ = ["Bulk", "available", "cached", "says_little"]

GATES = (
    *((assignments, gate, assignments.REACH) for gate in assignments.GATES),
    (connections, connections.URL_GATE, 512),
    (connections, connections.HEADER_GATE, 64),
    (connections, connections.AUTHORIZATION_GATE, 96),
    (connections, connections.CURL_GATE, 112),
    (keyblocks, keyblocks.GATE, 96),
    *((commands, gate, commands.REACH) for gate in commands.GATES),
    (manifests, manifests.GATE, manifests.REACH),
    *((columns, gate, columns.REACH) for gate in columns.GATES),
)
"""Detector, the expression that finds where it has something to look at, and how far before the hit's end that begins."""  # noqa: E501

_ASSIGNMENTS = DETECTORS.index(assignments)
NAMED_BEGIN = NAMED_REACH + 32
"""How far before the end of a provider's name what belongs to it begins."""
BESIDE = 64
"""The most text of a hit beside an everyday name: the gap and the secret-like word."""
RARE = 5
"""From this length on a keyword is looked for as it stands."""


def available() -> bool:
    """True when Hyperscan can be used here."""
    try:
        import hyperscan  # noqa: F401
    except ImportError:
        return False
    return True


class Plan:
    """What goes into the database: for each expression its source and the rules (or the detector) that it wakes.

    A keyword that is long enough to be rare stands for its rules, since literals compile in no time and cost nothing
    to look for; rules with a short one (``sk-``, ``key``) are looked for by their gate, by what their pattern begins
    with where the rule says so, or by their whole pattern.
    """

    def __init__(self, book: Rulebook) -> None:
        literals: dict[str, list[int]] = {}
        everyday: dict[str, list[int]] = {}
        self.sources: list[str] = []
        self.wakes: list[tuple[str, list[int]]] = []
        for index, rule in enumerate(book.passing()):
            if not rule.pattern:
                continue
            if not rule.gate and any(says_little(k) for k in rule.keywords):
                self._add(rule.beginning or rule.pattern, "pattern", [index])
                continue
            for keyword in rule.keywords:
                wakes = literals
                if rule.gate and is_common(keyword):
                    wakes = everyday
                wakes.setdefault(keyword, []).append(index)
        for keyword, indexes in literals.items():
            self._add("(?i)" + re.escape(keyword), "literal", indexes)
        self.everyday: dict[int, bytes] = {}
        for keyword, indexes in everyday.items():
            self.everyday[len(self.sources)] = keyword.encode()
            self._add(_beside(keyword), "everyday", indexes)
        for number, (_, gate, _) in enumerate(GATES):
            self._add(gate, "detector", [number])
        for number, gate in enumerate(decoding.GATES):
            self._add(gate, "encoded", [number])
        for mark in (*slots.MARKS, *slots.FRAGMENT_MARKS):
            self._add("(?i)" + re.escape(mark.decode()), "mark", [])

    def _add(self, source: str, how: str, wakes: list[int]) -> None:
        self.sources.append(source)
        self.wakes.append((how, wakes))

    def key(self) -> str:
        """Names the cache file: the expressions, and the library that compiled them."""
        from hashlib import sha256

        import hyperscan

        version = str(getattr(hyperscan, "__version__", ""))
        text = "\0".join((version, *self.sources))
        return "hyperscan-" + sha256(text.encode()).hexdigest()[:32]


def cached(book: Rulebook) -> bool:
    """True when the compiled database is in the cache."""
    return available() and read_cache(Plan(book).key()) is not None


class _Leads:
    """What the hits in one text lead to: stretches for rules, for detectors and for decoding."""

    def __init__(self) -> None:
        self.areas: dict[int, list[tuple[int, int]]] = {}
        self.detections: dict[int, list[tuple[int, int]]] = {}
        self.encoded: list[tuple[int, int, int]] = []
        self.marked = False
        self.lower = b""

    def lowered(self, data: bytes) -> bytes:
        """The text in lower case, made once."""
        self.lower = self.lower or data.lower()
        return self.lower

    def detect(self, gate: int, data: bytes, places: list[int]) -> None:
        """Add the stretches that a detector has to look at for the hits of one of its gates."""
        detector, _, reach = GATES[gate]
        spans = self.detections.setdefault(DETECTORS.index(detector), [])
        if detector is assignments:
            spans.extend([assignments.stretch(data, end) for end in places])
        else:
            spans.extend([(end - reach, end) for end in places])


def _collect(number: int, _start: int, end: int, _flags: int, hits: list[tuple[int, int]]) -> None:
    hits.append((number, end))


class Bulk:
    """A loaded database. Threads may share it: a lock keeps them from the scratch space while one of them scans."""

    def __init__(self, book: Rulebook) -> None:
        import hyperscan

        self.book = book
        plan = Plan(book)
        self._wakes = plan.wakes
        self._everyday = plan.everyday
        self._woken: dict[int, _Woken] = {}
        self._short: dict[bytes, list[tuple[bytes, int]]] = {}
        for number, keyword in plan.everyday.items():
            if is_short(keyword.decode()):
                self._short.setdefault(keyword[:2], []).append((keyword, number))
        self._encoded_number = [how for how, _ in plan.wakes].index("encoded")
        name = plan.key()
        self._db = self._load(name)
        if self._db is None:
            self._db = _compile(plan.sources)
            write_cache(name, hyperscan.dumpb(self._db))
        self._lock = allocate_lock()

    def _load(self, name: str) -> Any:
        import hyperscan

        content = read_cache(name)
        if content is None:
            return None
        try:
            db = hyperscan.loadb(content, mode=hyperscan.HS_MODE_BLOCK)
            db.scratch = hyperscan.Scratch(db)
            return db
        except (hyperscan.HyperscanError, ValueError, TypeError):
            return None

    def _scan(self, data: bytes | memoryview) -> list[tuple[int, int]]:
        """Every hit: the number of its expression and where it ends."""
        hits: list[tuple[int, int]] = []
        with self._lock:
            self._db.scan(data, _collect, 0, hits)  # names for its arguments would cost a fifth of a short scan
        return hits

    def is_quiet(self, data: bytes) -> bool:
        """Whether nothing in a text leads anywhere, so that ``find`` without a path has nothing to tell."""
        hits: list[tuple[int, int]] = []
        with self._lock:  # as ``_scan`` does it: every answer of a gateway comes here
            self._db.scan(data, _collect, 0, hits)
        return not hits and not data[:1].isalnum()

    def hits(self, data: bytes | memoryview) -> list[tuple[int, int]]:
        """What the expressions find in a text, for :meth:`find`."""
        hits = self._scan(data)
        begin = bytes(data[:BESIDE])
        if begin[:1].isalnum():  # a JSON text, say, begins with nothing that they find
            self._at_beginning(begin, hits)
        return hits

    def find(
        self, data: bytes, *, path: str | None, floor: int, hits: list[tuple[int, int]] | None = None
    ) -> list[Match]:
        """The same answer as :func:`mcpsec.leaks.detection.find`; ``hits`` where :meth:`hits` was asked already."""
        hits = self.hits(data) if hits is None else hits
        where = "" if path is None else surroundings(path)
        if not hits and where != "settings":
            return []  # a configuration has hits: its marks are expressions too
        leads = self._leads(data, hits)
        if where == "settings":
            leads.detections[_ASSIGNMENTS] = [(0, len(data))]
        matches = self._direct(data, leads, where, floor)
        if leads.encoded:
            look = partial(self._plainly, floor=floor)
            matches.extend(decoding.hidden(data, look, spans=leads.encoded, quiet=self.is_quiet))
        return finish(self.book, data, leads.lowered(data), path, matches, floor) if matches or leads.marked else []

    def _direct(self, data: bytes, leads: _Leads, where: str, floor: int) -> list[Match]:
        """What the leads lead to in the text as it stands, overlaps included, as :func:`detection.direct` has it."""
        book, size = self.book, len(data)
        matches: list[Match] = []
        for index, spans in leads.areas.items():
            spans.sort()
            for begin, end in merge(spans, size):
                matches.extend(confirm(book, index, data, begin, end))
        for number, spans in leads.detections.items():
            spans.sort()
            lower = b"" if number == _ASSIGNMENTS and where != "settings" else leads.lowered(data)
            matches.extend(DETECTORS[number].detect(book, data, lower, where, merge(spans, size), floor))
        return matches

    def _plainly(self, plain: bytes, floor: int) -> list[Match]:
        """The matches in a decoded text."""
        hits = self._scan(plain)
        self._at_beginning(plain[:BESIDE], hits)
        return resolve(self._direct(plain, self._leads(plain, hits), "text", floor), floor) if hits else []

    def _at_beginning(self, data: bytes, hits: list[tuple[int, int]]) -> None:
        """Add what the expressions would find at the text's beginning if they did not want a character before it."""
        begun = self._short.get(data[:2].lower())
        if begun:
            begins = data[:BESIDE].lower()
            for keyword, number in begun:
                if begins.startswith(keyword) and beside_slot(begins, 0, len(keyword)):
                    hits.append((number, len(keyword)))
        hits.extend([(self._encoded_number + gate, 0) for gate in decoding.at_beginning(data)])

    def _leads(self, data: bytes, hits: list[tuple[int, int]]) -> _Leads:
        """What to look at, from where each expression ended."""
        leads = _Leads()
        ends: dict[int, list[int]] = {}
        for number, end in hits:
            ends.setdefault(number, []).append(end)
        for number, places in ends.items():
            how, wakes = self._wakes[number]
            if how == "detector":
                leads.detect(wakes[0], data, places)
            elif how == "encoded":
                leads.encoded.extend(decoding.around(data, wakes[0], places))
            elif how == "mark":
                leads.marked = True
            elif how == "everyday":
                beside = _ends_beside_slot(leads.lowered(data), self._everyday[number], places)
                self._wake(data, number, beside, leads.areas)
            elif how != "pattern" or mentions(leads.lowered(data), self._keywords(wakes[0])):
                self._wake(data, number, places, leads.areas)
        return leads

    def _keywords(self, index: int) -> list[bytes]:
        return [keyword.encode() for keyword in self.book.rule(index).keywords]

    def _wake(self, data: bytes, number: int, places: list[int], areas: dict[int, list[tuple[int, int]]]) -> None:
        """Add the stretches around hits of an expression in which its rules may match."""
        woken = self._woken.get(number) or self._awake(number)
        for near, rules in woken[0].items():
            spans = _named(data, places, near)
            if spans:
                for index in rules:
                    areas.setdefault(index, []).extend(spans)
        for index, before, after in woken[1]:
            areas.setdefault(index, []).extend([(at - before, at + after) for at in places])

    def _awake(self, number: int) -> _Woken:
        """The rules of an expression: those of a provider's name by what has to be near, the others by their reach."""
        how, wakes = self._wakes[number]
        named: dict[tuple[bytes, ...], list[int]] = {}
        direct = []
        for index in wakes:
            rule = self.book.rule(index)
            if rule.gate:
                named.setdefault(rule.near, []).append(index)
            else:
                reach = self.book.pattern(index).width + 16
                after = 64 if how == "pattern" and not rule.beginning else reach
                direct.append((index, reach, after))
        self._woken[number] = named, direct
        return named, direct


def _beside(keyword: str) -> str:
    """The expression for an everyday name beside a secret-like word; what it finds is looked at again.

    A short one has to begin a word. Each stands alone, since an automaton for all of them would see every byte.
    """
    name, words = re.escape(keyword), f"(?:{SLOT_WORDS})"
    if is_short(keyword):
        return rf"(?i)[^a-z0-9]{name}[\"']?(?:[:={{]{{1,2}}\s+\{{?)?[\w.-]*{words}"
    return f"(?i){name}{SLOT_GAP}{words}|{words}{SLOT_BEFORE_GAP}{name}"


def _named(data: bytes, places: list[int], near: tuple[bytes, ...]) -> list[tuple[int, int]]:
    """The stretches behind the ends of a provider's name where one of the secret-like words is near enough."""
    places.sort()
    spans = merge([(at - NAMED_BEGIN, at + NAMED_REACH) for at in places], len(data))
    return [(begin, end + NAMED_BEFORE) for begin, end in spans if not near or mentions(data[begin:end].lower(), near)]


def says_little(keyword: str) -> bool:
    """True for a keyword that so many texts hold that its rule's whole pattern is looked for instead."""
    return len(keyword) < RARE or keyword in FREQUENT or len(set(keyword)) == 1


def _ends_beside_slot(lower: bytes, keyword: bytes, places: list[int]) -> list[int]:
    """Where the everyday name ends that a hit's stretch holds beside a secret-like word."""
    ends: dict[int, None] = {}
    for place in places:
        at = lower.find(keyword, max(0, place - BESIDE - len(keyword)), place)
        while at >= 0:
            after = at + len(keyword)
            if after not in ends and beside_slot(lower, at, after):
                ends[after] = None
            at = lower.find(keyword, at + 1, place)
    return list(ends)


def _compile(sources: list[str]) -> Any:
    import hyperscan

    db = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    flags = [0 if _plain(source) else hyperscan.HS_FLAG_PREFILTER for source in sources]
    expressions = [source.encode() for source in sources]
    db.compile(expressions=expressions, ids=list(range(len(sources))), elements=len(sources), flags=flags)
    return db


def _plain(source: str) -> bool:
    """True when the expression has no lookaround, which Hyperscan knows only as a prefilter."""
    return not any(mark in source for mark in ("(?=", "(?!", "(?<=", "(?<!", "(?>", "*+", "++", "?+"))
