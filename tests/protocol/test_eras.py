"""The packaged tables against those of the official SDK, and the rules that the gateway relies on."""

from __future__ import annotations

import pytest
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS, NAME_BEARING_METHODS
from mcp_types import jsonrpc as sdk_codes
from mcp_types import methods, version

from mcpsec.protocol import codes, eras


def test_versions_are_those_of_the_sdk() -> None:
    assert eras.KNOWN_VERSIONS == version.KNOWN_PROTOCOL_VERSIONS
    assert eras.LEGACY_VERSIONS == version.HANDSHAKE_PROTOCOL_VERSIONS
    assert eras.MODERN_VERSIONS == version.MODERN_PROTOCOL_VERSIONS


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (eras.CLIENT_REQUESTS, methods.CLIENT_REQUESTS),
        (eras.CLIENT_NOTIFICATIONS, methods.CLIENT_NOTIFICATIONS),
        (eras.SERVER_REQUESTS, methods.SERVER_REQUESTS),
        (eras.SERVER_NOTIFICATIONS, methods.SERVER_NOTIFICATIONS),
    ],
    ids=["client-requests", "client-notifications", "server-requests", "server-notifications"],
)
def test_methods_are_those_of_the_sdk(ours: dict[str, frozenset[str]], theirs: dict[tuple[str, str], object]) -> None:
    assert {(method, version) for version, methods in ours.items() for method in methods} == set(theirs)


def test_a_modern_server_may_ask_its_client_nothing() -> None:
    assert all(not eras.SERVER_REQUESTS[version] for version in eras.MODERN_VERSIONS)


def test_name_members_are_those_of_the_sdk_and_tasks() -> None:
    tasks = {method: member for method, member in eras.NAME_MEMBER.items() if method.startswith("tasks/")}
    assert dict(eras.NAME_MEMBER) == dict(NAME_BEARING_METHODS) | tasks
    assert tasks == dict.fromkeys(("tasks/get", "tasks/update", "tasks/cancel"), "taskId")


@pytest.mark.parametrize(
    ("method", "version", "extension"),
    [
        ("tasks/get", "2026-07-28", "io.modelcontextprotocol/tasks"),
        ("tasks/update", "2026-07-28", "io.modelcontextprotocol/tasks"),
        ("tasks/list", "2026-07-28", None),  # lists other callers' tasks: taken out of the protocol
        ("tasks/list", "2025-11-25", "io.modelcontextprotocol/tasks"),
        ("tasks/get", "2025-06-18", None),
        ("tools/call", "2026-07-28", None),
        ("tasks/get", "2099-01-01", None),
    ],
)
def test_extension_of(method: str, version: str, extension: str | None) -> None:
    assert eras.extension_of(method, version) == extension


def test_era_of() -> None:
    assert eras.era_of("2025-11-25") is eras.Era.LEGACY
    assert eras.era_of("2026-07-28") is eras.Era.MODERN
    assert eras.era_of("2099-01-01") is None


def test_the_tables_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        eras.CLIENT_REQUESTS["2026-07-28"] = frozenset({"evil"})  # type: ignore[index]


def test_specification_codes_and_statuses_are_those_of_the_sdk() -> None:
    assert dict(codes.SPECIFICATION_STATUS) == dict(ERROR_CODE_HTTP_STATUS)
    names = ("HEADER_MISMATCH", "MISSING_REQUIRED_CLIENT_CAPABILITY", "UNSUPPORTED_PROTOCOL_VERSION", "PARSE_ERROR")
    for name in (*names, "INVALID_REQUEST", "METHOD_NOT_FOUND", "INVALID_PARAMS", "INTERNAL_ERROR"):
        assert getattr(codes, name) == getattr(sdk_codes, name)


def test_own_codes_stay_out_of_the_reserved_range_and_are_never_a_404() -> None:
    own = [value for name in codes.__all__ if type(value := getattr(codes, name)) is int and value > 0]
    assert len(own) == len(set(own)) >= 10
    assert {codes.http_status(code) for code in own} == {401, 403, 413, 429, 503, 504}
    assert codes.http_status(-32603) == 200
    assert codes.http_status(12345) == 200
