"""The lock file: every definition of every pinned upstream, readable in a review, with its digest.

TOML, written by ``mcpsec pin`` alone. A definition whose text and digest disagree was edited by hand, and is an error:
what is pinned is what an upstream said, not what somebody wished that it had said.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import tomli_w

from mcpsec.errors import ConfigurationError, advice
from mcpsec.gateway.pins.definitions import KINDS, digest, readable
from mcpsec.writing import PUBLIC, write_output

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Lock", "UpstreamPins"]

SCHEMA = "mcpsec.pins/1"
_MAXIMUM_BYTES = 64 << 20
_HINT = "`mcpsec pin` writes this file; it is not edited by hand"


@dataclass(slots=True)
class UpstreamPins:
    """What one upstream was pinned to be: ``kind → name → definition``, and its instructions (None: it had none)."""

    definitions: dict[str, dict[str, Any]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    instructions: str | None = None
    server: str = ""
    """Name and version that it gave, for people; not compared."""

    def count(self, kind: str) -> int:
        """How many definitions of a kind there are."""
        return len(self.definitions.get(kind, {}))


@dataclass(slots=True)
class Lock:
    """The whole file: upstream → pins."""

    upstreams: dict[str, UpstreamPins] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Lock:
        """Read a lock file. Raises ConfigurationError with the place of what is wrong."""
        try:
            with path.open("rb") as file:
                content = file.read(_MAXIMUM_BYTES + 1)
        except FileNotFoundError:
            raise ConfigurationError(
                "there is no such lock file", hint="`mcpsec pin` writes it from what the upstreams say", path=path
            ) from None
        except OSError as error:
            raise ConfigurationError(f"can't be read: {error.strerror}", path=path, hint=advice(error)) from None
        if len(content) > _MAXIMUM_BYTES:
            raise ConfigurationError(f"is larger than {_MAXIMUM_BYTES >> 20} MiB", hint=_HINT, path=path)
        try:
            document = tomllib.loads(content.decode())
        except (ValueError, RecursionError):
            raise ConfigurationError("is not a lock file: it is not TOML", hint=_HINT, path=path) from None
        if document.get("schema") != SCHEMA:
            raise ConfigurationError(f"is not a lock file of this version ({SCHEMA})", hint=_HINT, path=path)
        reader = _Reader(path, content.decode())
        upstreams = document.get("upstreams", {})
        if not isinstance(upstreams, dict):
            raise reader.fault("upstreams must be a table")
        return cls({name: reader.pins(name, table) for name, table in upstreams.items()})

    def write(self, path: Path) -> None:
        """Write the file whole or not at all. Raises ConfigurationError when it can't be written."""
        parts = ["# Written by `mcpsec pin`: what each MCP server says of itself, as it was reviewed.\n"]
        parts.append(tomli_w.dumps({"schema": SCHEMA}))
        for name in sorted(self.upstreams):
            parts += _texts(name, self.upstreams[name])
        text = "".join(parts)
        write_output(path, text.encode(), PUBLIC)


def _texts(upstream: str, pins: UpstreamPins) -> Iterator[str]:
    """The tables of one upstream as TOML, definitions as they are read in a review."""
    table: dict[str, Any] = {"server": pins.server}
    if pins.instructions is not None:
        table["instructions"] = pins.instructions
    readably = "\r" not in f"{pins.server}{pins.instructions}"  # TOML reads no carriage return in a text of many lines
    yield "\n" + tomli_w.dumps({"upstreams": {upstream: table}}, multiline_strings=readably)
    for kind in KINDS:
        entries = pins.definitions.get(kind, {})
        for name in sorted(entries):
            pinned = {"sha256": digest(entries[name])}
            yield "\n" + tomli_w.dumps({"upstreams": {upstream: {kind: {name: pinned}}}})
            yield _definition_text(readable(entries[name]))


def _definition_text(text: str) -> str:
    """A literal string where TOML allows one, because JSON is unreadable with every quote escaped."""
    if "'''" in text or "\x7f" in text:
        return tomli_w.dumps({"definition": text})
    return f"definition = '''\n{text}\n'''\n"


class _Reader:
    """Reads the tables of one file, and knows where in its text a name stands."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text

    def fault(self, message: str, near: str = "") -> ConfigurationError:
        at = self._text.find(near) if near else -1
        line = self._text.count("\n", 0, at) + 1 if at >= 0 else None
        return ConfigurationError(message, hint=_HINT, path=self._path, line=line)

    def pins(self, name: str, table: Any) -> UpstreamPins:
        if not isinstance(table, dict):
            raise self.fault(f"upstreams.{name} must be a table", name)
        instructions, server = table.get("instructions"), table.get("server", "")
        if not isinstance(instructions, str | None) or not isinstance(server, str):
            raise self.fault(f"upstreams.{name}: instructions and server must be text", name)
        unknown = sorted(table.keys() - {"instructions", "server", *KINDS})
        if unknown:
            raise self.fault(f"upstreams.{name} has no key {unknown[0]}", unknown[0])
        return UpstreamPins(
            {kind: self._entries(name, kind, table.get(kind, {})) for kind in KINDS}, instructions, server
        )

    def _entries(self, upstream: str, kind: str, table: Any) -> dict[str, Any]:
        if not isinstance(table, dict):
            raise self.fault(f"upstreams.{upstream}.{kind} must be a table", upstream)
        return {name: self._definition(name, entry) for name, entry in table.items()}

    def _definition(self, name: str, entry: Any) -> dict[str, Any]:
        text, pinned = (entry.get("definition"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
        try:
            definition = orjson.loads(text) if isinstance(text, str) else None
        except orjson.JSONDecodeError:
            definition = None
        if not isinstance(definition, dict) or not isinstance(pinned, str):
            raise self.fault("an entry needs its definition (a JSON object) and its sha256", str(name))
        if digest(definition) != pinned:
            raise self.fault("a definition and its sha256 do not belong together", pinned)
        return definition
