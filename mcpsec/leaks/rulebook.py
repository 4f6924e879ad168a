"""The rules: read from TOML, kept as plain data in the user's cache, compiled one by one when their keyword occurs.

Parsing all rule files costs more than a commit hook may take, so their content is kept as :mod:`marshal` data, and the
code of each regular expression that was ever needed beside it. Both caches are trusted only when the user owns them
and nobody else may write there (``marshal`` must not read what another user wrote).
"""

from __future__ import annotations

import marshal
import os
import sys
from binascii import crc32

from mcpsec.leaks.expressions import FORMAT, compiled, expression, read_cache, tag, write_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from mcpsec.leaks.linear import ByteExpression

__all__ = ["FIELDS", "Rule", "Rulebook", "pack", "packaged", "parse_rules", "row_of", "rule_files", "ship"]

FIELDS = (
    "id",
    "title",
    "provider",
    "family",
    "risk",
    "rotate",
    "source",
    "confidence",
    "keywords",
    "pattern",
    "check",
    "entropy",
    "context",
    "detector",
    "gate",
    "near",
    "beginning",
)
REQUIRED = ("id", "title", "risk", "rotate", "confidence", "keywords")
TEMPLATE = ("names", "slots", "value")
EXTRA = (*TEMPLATE, "examples", "counter_examples", "allow", "paths", "description", "tags")
LEVELS = {"low": 0, "medium": 1, "high": 2}
RULES = os.path.join(os.path.dirname(__file__), "rules")  # pathlib costs a hook 4 ms  # noqa: PTH118, PTH120
SHIPPED = os.path.join(os.path.dirname(__file__), "rules.packed")  # noqa: PTH118, PTH120
"""The rules as a wheel brings them; made when it is built (hatch_build.py), so a working copy has none."""
STEP = 64 << 10
"""Bytes of a text whose groups are held at once."""
BORDER = 256
"""How far these stretches overlap: of a longer keyword only so much has to be in one of them."""


FREQUENT = frozenset(
    """
    token secret bearer basic password access digital google azure amazon apple intel python stream vault
    session security storage account accountkey account_key subscription github gitlab checkout agent agent:
    user: spaces together cognitive test_ live_ test- access_ access- _auth _password search consul redis mongo
    oauth client webhook slack docker nuget maven travis heroku stripe linear notion figma shopify twitter
    facebook instagram linkedin discord telegram yandex square plaid segment pusher front asana trello dropbox
    intercom branch bridge signal kraken mapbox alibaba ibmcloud watson object storage adobe autopilot bitbucket
    blogger cicero courier dandelion ditto envoy eraser fixer fulcrum genius geocode groove guardian holistic
    humanity impala kafka karma looker magnetic meetup metabase nimble pastebin pivotal privacy prospect raven
    semaphore shortcut tableau workable yandex
    """.split()  # noqa: SIM905
)
"""Keywords that are everyday words in programs: alone they say too little to wake a rule that needs a name and a slot."""  # noqa: E501
SLOT_WORDS = "key|token|secret|passw|pwd|cred|auth|access|pat"

SLOT_GAP = r"(?:[\w .:-]{0,16}|[\"']?[:={ ]{1,4}\s{0,16}[\"'{]{0,2}[\w.-]{0,16})"
"""What may stand between such a name and that word: the rest of an identifier, or the opening of a nested block."""

SLOT_BEFORE_GAP = r"[\w.-]{0,12}"
"""What may stand between that word and such a name, when the word comes first."""

SHORT_GAP = r"(?:[\w.-]{0,16}|[\"']?[:={]{1,2}\s{1,16}\{?[\w.-]{0,16})"
"""The same for a name of two to four letters, which has to begin a word, too."""


SHORTEST_LONG = 5


def is_short(keyword: str) -> bool:
    """True for a provider's name that is also a part of many words."""
    return len(keyword) < SHORTEST_LONG


def is_common(keyword: str) -> bool:
    """True for a provider's name so short or so ordinary that a secret-like word has to stand beside it."""
    return is_short(keyword) or keyword in FREQUENT


