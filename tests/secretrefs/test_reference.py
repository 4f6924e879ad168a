"""References: how they are written, and how the bytes of a source become the secret."""

from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpsec.errors import SecretError
from mcpsec.secretrefs import SOURCES, SecretRef, reference_schema

SECRET = "correct-horse-battery-staple"


@pytest.fixture
def variable(monkeypatch: pytest.MonkeyPatch):
    def reference(value: str, **more: object) -> SecretRef:
        monkeypatch.setenv("MCPSEC_TEST_SECRET", value)
        return SecretRef.parse({"env": "MCPSEC_TEST_SECRET", **more}, Path("/"))

    return reference


def test_a_prefix_stands_before_the_secret(variable) -> None:
    assert variable(SECRET, prefix="Bearer ").resolve() == b"Bearer " + SECRET.encode()
    assert variable(SECRET, prefix="Bearer ").resolve_text() == f"Bearer {SECRET}"


@pytest.mark.parametrize(
    ("value", "encoding", "secret"),
    [
        ("AAECAw", "base64url", bytes([0, 1, 2, 3])),
        ("AAECAw==", "base64url", bytes([0, 1, 2, 3])),
        ("-_-_", "base64url", bytes([0xFB, 0xFF, 0xBF])),
        ("00ff10", "hex", bytes([0, 255, 16])),
        ("00FF10\n", "hex", bytes([0, 255, 16])),
        ("AAECAw==", "text", b"AAECAw=="),
    ],
)
def test_encodings(variable, value: str, encoding: str, secret: bytes) -> None:
    assert variable(value, encoding=encoding).resolve() == secret


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        ("a+b/", "base64url"),
        ("a b", "base64url"),
        ("A", "base64url"),
        ("====", "base64url"),
        ("0g", "hex"),
        ("0", "hex"),
    ],
)
def test_what_is_not_in_its_encoding_is_refused_without_showing_it(variable, value: str, encoding: str) -> None:
    with pytest.raises(SecretError) as caught:
        variable(value, encoding=encoding).resolve()
    assert caught.value.message == f"the secret in environment variable MCPSEC_TEST_SECRET is not {encoding}"
    assert caught.value.__context__ is None


@pytest.mark.parametrize("value", ["", "\n", "\r\n"])
def test_an_empty_secret_is_an_error(variable, value: str) -> None:
    with pytest.raises(SecretError, match="is empty"):
        variable(value).resolve()


@pytest.mark.parametrize(
    ("value", "secret"), [("x\n", b"x"), ("x\r\n", b"x"), ("x\n\n", b"x\n"), ("x ", b"x "), ("\nx", b"\nx")]
)
def test_one_line_end_is_not_part_of_it(variable, value: str, secret: bytes) -> None:
    assert variable(value).resolve() == secret


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\x1bb", "a\x7fb"])
def test_text_for_a_header_holds_no_control_characters(variable, value: str) -> None:
    with pytest.raises(SecretError, match="control character"):
        variable(value).resolve_text()
    assert variable(value).resolve() == value.encode()


def test_bytes_that_are_no_text(variable) -> None:
    with pytest.raises(SecretError, match="is not text"):
        variable("ff", encoding="hex").resolve_text()


BAD: list[object] = [
    SECRET,
    None,
    [SECRET],
    {},
    {"env": SECRET},
    {"env": "A", "file": "b"},
    {"env": ["A"]},
    {"file": ""},
    {"file": 3},
    {"file": "a\nb"},
    {"command": []},
    {"command": SECRET},
    {"command": ["", "x"]},
    {"command": ["x", 3]},
    {"command": ["x", "a\0b"]},
    {"env": "A", "prefix": "x" * 33},
    {"env": "A", "prefix": "a\nb"},
    {"env": "A", "prefix": 3},
    {"env": "A", "encoding": "base64"},
    {"env": "A", "prefix": "Bearer ", "encoding": "hex"},
    {"env": "A", "prefixx": "Bearer "},
    {"vault": "kv/x"},
    {SECRET * 2: "x"},
]


@pytest.mark.parametrize("value", BAD, ids=str)
def test_what_is_no_reference_is_refused_without_repeating_it(value: object) -> None:
    with pytest.raises(SecretError) as caught:
        SecretRef.parse(value, Path("/"))
    assert SECRET not in f"{caught.value} {caught.value.hint}"


GOOD: list[dict[str, object]] = [
    {"env": "A_1"},
    {"env": "A", "prefix": "Bearer "},
    {"env": "A", "encoding": "hex"},
    {"file": "secrets/x", "encoding": "base64url"},
    {"command": ["op", "read", "op://v/i/f"]},
]


@pytest.mark.parametrize("value", GOOD, ids=str)
def test_references(value: dict[str, object]) -> None:
    reference = SecretRef.parse(value, Path("/base"))
    assert reference == SecretRef.parse(value, Path("/base"))
    assert hash(reference) == hash(SecretRef.parse(value, Path("/base")))
    assert reference.kind in SOURCES


@pytest.mark.parametrize("value", BAD + GOOD, ids=str)
def test_the_schema_agrees_with_the_parser(value: object) -> None:
    jsonschema.Draft202012Validator.check_schema(reference_schema())
    accepted = jsonschema.Draft202012Validator(reference_schema()).is_valid(value)
    # What only the parser can tell: a NUL or a line break inside, a prefix that the encoding makes senseless.
    finer = value in (
        {"file": "a\nb"},
        {"command": ["x", "a\0b"]},
        {"env": "A", "prefix": "Bearer ", "encoding": "hex"},
    )
    assert accepted == (value in GOOD or finer)


_KEYS = st.sampled_from([*SOURCES, "prefix", "encoding", "x"])
_ANYTHING = st.recursive(
    st.text(max_size=3) | st.none() | st.booleans(), lambda inner: st.lists(inner) | st.dictionaries(_KEYS, inner)
)


@settings(max_examples=200, deadline=None, database=None)
@given(_ANYTHING)
def test_any_value_is_a_reference_or_a_secret_error(value: object) -> None:
    try:
        reference = SecretRef.parse(value, Path("/"))
    except SecretError:
        return
    assert reference.describe()


def test_what_may_be_shown(tmp_path: Path) -> None:
    command = SecretRef.parse({"command": ["op", "--session", SECRET], "prefix": "Basic "}, tmp_path)
    assert repr(command) == "<SecretRef command op>"
    assert command.written() == {"command": ["op", "…"], "prefix": "Basic "}
    file = SecretRef.parse({"file": "x/../y", "encoding": "hex"}, tmp_path)
    assert file.written() == {"file": str(tmp_path / "y"), "encoding": "hex"}
    assert file.describe() == f"file {tmp_path / 'y'}"
