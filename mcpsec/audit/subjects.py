"""What is judged: one file (or endpoint) with its kind, its text and what a reader made of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpsec.audit.model import Edit, Finding, Location, State
from mcpsec.clientfiles.positions import Document, Malformed, json_document, pointer, toml_document, yaml_documents

if TYPE_CHECKING:
    from datetime import datetime

    from mcpsec.clientfiles.toml import KeyPath

__all__ = ["MAXIMUM_BYTES", "At", "Context", "Subject"]

MAXIMUM_BYTES = 4 << 20
"""A configuration file that is larger is something else."""


@dataclass(frozen=True, slots=True)
class At:
    """A place in a text that has no key paths."""

    line: int
    column: int = 1
    start: int = 0
    end: int = 0


@dataclass(eq=False)
class Subject:
    """One file of a kind. ``label`` is its path as shown; ``explicit`` when the user named it."""

    kind: str
    path: Path
    label: str
    raw: bytes = b""
    explicit: bool = False
    facts: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def text(self) -> str:
        """The file as text; what is not UTF-8 is replaced."""
        return self.raw.decode("utf-8-sig", "replace")

    @cached_property
    def documents(self) -> list[Document]:
        """The documents of a structured file. Raises Malformed."""
        name = self.path.name.lower()
        if name.endswith(".toml") or self.kind == "deployment":
            return [toml_document(self.text)]
        if name.endswith((".yaml", ".yml")):
            return yaml_documents(self.text)
        if name.endswith((".json", ".jsonc", ".json5")) or self.text.lstrip("\ufeff \t\r\n/")[:1] in ("{", "["):
            return [json_document(self.text)]
        return yaml_documents(self.text)

    @property
    def document(self) -> Document:
        """The first document. Raises Malformed."""
        documents = self.documents
        if not documents:
            raise Malformed("the file holds nothing")
        return documents[0]

    @cached_property
    def model(self) -> Any:
        """What the reader of this kind made of the file. Raises Malformed."""
        from mcpsec.audit.readers import read

        return read(self)

    # --- findings ---

    def locate(self, at: KeyPath | At | int | None, document: Document | None = None, *, key: bool = False) -> Location:
        """The location of a key path, a place or a line of this file."""
        if at is None:
            return Location(self.label)
        if isinstance(at, int):
            return Location(self.label, line=at, column=1)
        if isinstance(at, At):
            return Location(self.label, line=at.line, column=at.column)
        document = document or self.document
        place = document.key_place(at) if key else document.place(at)
        return Location(self.label, pointer(at), place.line, place.column)

    def finding(
        self,
        check: str,
        state: State,
        at: KeyPath | At | int | None,
        observed: str,
        *,
        name: str = "",
        document: Document | None = None,
        on_key: bool = False,
        **more: Any,
    ) -> Finding:
        """A finding about this file; ``name`` is what in it the finding is about."""
        location = self.locate(at, document, key=on_key)
        return Finding(check, state, observed, name or self.label, location, **more)

    def fail(self, check: str, at: KeyPath | At | int | None, observed: str, **more: Any) -> Finding:
        """The check is not passed."""
        return self.finding(check, State.FAIL, at, observed, **more)

    def ok(self, check: str, at: KeyPath | At | int | None, observed: str, **more: Any) -> Finding:
        """The check is passed."""
        return self.finding(check, State.PASS, at, observed, **more)

    def skip(self, check: str, observed: str, **more: Any) -> Finding:
        """The check does not apply to this file."""
        return self.finding(check, State.NOT_APPLICABLE, None, observed, **more)

    def unknown(self, check: str, observed: str, **more: Any) -> Finding:
        """The check should have been made and could not be."""
        return self.finding(check, State.NOT_ASSESSED, None, observed, **more)

    def manual(self, check: str, at: KeyPath | At | int | None, observed: str, **more: Any) -> Finding:
        """A person has to look."""
        return self.finding(check, State.MANUAL, at, observed, **more)

    def replace(self, path: KeyPath, text: str, document: Document | None = None) -> Edit:
        """The repair that writes ``text`` in place of the value at ``path``."""
        place = (document or self.document).place(path)
        return Edit(str(self.path), place.start, place.end, text)


@dataclass
class Context:
    """One run: everything that is judged together, the moment it is judged at, and what was asked for."""

    subjects: list[Subject]
    root: Path
    now: datetime
    profile: str = "static"
    options: Mapping[str, Any] = field(default_factory=dict)
    chosen: frozenset[str] | None = None
    """The checks that were selected; None for all."""

    def wants(self, checks: Collection[str]) -> bool:
        """Whether any of some checks is selected; also when it can't be said which they are (none named)."""
        return self.chosen is None or not checks or not self.chosen.isdisjoint(checks)

    def of_kind(self, *kinds: str) -> list[Subject]:
        """The subjects of some kinds."""
        return [subject for subject in self.subjects if subject.kind in kinds]

    def label(self, path: Path) -> str:
        """A path as reports show it: relative to where the audit runs when it is below."""
        try:
            return path.relative_to(self.root).as_posix()
        except ValueError:
            return path.as_posix()