class Rule:
    """One rule, as its TOML table has it; ``confidence`` is 0 (low) to 2 (high)."""

    __slots__ = (*FIELDS, "paths")

    id: str
    title: str
    provider: str
    family: str
    risk: str
    rotate: str
    source: str
    confidence: int
    keywords: tuple[str, ...]
    pattern: str
    check: str
    entropy: float
    context: str
    detector: str
    gate: str
    near: tuple[bytes, ...]
    beginning: str
    paths: str

    def __init__(self, values: Sequence[object]) -> None:
        (  # one assignment: 900 rules are made at each start
            self.id,
            self.title,
            self.provider,
            self.family,
            self.risk,
            self.rotate,
            self.source,
            self.confidence,
            self.keywords,
            self.pattern,
            self.check,
            self.entropy,
            self.context,
            self.detector,
            self.gate,
            self.near,
            self.beginning,
        ) = values  # type: ignore[assignment]
        self.paths = ""

    def __repr__(self) -> str:
        return f"<Rule {self.id}>"


def parse_rules(text: str, where: str) -> list[tuple[object, ...]]:
    """Turn one rule file into rows of :data:`FIELDS`. Raises ConfigurationError naming file and rule."""
    import tomllib

    from mcpsec.errors import ConfigurationError

    try:
        tables = tomllib.loads(text).get("rules", [])
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"not TOML: {error}", path=where) from error
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise ConfigurationError("[[rules]] must be an array of tables", path=where)
    return [row_of(table, where) for table in tables]


def row_of(table: dict[str, object], where: str) -> tuple[object, ...]:
    """One rule's table as a row of :data:`FIELDS`. Raises ConfigurationError naming file and rule."""
    from mcpsec.errors import ConfigurationError

    name = str(table.get("id", "?"))
    missing = [key for key in REQUIRED if not table.get(key)]
    unknown = [key for key in table if key not in FIELDS and key not in EXTRA]
    problem = ""
    if missing:
        problem = f"lacks {', '.join(missing)}"
    elif unknown:
        problem = f"has unknown keys {', '.join(unknown)}"
    elif table["confidence"] not in LEVELS:
        problem = "confidence must be high, medium or low"
    elif not (table.get("pattern") or table.get("detector") or (table.get("names") and table.get("value"))):
        problem = "lacks pattern"
    elif table.get("check") and not _known_check(str(table["check"])):
        problem = f"names an unknown check {table['check']!r}"
    elif table.get("beginning") and not table.get("pattern"):
        problem = "has a beginning, but no pattern that begins so"
    if problem:
        raise ConfigurationError(f"rule {name} {problem}", path=where)
    keywords = table["keywords"]
    if not isinstance(keywords, list) or not all(isinstance(k, str) and k and k == k.lower() for k in keywords):
        raise ConfigurationError(f"rule {name}: keywords must be lower-case strings", path=where)
    given = {**table, "confidence": LEVELS[str(table["confidence"])], "keywords": tuple(keywords)}
    given["entropy"] = float(str(table.get("entropy", 0.0)))
    given["family"] = table.get("family") or name
    if table.get("names"):
        from mcpsec.leaks.templates import expand, gate, stems

        try:
            names, slots = _strings(table["names"]), _strings(table.get("slots", []))
            given["pattern"], given["gate"] = expand(names, str(table.get("value", "")), slots), gate(names, slots)
            given["near"] = stems(slots)
        except ValueError as error:
            raise ConfigurationError(f"rule {name}: {error}", path=where) from error
    return tuple(given.get(key, "") for key in FIELDS)


