"""Other people's files as values and places: what editors and tools accept is read, what is broken is named by its line."""

from __future__ import annotations

from typing import Any

import pytest

from mcpsec.clientfiles.positions import Document, Malformed, json_document, pointer, toml_document, yaml_documents

JSON = """\ufeff// servers of the team
{
  /* one */ "mcpServers": {
    "files": {"command": "npx", "args": ["-y", "server"],}, // trailing comma
    "files": {"command": "uvx", "timeout": 1.5e3, "env": null},
  },
}
"""


def written(document: Document, *path: str | int) -> str:
    place = document.place(path)
    return document.text[place.start : place.end]


def test_json_with_comments_and_trailing_commas() -> None:
    document = json_document(JSON)
    assert document.data == {"mcpServers": {"files": {"command": "uvx", "timeout": 1500.0, "env": None}}}
    assert written(document, "mcpServers", "files", "command") == '"uvx"', "of a key that comes twice the last counts"
    place = document.place(("mcpServers", "files", "timeout"))
    assert (place.line, place.column) == (5, 44)
    key = document.key_place(("mcpServers", "files", "timeout"))
    assert (key.line, key.column, key.start) == (5, 33, place.start)


def test_a_place_that_is_written_nowhere_is_the_value_around_it() -> None:
    document = json_document('{"a": {"b": 1}}')
    assert written(document, "a", "missing", 3) == '{"b": 1}'
    assert document.key_place(("a", "missing")) == document.place(("a",))
    assert document.has(("a", "b")) and not document.has(("a", "missing"))
    assert json_document("  \n").data == {}
    assert json_document("").place(("a",))[:2] == (1, 1)


def test_an_offset_belongs_to_the_innermost_value() -> None:
    document = json_document('{"a": {"b": [1, "secret"]}}')
    offset = document.text.index("secret")
    assert pointer(document.path_at(offset)) == "/a/b/1"
    assert document.covers(offset) and not document.covers(len(document.text))
    assert pointer(("a/b", "c~d", 0)) == "/a~1b/c~0d/0"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"a": 1}\n]', 2), ('{\n"a" 1}', 2), ('{"a": 1 "b": 2}', 1), ('{"a": "\\x"}', 1), ('{"a": }', 1), ("{'a': 1}", 1),
        ('{"a": nul}', 1), ('["a\nb"]', 1), ("[" * 200, 1), ('{"a": ' + "9" * 5000 + "}", 1), ("[/* no end", 1),
    ],
)  # fmt: skip
def test_broken_json_is_named_by_its_line(text: str, line: int) -> None:
    with pytest.raises(Malformed) as raised:
        json_document(text)
    assert raised.value.line == line


def test_documents_of_too_many_values_are_not_read() -> None:
    text = "[" + "1," * 200_001 + "]"
    for read in (json_document, yaml_documents):
        with pytest.raises(Malformed, match="too many values"):
            read(text)


def test_toml() -> None:
    document = toml_document('[mcp_servers.files]\ncommand = "npx"\nargs = ["-y"]\n')
    assert document.data == {"mcp_servers": {"files": {"command": "npx", "args": ["-y"]}}}
    assert written(document, "mcp_servers", "files", "command") == '"npx"'
    with pytest.raises(Malformed) as raised:
        toml_document("a = 1\nb = \n")
    assert raised.value.line == 2
    with pytest.raises(Malformed):
        toml_document("a = " + "[" * 5000)


YAML = """\
extensions: &all
  files: {command: npx, args: [-y, "1"], timeout: 0o7}
  ? other
  : !!str 5
again: *all
merged:
  <<: [*all, {files: no, extra: 1_000}]
  files: own
*name : 1
"""


def test_yaml_with_anchors_merges_and_tags() -> None:
    text = "name: &name key\n" + YAML
    (document,) = yaml_documents(text)
    files = {"command": "npx", "args": ["-y", "1"], "timeout": "0o7"}
    assert document.data == {
        "name": "key",
        "extensions": {"files": files, "other": "5"},
        "again": {"files": files, "other": "5"},
        "merged": {"files": "own", "other": "5", "extra": 1000},
        "key": 1,
    }
    assert document.place(("extensions", "files", "args", 1))[:2] == (3, 36)
    assert document.key_place(("extensions", "other"))[:2] == (4, 5)
    assert written(document, "again") == "*all"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1_", 1), ("1__0", 10), ("-7", -7), ("1.5", 1.5), (".5", 0.5), ("1e3", 1000.0), ("TRUE", True), ("False", False),
        ("tRue", "tRue"), ("~", None), ("", None), ("NULL", None), ("no", "no"), ("0x1f", "0x1f"), ("1:30", "1:30"),
        ("9" * 30, float("9" * 30)), ("'5'", "5"), ("! 5", "5"), ("!!str 5", "5"),
    ],
)  # fmt: skip
def test_yaml_scalars_are_what_tools_take_them_for(text: str, value: Any) -> None:
    (document,) = yaml_documents(f"a: {text}\n")
    assert document.data == {"a": value} and type(document.data["a"]) is type(value)


def test_every_document_of_a_stream_has_its_own_places() -> None:
    text = "a: 1\n---\n---\nb: secret\n"
    first, empty, last = yaml_documents(text)
    assert (first.data, empty.data, last.data) == ({"a": 1}, None, {"b": "secret"})
    offset = text.index("secret")
    assert [document.covers(offset) for document in (first, last)] == [False, True]
    assert last.path_at(offset) == ("b",)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1\nb: 2\n", 2), ("? [a]\n: 1\n", 1), ("a: &x [*x]\n", 1), ("a: 1\nb: *nothing\n", 2), ("a: \x01\n", 1),
        ("[" * 200 + "]" * 200, 1), ("a: 1\n  b: 2\n", 2),
    ],
)  # fmt: skip
def test_broken_yaml_is_named_by_its_line(text: str, line: int) -> None:
    with pytest.raises(Malformed) as raised:
        yaml_documents(text)
    assert raised.value.line == line


def test_aliases_that_expand_without_end_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(Malformed, match="aliases that expand"):
        yaml_documents("\n".join(lines))
