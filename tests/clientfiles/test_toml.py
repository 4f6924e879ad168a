"""Positions in TOML, held against what tomllib reads from the same text."""

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpsec.clientfiles.toml import KeyPath, Location, locate

# ---- documents of every shape: statements are tried one after the other, and kept when tomllib still accepts the whole

_NAMES = ["a", "a", "a", "b", "b", "c-1", "1", "é x", "", 'q"q', "a.b", "tab\there", "#", "="]


@st.composite
def keys(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from(_NAMES))
    forms = [basic(name)]
    if name and all((character.isalnum() and character.isascii()) or character in "-_" for character in name):
        forms.append(name)
    if "'" not in name and "\t" not in name:
        forms.append(f"'{name}'")
    return draw(st.sampled_from(forms))


def basic(text: str) -> str:
    escaped = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(escaped.get(c, c if c.isprintable() else f"\\U{ord(c):08X}") for c in text) + '"'


@st.composite
def dotted(draw: st.DrawFn) -> str:
    parts = draw(st.lists(keys(), min_size=1, max_size=3))
    return draw(st.sampled_from([".", " . ", ".\t"])).join(parts)


_SCALARS = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda number: f"{number:.6f}"),
    st.sampled_from(
        [
            *("true", "false", "inf", "-nan", "0xDEAD_beef", "1e6"),
            *("1979-05-27 07:32:00", "1979-05-27T07:32:00.5-07:00", "07:32:00", "1979-05-27"),
            *('""', "''", '""""""', "''''''", "'#'", '"]"', '"}"', "'\\'", '"\\\\"', '"\\""', '"# no comment"'),
            *('"""a""""', '"""""b"""""', "'''it''s'''''", '"""\n[x]\nk = 1\n"""', '"""\\\n   x\\""""'),
            *("'''\n\"\"\"\n'''", '"""\\\\"""', "'''# no\n# comment'''"),
        ]
    ),
    st.text(st.characters(codec="utf-8"), max_size=8).map(basic),
)
_GAPS = st.sampled_from(["", " ", "\n", " # ]}, a comment\n\t"])


def _containers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.tuples(dotted(), inner).map(" = ".join)
    return st.one_of(
        st.tuples(_GAPS, st.lists(inner, max_size=3), _GAPS, st.booleans()).map(
            lambda parts: (
                "["
                + parts[0]
                + f"{parts[2]},{parts[0]}".join(parts[1])
                + (parts[2] + "," if parts[3] and parts[1] else "")
                + parts[2]
                + "]"
            )
        ),
        st.lists(pair, max_size=3).map(lambda pairs: "{ " + " , ".join(pairs) + " }"),
    )


_VALUES = st.recursive(_SCALARS, _containers, max_leaves=6)
_STATEMENTS = st.one_of(
    st.tuples(dotted(), st.sampled_from(["=", " = ", "\t=  "]), _VALUES, st.sampled_from(["", "  ", " # = x"])).map(
        "".join
    ),
    dotted().map(lambda key: f"[{key}]"),
    dotted().map(lambda key: f"[[ {key} ]] # header"),
    st.sampled_from(["", "   ", "# comment [x]", '# "']),
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    text = ""
    newline = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    for statement in draw(st.lists(_STATEMENTS, max_size=14)):
        longer = text + statement.replace("\n", newline) + newline
        if parses(longer):
            text = longer
    return text.rstrip("\r\n") if draw(st.booleans()) else text


def parses(text: str) -> bool:
    try:
        tomllib.loads(text)
    except ValueError:
        return False
    return True


# ---- the properties


@settings(max_examples=400, deadline=None, database=None)
@given(documents())
def test_every_key_path_is_located(text: str) -> None:
    values = dict(key_paths(tomllib.loads(text)))
    located = locate(text)
    assert set(located) == set(values)
    for path, location in located.items():
        check_place(text, path, location, values[path])


def key_paths(value: object, path: KeyPath = ()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key), item
        yield from key_paths(item, (*path, key))


def check_place(text: str, path: KeyPath, location: Location, value: object) -> None:
    for span in (location.key, location.value):
        assert span.line == text.count("\n", 0, span.start) + 1
        assert span.column == span.start - text.rfind("\n", 0, span.start)
        assert text[span.start : span.end].strip() == text[span.start : span.end]
    key_text, value_text = (text[span.start : span.end] for span in (location.key, location.value))
    if isinstance(path[-1], str):
        assert tomllib.loads(f"{key_text} = 1") == {path[-1]: 1}
        if location.key == location.value:
            assert isinstance(value, dict | list)  # a header, or implied by longer keys
            return
    elif isinstance(value, dict) and not value_text.startswith("{"):
        assert location == Location(location.key, location.key)  # [[header]]
        return
    assert repr(tomllib.loads(f"x = {value_text}")["x"]) == repr(value)


@settings(max_examples=200, deadline=None, database=None)
@given(documents(), st.data())
def test_replacing_a_value_by_its_span_changes_that_value_alone(text: str, data: st.DataObject) -> None:
    scalars = [
        (path, location)
        for path, location in locate(text).items()
        if location.key != location.value and isinstance(path[-1], str)
    ]
    if not scalars:
        return
    path, location = data.draw(st.sampled_from(scalars))
    changed = tomllib.loads(text[: location.value.start] + '"new"' + text[location.value.end :])
    expected = tomllib.loads(text)
    holder = expected
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = "new"
    assert repr(changed) == repr(expected)


# ---- readable examples


def test_a_deployment_file() -> None:
    text = """\
version = 1
[server]
listen = "127.0.0.1:8443"   # comment
allowed_hosts = [
  "a",
  "b",
]
[[clients]]
id = "one"
[clients.resource_filters]
"tickets/get".project = ["WEB"]
[[clients]]
certificate = { san = "x" }
[clients.resource_filters]
"a/b".c = []
"""
    lines = {path: location.line for path, location in locate(text).items()}
    assert lines == {
        ("version",): 1,
        ("server",): 2,
        ("server", "listen"): 3,
        ("server", "allowed_hosts"): 4,
        ("server", "allowed_hosts", 0): 5,
        ("server", "allowed_hosts", 1): 6,
        ("clients",): 8,
        ("clients", 0): 8,
        ("clients", 0, "id"): 9,
        ("clients", 0, "resource_filters"): 10,
        ("clients", 0, "resource_filters", "tickets/get"): 11,
        ("clients", 0, "resource_filters", "tickets/get", "project"): 11,
        ("clients", 0, "resource_filters", "tickets/get", "project", 0): 11,
        ("clients", 1): 12,
        ("clients", 1, "certificate"): 13,
        ("clients", 1, "certificate", "san"): 13,
        ("clients", 1, "resource_filters"): 14,
        ("clients", 1, "resource_filters", "a/b"): 15,
        ("clients", 1, "resource_filters", "a/b", "c"): 15,
    }
    assert locate(text)["clients", 1, "certificate", "san"].column == 17


def test_a_table_is_where_its_own_header_is() -> None:
    assert locate("[a.b]\nx = 1\n[a]\ny = 2\n")["a",].line == 3


@pytest.mark.parametrize("text", ["", "\n", "# only a comment", "\r\n\r\n"])
def test_empty_documents(text: str) -> None:
    assert locate(text) == {}
