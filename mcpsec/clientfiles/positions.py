"""Structured files as plain values, with the place of every key and value: JSON with comments, TOML, YAML.

Other people's files are input from strangers: size, depth and the number of values are bounded, aliases of YAML are
counted by what they would expand to, and a text that is not what it says raises one :class:`Malformed`.
"""

from __future__ import annotations

import json
import re
import tomllib
from bisect import bisect_right
from typing import Any, NamedTuple

from mcpsec.clientfiles.toml import KeyPath, locate

__all__ = ["Document", "Malformed", "Place", "json_document", "pointer", "toml_document", "yaml_documents"]

MAXIMUM_DEPTH = 100
MAXIMUM_VALUES = 200_000


class Malformed(ValueError):
    """The text is not of the format; ``line`` counts from 1."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


class Place(NamedTuple):
    """Where something stands; ``start`` and ``end`` are offsets of the value, line and column count from 1."""

    line: int
    column: int
    start: int
    end: int


class Document:
    """One document: ``data`` in plain values, and where each key path of it is written."""

    def __init__(self, text: str, data: Any, spans: dict[KeyPath, tuple[int, int, int]]) -> None:
        self.text = text
        self.data = data
        self._spans = spans
        self._lines: list[int] | None = None

    def place(self, path: KeyPath) -> Place:
        """Where the value at ``path`` is written; the nearest value around it for one that is written nowhere."""
        for end in range(len(path), -1, -1):
            span = self._spans.get(path[:end])
            if span is not None:
                _, start, stop = span
                line, column = self.line_of(start)
                return Place(line, column, start, stop)
        return Place(1, 1, 0, len(self.text))

    def key_place(self, path: KeyPath) -> Place:
        """Where the key of ``path`` is written."""
        span = self._spans.get(path)
        if span is None:
            return self.place(path)
        line, column = self.line_of(span[0])
        return Place(line, column, span[1], span[2])

    def has(self, path: KeyPath) -> bool:
        """True when this very path is written."""
        return path in self._spans

    def path_at(self, offset: int) -> KeyPath:
        """The innermost value that holds the character at ``offset``."""
        best: KeyPath = ()
        for path, (_, start, end) in self._spans.items():
            if start <= offset < end and len(path) >= len(best):
                best = path
        return best

    def covers(self, offset: int) -> bool:
        """True when the character at ``offset`` belongs to this document of the text."""
        _, start, end = self._spans.get((), (0, 0, len(self.text)))
        return start <= offset < end

    def line_of(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset."""
        if self._lines is None:
            self._lines = [0, *(match.end() for match in re.finditer("\n", self.text))]
        line = bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1


