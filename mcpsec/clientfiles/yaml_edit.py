"""One entry set in, or taken out of, a YAML text; everything else stays as it stands: comments, order, line ends.

The entry stands in a block mapping, under its name, or in a block sequence, whose items have a ``name``. Flow
collections, anchors and several documents are read, but not edited.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import yaml

from mcpsec.clientfiles.editing import checked, unsafe
from mcpsec.errors import ConfigurationError

__all__ = ["read", "remove_empty", "remove_entry", "set_entry", "written"]


_PLAIN = re.compile(r"(?!(?i:true|false|yes|no|on|off|null|y|n)$)[A-Za-z_][A-Za-z0-9_-]*")

_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


class _Child(NamedTuple):
    """One member of the mapping, or item of the sequence, that holds the entries: its name, and its lines."""

    name: object
    start: int
    end: int
    column: int


def read(text: str) -> Any:
    """The value of a YAML text; an empty text is an empty mapping.

    Raises:
        ConfigurationError: it is not YAML; ``line`` says where.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else None
        raise ConfigurationError("not valid YAML", line=line) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigurationError("not valid YAML") from None
    return {} if value is None else value


def set_entry(text: str, key: str, name: str, entry: dict[str, Any], *, items: bool = False) -> str:
    """``text`` with the entry ``name`` in the collection at the top-level ``key``, in place of one of that name.

    With ``items`` the collection is a sequence, and ``entry`` holds its name.

    Raises:
        ConfigurationError: the text is not YAML, or has a shape that can't be edited safely.
    """
    before = read(text)
    expected = _changed(before, key, name, entry, items=items)
    if before == expected:
        return text
    newline = "\r\n" if "\r\n" in text else "\n"
    holder = _holder(text, key)
    if holder is None:
        head = text if not text or text.endswith("\n") else text + newline
        block = written({key: [entry] if items else {name: entry}}).replace("\n", newline)
        return checked(read, head + block, expected)
    children = _children(text, holder, items=items)
    found = [child for child in children if child.name == name]
    column = children[0].column if children else holder[0].start_mark.column + 2
    block = written([entry] if items else {name: entry}, column).replace("\n", newline)
    if found:
        return checked(read, text[: found[-1].start] + block + text[found[-1].end :], expected)
    if children:
        at = children[-1].end
        head = text[:at] if text[:at].endswith("\n") else text[:at] + newline
        return checked(read, head + block + text[at:], expected)
    return checked(read, _filled(text, holder, block, newline), expected)


def remove_entry(text: str, key: str, name: str, *, items: bool = False) -> str:
    """``text`` without that entry; as it was when there is none.

    Raises:
        ConfigurationError: the text is not YAML, or has a shape that can't be edited safely.
    """
    before = read(text)
    holder = _holder(text, key)
    children = [] if holder is None else _children(text, holder, items=items)
    found = [child for child in children if child.name == name]
    if holder is None or not found:
        return text
    expected = _changed(before, key, name, None, items=items)
    edited = text[: found[-1].start] + text[found[-1].end :]
    if len(children) == 1:  # a key without a value would be null
        at = _line_end(edited, holder[0].end_mark.index)
        colon = edited.index(":", holder[0].end_mark.index) + 1
        edited = f"{edited[:colon]} {'[]' if items else '{}'}{edited[colon:at]}{edited[at:]}"
    return checked(read, edited, expected)


def remove_empty(text: str, key: str) -> str:
    """``text`` without the line of the top-level ``key``, whose collection is empty; as it was when it holds more.

    Raises:
        ConfigurationError: the text is not YAML, or has a shape that can't be edited safely.
    """
    before = read(text)
    holder = _holder(text, key)
    if holder is None or before[key] not in ({}, []):
        return text
    start = text.rfind("\n", 0, holder[0].start_mark.index) + 1
    end = _line_end(text, holder[1].end_mark.index)
    if text[start:end].strip() != text[holder[0].start_mark.index : holder[1].end_mark.index]:
        return text  # a comment is its owner's
    return checked(read, text[:start] + text[end:], {name: value for name, value in before.items() if name != key})


