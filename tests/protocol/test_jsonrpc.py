"""The strict parse: each refused body beside the one that differs in that flaw alone, and a slow reference parser."""

from __future__ import annotations

import json
import math
import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcpsec.protocol.jsonrpc import (
    MAX_CONTAINERS,
    Kind,
    Message,
    ProtocolError,
    encode_notification,
    encode_request,
    encode_result,
    parse,
    request_error,
)

CALL = b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hi"}}}'


def refusal(body: bytes, **options: Any) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        parse(body, **options)
    assert caught.value.http_status == 400
    return caught.value


def test_a_request() -> None:
    assert parse(CALL) == Message(
        Kind.REQUEST, 7, "tools/call", {"name": "echo", "arguments": {"text": "hi"}}, CALL, None, None
    )


def test_a_notification_has_no_id() -> None:
    message = parse(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
    assert (message.kind, message.id, message.params) == (Kind.NOTIFICATION, None, {})


def test_a_result_and_an_error() -> None:
    message = parse(b'{"jsonrpc":"2.0","id":"a","result":{"ok":true}}')
    assert (message.kind, message.id, message.result, message.error) == (Kind.RESPONSE, "a", {"ok": True}, None)
    message = parse(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}')
    assert (message.kind, message.id, message.result) == (Kind.RESPONSE, None, None)
    assert message.error == {"code": -32700, "message": "no"}


def test_a_message_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        parse(CALL).method = "tools/list"  # type: ignore[misc]


def params(text: str) -> str:
    return '{"jsonrpc":"2.0","id":1,"method":"m","params":{"arguments":' + text + "}}"


def call(**members: str) -> str:
    parts = {"jsonrpc": '"2.0"', "id": "1", "method": '"m"'} | members
    return "{" + ",".join(f'"{name}":{value}' for name, value in parts.items() if value) + "}"


TWINS = [
    # name, refused, code, accepted
    ("duplicate", params('{"a":1,"a":2}'), -32600, params('{"a":1,"b":2}')),
    ("duplicate of the same value", params('{"a":1,"a":1}'), -32600, params('{"a":1,"b":1}')),
    ("duplicate by escape", params('{"a":1,"\\u0061":2}'), -32600, params('{"a":1,"\\u0062":2}')),
    ("duplicate in an array", params('[{"a":1},{"a":1,"a":2}]'), -32600, params('[{"a":1},{"a":1}]')),
    ("duplicate behind quotes", params('{"\\"":1,"\\"":2}'), -32600, params('{"\\"":1,"\\\\":2}')),
    ("duplicate that hides colons", params('{"a":{"b":1,"c":2},"a":"::"}'), -32600, params('{"a":"::"}')),
    ("duplicate method", '{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}', -32600, call()),
    ("duplicate empty name", params('{"":1,"":2}'), -32600, params('{"":1," ":2}')),
    ("letter case of name", call(params='{"Name":"x"}'), -32600, call(params='{"name":"x"}')),
    ("letter case, Kelvin sign", call(params='{"tas\u212aId":"x"}'), -32600, call(params='{"taskId":"x"}')),
    ("letter case, long s", call(params='{"argument\u017f":{}}'), -32600, call(params='{"arguments":{}}')),
    ("letter case of method", call(Method='"x"'), -32600, call()),
    ("unknown member", call(extra="1"), -32600, call()),
    ("NaN", params("NaN"), -32700, params("null")),
    ("Infinity", params("[-Infinity]"), -32700, params("[-1]")),
    ("too large a float", params("1e400"), -32700, params("1e300")),
    ("65-bit integer", params("18446744073709551616"), -32600, params("18446744073709551615")),
    ("65-bit negative", params("-9223372036854775809"), -32600, params("-9223372036854775808")),
    ("huge integer", params("9" * 200), -32600, params('"' + "9" * 200 + '"')),
    ("integer in an array", params("[1, 123456789012345678901]"), -32600, params("[1, 12345678901234567890]")),
    ("lone surrogate", params('"\\ud800"'), -32700, params('"\\ud83d\\ude00"')),
    ("lone low surrogate", params('"\\udc00x"'), -32700, params('"\\u00e9x"')),
    ("surrogate in a name", params('{"\\ud800":1}'), -32700, params('{"\\u0800":1}')),
    ("batch", "[" + call() + "]", -32600, call()),
    ("empty batch", "[]", -32600, call()),
    ("a string", '"x"', -32600, call()),
    ("two values", call() + call(), -32700, call()),
    ("trailing comma", params("[1,]"), -32700, params("[1]")),
    ("comment", call() + "//x", -32700, call() + " \r\n\t"),
    ("nothing", "", -32700, call()),
    ("leading zero", params("01"), -32700, params("0")),
    ("control character", params('"\n"'), -32700, params('"\\n"')),
    ("version", call(jsonrpc='"1.0"'), -32600, call()),
    ("version a number", call(jsonrpc="2.0"), -32600, call()),
    ("no version", call(jsonrpc=""), -32600, call()),
    ("id null", call(id="null"), -32600, call(id="0")),
    ("id true", call(id="true"), -32600, call(id="1")),
    ("id a float", call(id="1.0"), -32600, call(id="-1")),
    ("id an object", call(id="{}"), -32600, call(id='""')),
    ("id too long", call(id='"' + "x" * 257 + '"'), -32600, call(id='"' + "x" * 256 + '"')),
    ("method a number", call(method="1"), -32600, call(method='"1"')),
    ("method null", call(method="null"), -32600, call()),
    ("method empty", call(method='""'), -32600, call()),
    ("method too long", call(method='"' + "x" * 129 + '"'), -32600, call(method='"' + "x" * 128 + '"')),
    ("params an array", call(params="[1]"), -32600, call(params="{}")),
    ("params null", call(params="null"), -32600, call(params="")),
    ("request and result", call(result="{}"), -32600, call()),
    ("request and error", call(error='{"code":1,"message":""}'), -32600, call()),
    ("neither", call(method=""), -32600, call(method="", result="{}")),
    ("result and error", call(method="", result="{}", error='{"code":1,"message":""}'), -32600, call()),
    ("result without id", call(method="", id="", result="{}"), -32600, call(method="", result="{}")),
    ("result not an object", call(method="", result="1"), -32600, call(method="", result="{}")),
    ("error not an object", call(method="", error="1"), -32600, call(method="", error='{"code":1,"message":""}')),
    ("error code true", call(method="", error='{"code":true,"message":""}'), -32600, call()),
    ("result with params", call(method="", result="{}", params="{}"), -32600, call(method="", result="{}")),
]


@pytest.mark.parametrize(("bad", "code", "good"), [twin[1:] for twin in TWINS], ids=[twin[0] for twin in TWINS])
def test_twins(bad: str, code: int, good: str) -> None:
    assert refusal(bad.encode()).code == code
    parse(good.encode())
    parse(good.encode().replace(b":", b": "))  # the slow proof agrees


@pytest.mark.parametrize(
    "body", [b"\xef\xbb\xbf" + CALL, CALL.decode().encode("utf-16"), CALL.replace(b"hi", b"\xff"), CALL + b"\x00"]
)
def test_only_utf8_without_a_byte_order_mark(body: bytes) -> None:
    assert refusal(body).code == -32700


def test_encoded_surrogates_and_overlong_forms_are_not_utf8() -> None:
    for bad in (b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"):
        assert refusal(CALL.replace(b"hi", bad)).code == -32700


@pytest.mark.parametrize("space", ["", " "])
@pytest.mark.parametrize("depth", [4, 64])
def test_depth(depth: int, space: str) -> None:
    def nested(levels: int) -> bytes:  # the message and its params are two levels
        half, odd = divmod(levels - 2, 2)
        return params(space + '{"a":[' * half + "[" * odd + "]" * odd + "]}" * half or "1").encode()

    parse(nested(depth), max_depth=depth)
    assert "deep" in refusal(nested(depth + 1), max_depth=depth).message


def test_brackets_in_strings_are_not_depth() -> None:
    parse(params(json.dumps("[{" * 5000 + '"\\')).encode(), max_depth=3)


@pytest.mark.parametrize("deep", [b"[" * 20_000, b'{"a":' * 20_000, b"[" * 500 + b"]" * 500, b"[" * 200_000])
def test_hostile_depth_is_refused(deep: bytes) -> None:
    refusal(deep)
    refusal(deep + b"]" * deep.count(b"["))


def test_a_depth_that_cannot_be_proved_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="250"):
        parse(CALL, max_depth=251)


def test_containers_are_bounded_before_they_cost_memory() -> None:
    parse(params("[" + "[]," * (MAX_CONTAINERS - 4) + "[]]").encode())
    body = params("[" + "{}," * 1_000_000 + "{}]").encode()
    tracemalloc.start()
    try:
        assert "too many" in refusal(body).message
        assert tracemalloc.get_traced_memory()[1] < 8 * len(body)
    finally:
        tracemalloc.stop()


def test_the_id_is_known_when_only_the_rest_is_wrong() -> None:
    assert refusal(call(id="5", params="[]").encode()).id == 5
    assert refusal(b"{").id is None


def test_a_refusal_never_repeats_the_body() -> None:
    for name, bad, _, _ in TWINS:
        assert len(bad) < 4 or bad not in refusal(bad.encode()).message, name


def test_encoders() -> None:
    assert request_error("a", 40301, "no") == b'{"jsonrpc":"2.0","id":"a","error":{"code":40301,"message":"no"}}'
    error = ProtocolError(-32022, "no", 400, {"supported": []}, id=3)
    assert json.loads(error.encode())["error"] == {"code": -32022, "message": "no", "data": {"supported": []}}
    assert parse(encode_result(1, {"a": 1})).result == {"a": 1}
    assert parse(encode_request("x", "ping")).params == {}
    assert parse(encode_notification("notifications/cancelled", {"requestId": 1})).params == {"requestId": 1}


# --- the reference: the standard library's decoder, one hook a rule ---


class Refused(Exception):
    pass


def reference(body: bytes, max_depth: int) -> str:
    """``kind`` of an acceptable message, else raises; written from the rules, without a look at the fast path."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in items}) != len(items):
            raise Refused("duplicate")
        return dict(items)

    def integer(text: str) -> int:
        if len(text) > 30 or not -(2**63) <= int(text) < 2**64:
            raise Refused("integer")
        return int(text)

    def floating(text: str) -> float:
        if math.isinf(float(text)):
            raise Refused("float")
        return float(text)

    def constant(text: str) -> Any:
        raise Refused(text)

    def walk(value: Any, level: int) -> None:
        if isinstance(value, str):
            value.encode()  # a lone surrogate raises UnicodeEncodeError, a ValueError
        if isinstance(value, dict | list) and level >= max_depth:
            raise Refused("depth")
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(inner, level + 1)
        for name in value if isinstance(value, dict) else ():
            name.encode()

    try:
        text = body.decode("utf-8")
        value = json.loads(
            text, object_pairs_hook=pairs, parse_int=integer, parse_float=floating, parse_constant=constant
        )
        walk(value, 0)
    except ValueError as error:
        raise Refused(str(error)) from None
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0" or isinstance(value["jsonrpc"], bool):
        raise Refused("envelope")
    ident = value.get("id")
    good_id = (isinstance(ident, int) and not isinstance(ident, bool)) or (isinstance(ident, str) and len(ident) <= 256)
    names = set(value)
    if "method" in value:
        method, given = value["method"], value.get("params", {})
        if not isinstance(method, str) or not 1 <= len(method) <= 128 or not isinstance(given, dict):
            raise Refused("call")
        if names - {"jsonrpc", "id", "method", "params"} or ("id" in value and not good_id):
            raise Refused("call")
        decisive = ["name", "arguments", "uri", "_meta", "cursor", "task", "taskId", "ref"]
        if any(name.casefold() == word.casefold() and name != word for name in given for word in decisive):
            raise Refused("letters")
        return "request" if "id" in value else "notification"
    if names - {"jsonrpc", "id", "result", "error"} or len(names & {"result", "error"}) != 1:
        raise Refused("response")
    if "result" in value:
        if not good_id or not isinstance(value["result"], dict):
            raise Refused("result")
        return "response"
    error = value["error"]
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        raise Refused("error")
    if not isinstance(error.get("code"), int) or isinstance(error["code"], bool) or (ident is not None and not good_id):
        raise Refused("error")
    return "response"


SPACE = st.sampled_from(["", "", "", "", " ", "\n", "\t\r\n "])
NUMBERS = st.sampled_from(
    ["0", "-0", "1", "-1", "1.0", "1e5", "1E+5", "0.1", "1e400", "-1e400", "1e-400", "1e22", "01", "1.", "-", "NaN"]
    + [str(number) for number in (2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**17 + 1, 10**18 + 1, 10**30 + 1)]
    + ["Infinity", "0.1234567890123456789012", "111111111111111111111111111111.5", "1111111111111111111111e1"]
)
STRINGS = st.one_of(
    st.text(st.characters(exclude_categories=[]), max_size=6).map(json.dumps),
    st.text(max_size=6).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(
        ['"\\u0061"', '"a"', '"\\ud800"', '"\\udc00\\ud800"', '"\\/"', '"\\\\\\""', '"[{:"', '"\\x"', '""']
    ),
)
NAMES = st.one_of(STRINGS, st.sampled_from(['"a"', '"a"', '"\\u0061"', '"b"', '"name"', '"Name"', '"\\u004eame"']))


@st.composite
def containers(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    space = draw(SPACE)
    if draw(st.booleans()):
        return "[" + space + f",{space}".join(draw(st.lists(inner, max_size=4))) + "]"
    members = draw(st.lists(st.tuples(NAMES, inner), max_size=4))
    return "{" + space + f"{space},".join(f"{name}{space}:{value}" for name, value in members) + "}"


VALUES = st.recursive(
    st.one_of(NUMBERS, STRINGS, st.sampled_from(["true", "false", "null"])),
    lambda inner: containers(inner),
    max_leaves=12,
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    pool = [
        ("jsonrpc", ['"2.0"'] * 9 + ["2.0", "null"]),
        ("id", ["1", '"x"', "0"] * 3 + ["null", "true", "1.0", "1e2", '"\\u0061"']),
        ("method", ['"tools/call"'] * 6 + ["1", '""']),
        ("params", None),
        ("result", None),
        ("error", ['{"code":1,"message":"x"}', '{"code":1.0,"message":"x"}', '{"message":"x"}']),
        ("other", ["1"]),
        ("Method", ['"x"']),
    ]
    shape = draw(
        st.sampled_from(
            [(0, 1, 2, 3), (0, 1, 2, 3), (0, 2, 3), (0, 1, 4), (0, 1, 5), (0, 5), (0, 1, 2, 3, 3), (0, 1, 2, 4)]
        )
        | st.lists(st.integers(0, 7), max_size=6).map(tuple)
    )
    members = []
    for index in shape:
        name, values = pool[index]
        value = draw(st.sampled_from(values)) if values else draw(containers(VALUES))
        members.append(f'"{name}"{draw(SPACE)}:{value}')
    return ("{" + ",".join(members) + "}" + draw(SPACE)).encode("utf-8", "surrogatepass")


@settings(max_examples=600, deadline=None)
@given(bodies(), st.integers(2, 6))
@example(b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1,"a":1}}', 6)
def test_the_fast_path_decides_like_the_reference(body: bytes, max_depth: int) -> None:
    try:
        expected = reference(body, max_depth)
    except Refused:
        refusal(body, max_depth=max_depth)
    else:
        message = parse(body, max_depth=max_depth)
        assert message.kind.value == expected
        assert message.raw == body
        assert orjson.loads(body).get("params", {}) == message.params


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40) | bodies().map(lambda body: body[: len(body) // 2] + b"," + body[len(body) // 2 :]))
def test_any_bytes_give_a_message_or_a_refusal(body: bytes) -> None:
    try:
        parse(body)
    except ProtocolError as error:
        assert error.code in (-32700, -32600)
    else:
        reference(body, 64)
