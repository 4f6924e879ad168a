"""``Mcp-Param-*`` against arguments, with the official SDK as the oracle."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.shared.inbound import (
    find_invalid_x_mcp_header,
    mcp_param_headers,
    validate_mcp_param_headers,
    x_mcp_header_map,
)

from mcpsec.protocol import ParamHeader, ProtocolError, check_param_headers, param_headers
from mcpsec.protocol.param_headers import invalid_annotation

SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "options": {"type": "object", "properties": {"dry": {"type": "boolean", "x-mcp-header": "Dry"}}},
        "text": {"type": "string", "default": {"x-mcp-header": "Data"}},
    },
}


def test_declarations() -> None:
    assert set(param_headers(SCHEMA)) == {
        ParamHeader(("region",), "Mcp-Param-Region", "mcp-param-region", "string"),
        ParamHeader(("count",), "Mcp-Param-Count", "mcp-param-count", "integer"),
        ParamHeader(("options", "dry"), "Mcp-Param-Dry", "mcp-param-dry", "boolean"),
    }
    assert param_headers({}) == param_headers(None) == ()


def annotated(name: Any = "A", kind: Any = "string") -> dict[str, Any]:
    return {"x-mcp-header": name} | ({} if kind is None else {"type": kind})


@pytest.mark.parametrize(
    "schema",
    [
        annotated(),
        {"properties": {"a": annotated("")}},
        {"properties": {"a": annotated("a b")}},
        {"properties": {"a": annotated("a\n")}},
        {"properties": {"a": annotated(5)}},
        {"properties": {"a": annotated(kind="number")}},
        {"properties": {"a": annotated(kind=["string"])}},
        {"properties": {"a": annotated(kind=None)}},
        {"properties": {"a": annotated("X"), "b": annotated("x")}},
        {"properties": {"a": {"items": annotated()}}},
        {"allOf": [{"properties": {"a": annotated()}}]},
        {"$defs": {"d": {"properties": {"a": annotated()}}}},
        {"properties": {"a": {"anyOf": [True, annotated()]}}},
    ],
)
def test_wrong_annotations_declare_nothing(schema: Any) -> None:
    assert find_invalid_x_mcp_header(schema) is not None
    assert invalid_annotation(schema)
    assert param_headers(schema) == ()


@pytest.mark.parametrize(
    ("arguments", "headers", "good"),
    [
        ({"region": "eu"}, {"mcp-param-region": "eu"}, True),
        ({"region": "eu"}, {"mcp-param-region": "EU"}, False),
        ({"region": "eu"}, {}, False),
        ({}, {"mcp-param-region": "eu"}, False),
        ({"region": None}, {}, True),
        ({"region": None}, {"mcp-param-region": ""}, False),
        ({"region": ""}, {"mcp-param-region": ""}, True),
        ({"region": "\u00e9"}, {"mcp-param-region": "=?base64?w6k=?="}, True),
        ({"region": "\u00e9"}, {"mcp-param-region": "=?base64?w6k?="}, False),
        ({"region": ["eu"]}, {}, True),
        ({"region": ["eu"]}, {"mcp-param-region": "eu"}, False),
        ({"count": 42}, {"mcp-param-count": "42"}, True),
        ({"count": 42}, {"mcp-param-count": "42.0"}, True),
        ({"count": 42.0}, {"mcp-param-count": "42"}, True),
        ({"count": 42}, {"mcp-param-count": "042"}, True),
        ({"count": 42}, {"mcp-param-count": "42.5"}, False),
        ({"count": 42}, {"mcp-param-count": "4.2e1"}, False),
        ({"count": -0.0}, {"mcp-param-count": "0"}, True),
        ({"count": True}, {"mcp-param-count": "1"}, False),
        ({"count": True}, {"mcp-param-count": "true"}, True),
        ({"count": 2**63}, {"mcp-param-count": str(2**63)}, True),
        ({"count": 2**63}, {"mcp-param-count": str(2**63 + 1)}, False),
        ({"options": {"dry": False}}, {"mcp-param-dry": "false"}, True),
        ({"options": {"dry": False}}, {"mcp-param-dry": "False"}, False),
        ({"options": "x"}, {"mcp-param-dry": "x"}, False),
        ({"text": "x"}, {"mcp-param-unknown": "y", "mcp-param-data": "z"}, True),
    ],
)
def test_headers_against_arguments(arguments: Any, headers: dict[str, str], good: bool) -> None:
    assert (validate_mcp_param_headers(SCHEMA, arguments, headers) is None) is good
    if good:
        check_param_headers(param_headers(SCHEMA), arguments, headers)
        return
    with pytest.raises(ProtocolError) as caught:
        check_param_headers(param_headers(SCHEMA), arguments, headers)
    assert (caught.value.code, caught.value.http_status) == (-32020, 400)


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), st.text(max_size=5)
)
ARGUMENTS = st.fixed_dictionaries(
    {}, optional={"region": SCALARS, "count": SCALARS, "options": st.fixed_dictionaries({}, optional={"dry": SCALARS})}
)
KEYS = st.sampled_from(["mcp-param-region", "mcp-param-count", "mcp-param-dry", "mcp-param-x"])


@settings(max_examples=300, deadline=None)
@given(ARGUMENTS, st.dictionaries(KEYS, SCALARS.map(str), max_size=2))
def test_what_the_sdk_client_sends_passes_and_changes_are_judged_alike(arguments: Any, changes: Any) -> None:
    sent = mcp_param_headers(x_mcp_header_map(SCHEMA), arguments)
    headers = {name.lower(): value for name, value in sent.items()}
    check_param_headers(param_headers(SCHEMA), arguments, headers)
    headers |= changes
    try:
        check_param_headers(param_headers(SCHEMA), arguments, headers)
    except ProtocolError:
        assert validate_mcp_param_headers(SCHEMA, arguments, headers) is not None
    else:
        assert validate_mcp_param_headers(SCHEMA, arguments, headers) is None
