"""Which files git would ignore (https://git-scm.com/docs/gitignore), without asking git."""

from __future__ import annotations

import re

__all__ = ["Ignore", "translate"]


def translate(pattern: str) -> str | None:  # noqa: PLR0912
    """Turn one line of a .gitignore into a regular expression over the path relative to its directory.

    Directories are given with a trailing ``/``. None for blank lines and comments.
    """
    pattern = re.sub(r"(?<!\\) +$", "", pattern.rstrip("\r\n"))
    if not pattern or pattern.startswith("#"):
        return None
    directory = pattern.endswith("/")
    pattern = pattern.rstrip("/")
    anchored = "/" in pattern
    pattern = pattern.lstrip("/")
    if not pattern:
        return None
    text = "" if anchored else "(?:.*/)?"
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if pattern.startswith("**/", at) and (at == 0 or pattern[at - 1] == "/"):
            text, at = text + "(?:.*/)?", at + 3
            continue
        if pattern.startswith("/**", at) and at + 3 == len(pattern):
            text, at = text + "/.+", at + 3
            continue
        if char == "*":
            while pattern[at + 1 : at + 2] == "*":
                at += 1
            text += "[^/]*"
        elif char == "?":
            text += "[^/]"
        elif char == "[":
            end = pattern.find("]", at + 2 if pattern[at + 1 : at + 2] in ("!", "^", "]") else at + 1)
            if end < 0:
                text += r"\["
            else:
                body = pattern[at + 1 : end].replace("\\", "\\\\")
                text += "[^" + body[1:] + "]" if body[:1] in ("!", "^") else "[" + body + "]"
                at = end
        elif char == "\\" and at + 1 < len(pattern):
            at += 1
            text += re.escape(pattern[at])
        else:
            text += re.escape(char)
        at += 1
    return text + ("/" if directory else "/?") + r"\Z"


class Ignore:
    """The rules of one directory's ignore file, the last matching one wins."""

    def __init__(self, text: str) -> None:
        positive: list[str] = []
        self._ordered: list[tuple[bool, re.Pattern[str]]] | None = None
        lines = text.splitlines()
        if any(line.startswith("!") for line in lines):
            self._ordered = []
            for line in lines:
                source = translate(line.removeprefix("!"))
                if source is not None and (compiled := _compile(source)):
                    self._ordered.append((not line.startswith("!"), compiled))
        else:
            positive = [source for line in lines if (source := translate(line)) is not None and _compile(source)]
        self._all = _compile("|".join(f"(?:{p})" for p in positive)) if positive else None

    def judge(self, relative: str) -> bool | None:
        """True to ignore, False to keep in spite of an earlier rule, None when no line speaks of it."""
        if self._ordered is not None:
            for ignored, pattern in reversed(self._ordered):
                if pattern.match(relative):
                    return ignored
            return None
        return True if self._all and self._all.match(relative) else None


def _compile(source: str) -> re.Pattern[str] | None:
    try:
        return re.compile(source)
    except re.error:
        return None
