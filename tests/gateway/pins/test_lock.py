"""The lock file: whole, readable, and not to be edited by hand."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mcpsec.errors import ConfigurationError
from mcpsec.gateway.pins import Lock, UpstreamPins
from tests.gateway.pins.conftest import tool

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


def lock(**tools: dict[str, Any]) -> Lock:
    return Lock(
        {"files": UpstreamPins({"tools": tools, "prompts": {}, "resourceTemplates": {}}, "Be kind.", "files 1.0")}
    )


@example(name="b", extra=None, words="Be kind.\r\nBe quick.\r")
@given(
    name=st.text(st.characters(codec="utf-8"), min_size=1),
    extra=JSON,
    words=st.none() | st.text(st.characters(codec="utf-8")),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, name: str, extra: Any, words: str | None
) -> None:
    path = tmp_path_factory.mktemp("lock") / "pins.toml"
    made = lock(**{"a": {**tool("a"), "x": extra}})
    made.upstreams["files"].definitions["tools"][name] = {"name": name, "inputSchema": {}}
    made.upstreams["files"].instructions = words
    made.write(path)
    assert Lock.read(path) == made


def test_it_is_readable_and_stable(tmp_path: Path) -> None:
    path = tmp_path / "pins.toml"
    lock(b=tool("b"), a=tool("a", 'Says "hi".')).write(path)
    text = path.read_text()
    assert '"description": "Says \\"hi\\".",\n' in text
    assert text.index("tools.a]") < text.index("tools.b]")
    lock(a=tool("a", 'Says "hi".'), b=tool("b")).write(path)
    assert path.read_text() == text
    assert os.listdir(tmp_path) == ["pins.toml"]
    assert set(tomllib.loads(text)) == {"schema", "upstreams"}


@pytest.mark.parametrize(
    ("old", "new", "says", "line"),
    [
        ("Repeats a text.", "Repeats any text.", "do not belong together", 9),
        ('schema = "mcpsec.pins/1"', 'schema = "mcpsec.pins/9"', "not a lock file of this version", None),
        ('schema = "mcpsec.pins/1"', "schema =", "not TOML", None),
        ('instructions = "Be kind."', "instructions = 7", "must be text", 4),
        ('instructions = "Be kind."', "instrutions = 'x'", "has no key instrutions", 6),
        (
            "[upstreams.files.tools.a]",
            "[upstreams.files.tools.a]\nx = 1\n[upstreams.files.tools.b]",
            "needs its definition",
            None,
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, says: str, line: int | None) -> None:
    path = tmp_path / "pins.toml"
    lock(a=tool("a")).write(path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigurationError, match=says) as caught:
        Lock.read(path)
    assert caught.value.path == str(path)
    assert "mcpsec pin" in (caught.value.hint or "")
    if line is not None:
        assert caught.value.line == line


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such lock file"):
        Lock.read(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="not TOML"):
        Lock.read(tmp_path / "binary.toml")
    with pytest.raises(ConfigurationError, match="no such file"):
        lock().write(tmp_path / "missing" / "pins.toml")
    with pytest.raises(ConfigurationError, match="can't be read"):
        Lock.read(tmp_path)
