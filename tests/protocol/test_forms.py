"""Bodies that repeat a call: read as ``parse`` and the agreement of headers and body read them, or left to those."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from mcpsec.protocol.eras import Era
from mcpsec.protocol.forms import reader_of
from mcpsec.protocol.headers import META_CLIENT_CAPABILITIES, META_VERSION, Agreement, Route
from mcpsec.protocol.jsonrpc import Message, ProtocolError, parse

DEPTH = 16
MODERN = Route(Era.MODERN, "2026-07-28")
LEGACY = Route(Era.LEGACY, "2025-11-25")
META = {META_VERSION: "2026-07-28", META_CLIENT_CAPABILITIES: {}}
PARAMS: dict[str, Any] = {"name": "echo", "arguments": {"text": "hello"}, "_meta": META}
CALL: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": PARAMS}


def text(**members: Any) -> bytes:
    return json.dumps(CALL | members, separators=(",", ":")).encode()


def params(**members: Any) -> bytes:
    return text(params=PARAMS | members)


def without(member: str) -> bytes:
    return json.dumps({name: each for name, each in CALL.items() if name != member}).encode()


BODY = text()
OF_THE_FORM = {
    "the same": BODY,
    "another id": text(id="a-7"),
    "a negative id": text(id=-3),
    "other arguments": params(arguments={"other": [1, {"a": None}], "text": "ü"}),
    "arguments that are none": params(arguments=[1]),  # whether a tool takes them is a later step's
    "blanks": json.dumps(CALL, indent=2).encode(),
    "escapes": BODY.replace(b"hello", b"h\\u00e9llo"),
    "members in another order": json.dumps(dict(reversed(CALL.items()))).encode(),
    "a long text": params(arguments={"text": "{[" * 5000}),
    "many shallow objects": params(arguments={"list": [{}] * 100}),
}
OF_ANOTHER = {
    "empty": b"",
    "no JSON": BODY[:-1],
    "something behind": BODY + b"{}",
    "a batch": b"[" + BODY + b"]",
    "a text": b'"tools/call"',
    "a number": b"1",
    "null": b"null",
    "no id": without("id"),
    "no params": without("params"),
    "an id that is true": text(id=True),
    "an id that is null": text(id=None),
    "an id with a fraction": text(id=1.5),
    "an id that is too long": text(id="x" * 300),
    "an id that is a list": text(id=[1]),
    "an id that no reader shares": BODY.replace(b'"id":1', b'"id":184467440737095516160'),
    "another version of JSON-RPC": text(jsonrpc="1.0"),
    "a member more": text(result={}),
    "a member in other letters": json.dumps({**CALL, "Method": "tools/list"}).encode(),
    "a member in the place of another": without("id").replace(b"{", b'{"iD": 1, ', 1),
    "another method": text(method="tools/list"),
    "a method that is a list": text(method=["tools/call"]),
    "another target": params(name="delete"),
    "a target that is a list": params(name=["echo"]),
    "another revision": params(_meta=META | {META_VERSION: "2025-11-25"}),
    "no capabilities": params(_meta={META_VERSION: "2026-07-28", "x": {}}),
    "a member of _meta more": params(_meta=META | {"progressToken": 1}),
    "no _meta": params(_meta=None),
    "a _meta that is a text": params(_meta="x"),
    "params that are a list": text(params=[PARAMS]),
    "params that are a text": text(params="x"),
    "a state": params(requestState="x"),
    "a task": params(task={}),
    "a known name in other letters": params(Name="delete"),
    "a target twice": BODY.replace(b'"name":"echo"', b'"name":"echo","name":"delete"'),
    "arguments twice": BODY.replace(b'"arguments":', b'"arguments":{"text":"bye"},"arguments":'),
    "a method twice": BODY.replace(b'"method":', b'"method":"tools/list","method":'),
    "an escaped name twice": BODY.replace(b'"name":"echo"', b'"name":"echo","n\\u0061me":"delete"'),
    "a number out of range": params(arguments={"n": 0}).replace(b'"n":0', b'"n":98765432109876543210'),
    "too deep": params(arguments={"text": "x"}).replace(b'"x"', b"[" * 20 + b"]" * 20),
    "far too deep": params(arguments={"text": "x"}).replace(b'"x"', b"[" * 2000 + b"]" * 2000),
    "too many objects": params(arguments={"text": "x"}).replace(b'"x"', b"[" + b"[]," * 200_000 + b"[]]"),
    "no UTF-8": BODY.replace(b"hello", b"\xff\xfe"),
    "a lone surrogate": BODY.replace(b"hello", b"\\ud800"),
}  # fmt: skip


def first() -> tuple[Message, Agreement]:
    message = parse(BODY)
    return message, Agreement.of(message, MODERN)


def read(body: bytes) -> Message | None:
    message, agreement = first()
    reader = reader_of(message, agreement, max_depth=DEPTH)
    assert reader is not None
    return reader(body)


@pytest.mark.parametrize("name", OF_THE_FORM)
def test_a_body_of_the_form_is_read_as_parse_reads_it(name: str) -> None:
    body = OF_THE_FORM[name]
    message = read(body)
    assert message == parse(body, max_depth=DEPTH)
    assert isinstance(message, Message)
    assert first()[1].holds(message)


@pytest.mark.parametrize("name", OF_ANOTHER)
def test_whatever_else_is_left_to_the_whole_way(name: str) -> None:
    body = OF_ANOTHER[name]
    assert read(body) is None
    try:
        message = parse(body, max_depth=DEPTH)
    except ProtocolError:
        return
    assert not (
        first()[1].holds(message)
        and message.params.keys() == PARAMS.keys()
        and message.params["_meta"].keys() == META.keys()
    )


def test_no_reader_where_nothing_is_named() -> None:
    listing = parse(text(method="tools/list", params={"_meta": META}))
    assert reader_of(listing, Agreement.of(listing, MODERN), max_depth=DEPTH) is None
    message, _ = first()
    assert (
        reader_of(message, Agreement(Era.MODERN, "tools/call", "2026-07-28", "name", "other"), max_depth=DEPTH) is None
    )


# --- the 2025 era ----------------------------------------------------------------------------------------------------


def legacy(body: bytes) -> bytes:
    """The same with another member in the place of the revision, which bodies of that era seldom name."""
    return body.replace(META_VERSION.encode(), b"progressToken")


BARE = text(params={"name": "echo", "arguments": {"text": "hello"}})
WITH_META = legacy(BODY)


def bare(**members: Any) -> bytes:
    return text(params={"name": "echo", "arguments": {"text": "hello"}, **members})


LEGACY_OF_THE_FORM = {name: (WITH_META, legacy(body)) for name, body in OF_THE_FORM.items()} | {
    "other members of _meta": (WITH_META, WITH_META.replace(b'"2026-07-28"', b"7")),
    "bare": (BARE, BARE),
    "bare, another id": (BARE, BARE.replace(b'"id":1', b'"id":"a-7"')),
    "bare, other arguments": (BARE, bare(arguments={"name": "delete", "_meta": {}, "text": ["echo"]})),
    "bare, arguments that are none": (BARE, bare(arguments=None)),
    "bare, an escaped name": (BARE, BARE.replace(b'"name"', b'"n\\u0061me"')),
    "bare, in another order": (BARE, text(params={"arguments": {"name": "delete"}, "name": "echo"})),
    "an empty _meta": (bare(_meta={}), bare(_meta={})),
}
LEGACY_OF_ANOTHER = {
    name: (WITH_META, legacy(body)) for name, body in OF_ANOTHER.items() if name != "another revision"
} | {
    "its revision": (WITH_META, BODY.replace(b"2026-07-28", b"2025-11-25")),
    "another revision": (WITH_META, BODY),
    "a revision more": (WITH_META, WITH_META.replace(b'"progressToken"', b'"%b":"2025-11-25","progressToken"' % META_VERSION.encode())),
    "a _meta that has become bare": (WITH_META, BARE),
    "a _meta that is empty now": (WITH_META, bare(_meta={})),
    "bare, with a _meta": (BARE, bare(_meta={})),
    "bare, with a token": (BARE, bare(_meta={"progressToken": 1})),
    "bare, with a revision": (BARE, bare(_meta={META_VERSION: "2025-11-25"})),
    "bare, with a _meta that is null": (BARE, bare(_meta=None)),
    "an empty _meta with a token": (bare(_meta={}), bare(_meta={"progressToken": 1})),
    "an empty _meta with a revision": (bare(_meta={}), bare(_meta={META_VERSION: "2025-11-25"})),
    "an empty _meta, bare now": (bare(_meta={}), BARE),
    "an empty _meta that is a list": (bare(_meta={}), bare(_meta=[])),
    "bare, another target": (BARE, bare(name="delete")),
    "bare, another target behind its name": (BARE, text(params={"arguments": {"name": "echo"}, "name": "delete"})),
    "bare, another target, escaped": (BARE, BARE.replace(b'"name":"echo"', b'"n\\u0061me":"delete"')),
    "bare, a target twice": (BARE, BARE.replace(b'"name":"echo"', b'"name":"echo","n\\u0061me":"delete"')),
    "bare, a state": (BARE, bare(requestState="x")),
    "bare, a task": (BARE, bare(task={"ttl": 1})),
    "bare, no arguments": (BARE, text(params={"name": "echo"})),
    "bare, no params": (BARE, without("params")),
    "bare, a batch": (BARE, b"[" + BARE + b"]"),
}  # fmt: skip


def read_behind(first: bytes, body: bytes) -> Message | None:
    message = parse(first)
    reader = reader_of(message, Agreement.of(message, LEGACY), max_depth=DEPTH)
    assert reader is not None
    return reader(body)


@pytest.mark.parametrize("name", LEGACY_OF_THE_FORM)
def test_a_legacy_body_of_the_form_is_read_as_parse_reads_it(name: str) -> None:
    first, body = LEGACY_OF_THE_FORM[name]
    message = read_behind(first, body)
    assert message == parse(body, max_depth=DEPTH)
    assert isinstance(message, Message)
    assert Agreement.of(parse(first), LEGACY).holds(message)


@pytest.mark.parametrize("name", LEGACY_OF_ANOTHER)
def test_whatever_else_is_left_to_the_whole_way_in_the_2025_era(name: str) -> None:
    first, body = LEGACY_OF_ANOTHER[name]
    assert read_behind(first, body) is None
    before = parse(first)
    try:
        message = parse(body, max_depth=DEPTH)
    except ProtocolError:
        return
    assert not (Agreement.of(before, LEGACY).holds(message) and names_in(message) == names_in(before))


def names_in(message: Message) -> tuple[set[str], object]:
    meta = message.params.get("_meta")
    return set(message.params), set(meta) if isinstance(meta, dict) else meta


FORMLESS = {
    "its revision": bare(_meta={META_VERSION: "2025-11-25"}),
    "another revision": BODY,
    "a _meta that is null": bare(_meta=None),
    "a _meta that is a text": bare(_meta="x"),
    "a _meta that is a list": bare(_meta=[META_VERSION]),
    "a target that is none": bare(name=1),
    "no target": text(params={"arguments": {}}),
    "a method without one": text(method="tools/list", params={}),
}


@pytest.mark.parametrize("name", FORMLESS)
def test_no_reader_where_a_legacy_body_has_no_form(name: str) -> None:
    message = parse(FORMLESS[name])
    assert reader_of(message, Agreement.of(message, LEGACY), max_depth=DEPTH) is None


def test_what_a_legacy_head_and_body_have_agreed_on() -> None:
    before = parse(BARE)
    agreement = Agreement.of(before, LEGACY)
    for body in (BARE, bare(arguments={}), bare(_meta={}), bare(_meta={"progressToken": 1}), bare(_meta=None)):
        assert agreement.holds(parse(body))
    for body in (
        bare(name="delete"),
        text(params={"arguments": {}}),
        text(method="prompts/get", params={"name": "echo"}),
        bare(_meta={META_VERSION: "2025-11-25"}),
        bare(_meta={META_VERSION: None}),
        BODY,
        json.dumps({"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "echo"}}).encode(),
        b'{"jsonrpc":"2.0","id":1,"result":{"name":"echo"}}',
    ):
        assert not agreement.holds(parse(body)), body
    assert reader_of(before, Agreement.of(parse(bare(name="delete")), LEGACY), max_depth=DEPTH) is None


@pytest.mark.parametrize("era", list(Era))
def test_a_reader_keeps_nothing_of_the_call_that_it_was_made_of(era: Era) -> None:
    """What it keeps lies there for each way of each head, and a call may be large."""
    own = PARAMS if era is Era.MODERN else {name: each for name, each in PARAMS.items() if name != "_meta"}
    message = parse(text(params=own))
    before = sys.getrefcount(message.params), sys.getrefcount(message.params["arguments"])
    found = MODERN if era is Era.MODERN else Route(Era.LEGACY, "2025-11-25")
    reader = reader_of(message, Agreement.of(message, found), max_depth=DEPTH)
    assert reader is not None
    assert (sys.getrefcount(message.params), sys.getrefcount(message.params["arguments"])) == before


@pytest.mark.parametrize("era", list(Era))
@pytest.mark.parametrize("where", ["params", "_meta"])
@pytest.mark.parametrize("names", [{f"n{number}": 0 for number in range(40)}, {"n" * 3000: 0}], ids=["many", "long"])
def test_no_reader_keeps_more_names_than_a_call_has(era: Era, where: str, names: dict[str, int]) -> None:
    meta: dict[str, Any] = META if era is Era.MODERN else {"progressToken": 1}
    own = {"name": "echo", "arguments": {}, "_meta": meta}
    found = MODERN if era is Era.MODERN else Route(Era.LEGACY, "2025-11-25")
    few = parse(text(params=own))
    assert reader_of(few, Agreement.of(few, found), max_depth=DEPTH) is not None
    large = own | names if where == "params" else own | {"_meta": meta | names}
    message = parse(text(params=large))
    assert reader_of(message, Agreement.of(message, found), max_depth=DEPTH) is None