def written(value: Any, column: int = 0) -> str:
    """A mapping or sequence in block style, indented by ``column``; texts in double quotes."""
    pad = " " * column
    if isinstance(value, dict):
        lines = ""
        for name, item in value.items():
            label = name if _PLAIN.fullmatch(name) else _scalar(name)
            nested = isinstance(item, dict | list) and item
            lines += f"{pad}{label}:\n{written(item, column + 2)}" if nested else f"{pad}{label}: {_scalar(item)}\n"
        return lines
    lines = ""
    for item in value:
        if isinstance(item, dict) and item:
            lines += f"{pad}- " + written(item, column + 2)[column + 2 :]
        else:
            lines += f"{pad}- {_scalar(item)}\n"
    return lines


def _scalar(value: object) -> str:
    """Flow style: JSON, but for what YAML does not take as it is (YAML 1.1 section 5.1)."""
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def _changed(old: Any, key: str, name: str, entry: dict[str, Any] | None, *, items: bool) -> Any:
    if not isinstance(old, dict):
        raise unsafe()
    held = old.get(key)
    if items:
        kept = held if isinstance(held, list) else []
        places = [at for at, item in enumerate(kept) if isinstance(item, dict) and item.get("name") == name]
        if entry is None:
            return {**old, key: [item for at, item in enumerate(kept) if at not in places[-1:]]}
        if places:
            return {**old, key: [entry if at == places[-1] else item for at, item in enumerate(kept)]}
        return {**old, key: [*kept, entry]}
    members = held if isinstance(held, dict) else {}
    rest = members if entry is not None else {other: value for other, value in members.items() if other != name}
    return {**old, key: {**rest, **({name: entry} if entry is not None else {})}}


def _holder(text: str, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    """The key's node and its value's; None when the text has no such key."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        return None
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise unsafe()
    found = [pair for pair in root.value if isinstance(pair[0], yaml.ScalarNode) and pair[0].value == key]
    return found[-1] if found else None


def _children(text: str, holder: tuple[yaml.Node, yaml.Node], *, items: bool) -> list[_Child]:
    value = holder[1]
    if isinstance(value, yaml.ScalarNode) and value.tag == "tag:yaml.org,2002:null":
        return []
    if not isinstance(value, yaml.SequenceNode if items else yaml.MappingNode):
        raise unsafe()
    if not value.value:
        return []
    if value.flow_style:
        raise unsafe()
    children = []
    for child in value.value:
        node = child if items else child[0]
        at = node.start_mark.index
        start = text.rfind("\n", 0, at) + 1
        end = _line_end(text, _end_of(child if items else child[1]))
        column = value.start_mark.column if items else node.start_mark.column
        children.append(_Child(_name_of(child) if items else node.value, start, end, column))
    return children


def _name_of(item: yaml.Node) -> object:
    if isinstance(item, yaml.MappingNode):
        for key, value in item.value:
            if isinstance(key, yaml.ScalarNode) and key.value == "name" and isinstance(value, yaml.ScalarNode):
                return value.value
    return None


def _end_of(node: yaml.Node) -> int:
    """Where a node's own text ends: the mark of a block collection lies behind the comments that follow it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end_of(last[1] if isinstance(node, yaml.MappingNode) else last)
    return int(node.end_mark.index)


def _line_end(text: str, at: int) -> int:
    """Behind the line that ``at`` is in; ``at`` itself when a line has just ended there."""
    if at and text[at - 1] == "\n":
        return at
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _filled(text: str, holder: tuple[yaml.Node, yaml.Node], block: str, newline: str) -> str:
    """An empty collection with its first entry: ``key:``, ``key: {}``, ``key: null``."""
    key, value = holder
    start, stop = value.start_mark.index, value.end_mark.index
    if text[start:stop].strip():
        text = text[:start].rstrip(" ") + text[stop:]
    end = _line_end(text, key.end_mark.index)
    head = text[:end] if text[:end].endswith("\n") else text[:end] + newline
    return head + block + text[end:]
