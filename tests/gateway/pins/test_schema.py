"""Pinned input schemas: what fits, what doesn't, and what a hostile schema can't do."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from mcpsec.gateway.pins.schema import ArgumentSchema, UnusableSchemaError

SCHEMA = {
    "type": "object",
    "properties": {"project": {"enum": ["WEB", "API"]}, "limit": {"type": "integer", "minimum": 1, "maximum": 500}},
    "required": ["project"],
    "additionalProperties": False,
    "$defs": {"x": {"type": "integer"}},
}


@pytest.mark.parametrize(
    ("arguments", "faults"),
    [
        ({"project": "WEB"}, []),
        ({"project": "WEB", "limit": 500}, []),
        ({"project": "web"}, ["/project: enum"]),
        ({"project": "WEB", "limit": 501}, ["/limit: maximum"]),
        ({"project": "WEB", "limit": True}, ["/limit: type"]),
        ({"project": "WEB", "limit": "1"}, ["/limit: type"]),
        ({"project": ["WEB"]}, ["/project: enum"]),
        ({"project": "WEB", "Limit": 1}, ["/: additionalProperties"]),
        ({}, ["/: required"]),
        ([], ["/: type"]),
        (None, ["/: type"]),
    ],
)
def test_arguments(arguments: Any, faults: list[str]) -> None:
    assert ArgumentSchema(SCHEMA).faults(arguments) == faults


def test_a_fault_never_repeats_a_value() -> None:
    faults = ArgumentSchema(SCHEMA).faults({"project": "hunter2-secret", "limit": 10**30})
    assert "hunter2" not in "".join(faults)
    assert len(ArgumentSchema({"additionalProperties": False}).faults({"k" * 5000: 1})[0]) <= 300


def test_references_inside_the_schema_are_followed() -> None:
    schema = ArgumentSchema({**SCHEMA, "properties": {"n": {"$ref": "#/$defs/x"}}, "required": []})
    assert schema.faults({"n": 1}) == []
    assert schema.faults({"n": "1"}) == ["/n: type"]


def test_nothing_is_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        for scheme in ("http", "https"):
            with pytest.raises(UnusableSchemaError):
                ArgumentSchema({"$ref": f"{scheme}://127.0.0.1:{server.getsockname()[1]}/schema"})
        with pytest.raises(TimeoutError):
            server.accept()
    with pytest.raises(UnusableSchemaError):
        ArgumentSchema({"$ref": "file:///etc/hostname"})


@pytest.mark.parametrize("schema", [None, [], "x", True, {"type": 12}, {"properties": {"a": {"pattern": "("}}}])
def test_what_is_no_schema(schema: Any) -> None:
    with pytest.raises(UnusableSchemaError):
        ArgumentSchema(schema)


def test_a_schema_that_is_too_large_or_too_deep() -> None:
    with pytest.raises(UnusableSchemaError, match="larger"):
        ArgumentSchema({"enum": ["x" * (1 << 20)]})
    deep: dict[str, Any] = {}
    for _ in range(2000):
        deep = {"not": deep}
    with pytest.raises(UnusableSchemaError, match="deep"):
        ArgumentSchema(deep)


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(?!b)(a+)+$", r"^(a|aa)+\1?$"])
def test_no_expression_takes_long(pattern: str) -> None:
    """With a backtracking engine the first two would take longer than this test may run."""
    schema = ArgumentSchema({"properties": {"a": {"pattern": pattern}}})
    assert schema.faults({"a": "a" * 5000 + "!"}) != []
    assert schema.faults({"a": "aa"}) == []


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema = ArgumentSchema({"type": "object", "additionalProperties": {"$ref": "#"}})
    value: Any = {}
    for _ in range(900):
        value = {"a": value}
    assert schema.faults(value) in ([], ["/: depth"])
    assert schema.faults({"a": {"a": 1}}) == ["/a/a: type"]


def test_draft_07_is_read_as_draft_07() -> None:
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}], "type": "array"}
    assert ArgumentSchema(schema).faults([1]) == ["/0: type"]


def test_the_faults_of_one_call_are_bounded() -> None:
    schema = ArgumentSchema({"type": "object", "additionalProperties": {"type": "string"}})
    assert 0 < len(schema.faults({f"a{number}": number for number in range(1000)})) < 50
