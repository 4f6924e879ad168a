"""Each built-in tool: the right result, and a clear answer to arguments that don't fit, in both eras."""

from __future__ import annotations

import datetime
import hashlib
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fixtures.deployments import make_deployment
from tests.fixtures.gateway import Gateway, start_gateway
from tests.fixtures.raw import MODERN_META, RawClient, Response, call

INVALID_PARAMS = -32602


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    running = start_gateway(make_deployment(tmp_path_factory.mktemp("demo"), {"demo": {"builtin": "demo"}}))
    yield running
    running.stop()


def legacy_call(tool: str, arguments: dict[str, Any]) -> bytes:
    params = {"name": tool, "arguments": arguments}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()


def ask(demo: Gateway, tool: str, arguments: dict[str, Any], era: str = "2026") -> Response:
    with RawClient(demo) as client:
        return client.post(call(tool, arguments) if era == "2026" else legacy_call(tool, arguments))


def text(demo: Gateway, tool: str, arguments: dict[str, Any], era: str = "2026") -> str:
    response = ask(demo, tool, arguments, era)
    assert response.status == 200, response
    result = response.json["result"]
    assert not result["isError"], result
    return str(result["content"][0]["text"])


def said_no(demo: Gateway, tool: str, arguments: dict[str, Any]) -> str:
    """The text of a result that is an error of the tool's own: a model can read it and try again."""
    response = ask(demo, tool, arguments)
    assert response.status == 200, response
    assert response.json["result"]["isError"]
    return str(response.json["result"]["content"][0]["text"])


RESULTS: list[tuple[str, dict[str, Any], str]] = [
    ("echo", {"text": "Grüße, 世界 🎉\n\t\u2028"}, "Grüße, 世界 🎉\n\t\u2028"),
    ("echo", {"text": ""}, ""),
    ("digest", {"text": "Grüße"}, hashlib.sha256("Grüße".encode()).hexdigest()),
    ("digest", {"text": "", "algorithm": "sha512"}, hashlib.sha512(b"").hexdigest()),
    ("digest", {"text": "x", "algorithm": "sha384"}, hashlib.sha384(b"x").hexdigest()),
    ("digest", {"text": "x", "algorithm": "sha3_256"}, hashlib.sha3_256(b"x").hexdigest()),
    ("digest", {"text": "x", "algorithm": "blake2b"}, hashlib.blake2b(b"x").hexdigest()),
    ("convert", {"text": "hé?", "encoding": "base64"}, "aMOpPw=="),
    ("convert", {"text": "aMOpPw==", "encoding": "base64", "direction": "decode"}, "hé?"),
    ("convert", {"text": "hé", "encoding": "hex"}, "68c3a9"),
    ("convert", {"text": "68c3a9", "encoding": "hex", "direction": "decode"}, "hé"),
    ("convert", {"text": "a/b c&é", "encoding": "url"}, "a%2Fb%20c%26%C3%A9"),
    ("convert", {"text": "a%2Fb%20c%26%C3%A9", "encoding": "url", "direction": "decode"}, "a/b c&é"),
    ("json_format", {"text": '{"b":[1,2.5],"a":"é"}'}, '{\n  "b": [\n    1,\n    2.5\n  ],\n  "a": "é"\n}'),
]


@pytest.mark.parametrize("era", ["2025", "2026"])
@pytest.mark.parametrize(("tool", "arguments", "expected"), RESULTS)
def test_results(demo: Gateway, tool: str, arguments: dict[str, Any], expected: str, era: str) -> None:
    assert text(demo, tool, arguments, era) == expected


