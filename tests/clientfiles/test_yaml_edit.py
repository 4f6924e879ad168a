"""Editing YAML: what is not meant stays, to the byte; what can't be edited safely is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpsec.clientfiles.yaml_edit import read, remove_entry, set_entry, written
from mcpsec.errors import ConfigurationError

ENTRY = {"name": "mcpsec", "cmd": "/usr/bin/mcpsec", "args": ["connect", 'it\'s "here"'], "enabled": True}

MAPPINGS = {
    "empty": "",
    "only a comment": "# mine\n",
    "no extensions": "GOOSE_MODE: auto # mine\n",
    "no line end": "a: 1",
    "null": "extensions: # mine\nother: 1\n",
    "null at the end": "extensions:",
    "null in words": "extensions: null # mine\n",
    "empty flow": "extensions: {} # mine\nother: 1\n",
    "another one": "extensions:\n  files:\n    type: stdio # mine\n    args:\n    - a\n\n# of the next\nother: 1\n",
    "deeper indent": "extensions:\n    files:\n        type: stdio # mine\nother: 1\n",
    "crlf": "extensions:\r\n  files:\r\n    type: stdio # mine\r\n",
    "already there": "extensions:\n  mcpsec:\n    cmd: old\n    args: [a,\n      b]\n  # of the next\n  z:\n    cmd: z # mine\n",
    "the last one already": "a: 1\nextensions:\n  z: 1 # mine\n  mcpsec:\n    cmd: |\n      old\n      lines\n",
    "no line end after it": "extensions:\n  mcpsec:\n    cmd: old",
    "document start": "---\nextensions:\n  z: 1 # mine\n",
}
LISTS = {
    "empty": "",
    "null": "mcpServers: # mine\nother: 1\n",
    "empty flow": "mcpServers: [] # mine\n",
    "not indented": "mcpServers:\n- name: files # mine\n  command: x\nother: 1\n",
    "indented": "mcpServers:\n  - name: files # mine\n    command: x\n  # of the next\nother: 1\n",
    "already there": "mcpServers:\n  - name: mcpsec\n    command: old\n  - command: z # mine\n    name: z\n",
    "named last": "mcpServers:\n  - command: old\n    name: mcpsec\nother: 1 # mine\n",
    "words": "mcpServers:\n  - just-a-word # mine\n",
}
CASES = [("extensions", False, name, text) for name, text in MAPPINGS.items()]
CASES += [("mcpServers", True, name, text) for name, text in LISTS.items()]
WAYS = pytest.mark.parametrize(("key", "items", "name", "text"), CASES)


def others(value: Any, key: str) -> Any:
    """What a file says beside our entry; an empty collection and none are the same."""
    value = dict(value)
    held = value.pop(key, None) or ()
    if isinstance(held, dict):
        rest: Any = {name: item for name, item in held.items() if name != "mcpsec"}
    else:
        rest = [item for item in held if not (isinstance(item, dict) and item.get("name") == "mcpsec")]
    return value, list(rest.items()) if isinstance(rest, dict) else rest


@WAYS
def test_sets_the_entry_and_nothing_else(key: str, items: bool, name: str, text: str) -> None:
    edited = set_entry(text, key, "mcpsec", ENTRY, items=items)
    held = read(edited)[key]
    assert (ENTRY in held) if items else held["mcpsec"] == ENTRY
    assert others(read(edited), key) == others(read(text), key)
    for comment in ("# mine", "# of the next"):
        assert (comment in text) == (comment in edited)
    assert edited.count("\r\n") == (edited.count("\n") if "\r\n" in text else 0)
    assert set_entry(edited, key, "mcpsec", ENTRY, items=items) == edited, "a second time changes nothing"


@WAYS
def test_what_was_added_can_be_taken_out_again(key: str, items: bool, name: str, text: str) -> None:
    edited = remove_entry(set_entry(text, key, "mcpsec", ENTRY, items=items), key, "mcpsec", items=items)
    assert others(read(edited), key) == others(read(text), key)
    assert "mcpsec" not in edited
    assert remove_entry(edited, key, "mcpsec", items=items) == edited
    for comment in ("# mine", "# of the next"):
        assert (comment in text) == (comment in edited)
    if name in {"another one", "deeper indent", "not indented", "indented", "document start", "words"}:
        assert edited == text


@pytest.mark.parametrize(
    "text",
    [
        "extensions: {a: 1}\n",
        "extensions: [a]\n",
        "extensions: text\n",
        "{extensions: {}}\n",
        "- a\n",
        "a: &x 1\nextensions:\n  b: *x\n",
    ],
)
def test_other_shapes_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="edited safely"):
        set_entry(text, "extensions", "mcpsec", ENTRY)


@pytest.mark.parametrize(
    ("text", "line"), [("a: 1\nb: [\n", 3), ("a: 1\n---\nb: 1\n", 2), ("a: !!python/object:x {}\n", 1)]
)
def test_a_broken_file_is_named_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ConfigurationError) as refused:
        set_entry(text, "extensions", "mcpsec", ENTRY)
    assert refused.value.line == line


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
scalars = texts | st.integers() | st.booleans()


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(texts, scalars | st.lists(scalars, max_size=3), max_size=4))
def test_whatever_is_written_is_read_back(value: dict[str, object]) -> None:
    assert yaml.safe_load(written({"top": value}, 0)) == {"top": value}
    assert yaml.safe_load(written([value], 2)) == [value]
