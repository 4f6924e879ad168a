"""A repository's own rules and allow-lists.

They stand in ``.mcpsec-secrets.toml``, in ``[tool.mcpsec.secrets]`` of pyproject.toml, or in a ``.gitleaks.toml``.

::

    extend = true                          # false: only the rules below
    disable = ["generic-key"]
    [allow]
    paths = ["docs/**", "*.example"]       # as in .gitignore
    values = ['^AKIA.{12}TEST$']           # expressions over the value
    lines = ['sample-only']                # expressions over its line
    stopwords = ["dev-cluster"]
    [[rules]]                              # as the packaged rules
    …
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mcpsec.leaks.findings import Match
    from mcpsec.leaks.linear import TextExpression
    from mcpsec.leaks.rulebook import Rulebook

__all__ = ["NAMES", "Configuration", "find", "load"]

NAMES = (".mcpsec-secrets.toml", "pyproject.toml", ".gitleaks.toml")
_KEYS = frozenset(("extend", "disable", "allow", "rules"))
_ALLOW_KEYS = frozenset(("paths", "values", "lines", "stopwords", "description"))

_ANY_PATHS = ("a", "b.c", "d/e", ".f/g.h/i")
"""Names that have nothing in common: a pattern that fits them all fits every file."""


class Configuration:
    """Own rules and what is allowed; made by :func:`load`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.extend = True
        self.disable: set[str] = set()
        self.rows: list[tuple[object, ...]] = []
        self.examples: list[tuple[str, list[str], list[str]]] = []
        self.paths: list[TextExpression] = []
        self.values: list[TextExpression] = []
        self.lines: list[TextExpression] = []
        self.stopwords: list[str] = []
        self.warnings: list[str] = []

    def allows(self, match: Match, data: bytes, path: str) -> bool:
        """True when an allow-list covers the match."""
        if any(pattern.search(path) for pattern in self.paths):
            return True
        low = match.value.lower()
        if any(word in low for word in self.stopwords) or any(p.search(match.value) for p in self.values):
            return True
        if self.lines:
            begin = data.rfind(b"\n", 0, match.start) + 1
            end = data.find(b"\n", match.end)
            line = data[begin : end if end >= 0 else len(data)][:20_000].decode("utf-8", "replace")
            return any(pattern.search(line) for pattern in self.lines)
        return False

    def book(self, packaged: Rulebook) -> Rulebook:
        """The rules of a run under this configuration. ConfigurationError when none is left."""
        from mcpsec.errors import ConfigurationError
        from mcpsec.leaks.rulebook import FIELDS, Rulebook, pack

        if self.extend and not self.disable and not self.rows:
            return packaged
        unknown = sorted(name for name in self.disable if name not in packaged.ids)
        if unknown:
            raise ConfigurationError(
                f"disable names no rule: {', '.join(unknown)}", path=self.path, hint="mcpsec scan-secrets rules list"
            )
        rows: list[Any] = []
        if self.extend:
            rows = [[getattr(r, name) for name in FIELDS] for r in packaged.rules if r.id not in self.disable]
        own = {str(row[0]) for row in self.rows}
        rows = [row for row in rows if row[0] not in own] + list(self.rows)
        if not rows:
            raise ConfigurationError(
                "this configuration leaves no rule", path=self.path, hint="remove extend = false, or add [[rules]]"
            )
        return Rulebook(pack(rows, packaged.public), frozenset(own))


def find(directory: str) -> str | None:
    """The configuration file that governs a directory: in it or above, up to the repository's top."""
    at = os.path.abspath(directory)  # noqa: PTH100
    while True:
        for name in NAMES:
            path = os.path.join(at, name)  # noqa: PTH118
            if os.path.isfile(path) and (name != "pyproject.toml" or _mentions_us(path)):  # noqa: PTH113
                return path
        parent = os.path.dirname(at)  # noqa: PTH120
        if parent == at or os.path.exists(os.path.join(at, ".git")):  # noqa: PTH110, PTH118
            return None
        at = parent


def _mentions_us(path: str) -> bool:
    try:
        with open(path, "rb") as stream:  # noqa: PTH123
            return b"tool.mcpsec" in stream.read(1 << 20)
    except OSError:
        return False


def load(path: str) -> Configuration:
    """Read a configuration. Raises ConfigurationError naming the file."""
    import tomllib

    from mcpsec.errors import ConfigurationError, advice
    from mcpsec.reading import read_file

    try:
        document = tomllib.loads(read_file(path).decode())
    except OSError as error:
        raise ConfigurationError(f"can't be read: {error.strerror}", path=path, hint=advice(error)) from error
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"not TOML: {error}", path=path) from error
    name = os.path.basename(path)  # noqa: PTH119
    if name == "pyproject.toml":
        for part in ("tool", "mcpsec", "secrets"):
            document = document.get(part, {})
            if not isinstance(document, dict):
                raise _wrong(f"{part} must be a table", path)
    elif (
        "gitleaks" in name
        or "allowlist" in document
        or "allowlists" in document
        or ("extend" in document and isinstance(document["extend"], dict))
    ):
        return _gitleaks(path, document)
    return _own(path, document)