def test_results_that_differ_each_time(demo: Gateway) -> None:
    for zone, arguments in (("UTC", {}), ("Asia/Kathmandu", {"zone": "Asia/Kathmandu"})):
        now = json.loads(text(demo, "time_now", arguments))
        assert now["zone"] == zone
        moment = datetime.datetime.fromisoformat(now["time"])
        assert abs(moment - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=5)
        assert now["weekday"] == moment.strftime("%A")
    assert moment.utcoffset() == datetime.timedelta(hours=5, minutes=45)
    assert uuid.UUID(text(demo, "identifier", {})).version == 4
    many = text(demo, "identifier", {"count": 100}).split("\n")
    assert len({uuid.UUID(each) for each in many}) == 100
    facts = json.loads(text(demo, "text_statistics", {"text": "One two\nthree one é"}))
    assert facts == {"characters": 19, "bytes_utf8": 20, "words": 5, "distinct_words": 4, "lines": 2}


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("echo", {}, "text"),
    ("echo", {"text": 7}, "text"),
    ("echo", {"text": None}, "text"),
    ("echo", {"text": ["x"]}, "text"),
    ("echo", {"text": "x" * 100_001}, "at most"),
    ("echo", {"text": "x", "other": 1}, "no argument of that name"),
    ("echo", {"Text": "x"}, "missing argument"),
    ("digest", {"text": "x", "algorithm": "md5"}, "one of"),
    ("digest", {"text": "x", "algorithm": "shake_128"}, "one of"),
    ("convert", {"text": "x"}, "encoding"),
    ("convert", {"text": "x", "encoding": "rot13"}, "one of"),
    ("convert", {"text": "x", "encoding": "hex", "direction": "sideways"}, "one of"),
    ("identifier", {"count": 0}, "between"),
    ("identifier", {"count": 101}, "between"),
    ("identifier", {"count": True}, "integer"),
    ("identifier", {"count": "3"}, "integer"),
    ("identifier", {"count": 1.5}, "integer"),
    ("time_now", {"zone": 1}, "text"),
]


@pytest.mark.parametrize(("tool", "arguments", "word"), WRONG)
def test_unfit_arguments_are_named(demo: Gateway, tool: str, arguments: dict[str, Any], word: str) -> None:
    for era, status in (("2026", 400), ("2025", 200)):
        response = ask(demo, tool, arguments, era)
        assert (response.status, response.code) == (status, INVALID_PARAMS), response
        assert word in response.json["error"]["message"]


ZONES = [
    "Nowhere/City",
    "",
    "Europe",
    "../../../etc/passwd",
    "/etc/localtime",
    "a\x00b",
    "x" * 5000,
    "é/ü",
    "tzdata.zi",
]


@pytest.mark.parametrize("zone", ZONES)
def test_what_is_no_time_zone(demo: Gateway, zone: str) -> None:
    assert "time zone" in said_no(demo, "time_now", {"zone": zone})


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("json_format", {"text": "{nope"}),
        ("json_format", {"text": ""}),
        ("json_format", {"text": "NaN"}),
        ("json_format", {"text": "[" * 50_000}),
        ("json_format", {"text": "[" * 900 + "1," * 20_000 + "1" + "]" * 900}),
        ("json_format", {"text": "1" * 5000}),
        ("convert", {"text": "abc", "encoding": "base64", "direction": "decode"}),
        ("convert", {"text": "é", "encoding": "base64", "direction": "decode"}),
        ("convert", {"text": "zz", "encoding": "hex", "direction": "decode"}),
        ("convert", {"text": "ff", "encoding": "hex", "direction": "decode"}),
        ("convert", {"text": "%ff", "encoding": "url", "direction": "decode"}),
    ],
)
def test_texts_that_are_not_what_they_should_be(demo: Gateway, tool: str, arguments: dict[str, Any]) -> None:
    words = said_no(demo, tool, arguments)
    assert len(words) < 300


def test_both_eras_list_the_same_tools(demo: Gateway) -> None:
    listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    with RawClient(demo) as client:
        old = client.post(json.dumps(listing).encode()).json["result"]["tools"]
        new = client.post(json.dumps({**listing, "params": {"_meta": MODERN_META}}).encode()).json["result"]["tools"]
    assert old == new
    names = {tool["name"] for tool in old}
    assert names == {"echo", "time_now", "text_statistics", "digest", "convert", "json_format", "identifier"}
    assert all(tool["inputSchema"]["additionalProperties"] is False for tool in old)
    assert all(tool["annotations"]["readOnlyHint"] is True for tool in old)


def test_a_tool_that_does_not_exist_looks_like_one_that_is_not_granted(demo: Gateway) -> None:
    assert ask(demo, "shell", {}).status == 403
    assert ask(demo, "shell", {}, "2025").status == 403
