"""What a key can hold: scalars, lists, maps and tables, each of which reads, describes and shows its values.

A ``Kind`` is the single definition of one sort of value. ``read`` checks what the file says and turns it into the
model's value, ``schema`` is its JSON Schema, ``show`` writes a model value back as a file would say it, ``label``
names it in the reference page. ``keys`` combines kinds into the table of the whole file.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, cast

from mcpsec.clientfiles.toml import KeyPath
from mcpsec.deployment.problems import INVALID, Report, dotted
from mcpsec.frozen import dataclass

__all__ = ["Key", "Kind", "ListOf", "MapOf", "Scalar", "Table", "Wrong", "kind_of", "suggestion", "text_of"]

Schema = dict[str, Any]
Leaf = tuple[KeyPath, "Kind", Any]


class Wrong(Exception):
    """A scalar is not what its kind accepts; ``hint`` says what would be."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Kind:
    """One sort of value. The base class accepts nothing."""

    @property
    def absent(self) -> str | None:
        """How the file writes the model's None, when it can."""
        return None

    @property
    @abstractmethod
    def label(self) -> str:
        """Name this kind in the reference page."""

    @abstractmethod
    def read(self, value: object, at: KeyPath, report: Report) -> Any:
        """Return the model's value, or INVALID after reporting what is wrong."""

    @abstractmethod
    def schema(self) -> Schema:
        """Return the JSON Schema (draft 2020-12) of what the file may say."""

    @abstractmethod
    def show(self, value: Any) -> Any:
        """Return what a file would say to get this value; never a secret."""

    def leaves(self, value: Any, at: KeyPath) -> Iterator[Leaf]:
        """Walk to every scalar inside a model value."""
        yield at, self, value


class Scalar(Kind):
    """A value without inner structure: a subclass says how to parse it."""

    @abstractmethod
    def parse(self, value: Any, base: Any) -> Any:
        """Return the model's value. Raises Wrong, whose text never repeats what might be a secret."""

    def read(self, value: object, at: KeyPath, report: Report) -> Any:
        """Parse, and report what is wrong under the key's name."""
        try:
            return self.parse(value, report.base)
        except Wrong as wrong:
            return report.add(at, f"{_name(at)} {wrong.message}", wrong.hint)

    def show(self, value: Any) -> Any:
        """Return the value itself; most scalars are written as they are."""
        return value


@dataclass(frozen=True, slots=True)
class ListOf(Kind):
    """A list of one kind, as a tuple; ``at_least`` so many, no element twice."""

    item: Kind
    at_least: int = 0

    @property
    def label(self) -> str:
        """Name the elements."""
        return f"list of {self.item.label}"

    def read(self, value: object, at: KeyPath, report: Report) -> Any:
        """Read each element; wrong ones are reported and left out."""
        if not isinstance(value, list):
            one = isinstance(value, str) and not isinstance(self.item, Table)
            hint = "put the one value between [ and ]" if one else None
            return report.add(at, f"{_name(at)} must be a list, not {kind_of(value)}", hint)
        if len(value) < self.at_least:
            return report.add(at, f"{_name(at)} must not be empty")
        read = [(index, self.item.read(item, (*at, index), report)) for index, item in enumerate(value)]
        good: list[Any] = []
        for index, item in read:
            if item is INVALID:
                continue
            if item in good and not isinstance(self.item, Table):
                report.add((*at, index), f"{_name(at)} names the same value twice")
            good.append(item)
        return tuple(good)

    def schema(self) -> Schema:
        """Describe an array."""
        schema: Schema = {"type": "array", "items": self.item.schema()}
        if not isinstance(self.item, Table):
            schema["uniqueItems"] = True
        if self.at_least:
            schema["minItems"] = self.at_least
        return schema

    def show(self, value: Any) -> Any:
        """Show each element."""
        return [self.item.show(item) for item in value]

    def leaves(self, value: Any, at: KeyPath) -> Iterator[Leaf]:
        """Walk into each element."""
        for index, item in enumerate(value):
            yield from self.item.leaves(item, (*at, index))


