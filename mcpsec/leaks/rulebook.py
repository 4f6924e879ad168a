"""The rules: read from TOML, kept as plain data in the user's cache, compiled one by one when their keyword occurs.

Parsing all rule files costs more than a commit hook may take, so their content is kept as :mod:`marshal` data, and the
code of each regular expression that was ever needed beside it. Both caches are trusted only when the user owns them
and nobody else may write there (``marshal`` must not read what another user wrote).
"""

from __future__ import annotations

import marshal
import os
import re
from binascii import crc32

from mcpsec.leaks.expressions import compiled, expression, read_cache, tag, write_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["FIELDS", "Rule", "Rulebook", "packaged", "parse_rules", "row_of", "rule_files"]

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
)
REQUIRED = ("id", "title", "risk", "rotate", "confidence", "keywords")
TEMPLATE = ("names", "slots", "value")
EXTRA = (*TEMPLATE, "examples", "counter_examples", "allow", "paths", "description", "tags")
LEVELS = {"low": 0, "medium": 1, "high": 2}
RULES = os.path.join(os.path.dirname(__file__), "rules")  # pathlib costs a hook 4 ms  # noqa: PTH118, PTH120
SMALL = 64 << 10
"""Texts up to this size are looked through by their three-byte groups."""


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
    except tomllib.TOMLDecodeError as error:
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


def _stamp(files: Iterable[str]) -> list[tuple[str, int, int]]:
    stamps = []
    for file in files:
        info = os.stat(file)  # noqa: PTH116
        stamps.append((file, info.st_size, info.st_mtime_ns))
    return stamps


def _packaged_rows() -> tuple[list[tuple[object, ...]], list[str]]:
    files = rule_files()
    stamp = _stamp(files)
    name = f"rules-{tag()}-{crc32(RULES.encode()):08x}"  # installations side by side keep one each
    cached = read_cache(name)
    if cached:
        try:
            known, rows, public = marshal.loads(cached)  # only what this user wrote  # noqa: S302
            if known == stamp:
                return rows, public
        except (ValueError, EOFError, TypeError):
            pass
    rows, public = [], []
    for file in files:
        with open(file, encoding="utf-8") as stream:  # noqa: PTH123
            text = stream.read()
        rows += parse_rules(text, file)
        if file.endswith("publishable.toml"):
            import tomllib

            public = [table["pattern"] for table in tomllib.loads(text).get("publishable", [])]
    write_cache(name, marshal.dumps((stamp, rows, public)))
    return rows, public


class Pattern:
    """A compiled rule: its ``search`` object and the width of the longest text that it can match."""

    __slots__ = ("compiled", "group", "width")

    def __init__(self, compiled: re.Pattern[bytes], width: int) -> None:
        self.compiled = compiled
        self.group = 0 if not compiled.groups else compiled.groupindex.get("secret", 1)
        self.width = width


class Rulebook:
    """Rules in order, what keyword wakes which of them, and their compiled patterns."""

    def __init__(self, rows: Iterable[Sequence[object]], public: Sequence[str] = ()) -> None:
        self.public = list(public)
        self._public: re.Pattern[str] | None = None
        self.rules = [Rule(row) for row in rows]
        self.by_id = {rule.id: rule for rule in self.rules}
        wake: dict[str, list[int]] = {}
        for index, rule in enumerate(self.rules):
            if rule.pattern:
                for keyword in rule.keywords:
                    wake.setdefault(keyword, []).append(index)
        self.keywords: list[tuple[bytes, list[int]]] = [(k.encode(), v) for k, v in wake.items()]
        self._by_gram: dict[bytes, list[tuple[bytes, list[int]]]] = {}
        self._short: list[tuple[bytes, list[int]]] = []
        self._patterns: dict[int, Pattern] = {}
        self._values: dict[int, re.Pattern[bytes]] = {}

    def is_public(self, value: str) -> bool:
        """True for identifiers that are made to stand in public pages: publishable keys, site keys."""
        if self._public is None:
            self._public = re.compile("|".join(f"(?:{source})" for source in self.public) or r"(?!)")
        return self._public.fullmatch(value) is not None

    def awake(self, lower: bytes) -> dict[int, list[bytes]]:
        """Which rules have a keyword in this lower-case text, and which keywords."""
        keywords = self.keywords if len(lower) > SMALL else self._possible(lower)
        awake: dict[int, list[bytes]] = {}
        for keyword, indexes in keywords:
            if keyword in lower:
                for index in indexes:
                    awake.setdefault(index, []).append(keyword)
        return awake

    def _possible(self, lower: bytes) -> list[tuple[bytes, list[int]]]:
        """The keywords whose first three bytes occur: a log line is looked through once, not once a keyword."""
        if not self._by_gram:
            for entry in self.keywords:
                if len(entry[0]) < 3:
                    self._short.append(entry)
                else:
                    self._by_gram.setdefault(entry[0][:3], []).append(entry)
        found = list(self._short)
        by_gram = self._by_gram
        for gram in {lower[i : i + 3] for i in range(len(lower) - 2)} & by_gram.keys():
            found += by_gram[gram]
        return found

    def pattern(self, index: int) -> Pattern:
        """The compiled pattern of a rule, from the cache of compiled code when it is there."""
        found = self._patterns.get(index)
        if found is None:
            found = self._patterns[index] = self._load(self.rules[index].pattern)
        return found

    def value(self, index: int) -> re.Pattern[bytes]:
        """What a value looks like that a template finds beside a name; where none is, the rest need not be tried."""
        found = self._values.get(index)
        if found is None:
            _, _, rest = self.rules[index].pattern.partition("(?P<secret>")
            found = self._values[index] = expression(f"(?:{rest}".encode())
        return found

    def _load(self, source: str) -> Pattern:
        return Pattern(*compiled(source.encode()))


_packaged: Rulebook | None = None


def packaged() -> Rulebook:
    """The rules that come with mcpsec; read once a process."""
    global _packaged  # one rule book a process  # noqa: PLW0603
    if _packaged is None:
        _packaged = Rulebook(*_packaged_rows())
    return _packaged
