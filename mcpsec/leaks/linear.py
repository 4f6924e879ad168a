"""Expressions that somebody else wrote, in RE2: a search takes time linear in the text, whatever they say.

What a repository says of itself is part of what is scanned: with :mod:`re` one ``(a+)+b`` in a configuration, or one
``*a*a*a*a*a*a*b`` in an ignore file, would hold the job that looks at a pull request for hours. The packaged rules are
proven harmless by tests and need no other engine.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

__all__ = ["ByteExpression", "NotLinearError", "TextExpression", "any_of"]

_UNBOUNDED = 1 << 20
_MOST_GROUPS = 50
_MOST_STEPS = 20_000
"""Each byte of a text may cost as many steps as the compiled expression has instructions: those are bounded, too."""
_TOGETHER = 50
"""So many lines of an ignore file are one expression; all of a long one might be more than an automaton may have."""


class NotLinearError(ValueError):
    """The expression is not in RE2's syntax (no look-around, no back-references), or is too large; the text says it."""


def _made(source: str, *, utf8: bool) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    if not utf8:
        options.encoding = re2.Options.Encoding.LATIN1
    try:
        made = re2.compile(source.encode("utf-8", "surrogateescape"), options)
    except (re2.error, UnicodeEncodeError) as error:
        text = error.args[0] if error.args else ""
        raise NotLinearError(text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)) from error
    if made.groups > _MOST_GROUPS:
        raise NotLinearError(f"it has {made.groups} groups, {_MOST_GROUPS} are allowed")
    if made.programsize > _MOST_STEPS:
        raise NotLinearError(f"its automaton has {made.programsize} steps, {_MOST_STEPS} are allowed")
    return made


class ByteExpression:
    """What :class:`re.Pattern` offers of it to the rules, over bytes.

    Raises:
        NotLinearError: RE2 can't read it.
    """

    def __init__(self, source: str) -> None:
        self._made = _made(source, utf8=False)
        self.pattern = source
        self.groups: int = self._made.groups
        self.groupindex: Mapping[str, int] = self._made.groupindex

    @property
    def width(self) -> int:
        """Bytes of the longest text that it can match; a million when that is unknown or more."""
        from re import _parser  # type: ignore[attr-defined] # typeshed leaves out what is private
        from re import error as BadExpression

        try:
            return min(int(_parser.parse(self.pattern.encode()).getwidth()[1]), _UNBOUNDED)
        except (BadExpression, RecursionError, OverflowError):  # RE2 reads more than re does
            return _UNBOUNDED

    def search(self, data: bytes, begin: int = 0, end: int | None = None) -> Any:
        """The first match between two offsets, or None."""
        return self._made.search(data, max(0, begin), len(data) if end is None else min(end, len(data)))

    def finditer(self, data: bytes, begin: int = 0, end: int | None = None) -> Iterator[Any]:
        """Every match between two offsets, without overlaps."""
        found: Iterator[Any] = self._made.finditer(
            data, max(0, begin), len(data) if end is None else min(end, len(data))
        )
        return found


class TextExpression:
    """Whether a text is meant. Names of files are the bytes that they have on disk, as git sees them.

    Raises:
        NotLinearError: RE2 can't read it.
    """

    def __init__(self, source: str, *, names: bool = False) -> None:
        self._made = _made(source, utf8=not names)
        self.pattern = source

    def search(self, text: str) -> bool:
        """True when it matches anywhere."""
        return self._made.search(text.encode("utf-8", "surrogateescape")) is not None

    def match(self, text: str) -> bool:
        """True when it matches from the beginning on."""
        return self._made.match(text.encode("utf-8", "surrogateescape")) is not None


def any_of(sources: list[str]) -> list[TextExpression]:
    """Expressions over names of files, as few as may be, one of which matches what one of ``sources`` does."""
    made = []
    for at in range(0, len(sources), _TOGETHER):
        group = sources[at : at + _TOGETHER]
        try:
            made.append(TextExpression("|".join(f"(?:{source})" for source in group), names=True))
        except NotLinearError:  # too large together: each alone is known to be good
            made += [TextExpression(source, names=True) for source in group]
    return made