@dataclass(frozen=True, slots=True)
class MapOf(Kind):
    """A table whose keys the user chooses: ``key`` says which, ``value`` what each holds, ``of`` names the keys."""

    key: Scalar
    value: Kind
    of: str = "NAME"

    @property
    def label(self) -> str:
        """Name keys and values."""
        return f"table of {self.key.label} → {self.value.label}"

    def read(self, value: object, at: KeyPath, report: Report) -> Any:
        """Read each pair; wrong ones are reported and left out."""
        if not isinstance(value, dict):
            return report.add(at, f"{_name(at)} must be a table, not {kind_of(value)}")
        good: dict[str, Any] = {}
        for name, content in value.items():
            place = (*at, name)
            try:
                key = self.key.parse(name, report.base)
            except Wrong as wrong:
                report.add(place, f"{_name(at)}: the name {wrong.message}", wrong.hint)
                key = name  # what it holds is read all the same, so that its own faults are said
            if key in good:
                report.add(place, f"{_name(at)} names {key} twice")
            read = self.value.read(content, place, report)
            if read is not INVALID:
                good[key] = read
        return good

    def schema(self) -> Schema:
        """Describe an object with free keys."""
        return {"type": "object", "propertyNames": self.key.schema(), "additionalProperties": self.value.schema()}

    def show(self, value: Any) -> Any:
        """Show each pair."""
        return {key: self.value.show(item) for key, item in value.items()}

    def leaves(self, value: Any, at: KeyPath) -> Iterator[Leaf]:
        """Walk into each pair."""
        for key, item in value.items():
            yield from self.value.leaves(item, (*at, key))


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a table: what it holds and what it is for. Its default is the model field's own."""

    name: str
    kind: Kind
    doc: str
    example: str | None = None
    needs: str | None = None
    """Another key of the same table without which this one means nothing."""


