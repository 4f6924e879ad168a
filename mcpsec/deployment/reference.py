"""The reference page of the deployment file, made from the table that reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from string import Template

from mcpsec.deployment.keys import DEPLOYMENT
from mcpsec.deployment.shapes import Key, Kind, ListOf, MapOf, Table
from mcpsec.secretrefs import SOURCES

__all__ = ["reference_page"]


def reference_page() -> str:
    """Return docs/deployment-file.md."""
    text = (files("mcpsec.deployment") / "data" / "reference.md").read_text(encoding="utf-8")
    sources = "\n".join(f"| `{{ {kind} = … }}` | {source.doc} |" for kind, source in SOURCES.items())
    keys = "\n\n".join(_section(title, table) for title, table in _sections(DEPLOYMENT, ""))
    return Template(text).substitute(sources=sources, keys=keys)


def _sections(table: Table, path: str, title: str = "Top level") -> Iterator[tuple[str, Table]]:
    yield title, table
    for key in table.keys:
        inner, name = key.kind, f"{path}.{key.name}".lstrip(".")
        if isinstance(inner, Table):
            yield from _sections(inner, name, f"[{name}]")
        elif isinstance(inner, MapOf) and isinstance(inner.value, Table):
            yield from _sections(inner.value, f"{name}.{inner.of}", f"[{name}.{inner.of}]")
        elif isinstance(inner, ListOf) and isinstance(inner.item, Table):
            yield from _sections(inner.item, name, f"[[{name}]]")


def _section(title: str, table: Table) -> str:
    heading = f"### `{title}`" if title.startswith("[") else f"### {title}"
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    rows.extend(
        f"| `{key.name}` | {_label(key.kind)} | {_default(table, key)} | {_meaning(key)} |" for key in table.keys
    )
    parts = [heading, *([table.doc] if table.doc else []), "\n".join(rows)]
    if table.one_of:
        parts.append(f"Exactly one of {', '.join(f'`{name}`' for name in table.one_of)} is given.")
    return "\n\n".join(parts)


def _row(table: Table, key: Key) -> str:
    return f"| `{key.name}` | {_label(key.kind)} | {_default(table, key)} | {_meaning(key)} |"


def _label(kind: Kind) -> str:
    if isinstance(kind, Table):
        return "table, below"
    if isinstance(kind, MapOf) and isinstance(kind.value, Table):
        return "tables, below"
    if isinstance(kind, ListOf) and isinstance(kind.item, Table):
        return "list of tables, below"
    return kind.label.replace("|", "\\|")


def _default(table: Table, key: Key) -> str:
    if table.required(key):
        return "**required**"
    shown = table.shown_default(key)
    return "" if shown in (None, {}, []) else f"`{json.dumps(shown)}`"


def _meaning(key: Key) -> str:
    return f"{key.doc} Only with `{key.needs}`." if key.needs else key.doc