def _own(path: str, document: dict[str, Any]) -> Configuration:
    from mcpsec.errors import ConfigurationError
    from mcpsec.leaks.allow import glob
    from mcpsec.leaks.rulebook import FIELDS, row_of

    allow = document.get("allow", {})
    if not isinstance(allow, dict):
        raise _wrong("allow must be a table", path)
    unknown = sorted(set(document) - _KEYS) + sorted(set(allow) - _ALLOW_KEYS)
    if unknown:
        raise ConfigurationError(f"unknown keys: {', '.join(unknown)}", path=path)
    made = Configuration(path)
    made.extend = document.get("extend", True)
    if not isinstance(made.extend, bool):
        raise _wrong("extend must be true or false", path)
    made.disable = set(_texts(document, "disable", path))
    for text in _texts(allow, "paths", path):
        made.paths.append(glob(text))
        if all(made.paths[-1].search(any_path) for any_path in _ANY_PATHS):
            made.warnings.append(f"{path}: allow.paths {text!r} fits every file: nothing is reported")
    made.values = [_expression(text, path) for text in _texts(allow, "values", path)]
    made.lines = [_expression(text, path) for text in _texts(allow, "lines", path)]
    made.stopwords = [word.lower() for word in _texts(allow, "stopwords", path)]
    for table in _tables(document, "rules", path):
        full = {
            "risk": "A secret of your own kind.",
            "rotate": "As your own procedure says.",
            "title": table.get("id", ""),
            **table,
            "entropy": _number(table, "entropy", path),
        }
        row = row_of(full, path)
        for name in ("pattern", "beginning"):  # as written, or made of names and a value
            _expression(row[FIELDS.index(name)], path)
        made.rows.append(row)
        made.examples.append(
            (str(full.get("id")), _examples(full, "examples", path), _examples(full, "counter_examples", path))
        )
    return made


def _examples(table: dict[str, Any], name: str, path: str) -> list[str]:
    """Texts, or tables whose ``parts`` are joined to one."""
    found = table.get(name, [])
    texts = []
    for each in found if isinstance(found, list) else [None]:
        parts = each.get("parts") if isinstance(each, dict) else [each]
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise _wrong(f"{name} of rule {table.get('id')} must be a list of texts", path)
        texts.append("".join(parts))
    return texts


def _expression(text: object, path: str) -> TextExpression:
    from mcpsec.errors import ConfigurationError
    from mcpsec.leaks.linear import NotLinearError, TextExpression

    if not isinstance(text, str):
        raise _wrong("a pattern must be a text", path)
    try:
        return TextExpression(text)
    except NotLinearError as error:
        raise ConfigurationError(
            f"not a regular expression in RE2's syntax: {text!r}: {error}", path=path,
            hint="look-around and back-references can't be matched in linear time; match more and name a group secret",
        ) from error  # fmt: skip


def _gitleaks(path: str, document: dict[str, Any]) -> Configuration:
    """Take over a gitleaks configuration: its rules beside ours, its allow-lists.

    An ``[extend]`` without ``useDefault`` would leave gitleaks without rules; ours stay on.
    """
    from mcpsec.leaks.rulebook import row_of

    made = Configuration(path)
    allowlist = document.get("allowlist", {})
    for allow in [*_tables({"allowlist": [allowlist]}, "allowlist", path), *_tables(document, "allowlists", path)]:
        targets = made.lines if allow.get("regexTarget") in ("line", "match") else made.values
        for source, text in [(made.paths, t) for t in _texts(allow, "paths", path)] + [
            (targets, t) for t in _texts(allow, "regexes", path)
        ]:
            made_of = _from_go(text)
            if made_of is None:
                made.warnings.append(f"{path}: an expression that can't be read is not applied")
            else:
                source.append(made_of)
        made.stopwords += [word.lower() for word in _texts(allow, "stopwords", path)]
    for table in _tables(document, "rules", path):
        pattern = _from_go(table.get("regex", ""))
        keywords = [word.lower() for word in _texts(table, "keywords", path)]
        if pattern is None or not table.get("regex") or not keywords:
            made.warnings.append(
                f"{path}: rule {table.get('id', '?')} has no keyword or no readable expression; not applied"
            )
            continue
        made.rows.append(
            row_of(
                {
                    "id": str(table.get("id", "gitleaks-rule")),
                    "title": str(table.get("description") or table.get("id", "")),
                    "risk": "As the rule of your gitleaks configuration says.",
                    "rotate": "Revoke it where it was issued.",
                    "confidence": "medium",
                    "keywords": keywords,
                    "pattern": pattern.pattern,
                    "entropy": _number(table, "entropy", path),
                },
                path,
            )
        )
    return made


def _tables(document: dict[str, Any], name: str, path: str) -> list[dict[str, Any]]:
    found = document.get(name, [])
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise _wrong(f"{name} must be tables", path)
    return found


def _texts(table: dict[str, Any], name: str, path: str) -> list[str]:
    found = table.get(name, [])
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise _wrong(f"{name} must be a list of texts", path)
    return found


def _number(table: dict[str, Any], name: str, path: str) -> float:
    found = table.get(name, 0)
    try:
        return float(found)
    except (TypeError, ValueError, OverflowError):
        raise _wrong(f"{name} must be a number", path) from None


def _wrong(text: str, path: str) -> Exception:
    from mcpsec.errors import ConfigurationError

    return ConfigurationError(text, path=path)


def _from_go(text: object) -> TextExpression | None:
    """An expression of gitleaks', which is RE2's syntax; None for what is none."""
    from mcpsec.leaks.linear import NotLinearError, TextExpression

    try:
        return TextExpression(text) if isinstance(text, str) else None
    except NotLinearError:
        return None