def pointer(path: KeyPath) -> str:
    """A key path as a JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


# --- JSON ---

_SKIP = re.compile(r"(?:[ \t\r\n\ufeff]+|//[^\n]*|/\*(?:[^*]|\*(?!/))*\*/)*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_SCALAR = re.compile(r"[^\s,\]}/\[{\"]+")


def json_document(text: str) -> Document:
    """Read JSON with comments and trailing commas; of a key that comes twice the last counts. Raises Malformed."""
    reader = _Json(text)
    data = reader.document()
    return Document(text, data, reader.spans)


class _Json:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.spans: dict[KeyPath, tuple[int, int, int]] = {}
        self.depth = 0

    def document(self) -> Any:
        self.skip()
        if self.at == len(self.text):
            return {}
        value = self.value((), self.at)
        if self.skip():
            raise self.wrong("there is text behind the end of the document")
        return value

    def skip(self) -> str:
        match = _SKIP.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.text[self.at : self.at + 1]

    def wrong(self, message: str = "not valid JSON") -> Malformed:
        return Malformed(message, self.text.count("\n", 0, self.at) + 1)

    def value(self, path: KeyPath, key: int) -> Any:
        opening, start = self.skip(), self.at
        value: Any
        if opening in ("{", "["):
            self.depth += 1
            if self.depth > MAXIMUM_DEPTH:
                raise self.wrong("nested too deep")
            self.spans[path] = (key, start, start + 1)  # before what is inside, so that paths come in order
            value = self.object(path) if opening == "{" else self.array(path)
            self.depth -= 1
        elif opening == '"':
            value = self.string()
        else:
            match = _SCALAR.match(self.text, self.at)
            if match is None:
                raise self.wrong()
            try:
                value = json.loads(match[0])
            except (ValueError, RecursionError):
                raise self.wrong() from None
            self.at = match.end()
        self.spans[path] = (key, start, self.at)
        if len(self.spans) > MAXIMUM_VALUES:
            raise self.wrong("too many values")
        return value

    def string(self) -> str:
        match = _STRING.match(self.text, self.at)
        if match is None:
            raise self.wrong()
        try:
            value: str = json.loads(match[0])
        except ValueError:
            raise self.wrong() from None
        self.at = match.end()
        return value

    def object(self, path: KeyPath) -> dict[str, Any]:
        self.at += 1
        found: dict[str, Any] = {}
        while self.skip() != "}":
            key_at = self.at
            name = self.string()
            if self.skip() != ":":
                raise self.wrong()
            self.at += 1
            found[name] = self.value((*path, name), key_at)
            self.comma("}")
        self.at += 1
        return found

    def array(self, path: KeyPath) -> list[Any]:
        self.at += 1
        found: list[Any] = []
        while self.skip() != "]":
            found.append(self.value((*path, len(found)), self.at))
            self.comma("]")
        self.at += 1
        return found

    def comma(self, closing: str) -> None:
        mark = self.skip()
        if mark == ",":
            self.at += 1
        elif mark != closing:
            raise self.wrong()


# --- TOML ---


def toml_document(text: str) -> Document:
    """Read TOML. Raises Malformed."""
    try:
        data = tomllib.loads(text)
        places = locate(text)
    except RecursionError:
        raise Malformed("nested too deep") from None
    except ValueError as error:
        match = re.search(r"\(at line (\d+)", str(error))
        raise Malformed("not valid TOML", int(match[1]) if match else 1) from None
    return Document(text, data, {path: (at.key.start, at.value.start, at.value.end) for path, at in places.items()})


# --- YAML ---

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


def yaml_documents(text: str) -> list[Document]:
    """Read every document of a YAML stream (scalars as YAML 1.2's core schema has them). Raises Malformed."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Yaml(text)
    try:
        for event in yaml.parse(text, Loader=loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise Malformed(f"not valid YAML: {error.problem or 'syntax error'}", mark.line + 1 if mark else 1) from None
    except (yaml.YAMLError, UnicodeError, RecursionError):
        raise Malformed("not valid YAML: a character that YAML does not allow, or too deep") from None
    return builder.documents


class _Level:
    """A mapping or sequence under construction."""

    __slots__ = ("anchor", "at", "key", "key_at", "merges", "path", "size", "start", "value")

    def __init__(self, value: Any, path: KeyPath, at: int, start: int, anchor: str | None) -> None:
        self.value = value
        self.path = path
        self.at = at
        self.start = start
        self.anchor = anchor
        self.key: str | None = None
        self.key_at = 0
        self.size = 1
        self.merges: list[Any] = []


class _Yaml:
    """Builds values from the events of one stream, without recursion."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.documents: list[Document] = []
        self.values = 0
        self.clear()

    def clear(self) -> None:
        self.spans: dict[KeyPath, tuple[int, int, int]] = {}
        self.stack: list[_Level] = []
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.root: Any = None

    def take(self, event: Any) -> None:
        kind = type(event).__name__
        if kind == "ScalarEvent":
            self.scalar(event)
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            self.open(event, {} if kind[0] == "M" else [])
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            self.close(event)
        elif kind == "AliasEvent":
            self.alias(event)
        elif kind == "DocumentEndEvent":
            if self.root is not None or self.spans:
                self.documents.append(Document(self.text, self.root, self.spans))
            self.clear()

    def count(self, size: int, line: int) -> None:
        self.values += size
        if self.values > MAXIMUM_VALUES:
            raise Malformed("too many values, or aliases that expand to too many", line + 1)

    def where(self, start: int) -> tuple[KeyPath, int]:
        """Path of the value that begins now, and where its key is."""
        if not self.stack:
            return (), start
        top = self.stack[-1]
        if isinstance(top.value, list):
            return (*top.path, len(top.value)), start
        return (*top.path, top.key or ""), top.key_at

    def expects_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None

    def scalar(self, event: Any) -> None:
        start, end = event.start_mark.index, event.end_mark.index
        self.count(1, event.start_mark.line)
        if self.expects_key():
            self.stack[-1].key, self.stack[-1].key_at = event.value, start
            return
        value = event.value if event.style or event.tag == "!" else _plain(event.value)
        if event.tag and event.tag.endswith("str"):
            value = event.value
        path, key_at = self.where(start)
        self.spans[path] = (key_at, start, max(end, start))
        if event.anchor:
            self.anchors[event.anchor] = (value, 1)
        self.put(value, 1)

    def open(self, event: Any, value: Any) -> None:
        if len(self.stack) >= MAXIMUM_DEPTH:
            raise Malformed("nested too deep", event.start_mark.line + 1)
        if self.expects_key():
            raise Malformed("a key that is no text", event.start_mark.line + 1)
        start = event.start_mark.index
        path, key_at = self.where(start)
        self.count(1, event.start_mark.line)
        self.spans[path] = (key_at, start, start + 1)
        self.stack.append(_Level(value, path, key_at, start, event.anchor))

    def close(self, event: Any) -> None:
        level = self.stack.pop()
        for other in level.merges:
            for name, value in other.items():
                level.value.setdefault(name, value)
        self.spans[level.path] = (level.at, level.start, max(event.end_mark.index, level.start))
        if level.anchor:
            self.anchors[level.anchor] = (level.value, level.size)
        self.put(level.value, level.size)

    def alias(self, event: Any) -> None:
        line = event.start_mark.line
        if event.anchor not in self.anchors:
            raise Malformed("an alias of nothing, or of what holds it", line + 1)
        value, size = self.anchors[event.anchor]
        self.count(size, line)
        if self.expects_key():
            self.stack[-1].key, self.stack[-1].key_at = str(value)[:200], event.start_mark.index
            return
        path, key_at = self.where(event.start_mark.index)
        self.spans[path] = (key_at, event.start_mark.index, event.end_mark.index)
        self.put(value, size)

    def put(self, value: Any, size: int) -> None:
        if not self.stack:
            self.root = value
            return
        top = self.stack[-1]
        top.size += size
        if isinstance(top.value, list):
            top.value.append(value)
            return
        if top.key == "<<":
            top.merges += [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]
        else:
            top.value[top.key] = value
        top.key = None


def _plain(text: str) -> Any:
    low = text.lower() if len(text) < 6 else text
    if low in _WORDS and (text in _WORDS or text in (low.upper(), low.capitalize())):
        return _WORDS[low]
    if len(text) < 20 and _INTEGER.fullmatch(text):
        return int(text.replace("_", ""))
    if len(text) < 40 and _FLOAT.fullmatch(text):
        return float(text)
    return text
