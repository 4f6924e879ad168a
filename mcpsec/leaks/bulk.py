"""Large input: one Hyperscan database says where to look, the same code as for small input confirms.

Every rule's pattern (its gate, where it has one) and the gates of the detectors are one block-mode database. A hit only
gives an expression and an end offset; the confirmation runs in the text around it. Patterns must therefore be bounded.
The compiled database is kept in the user's cache. Without Hyperscan (no wheel for the platform) everything still works,
through keywords, more slowly: a test compares the findings.
"""

from __future__ import annotations

import re

from mcpsec.leaks import assignments, connections, keyblocks, slots
from mcpsec.leaks.detection import confirm, finish, merge
from mcpsec.leaks.rulebook import read_cache, write_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mcpsec.leaks.findings import Match
    from mcpsec.leaks.rulebook import Rulebook

__all__ = ["Bulk", "available", "cached"]

GATES = (
    *((assignments, gate, assignments.REACH) for gate in assignments.GATES),
    (connections, connections.URL_GATE, 512),
    (connections, connections.HEADER_GATE, 64),
    (connections, connections.CURL_GATE, 32),
    (keyblocks, keyblocks.GATE, 96),
)
"""Detector, the expression that finds where it has something to look at, and how far before the hit's end that begins."""

LONGEST = 4096
RARE, RARE_IN_CODE = 5, 5
"""From this length on a keyword is looked for as it stands: for rules with a format of their own, for named values."""
FREQUENT = frozenset(
    """
    token secret bearer basic password access digital google azure amazon apple intel python stream vault session security
    storage account accountkey account_key subscription github gitlab checkout agent agent: user: spaces together cognitive test_
    live_ test- access_ access- _auth _password search consul redis mongo oauth client webhook slack docker nuget maven travis
    heroku stripe linear notion figma shopify twitter facebook instagram linkedin discord telegram yandex square plaid segment
    pusher front asana trello dropbox intercom branch bridge signal kraken mapbox alibaba ibmcloud watson object storage
    """.split()
)


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
    to look for; rules with a short one (``sk-``, ``key``) are looked for by their gate or whole pattern.
    """

    def __init__(self, book: Rulebook) -> None:
        literals: dict[str, list[int]] = {}
        self.sources: list[str] = []
        self.wakes: list[tuple[str, list[int]]] = []
        for index, rule in enumerate(book.rules):
            if not rule.pattern:
                continue
            if all(len(k) >= (RARE_IN_CODE if rule.gate else RARE) and k not in FREQUENT for k in rule.keywords):
                for keyword in rule.keywords:
                    literals.setdefault(keyword, []).append(index)
            else:
                self._add(rule.gate or rule.pattern, "gate" if rule.gate else "pattern", [index])
        for keyword, indexes in literals.items():
            self._add("(?i)" + re.escape(keyword), "literal", indexes)
        for number, (_, gate, _) in enumerate(GATES):
            self._add(gate, "detector", [number])
        for mark in slots.MARKS:
            self._add("(?i)" + re.escape(mark.decode()), "mark", [])

    def _add(self, source: str, how: str, wakes: list[int]) -> None:
        self.sources.append(source)
        self.wakes.append((how, wakes))

    def key(self) -> str:
        """Names the cache file: the expressions, and the library that compiled them."""
        from hashlib import sha256

        import hyperscan

        text = "\0".join((hyperscan.__version__, *self.sources))
        return "hyperscan-" + sha256(text.encode()).hexdigest()[:32]


def cached(book: Rulebook) -> bool:
    """True when the compiled database is in the cache."""
    return available() and read_cache(Plan(book).key()) is not None


class Bulk:
    """A loaded database. Not to be shared between threads: the scratch space is one scan's."""

    def __init__(self, book: Rulebook) -> None:
        import hyperscan

        self.book = book
        plan = Plan(book)
        self._wakes = plan.wakes
        name = plan.key()
        self._db = self._load(name)
        if self._db is None:
            self._db = _compile(plan.sources)
            write_cache(name, hyperscan.dumpb(self._db))
        self._hits: list[tuple[int, int]] = []
        self._collect = self._collector()

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

    def _collector(self) -> Any:
        append = self._hits.append

        def collect(number: int, start: int, end: int, flags: int, context: object) -> None:
            append((number, end))

        return collect

    def find(self, data: bytes, *, path: str | None, floor: int) -> list[Match]:
        """The same answer as :func:`mcpsec.leaks.detection.find`."""
        hits = self._hits
        hits.clear()
        self._db.scan(data, match_event_handler=self._collect)
        if not hits:
            return []  # a configuration has hits: its marks are expressions too
        ends: dict[int, list[int]] = {}
        for number, end in hits:
            ends.setdefault(number, []).append(end)
        size = len(data)
        areas: dict[int, list[tuple[int, int]]] = {}
        detections: dict[int, list[tuple[int, int]]] = {}
        marked = False
        for number, places in ends.items():
            how, wakes = self._wakes[number]
            if how == "mark":
                marked = True
                continue
            if how == "detector":
                detector, _, reach = GATES[wakes[0]]
                detections.setdefault(_DETECTORS.index(detector), []).extend((end - reach, end) for end in places)
                continue
            for index in wakes:
                width = self.book.pattern(index).width + 16
                if width > LONGEST and self.book.rules[index].gate:
                    width = LONGEST
                before, after = width, 64 if how == "pattern" else width
                areas.setdefault(index, []).extend((at - before, at + after) for at in places)
        matches: list[Match] = []
        lower = b""
        for index, spans in areas.items():
            if len(self.book.rules[index].keywords) > 1:
                spans.sort()
            for begin, end in merge(spans, size):
                matches.extend(confirm(self.book, index, data, begin, end))
        if detections:
            lower, where = data.lower(), assignments.surroundings(path)
            for number, spans in detections.items():
                spans.sort()
                places = merge(spans, size)
                matches.extend(_DETECTORS[number].detect(self.book, data, lower, where, places))
        return finish(self.book, data, lower or data.lower(), path, matches, floor) if matches or marked else []


_DETECTORS = (assignments, connections, keyblocks)


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
