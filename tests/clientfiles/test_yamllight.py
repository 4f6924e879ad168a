"""Scalars of YAML and TOML line by line: each under the keys that a full parser finds it under, where it stands."""

from __future__ import annotations

import tracemalloc

import pytest

from mcpsec.clientfiles.jsonc import Leaf
from mcpsec.clientfiles.yamllight import toml_leaves, yaml_leaves

YAML = """\
# servers
extensions:
  files:
    cmd: npx   # the program
    "envs": {TOKEN: 'abc', n: [1, two]}
    args:
    - -y
    - "two words"
  -odd: x
list:
  - name: a
    value: 1
  - name: b
text: |
  a line of it
anchor: &a b
said: "a \\"b\\" c"  # the end
open: "no end
"""

TOML = """\
title = "top"
[mcp_servers."my.files"]  # a comment
command = 'npx'
args = [
  "-y",
  "a # b",
]
env = { TOKEN = "abc", "x" = 1 }
a.b = true
[[list]]
name = "one"
nonsense
open = [ "no end"
"""


def shown(leaves: list[Leaf], text: str) -> dict[str, str]:
    assert all(text[leaf.start : leaf.end].replace("\\", "") == leaf.value for leaf in leaves)
    return {"/".join(map(str, leaf.path)): leaf.value for leaf in leaves}


def test_yaml() -> None:
    assert shown(list(yaml_leaves(YAML)), YAML) == {
        "extensions/files/cmd": "npx",
        "extensions/files/envs/TOKEN": "abc",
        "extensions/files/envs/n/0": "1",
        "extensions/files/envs/n/1": "two",
        "extensions/files/args/0": "-y",
        "extensions/files/args/1": "two words",
        "extensions/-odd": "x",
        "list/0/name": "a",
        "list/0/value": "1",
        "list/1/name": "b",
        "text": "a line of it",
        "said": 'a "b" c',
    }


def test_toml() -> None:
    assert shown(list(toml_leaves(TOML)), TOML) == {
        "title": "top",
        "mcp_servers/my.files/command": "npx",
        "mcp_servers/my.files/args/0": "-y",
        "mcp_servers/my.files/args/1": "a # b",
        "mcp_servers/my.files/env/TOKEN": "abc",
        "mcp_servers/my.files/env/x": "1",
        "mcp_servers/my.files/a/b": "true",
        "list/name": "one",
        "list/open/0": "no end",
    }


@pytest.mark.parametrize("line", ["key = 'v'\n", "key = ['v']\n", "key = {a = 'v'}\n"])
def test_a_lock_file_is_not_copied_for_each_of_its_lines(line: str) -> None:
    """A megabyte of TOML is ordinary; copying what stands before each line takes a minute of it."""
    text = line * 20_000
    tracemalloc.start()
    try:
        assert sum(1 for _ in toml_leaves(text)) == 20_000
        assert tracemalloc.get_traced_memory()[1] < len(text)
    finally:
        tracemalloc.stop()
