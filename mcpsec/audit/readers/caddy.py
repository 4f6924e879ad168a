"""Caddyfiles: global options, snippets and sites."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mcpsec.audit.readers.blocks import Directive, parse

if TYPE_CHECKING:
    from mcpsec.audit.subjects import Subject

__all__ = ["Caddyfile", "read"]

MAXIMUM_IMPORTS = 20


@dataclass
class Caddyfile:
    """``sites`` hold their directives with imported snippets in place of ``import``."""

    options: list[Directive] = field(default_factory=list)
    snippets: dict[str, Directive] = field(default_factory=dict)
    sites: list[Directive] = field(default_factory=list)
    unresolved: list[Directive] = field(default_factory=list)
    """Imports of other files."""


def read(subject: Subject) -> Caddyfile:
    """Read a Caddyfile. Raises Malformed."""
    root = parse(subject.text, lines=True)
    made = Caddyfile()
    blocks = [each for each in root.children if each.block]
    bare = [each for each in root.children if not each.block]
    for block in blocks:
        if not block.name and not block.args:
            made.options += block.children
        elif block.name.startswith("(") and block.name.endswith(")"):
            made.snippets[block.name[1:-1]] = block
        elif block.name.startswith("&("):
            continue
        else:
            made.sites.append(block)
    if not made.sites and bare:  # a site without braces: the first line is its address
        first, rest = bare[0], [each for each in root.children if each is not bare[0]]
        first.children = rest
        first.block = True
        for each in rest:
            each.parent = first
        made.sites.append(first)
    for site in made.sites:
        _resolve(site, made, 0)
    return made


def _resolve(scope: Directive, made: Caddyfile, depth: int) -> None:
    """Put the directives of snippets in place of their imports."""
    children: list[Directive] = []
    for child in scope.children:
        if child.name == "import":
            snippet = made.snippets.get(child.value)
            if snippet is None or depth > MAXIMUM_IMPORTS:
                made.unresolved.append(child)
            else:
                children += snippet.children
        else:
            if child.block:
                _resolve(child, made, depth + 1)
            children.append(child)
    scope.children = children
