"""Editing TOML: what is not meant stays, to the byte; what can't be edited safely is refused."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpsec.clientfiles.toml_edit import read, remove_member, set_member, written
from mcpsec.errors import ConfigurationError

PATH = ("mcp_servers", "mcpsec")
ENTRY = {"command": "/usr/bin/mcpsec", "args": ["connect", 'it\'s "here"\t']}

TEXTS = {
    "empty": "",
    "no servers": 'model = "x" # mine\n',
    "no line end": "a = 1",
    "another server": '[mcp_servers.files] # mine\ncommand = "x"\n\n# last words\n',
    "crlf": "[a]\r\nb = 1 # mine\r\n",
    "already there": '# mine\n[mcp_servers.mcpsec]\ncommand = "old"\nargs = [\n  "a", # one\n]\n\n# of the next\n[z]\nb = 1\n',
    "with a table below": '[mcp_servers.mcpsec]\ncommand = "old"\n[mcp_servers.mcpsec.env]\nA = "1"\n[z] # mine\nb = 1\n',
    "quoted": '[mcp_servers."mcpsec"]\ncommand = "old"\n',
    "brackets in text": 'a = """\n[mcp_servers.mcpsec]\n"""\n[b] # mine\n',
}


@pytest.mark.parametrize("name", TEXTS)
def test_sets_the_table_and_nothing_else(name: str) -> None:
    text = TEXTS[name]
    edited = set_member(text, PATH, ENTRY)
    before, after = read(text), read(edited)
    assert after["mcp_servers"].pop("mcpsec") == ENTRY
    before.setdefault("mcp_servers", {}).pop("mcpsec", None)
    assert after == before
    for comment in ("# mine", "# last words", "# of the next"):
        assert (comment in text) == (comment in edited)
    assert edited.count("\r\n") == (edited.count("\n") if "\r\n" in text else 0)
    assert set_member(edited, PATH, ENTRY) == edited, "a second time changes nothing"


@pytest.mark.parametrize("name", TEXTS)
def test_what_was_added_can_be_taken_out_again(name: str) -> None:
    text = TEXTS[name]
    edited = remove_member(set_member(text, PATH, ENTRY), PATH)
    assert "mcpsec" not in read(edited).get("mcp_servers", {})
    assert remove_member(edited, PATH) == edited
    if "mcpsec" not in read(text).get("mcp_servers", {}) and text.endswith("\n"):
        assert edited.rstrip() == text.rstrip()
    for comment in ("# mine", "# last words", "# of the next"):
        assert (comment in text) == (comment in edited)


@pytest.mark.parametrize(
    "text",
    [
        'mcp_servers = { files = { command = "x" } }\n',
        'mcp_servers.mcpsec.command = "old"\n',
        '[mcp_servers]\nmcpsec = { command = "old" }\n',
        '[mcp_servers.mcpsec]\ncommand = "old"\n[z]\n[mcp_servers.mcpsec.env]\nA = "1"\n',
        "mcp_servers = 1\n",
    ],
)
def test_other_shapes_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="edited safely"):
        set_member(text, PATH, ENTRY)


def test_a_broken_file_is_named_with_its_line() -> None:
    with pytest.raises(ConfigurationError) as refused:
        set_member('a = 1\nb = "\n', PATH, ENTRY)
    assert refused.value.line == 2


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


@settings(max_examples=100, deadline=None)
@given(
    texts.filter(bool),
    st.dictionaries(texts, texts | st.lists(texts, max_size=3) | st.integers() | st.booleans(), max_size=4),
)
def test_whatever_is_written_is_read_back(name: str, value: dict[str, object]) -> None:
    assert tomllib.loads(written(("a", name), value)) == {"a": {name: value}}
