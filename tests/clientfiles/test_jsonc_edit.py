"""Editing a configuration file by hand's rules: what is not meant stays, to the byte."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpsec.clientfiles.jsonc_edit import read, remove_member, set_member
from mcpsec.errors import ConfigurationError

PATH = ("mcpServers", "mcpsec")
ENTRY = {"command": "/usr/bin/mcpsec", "args": ["connect"]}

TEXTS = {
    "empty": "",
    "blank": "\n \n",
    "empty object": "{}",
    "no servers": '{\n  "theme": "dark"\n}\n',
    "empty servers": '{\n  "mcpServers": {}\n}\n',
    "comment in empty servers": '{\n  "mcpServers": {\n    // none yet\n  }\n}\n',
    "one server": '{\n  "mcpServers": {\n    "files": {"command": "x"} // mine\n  }\n}\n',
    "trailing comma": '{\n  "mcpServers": {\n    "files": {"command": "x"}, /* last */\n  },\n}\n',
    "tabs": '{\n\t"a": 1,\n\t"mcpServers": {\n\t\t"files": {}\n\t}\n}',
    "four spaces": '{\n    "mcpServers": {\n        "files": {}\n    }\n}',
    "one line": '{"mcpServers": {"files": {}}, "x": [1, 2,]}',
    "crlf": '{\r\n  "mcpServers": {\r\n    "files": {}\r\n  }\r\n}\r\n',
    "bom": '\ufeff{\n  "a": 1\n}\n',
    "braces in text": '{\n  "a": "}, // {", // "mcpServers": {\n  "b": "\\"}"\n}\n',
    "already there": '{\n  "mcpServers": {\n    "mcpsec": {"command": "old"}, // ours\n    "z": 1\n  }\n}\n',
    "twice": '{"mcpServers": {"mcpsec": 1, "mcpsec": 2}}',
}


@pytest.mark.parametrize("name", TEXTS)
def test_sets_the_member_and_nothing_else(name: str) -> None:
    text = TEXTS[name]
    edited = set_member(text, PATH, ENTRY)
    before, after = read(text), read(edited)
    assert after["mcpServers"]["mcpsec"] == ENTRY
    assert {k: v for k, v in after.items() if k != "mcpServers"} == {
        k: v for k, v in before.items() if k != "mcpServers"
    }
    for comment in ("// none yet", "// mine", "/* last */", "// ours"):
        assert (comment in text) == (comment in edited)
    assert ("\r\n" in text) == ("\r\n" in edited)
    assert edited.startswith("\ufeff") == text.startswith("\ufeff")
    assert set_member(edited, PATH, ENTRY) == edited, "a second time changes nothing"


@pytest.mark.parametrize("name", TEXTS)
def test_what_was_added_can_be_taken_out_again(name: str) -> None:
    text = TEXTS[name]
    if name == "twice":
        with pytest.raises(ConfigurationError):
            remove_member(text, PATH)
        return
    edited = remove_member(set_member(text, PATH, ENTRY), PATH)
    before = read(text)
    before.setdefault("mcpServers", {}).pop("mcpsec", None)
    assert read(edited) == before
    assert remove_member(edited, PATH) == edited
    for comment in ("// none yet", "// mine", "/* last */", "// ours"):
        assert (comment in text) == (comment in edited)
    if name in {"one server", "tabs", "four spaces", "crlf"}:
        assert edited == text


def test_a_member_among_others_is_taken_out() -> None:
    text = '{"mcpServers": {"a": 1, "mcpsec": {}, "z": 2}}'
    assert remove_member(text, PATH) == '{"mcpServers": {"a": 1,  "z": 2}}'
    assert remove_member('{"mcpServers": {"mcpsec": {}}}', PATH) == '{"mcpServers": {}}'
    assert remove_member('{"mcpServers": {"a": 1, /* x */ "mcpsec": {}}}', PATH) == '{"mcpServers": {"a": 1 /* x */ }}'
    for other in ("", "{}", '{"mcpServers": 3}', '{"mcpServers": []}'):
        assert remove_member(other, PATH) == other


def test_the_style_is_the_files_own() -> None:
    assert set_member(TEXTS["tabs"], PATH, {"command": "c"}) == (
        '{\n\t"a": 1,\n\t"mcpServers": {\n\t\t"files": {},\n\t\t"mcpsec": {\n\t\t\t"command": "c"\n\t\t}\n\t}\n}'
    )
    assert set_member(TEXTS["trailing comma"], PATH, 1) == (
        '{\n  "mcpServers": {\n    "files": {"command": "x"}, /* last */\n    "mcpsec": 1,\n  },\n}\n'
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [("{", 1), ('{"a": }', 1), ('{\n"a" 1}', 2), ("[1", 1), ('{"a":1} x', 1), ('{"a":1 "b":2}', 1), ("{a:1}", 1)],
)
def test_what_is_not_json_is_left_alone(text: str, line: int) -> None:
    with pytest.raises(ConfigurationError) as raised:
        set_member(text, PATH, 1)
    assert raised.value.line == line


@pytest.mark.parametrize("text", ["[]", '{"mcpServers": []}', '{"mcpServers": null}', "1"])
def test_what_has_no_place_for_it_is_left_alone(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not an object"):
        set_member(text, PATH, 1)


def test_depth_is_bounded() -> None:
    with pytest.raises(ConfigurationError):
        read("[" * 100_000)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(max_size=6), values, max_size=4), st.sampled_from([None, 2, "\t"]), values)
def test_any_object_can_be_edited(document: dict[str, object], indent: int | str | None, value: object) -> None:
    document.pop("servers", None)
    edited = set_member(json.dumps(document, indent=indent, ensure_ascii=False), ("servers", "x"), value)
    assert read(edited) == {**document, "servers": {"x": value}}
