"""Argument filters: what a call's arguments must be for the call to be allowed.

A filter that can't tell fails: a missing argument, an object where a value belongs, an empty list, a name that another
member of the same object differs from only in letter case or Unicode form.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from mcpsec.errors import ConfigurationError
from mcpsec.gateway.policy.globs import Glob

if TYPE_CHECKING:
    from mcpsec.deployment.model import ArgumentFilter, Values

__all__ = ["ArgumentTest", "json_text"]


class _ValueTest(Protocol):
    """What one scalar must be."""

    def holds(self, value: str | int | float | bool) -> bool: ...


def json_text(value: str | int | float | bool) -> str:
    """The text that globs and expressions see: a string as it is, a number or boolean as its shortest JSON."""
    if isinstance(value, str):
        return value
    if type(value) is int:
        return str(value)
    return orjson.dumps(value).decode()


class _AnyOf:
    def __init__(self, values: Values) -> None:
        self._exact = frozenset(value for value in values if "*" not in value)
        self._globs = tuple(Glob(value) for value in values if "*" in value)

    def holds(self, value: str | int | float | bool) -> bool:
        text = json_text(value)
        return text in self._exact or any(glob.matches(text) for glob in self._globs)


class _Range:
    def __init__(self, minimum: float | None, maximum: float | None) -> None:
        self._minimum, self._maximum = minimum, maximum

    def holds(self, value: str | int | float | bool) -> bool:
        if isinstance(value, str | bool):
            return False
        return (self._minimum is None or value >= self._minimum) and (self._maximum is None or value <= self._maximum)


class _Expression:
    """A regular expression of RE2, which takes time linear in the text whatever the expression."""

    def __init__(self, expression: str) -> None:
        import re2

        options = re2.Options()
        options.log_errors = False
        options.dot_nl = True
        try:
            self._compiled = re2.compile(expression, options)
        except re2.error as error:
            reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
            raise ConfigurationError(
                f"the regular expression of an argument filter is not valid: {reason}",
                hint="the syntax is RE2's: no back-references, no look-around",
            ) from None

    def holds(self, value: str | int | float | bool) -> bool:
        return self._compiled.fullmatch(json_text(value)) is not None


def _value_test(wanted: Values | ArgumentFilter) -> _ValueTest:
    if isinstance(wanted, tuple):
        return _AnyOf(wanted)
    ranged = wanted.min is not None or wanted.max is not None
    if ranged == (wanted.regex is not None):
        raise ConfigurationError("an argument filter is either a list of values, a range or a regular expression")
    return _Range(wanted.min, wanted.max) if wanted.regex is None else _Expression(wanted.regex)


class ArgumentTest:
    """One argument (``path`` with dots leads into nested objects) and what it must be."""

    __slots__ = ("_folded", "_names", "_value", "path", "wanted")

    def __init__(self, path: str, wanted: Values | ArgumentFilter) -> None:
        self.path, self.wanted = path, wanted
        self._names = tuple(path.split("."))
        self._folded = tuple(map(_fold, self._names))
        self._value = _value_test(wanted)

    def holds(self, arguments: Any) -> bool:
        """Whether the argument is there and every value of it is allowed."""
        return self._reach(arguments, 0)

    def _reach(self, node: Any, depth: int) -> bool:
        """Follow the path; a list anywhere on it means that each of its elements must hold."""
        if isinstance(node, list):
            return bool(node) and all(not isinstance(item, list) and self._reach(item, depth) for item in node)
        if depth == len(self._names):
            return isinstance(node, str | int | float) and self._value.holds(node)
        if not isinstance(node, dict):
            return False
        name, folded = self._names[depth], self._folded[depth]
        if name not in node or (len(node) > 1 and any(_fold(key) == folded for key in node if key != name)):
            return False
        return self._reach(node[name], depth + 1)


def _fold(name: str) -> str:
    """A name without letter case and Unicode form: a server may take two such names for one."""
    return name.lower() if name.isascii() else unicodedata.normalize("NFKC", name).casefold()