def _strings(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("names and slots must be arrays of strings")
    return value


def _known_check(name: str) -> bool:
    from mcpsec.leaks.checks import NAMES

    return name in NAMES


def rule_files() -> list[str]:
    """The packaged rule files, in order."""
    names = sorted(name for name in os.listdir(RULES) if name.endswith(".toml"))  # noqa: PTH208
    return [os.path.join(RULES, name) for name in names]  # noqa: PTH118


Packed = tuple[dict[str, int], list[bytes], dict[int, list[tuple[bytes, int, list[int]]]], list[str]]
"""Rules as a process needs them: places by id, each rule's row by itself (most are never looked at), the keywords with
what they end in and the rules they wake by what they begin with (see :func:`grams`), and the patterns of what may be
public."""


def _dumps(value: Any) -> bytes:
    return marshal.dumps(value, 4)  # in the format that every version reads


def _gram(part: bytes) -> int:
    return int.from_bytes(part.ljust(4, b"\0"), sys.byteorder) if len(part) > 2 else 0


def pack(rows: Sequence[Sequence[object]], public: Sequence[str]) -> Packed:
    """Prepare rows of :data:`FIELDS` for a :class:`Rulebook`."""
    wake: dict[str, list[int]] = {}
    for index, rule in enumerate(map(Rule, rows)):
        if rule.pattern:
            for word in rule.keywords:
                wake.setdefault(word, []).append(index)
    beginnings: dict[int, list[tuple[bytes, int, list[int]]]] = {}
    for word, indexes in wake.items():
        keyword = word.encode()
        ending = _gram(keyword[:BORDER][-4:])
        beginnings.setdefault(_gram(keyword[:4]), []).append((keyword, ending, indexes))
    places = {str(row[0]): index for index, row in enumerate(rows)}
    return places, [_dumps(tuple(row)) for row in rows], beginnings, list(public)


_THREE = 0xFFFFFF if sys.byteorder == "little" else 0xFFFFFF00


def grams(text: bytes) -> set[int]:
    """Every four and every three bytes in a row that the text holds, as numbers; and 0, for keywords of two."""
    view = memoryview(text + b"\0\0\0")
    four = {0}
    for start in range(4):
        four.update(view[start : start + (len(view) - start & ~3)].cast("I"))
    four.update([gram & _THREE for gram in four])
    return four


def _ready() -> Packed:
    """The packaged rules: as the wheel brings them, else from the user's cache, else from their files."""
    files = rule_files()
    stats = [os.stat(file) for file in files]  # noqa: PTH116
    sizes = [info.st_size for info in stats]
    shipped = _unpack(_shipped(), (FORMAT, sys.byteorder, sizes))
    if shipped is not None:
        return shipped
    stamp = (files, sizes, [info.st_mtime_ns for info in stats])
    name = f"rules-{tag()}-{crc32(RULES.encode()):08x}"  # installations side by side keep one each
    kept = _unpack(read_cache(name), stamp)
    if kept is None:
        kept = _read(files)
        write_cache(name, _dumps((stamp, kept)))
    return kept


def _unpack(content: bytes | None, stamp: object) -> Packed | None:
    """What a file with packed rules holds, if it is of these rule files."""
    if content:
        try:
            known, packed = marshal.loads(content)  # ours, or what only this user wrote  # noqa: S302
            if known == stamp:
                return packed  # type: ignore[no-any-return]
        except (ValueError, EOFError, TypeError):
            pass
    return None


def _shipped() -> bytes | None:
    try:
        with open(SHIPPED, "rb") as stream:  # noqa: PTH123
            return stream.read()
    except OSError:
        return None


def _read(files: Iterable[str]) -> Packed:
    rows: list[tuple[object, ...]] = []
    public: list[str] = []
    for file in files:
        with open(file, encoding="utf-8") as stream:  # noqa: PTH123
            text = stream.read()
        rows += parse_rules(text, file)
        if file.endswith("publishable.toml"):
            import tomllib

            public = [table["pattern"] for table in tomllib.loads(text).get("publishable", [])]
    return pack(rows, public)


def ship(path: str) -> None:
    """Write what a wheel brings beside the rule files, so that a first run has nothing to parse."""
    files = rule_files()
    sizes = [os.stat(file).st_size for file in files]  # noqa: PTH116
    with open(path, "wb") as stream:  # noqa: PTH123
        stream.write(_dumps(((FORMAT, sys.byteorder, sizes), _read(files))))


class Pattern:
    """A compiled rule: its ``search`` object and the width of the longest text that it can match."""

    __slots__ = ("compiled", "group", "width")

    def __init__(self, compiled: re.Pattern[bytes] | ByteExpression, width: int) -> None:
        self.compiled = compiled
        self.group = 0 if not compiled.groups else compiled.groupindex.get("secret", 1)
        self.width = width


class Rulebook:
    """Rules in order, what keyword wakes which of them, and their compiled patterns.

    ``own`` are the rules that a configuration brought: what matches them takes linear time, whatever they say.
    """

    def __init__(self, packed: Packed, own: frozenset[str] = frozenset()) -> None:
        self.ids, self._rows, self._beginnings, self.public = packed
        self.own = own
        self._made: list[Rule | None] = [None] * len(self._rows)
        self._public: re.Pattern[str] | None = None
        self._patterns: dict[int, Pattern] = {}
        self._values: dict[int, re.Pattern[bytes] | ByteExpression] = {}

    def rule(self, index: int) -> Rule:
        """The rule at a place."""
        made = self._made[index]
        if made is None:
            made = self._made[index] = Rule(marshal.loads(self._rows[index]))  # noqa: S302 # our own dumps
        return made

    def named(self, name: str) -> Rule | None:
        """The rule with an id; None where a configuration left it out."""
        index = self.ids.get(name)
        return None if index is None else self.rule(index)

    def passing(self) -> Iterator[Rule]:
        """All of them, in order, for somebody who looks once: what was not made before is not kept."""
        for made, row in zip(self._made, self._rows, strict=True):
            yield made or Rule(marshal.loads(row))  # noqa: S302 # our own dumps

    @property
    def rules(self) -> list[Rule]:
        """All of them, in order."""
        return [self.rule(index) for index in range(len(self._rows))]

    def is_public(self, value: str) -> bool:
        """True for identifiers that are made to stand in public pages: publishable keys, site keys."""
        if self._public is None:
            self._public = expression("|".join(f"(?:{source})" for source in self.public) or r"(?!)")
        return self._public.fullmatch(value) is not None

    def awake(self, lower: bytes) -> dict[int, list[bytes]]:
        """Which rules have a keyword in this lower-case text, and which keywords."""
        awake: dict[int, list[bytes]] = {}
        for keyword, indexes in self._possible(lower).items():
            if keyword in lower:
                for index in indexes:
                    awake.setdefault(index, []).append(keyword)
        return awake

    def _possible(self, lower: bytes) -> dict[bytes, list[int]]:
        """The keywords whose beginning and end occur: a text is looked through once, not once a keyword."""
        possible: dict[bytes, list[int]] = {}
        for start in range(0, len(lower) or 1, STEP):
            held = grams(lower[start : start + STEP + BORDER])
            begun = [entry for begin in held.intersection(self._beginnings) for entry in self._beginnings[begin]]
            possible.update({keyword: indexes for keyword, ending, indexes in begun if ending in held})
        return possible

    def pattern(self, index: int) -> Pattern:
        """The compiled pattern of a rule, from the cache of compiled code when it is there."""
        found = self._patterns.get(index)
        if found is None:
            found = self._patterns[index] = self._load(self.rule(index))
        return found

    def value(self, index: int) -> re.Pattern[bytes] | ByteExpression:
        """What a value looks like that a template finds beside a name; where none is, the rest need not be tried."""
        found = self._values.get(index)
        if found is None:
            _, _, rest = self.rule(index).pattern.partition("(?P<secret>")
            source = f"(?:{rest}"
            found = _linear(source) if self.rule(index).id in self.own else expression(source.encode())
            self._values[index] = found
        return found

    def _load(self, rule: Rule) -> Pattern:
        if rule.id in self.own:
            made = _linear(rule.pattern)
            return Pattern(made, made.width)
        return Pattern(*compiled(rule.pattern.encode()))


def _linear(source: str) -> ByteExpression:
    from mcpsec.leaks.linear import ByteExpression

    return ByteExpression(source)


_packaged: Rulebook | None = None


def packaged() -> Rulebook:
    """The rules that come with mcpsec; read once a process."""
    global _packaged  # one rule book a process  # noqa: PLW0603
    if _packaged is None:
        _packaged = Rulebook(_ready())
    return _packaged
