"""YAML and TOML line by line: enough to know under which keys a scalar stands, and where.

Block mappings, block sequences, inline flows and quoted or plain scalars; anchors, tags and multi-line scalars are
passed over. A full parser would refuse what is only nearly YAML, and has no positions in the safe loaders.
"""

from __future__ import annotations

import re
from itertools import islice

from mcpsec.clientfiles.jsonc import Leaf, leaves

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["toml_leaves", "yaml_leaves"]

_LINE = re.compile(
    r"(?P<indent>[ \t]*)(?P<dashes>(?:- +)*)(?:(?P<key>\"[^\"\n]*\"|'[^'\n]*'|[^\s#:\[\]{},\"'][^:#\n]*?) *:(?= |$))?(?P<value>[^\n]*)"  # noqa: E501
)
_HEADER = re.compile(r"\s*\[\[?([^\[\]\n]+)\]\]?\s*(?:#.*)?$")
_PAIR = re.compile(r"\s*(?P<key>\"[^\"\n]*\"|'[^'\n]*'|[A-Za-z0-9_.-]+)\s*=\s*")


def yaml_leaves(text: str) -> Iterator[Leaf]:
    """Every scalar of a YAML text with the keys above it (sequence entries count by index)."""
    stack: list[tuple[int, str | int]] = []
    at = 0
    for line in text.splitlines(keepends=True):
        begin, at = at, at + len(line)
        bare = line.rstrip("\r\n")
        if not bare.strip() or bare.lstrip().startswith("#"):
            continue
        found = _LINE.match(bare)
        if found is None:
            continue
        depth = len(found.group("indent"))
        dashes = found.group("dashes")
        while stack and (
            stack[-1][0] > depth or (stack[-1][0] == depth and not (dashes and isinstance(stack[-1][1], str)))
        ):
            last = stack.pop()
            if dashes and last[0] == depth and isinstance(last[1], int):
                stack.append((depth, last[1] + 1))
                break
        else:
            if dashes:
                stack.append((depth, 0))
        inner = depth + len(dashes)
        key = found.group("key")
        if key is not None:
            stack.append((inner if inner > depth or not dashes else depth + 1, key.strip("\"'")))
        value_at = begin + found.start("value")
        yield from _scalar(text, found.group("value"), value_at, tuple(name for _, name in stack))


def _scalar(text: str, raw: str, at: int, path: tuple[str | int, ...]) -> Iterator[Leaf]:
    lead = len(raw) - len(raw.lstrip())
    value, at = raw.strip(), at + lead
    if not value or value[0] in "|>&*!#":
        return
    if value[0] in "[{":
        for leaf in leaves(text, at, at + len(value)):
            yield Leaf((*path, *leaf.path), leaf.value, leaf.start, leaf.end, leaf.quoted)
    elif value[0] == '"':  # with the escapes of JSON, and a few more that no configuration has
        for leaf in islice(leaves(text, at, at + len(value)), 1):
            if text.startswith('"', leaf.end):
                yield Leaf(path, leaf.value, leaf.start, leaf.end, True)
    elif value[0] == "'":
        end = value.find("'", 1)
        if end > 0:
            yield Leaf(path, value[1:end], at + 1, at + end, True)
    else:
        plain = re.split(r"\s#", value, maxsplit=1)[0].rstrip()
        yield Leaf(path, plain, at, at + len(plain), False)


def toml_leaves(text: str) -> Iterator[Leaf]:
    """Every scalar of a TOML text with its table's keys; arrays may run over several lines."""
    table: tuple[str | int, ...] = ()
    at = 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        line = text[at:end]
        header = _HEADER.match(line)
        pair = _PAIR.match(line)
        if header:
            table = tuple(part.strip(" \"'") for part in re.findall(r"\"[^\"]*\"|'[^']*'|[^.]+", header.group(1)))
        elif pair:
            begin = at + pair.end()
            if text[begin : begin + 1] in ("[", "{"):
                end = _close(text, begin)
            path = (*table, *pair.group("key").strip("\"'").split("."))
            body = text[begin:end]
            flow = (
                re.sub(r"([A-Za-z0-9_.-]+|\"[^\"\n]*\") =", lambda m: m.group()[:-2] + " :", body)
                if body[:1] == "{"
                else body
            )
            for leaf in leaves(flow):  # as long as what is written
                yield Leaf((*path, *leaf.path), leaf.value, begin + leaf.start, begin + leaf.end, leaf.quoted)
        at = end + 1


def _close(text: str, at: int) -> int:
    depth, quote = 0, ""
    for place in range(at, min(len(text), at + 65536)):
        char = text[place]
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
            if not depth:
                return place + 1
    return len(text)
