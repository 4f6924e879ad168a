"""The one idiom for credentials that have no shape of their own: a provider's name, a secret-like word, a value.

A hexadecimal string is a commit, a digest or a key; only the name beside it says which. Rules for such credentials
give ``names``, ``slots`` and ``value``, and :func:`expand` makes the pattern, so that every provider is found in every
notation (environment, JSON, YAML, XML, code, headers, options, name/value pairs) as soon as one of them is.
docs/secret-rules-authoring.md shows the notations; the pattern has no lookaround and every repeat is bounded, so it
takes linear time in ``re`` and compiles unchanged in Hyperscan. There it costs 0.1 s a rule to compile, so an engine
gives Hyperscan the :func:`gate` (5 ms a rule) and confirms with :func:`expand` in the text around each hit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["DEFAULT_SLOTS", "MAX_AFTER_GATE", "expand", "gate", "stems"]

DEFAULT_SLOTS: tuple[str, ...] = (
    "key",
    "token",
    "secret",
    "passw(?:or)?d",
    "pwd",
    "credential",
    "access",
    "auth",
    "private",
    "bearer",
)
"""Words that make a name secret-like, when a rule gives no ``slots`` of its own."""

_SHORT_NAME = 4
"""A provider name with this many letters or fewer has to begin a word: ``dd`` is also the middle of ``add``."""

# Between the name and the secret-like word: the rest of the identifier, a sentence, or a nested block on the next line.
_GAP = r"(?:[^\n]{0,40}?|[^\n]{0,12}[:={(\[>]\s{1,20}[\w\"'. -]{0,24}?)"

# After the secret-like word: the rest of the identifier and whatever closes it (quote, bracket, escaped quote).
_TAIL = r"[\w.-]{0,20}[\\\"'`\])}]{0,4}"

# One thing that may stand between the name and the operator.
_BRIDGE = (
    r"(?:"
    r"\s{0,2}[:\s]\s{0,2}(?:&?(?:'static )?str(?:ing)?|optional\[str\]|secretstr|bytes|text|nsstring \*|any)[?!]?"
    r"|[\s,;{]{1,40}(?:[^\n]{0,60}\n\s{0,20})?[\\\"']{0,2}(?:value|val|default|default_?value|data|content|text)[\\\"']{0,2}"
    r"|\s{0,3}(?:[=:]{1,2}|=>|<-|\?\?)\s{0,3}(?:new )?[a-z][\w.:]{0,40}"
    r")?"
)

# What hands the value over: = : := => ::= .= ||= ?= == != <- :- > , ( || ?? "is" or a blank (options, Tcl, netrc).
_OPERATOR = r"\s{0,8}(?:is:?\s|[|?:!<=+.-]{0,3}[=:>-]|[,(\s]|\|\||\?\?|or\b)"

# What opens the value: blanks, quotes (also escaped), brackets, a YAML block marker, a string prefix, an HTTP scheme.
_OPEN = r"[\s\\\"'`(\[{|>]{0,12}(?:[brfu@$][\"'])?(?:(?:bearer|basic|token|key|apikey)[\s=:]{1,2})?"

# What ends it: anything that can't be more of a key, so that a longer run is not taken for a shorter key.
_CLOSE = r"(?:[^\w+/=%~-]|$)"

MAX_AFTER_GATE = 240
"""The most characters between the secret-like word and the value."""


def _provider(names: Iterable[str]) -> str:
    """Alternatives for the provider's name, the short ones bound to the beginning of a word."""
    parts = []
    for name in names:
        letters = re.sub(r"\[[^\]]*\]\??|[^A-Za-z0-9]", "", name)
        parts.append(rf"(?:\b|_){name}" if len(letters) <= _SHORT_NAME else name)
    return "(?:" + "|".join(parts) + ")"


def _anchor(names: Sequence[str], slots: Sequence[str]) -> str:
    if not names:
        raise ValueError("a template needs at least one name")
    provider = _provider(names)
    words = "(?:" + "|".join(slots or DEFAULT_SLOTS) + ")"
    return rf"(?:{provider}{_GAP}{words}|{words}[\w.-]{{0,12}}{provider})"


def stems(slots: Sequence[str] = ()) -> tuple[bytes, ...]:
    """The literal beginnings of the secret-like words: without one of them nearby :func:`expand` matches nothing.

    Empty when a word does not begin with letters, and so nothing is known.
    """
    found = [re.match(r"[a-z]{3,}(?![?*{])|[a-z]{2,}(?=[a-z][?*{])", word) for word in slots or DEFAULT_SLOTS]
    return () if None in found else tuple(sorted({match.group().encode() for match in found if match}))


def gate(names: Sequence[str], slots: Sequence[str] = ()) -> str:
    """Return the cheap beginning of :func:`expand`'s pattern, up to the secret-like word.

    Wherever ``expand(names, value, slots)`` matches, this matches too, at the same beginning, and the value ends at
    most :data:`MAX_AFTER_GATE` characters plus the value's own length after it.
    """
    return f"(?i:{_anchor(names, slots)})"


def expand(names: Sequence[str], value: str, slots: Sequence[str] = ()) -> str:
    """Return the pattern of a provider-anchored assignment; the value is the group ``secret``.

    ``names`` are regex alternatives for the provider, ``slots`` for the secret-like word (default
    :data:`DEFAULT_SLOTS`), both matched without regard to case; ``value`` is matched as it stands and must hold no
    capturing group. The secret-like word may follow the name (``DATADOG_API_KEY``) or come first (``key_datadog``).

    Raises ValueError when ``names`` or ``value`` is empty.
    """
    if not value:
        raise ValueError("a template needs a value")
    return rf"(?i:{_anchor(names, slots)}{_TAIL}{_BRIDGE}{_OPERATOR}{_OPEN})(?P<secret>{value}){_CLOSE}"
