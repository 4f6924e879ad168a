"""Globs, against regular expressions made from them, and the finding of dot segments."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpsec.gateway.policy.globs import Glob, ResourceGlob, has_dot_segment, plain_form


@settings(max_examples=500, deadline=None)
@given(st.text("ab*é\n", max_size=8), st.text("abé\n", max_size=10))
def test_a_glob_is_the_regular_expression_with_dots_for_stars(pattern: str, text: str) -> None:
    expression = ".*".join(map(re.escape, pattern.split("*")))
    assert Glob(pattern).matches(text) is (re.fullmatch(expression, text, re.DOTALL) is not None)


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("aba*aba", "aba", False),  # the two halves may not share characters
        ("aba*aba", "abaaba", True),
        ("*ab*ab*", "aab", False),
        ("*ab*ab*", "abab", True),
        ("", "", True),
        ("", "a", False),
        ("?", "a", False),
        ("[a]", "a", False),
        ("[a]", "[a]", True),
        ("*", "../..", True),
        ("**", "../..", True),
        ("../..", "../..", True),
        ("../*", "../..", False),
    ],
)
def test_edges(pattern: str, text: str, fits: bool) -> None:
    assert Glob(pattern).matches(text) is fits


def test_many_stars_against_a_long_text_take_no_time_to_speak_of() -> None:
    assert not Glob("a*" * 50 + "b").matches("a" * 100_000)


def test_a_resource_glob_is_cut_at_its_first_slash() -> None:
    glob = ResourceGlob("*/resource:file:///a/*")
    assert glob.matches("files", "resource:file:///a/b")
    assert not glob.matches("files", "a/resource:file:///a/b")
    assert not ResourceGlob("f*/x").matches("files/y", "x/x")


@pytest.mark.parametrize(
    "text", [".", "..", "a/..", "../a", "a/./b", "a\\..\\b", "a/..;b", "a/...", "a/.. /b", "a/..\x1fb"]
)
@pytest.mark.parametrize("encode", [0, 1, 2, 3])
def test_dot_segments(text: str, encode: int) -> None:
    for _ in range(encode):
        text = re.sub(r"[./\\ \x00%]", lambda match: f"%{ord(match[0]):02x}", text)
    assert has_dot_segment(text)
    assert has_dot_segment(text.replace("%2e", "%2E"))


@pytest.mark.parametrize(
    "text", ["", "a", "a.b", ".a", "a.", "..a", "a..b", "a/.b/c", "a/b./c", "..%41", "%2e%2ea", "100%", "%25", "v1.2/x"]
)
def test_no_dot_segments(text: str) -> None:
    assert not has_dot_segment(text)


@pytest.mark.parametrize("text", ["a/%2%65./b", "a/%25%32%65/b", "a/%252%65/b"])
def test_encoded_encodings(text: str) -> None:
    assert has_dot_segment(text)
    assert not has_dot_segment(text.replace("/b", "b"))


def test_encoding_beyond_need_counts_as_a_dot_segment() -> None:
    assert not has_dot_segment("/%" + "25" * 6 + "41/x")
    assert has_dot_segment("/%" + "25" * 7 + "41/x")
    assert has_dot_segment("%41" * 10_000)
    assert not has_dot_segment("A" * 10_000)


def test_a_name_that_is_encoded_without_end_is_undone_only_so_often() -> None:
    name = "resource:a"
    for _ in range(3):
        name = name.replace("%", "%25").replace("a", "%61")
    assert plain_form(name) == "resource:a"
    endless = "resource:%" + "25" * 500 + "61"
    assert plain_form(endless).startswith("resource:%")


def test_a_pattern_shows_itself() -> None:
    assert repr(Glob("files/*")) == "Glob('files/*')" and repr(ResourceGlob("files/*")) == "ResourceGlob('files/*')"