@dataclass(frozen=True, slots=True)
class Table(Kind):
    """A table with fixed keys, read into one dataclass of the model.

    ``one_of`` are keys of which exactly one must be given, ``at_least`` is how many keys there must be. ``named`` is
    the model's field that takes the table's own name (``[upstreams.files]``).
    """

    model: type[Any]
    keys: tuple[Key, ...]
    doc: str = ""
    one_of: tuple[str, ...] = ()
    named: str | None = None
    at_least: int = 0

    @property
    def label(self) -> str:
        """Name it."""
        return "table"

    def fields(self) -> dict[str, dataclasses.Field[Any]]:
        """Return the model's fields by name."""
        return {entry.name: entry for entry in dataclasses.fields(self.model)}

    def required(self, key: Key) -> bool:
        """True when the model has no default for a key."""
        entry = self.fields()[key.name]
        return entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING

    def default(self, key: Key) -> Any:
        """Return the model's default for a key that is not required."""
        entry = self.fields()[key.name]
        return entry.default if entry.default_factory is dataclasses.MISSING else entry.default_factory()

    def read(self, value: object, at: KeyPath, report: Report) -> Any:
        """Read every key, then build the model's value; a wrong optional key is reported and its default taken."""
        if not isinstance(value, dict):
            return report.add(at, f"{_name(at)} must be a table, not {kind_of(value)}")
        misspelt = self._check_keys(value, at, report)
        arguments: dict[str, Any] = {}
        complete = True
        for key in self.keys:
            if key.name in value:
                read = key.kind.read(value[key.name], (*at, key.name), report)
                if read is not INVALID:
                    arguments[key.name] = read
                    continue
            elif self.required(key) and key.name not in misspelt:
                report.add((*at, key.name), f"{_name(at)} lacks {key.name}", _example(key))
            complete = complete and not self.required(key)
        if not complete:
            return INVALID
        if self.named:
            arguments[self.named] = at[-1]
        built = self.model(**arguments)
        report.built(built, at)
        return built

    def _check_keys(self, value: dict[str, Any], at: KeyPath, report: Report) -> set[str]:
        """Report what is wrong with the names, and return the keys that a misspelt one was meant to be."""
        known = [key.name for key in self.keys]
        misspelt = set()
        for name in value:
            if name not in known:
                report.add((*at, name), f"{_name(at)} has no key {dotted((name,))}", suggestion(name, known))
                misspelt.add(closest(name, known))
        if self.one_of and sum(name in value for name in self.one_of) != 1:
            given = [name for name in self.one_of if name in value]
            says = f"has {' and '.join(given)}" if given else "has none"
            report.add(
                (*at, given[-1]) if given else at, f"{_name(at)} needs exactly one of {_or(self.one_of)}: it {says}"
            )
        if len(value) < self.at_least:
            report.add(at, f"{_name(at)} is empty: it needs one of {_or(tuple(known))}")
        for key in self.keys:
            if key.needs and key.name in value and key.needs not in value:
                report.add((*at, key.name), f"{_name(at)}: {key.name} means something only together with {key.needs}")
        return misspelt - {""}

    def schema(self) -> Schema:
        """Describe an object with these keys and no others."""
        schema: Schema = {"type": "object"}
        if self.doc:
            schema["description"] = self.doc
        schema["properties"] = {key.name: self._property(key) for key in self.keys}
        if required := [key.name for key in self.keys if self.required(key)]:
            schema["required"] = required
        if self.one_of:
            schema["oneOf"] = [{"required": [name]} for name in self.one_of]
        if needs := {key.name: [key.needs] for key in self.keys if key.needs}:
            schema["dependentRequired"] = needs
        if self.at_least:
            schema["minProperties"] = self.at_least
        schema["additionalProperties"] = False
        return schema

    def _property(self, key: Key) -> Schema:
        schema: Schema = {"description": key.doc}
        if not self.required(key) and (default := self.shown_default(key)) is not None:
            schema["default"] = default
        inner = key.kind.schema()
        return {**inner, **schema} if "$ref" not in inner else {**schema, **inner}

    def shown_default(self, key: Key) -> Any:
        """Return a key's default as a file would write it; None when there is none to write."""
        value = self.default(key)
        if value is None:
            return key.kind.absent
        return None if isinstance(key.kind, Table) else key.kind.show(value)

    def show(self, value: Any) -> Any:
        """Show every key that says something, defaults included."""
        shown = {}
        for key in self.keys:
            if key.needs and getattr(value, key.needs) is None:
                continue  # it may not even be written then
            content = getattr(value, key.name)
            written = key.kind.absent if content is None else key.kind.show(content)
            if written is not None:
                shown[key.name] = written
        return shown

    def leaves(self, value: Any, at: KeyPath) -> Iterator[Leaf]:
        """Walk into every key."""
        for key in self.keys:
            content = getattr(value, key.name)
            if content is not None:
                yield from key.kind.leaves(content, (*at, key.name))


def kind_of(value: object) -> str:
    """Name the TOML type of a value, for "must be a list, not …"."""
    names = {bool: "true or false", str: "text", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return names.get(cast("type[Any]", type(value)), "a date or time")


def text_of(value: object) -> str:
    """Return text as it is. Raises Wrong for anything else."""
    if not isinstance(value, str):
        raise Wrong(f"must be text, not {kind_of(value)}")
    return value


def closest(name: str, known: list[str]) -> str:
    """Return the known name that was probably meant, or the empty string."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(name.lower(), known, 1, 0.6)), "")


def suggestion(name: str, known: list[str]) -> str:
    """Return the known name that was probably meant, or all of them, as a sentence."""
    meant = closest(name, known)
    return f"did you mean {meant}?" if meant else f"known here: {', '.join(known)}"


def _name(at: KeyPath) -> str:
    return dotted(at) or "the file"


def _or(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _example(key: Key) -> str | None:
    return f"for example: {key.name} = {key.example}" if key.example else None
