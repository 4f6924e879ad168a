"""Somebody between client and server, or a client that says two things at once: one reading, or none."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mcpsec.signing import SignedMessage, Signer, SigningKey, load_secret
from tests.fixtures.deployments import OTHER
from tests.fixtures.processes import wait_until
from tests.fixtures.raw import MODERN_META, RawClient
from tests.gateway.attacks.arena import Arena, Shot, called, legacy, modern, open_arena


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with open_arena(tmp_path_factory.mktemp("middle")) as opened:
        yield opened


ECHO = called("echo", {"text": "hello"})
PLAIN = "application/json"


def replaced(old: bytes, new: bytes, shot: Shot = ECHO) -> Shot:
    """The twin with some of its bytes changed (and Content-Length told truly)."""

    def raw(host: str) -> bytes:
        head, _, body = shot.bytes(host).partition(b"\r\n\r\n")
        assert old in head + b"\r\n\r\n" + body, old
        head, body = head.replace(old, new, 1), body.replace(old, new, 1)
        head = re.sub(rb"Content-Length: [0-9]+", b"Content-Length: %d" % len(body), head)
        return head + b"\r\n\r\n" + body

    return Shot(raw=raw)


# --- headers against the body -----------------------------------------------------------------------------------------------

ROUTING: list[tuple[str, dict[str, str | None]]] = [
    ("another name", {"Mcp-Name": "danger"}),
    ("a name in other letters", {"Mcp-Name": "Echo"}),
    ("an encoded name that is another", {"Mcp-Name": "=?base64?ZGFuZ2Vy?="}),
    ("a name that is not canonically encoded", {"Mcp-Name": "=?base64?ZWNobw?="}),
    ("no name", {"Mcp-Name": None}),
    ("another method", {"Mcp-Method": "tools/list"}),
    ("a method in other letters", {"Mcp-Method": "Tools/Call"}),
    ("no method", {"Mcp-Method": None}),
    ("an unknown version", {"MCP-Protocol-Version": "2099-01-01"}),
    ("a version list", {"MCP-Protocol-Version": "2026-07-28, 2025-11-25"}),
    ("two names", {"mcp-name": "danger"}),
    ("two equal names", {"mcp-name": "echo"}),
    ("two methods", {"mcp-method": "tools/list"}),
    ("two versions", {"mcp-protocol-version": "2025-11-25"}),
    ("two equal versions", {"mcp-protocol-version": "2026-07-28"}),
    ("a name with an underscore", {"Mcp_Name": "danger"}),
    ("a method with an underscore", {"mcp_method": "tools/list"}),
    ("a version with an underscore", {"Mcp_Protocol_Version": "2025-11-25"}),
    ("half an underscore", {"Mcp-Protocol_Version": "2025-11-25"}),
    ("a downgrade", {"MCP-Protocol-Version": "2025-11-25"}),
    ("a downgrade with another name", {"MCP-Protocol-Version": "2025-11-25", "Mcp-Name": "danger"}),
    ("a downgrade without a version", {"MCP-Protocol-Version": None}),
    ("an empty version", {"MCP-Protocol-Version": ""}),
    ("another parameter twice", {"Mcp-Param-X": "1", "mcp-param-x": "2"}),
    ("bytes beyond ASCII", {"Mcp-Name": "ech\u00f6"}),
]


@pytest.mark.parametrize("headers", [headers for _, headers in ROUTING], ids=[name for name, _ in ROUTING])
def test_headers_that_say_something_else(arena: Arena, headers: dict[str, str | None]) -> None:
    attack = ECHO.but(headers=headers)
    if any(value and not value.isascii() for value in headers.values()):
        attack = replaced(b"Mcp-Name: echo", "Mcp-Name: ech\u00f6".encode())
    before = arena.reached()
    arena.stands(attack, ECHO, "protocol", 400)
    assert arena.reached() == before + 1, "only the twin reached the server"


def test_old_requests_are_not_believed_their_headers_either(arena: Arena) -> None:
    """A request of an older revision needs no such header; one that is there and lies is refused all the same."""
    call = legacy("tools/call", {"name": "danger", "arguments": {}})
    for version in ("2025-11-25", "2025-03-26", None):
        arena.refused(call.but(headers={"MCP-Protocol-Version": version, "Mcp-Name": "echo"}), "protocol", 400)
    old = {"MCP-Protocol-Version": "2025-11-25"}
    arena.refused(legacy("tools/call", {"name": "hidden"}, headers=old), "resource-not-granted", 403)
    arena.answered(ECHO)


def test_methods_of_another_revision(arena: Arena) -> None:
    for method in (
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "shell/run",
        "tools/Call",
        "tasks/result",
        "tasks/list",
    ):
        attack = modern(method, {"taskId": "1"})
        arena.stands(attack, modern("server/discover", {}), "method-unknown", 404)
    old = {"MCP-Protocol-Version": "2025-11-25"}
    for method in ("server/discover", "subscriptions/listen", "shell/run", "tasks/update"):
        arena.refused(legacy(method, {"taskId": "1"}, headers=old), "method-unknown", 200)
    notification = b'{"jsonrpc":"2.0","method":"%b","params":{}}'
    modern_headers: dict[str, str | None] = {"MCP-Protocol-Version": "2026-07-28"}
    before = arena.reached()
    for headers, method in (
        (old, b"notifications/evil"),
        (old, b"tools/call"),
        (modern_headers, b"notifications/initialized"),
        (modern_headers, b"tools/call"),
    ):
        arena.refused(Shot(notification % method, dict(headers)), "notification-unknown", 202)
    assert arena.reached() == before, "what is taken without a word goes no further"


# --- one body, one reading ----------------------------------------------------------------------------------------------------

BODIES: list[tuple[str, bytes, bytes]] = [
    ("a name twice", b'"name":"echo"', b'"name":"danger","name":"echo"'),
    ("a name twice, escaped", b'"name":"echo"', b'"name":"echo","n\\u0061me":"danger"'),
    ("a name in capitals", b'"name":"echo"', b'"name":"echo","NAME":"danger"'),
    ("an equal name twice", b'"name":"echo"', b'"name":"echo","name":"echo"'),
    ("arguments twice", b'"arguments":', b'"arguments":{},"arguments":'),
    ("arguments in other letters", b'"arguments":', b'"Arguments":{},"arguments":'),
    ("an argument twice", b'"text": "hello"', b'"text": "bye","text": "hello"'),
    ("a method twice", b'"method":"tools/call"', b'"method":"ping","method":"tools/call"'),
    ("a member more", b'"method":"tools/call"', b'"Method":"ping","method":"tools/call"'),
    ("params twice", b'"params":', b'"params":{},"params":'),
    ("an id twice", b'"id":1', b'"id":2,"id":1'),
    ("id null", b'"id":1', b'"id":null'),
    ("id a fraction", b'"id":1', b'"id":1.5'),
    ("id true", b'"id":1', b'"id":true'),
    ("id an object", b'"id":1', b'"id":{}'),
    ("id beyond bounds", b'"id":1', b'"id":123456789012345678901234567890'),
    ("another JSON-RPC", b'"jsonrpc":"2.0"', b'"jsonrpc":"1.0"'),
    ("no JSON-RPC", b'"jsonrpc":"2.0",', b""),
    ("a batch", b'{"jsonrpc"', b'[{"jsonrpc"'),
    ("NaN", b'"hello"', b"NaN"),
    ("Infinity", b'"hello"', b"-Infinity"),
    ("a number beyond doubles", b'"hello"', b"1e999"),
    ("a leading zero", b'"hello"', b"007"),
    ("a hexadecimal number", b'"hello"', b"0x10"),
    ("a comment", b'"text": ', b'"text": /* */ '),
    ("a trailing comma", b'"hello"}', b'"hello",}'),
    ("single quotes", b'"hello"', b"'hello'"),
    ("a lone surrogate", b'"hello"', b'"\\ud800"'),
    ("a raw control character", b"hello", b"hel\x01lo"),
    ("bytes that are not UTF-8", b"hello", b"\xc0\xaf"),
    ("UTF-8 of a surrogate", b"hello", b"\xed\xa0\x80"),
    ("params a list", b'"params":{', b'"params":["'),
    ("a second value behind", b'"id":1', b'"id":1}{"id":1'),
]


def cut(shot: Shot, change: Callable[[bytes], bytes], headers: dict[str, str | None] | None = None) -> Shot:
    """The twin with its whole body changed."""
    return shot.but(body=change(shot.body), headers=headers or {})


@pytest.mark.parametrize(("old", "new"), [(old, new) for _, old, new in BODIES], ids=[name for name, _, _ in BODIES])
def test_bodies_with_two_readings_or_none(arena: Arena, old: bytes, new: bytes) -> None:
    before = arena.reached()
    arena.stands(replaced(old, new), ECHO, "protocol", 400)
    assert arena.reached() == before + 1, "only the twin reached the server"


@pytest.mark.parametrize(
    "change",
    [
        lambda body: b"\xef\xbb\xbf" + body,
        lambda body: body.decode().encode("utf-16"),
        lambda body: body.decode().encode("utf-16-le"),
        lambda body: body.decode().encode("utf-32"),
        lambda body: body + b"\x00",
        lambda body: b"[" + body + b"]",
        lambda body: b"[" + body + b"," + body.replace(b"echo", b"danger") + b"]",
        lambda body: b"[]",
        lambda body: b"",
        lambda body: b"null",
        lambda body: b'"tools/call"',
        lambda body: body[:-1],
        lambda body: body + body,
    ],
    ids=["BOM", "UTF-16", "UTF-16LE", "UTF-32", "NUL", "batch", "batch of two", "no batch", "empty", "null", "text", "cut", "two"],
)  # fmt: skip
def test_bodies_in_other_forms(arena: Arena, change: Callable[[bytes], bytes]) -> None:
    arena.stands(cut(ECHO, change), ECHO, "protocol", 400)


def test_a_charset_or_coding_that_would_be_read_otherwise(arena: Arena) -> None:
    for media in (
        "application/json; charset=utf-16",
        "application/json;charset=utf-7",
        "text/json",
        "application/jsonp",
    ):
        arena.stands(ECHO.but(headers={"Content-Type": media}), ECHO, "content-type", 415)
    for coding in ("gzip", "identity", "br", ""):
        arena.stands(ECHO.but(headers={"Content-Encoding": coding}), ECHO, "content-encoding", 415)


# --- whom the request is for: DNS rebinding -------------------------------------------------------------------------------------


def test_names_that_are_not_this_servers(arena: Arena) -> None:
    host, port = arena.gateway.authority, arena.gateway.address[1]
    for evil in (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:80",
        f"127.0.0.1:{port}.evil.example",
        f"127.0.0.1.evil.example:{port}",
        f"127.1:{port}",
        f"[::1]:{port}",
        f"0.0.0.0:{port}",
        f"user@{host}",
        f"{host},evil.example",
        f"{host}/",
        "",
    ):
        arena.refused(ECHO.but(headers={"Host": evil}), "host", 421)
    arena.answered(ECHO.but(headers={"Host": f"LOCALHOST:{port}"}))
    for origin in (
        "http://evil.example",
        "null",
        "",
        f"https://{host}",
        f"http://127.0.0.1:{port}@evil.example",
        "file://",
        f"https://{host}, http://evil.example",
    ):
        arena.stands(ECHO.but(headers={"Origin": origin}), ECHO, "origin", 403)
    forwarded: dict[str, str | None] = dict.fromkeys(
        ("X-Forwarded-Host", "Forwarded", "X-Host", "X-Original-Host"), "evil.example"
    )
    arena.answered(ECHO.but(headers=forwarded))
    assert b"evil.example" not in arena.web.heads[-1]


# --- where one request ends and the next begins: smuggling --------------------------------------------------------------------

SMUGGLED = b"POST /mcp/web HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n0"


def framing(host: str) -> dict[str, bytes]:
    good = ECHO.bytes(host)
    head, _, body = good.partition(b"\r\n\r\n")
    length = b"Content-Length: %d" % len(body)
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    te = head.replace(length, b"Transfer-Encoding: chunked")

    def chunked(data: bytes) -> bytes:
        return te + b"\r\n\r\n" + data

    def coding(line: bytes) -> bytes:
        return head.replace(length, line) + b"\r\n\r\n" + chunk

    return {
        "CL.TE": head + b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        "TE.CL": te + b"\r\nContent-Length: 4\r\n\r\n" + chunk + SMUGGLED,
        "TE.TE, the second unknown": te + b"\r\nTransfer-Encoding: x\r\n\r\n" + chunk,
        "TE.TE, both chunked": te + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk,
        "CL.CL": head + b"\r\nContent-Length: 0\r\n\r\n" + body,
        "CL.CL, equal": head + b"\r\n" + length + b"\r\n\r\n" + body,
        "CL list": good.replace(length, length + b", " + length[16:]),
        "CL plus": good.replace(length, length.replace(b": ", b": +")),
        "CL hexadecimal": good.replace(length, b"Content-Length: 0x%x" % len(body)),
        "CL with an underscore": good.replace(length, length[:-1] + b"_" + length[-1:]),
        "CL with a blank inside": good.replace(length, length[:-1] + b" " + length[-1:]),
        "CL empty": good.replace(length, b"Content-Length: "),
        "CL negative": good.replace(length, b"Content-Length: -1"),
        "TE xchunked": coding(b"Transfer-Encoding: xchunked"),
        "TE chunked twice": coding(b"Transfer-Encoding: chunked, chunked"),
        "TE identity": coding(b"Transfer-Encoding: identity"),
        "TE gzip": coding(b"Transfer-Encoding: gzip, chunked"),
        "TE quoted": coding(b'Transfer-Encoding: "chunked"'),
        "TE with a tab inside": coding(b"Transfer-Encoding: chun\tked"),
        "TE with a vertical tab": coding(b"Transfer-Encoding: \x0bchunked"),
        "TE with a parameter": coding(b"Transfer-Encoding: chunked;a=b"),
        "TE folded": coding(b"Transfer-Encoding:\r\n chunked"),
        "TE, blank before the colon": coding(b"Transfer-Encoding : chunked"),
        "CL, blank before the colon": good.replace(length, length.replace(b":", b" :")),
        "a blank before a name": good.replace(length, b" " + length),
        "a chunk size that is none": chunked(b"xyz\r\n" + body),
        "a chunk size beyond numbers": chunked(b"fffffffffffffffff\r\n" + body),
        "a negative chunk size": chunked(b"-1\r\n" + body),
        "a chunk size with 0x": chunked(b"0x%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)),
        "a chunk that ends in a line feed": chunked(b"%x\n%b\n0\n\n" % (len(body), body)),
        "a chunk that is longer than it says": chunked(b"1\r\n%b\r\n0\r\n\r\n" % body),
        "bare line feeds": good.replace(b"\r\n", b"\n"),
        "a bare carriage return": good.replace(b"Accept: ", b"Accept: a\rX-B: "),
        "NUL in a value": good.replace(b"Accept: ", b"Accept: \x00"),
        "a header without a colon": good.replace(b"Accept:", b"Accept"),
        "an empty header name": good.replace(b"Accept:", b": x\r\nAccept:"),
        "a folded header": good.replace(b"Accept: ", b"X-A: b\r\n c\r\nAccept: "),
        "HTTP/1.0": good.replace(b"HTTP/1.1", b"HTTP/1.0", 1),
        "HTTP/2.0": good.replace(b"HTTP/1.1", b"HTTP/2.0", 1),
        "HTTP/0.9": good.replace(b" HTTP/1.1", b"", 1),
        "an absolute target": good.replace(b"POST /mcp/web", b"POST https://%b/mcp/web" % host.encode(), 1),
        "a target with a blank": good.replace(b"POST /mcp/web", b"POST /mcp /web", 1),
        "a target with a fragment": good.replace(b"POST /mcp/web", b"POST /mcp/web#x", 1),
        "an upgrade": good.replace(b"Accept:", b"Connection: upgrade\r\nUpgrade: h2c\r\nAccept:"),
        "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "CONNECT": good.replace(b"POST /mcp/web", b"CONNECT 127.0.0.1:80", 1),
    }


RULES = {
    "TE xchunked": "transfer-encoding",
    "TE with a parameter": "transfer-encoding",
    "TE identity": "transfer-encoding",
    "TE gzip": "transfer-encoding",
    "TE quoted": "transfer-encoding",
    "TE with a tab inside": "transfer-encoding",
    "HTTP/1.0": "http-version",
    "HTTP/2.0": "http-version",
    "HTTP/0.9": "http-version",
    "CONNECT": "http-target",
    "an absolute target": "http-target",
    "a target with a fragment": "http-target",
    "an upgrade": "http-upgrade",
}
"""What refuses an attack, where the parser doesn't."""


def twin_of(name: str, host: str) -> bytes:
    """The same request without the flaw: with its length said once and well, or in chunks where chunks are attacked."""
    good = ECHO.bytes(host)
    if not name.startswith(("TE", "a chunk", "a negative")):
        return good
    head, _, body = good.partition(b"\r\n\r\n")
    head = head.replace(b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked")
    return head + b"\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def test_every_unclear_boundary_ends_the_connection(arena: Arena) -> None:
    """Refused, and nothing that follows is served: whatever hides in it can't become a request.

    Each attack comes from an address of its own, so that its events can be told from the others', then its twin does.
    """
    reached = arena.reached()
    attacks = framing(arena.gateway.authority)
    addresses = {name: f"127.0.1.{number}" for number, name in enumerate(attacks, 1)}
    with contextlib.ExitStack() as stack:  # all at once: each refused connection lingers for two seconds
        clients = {name: stack.enter_context(RawClient(arena.gateway, source=addresses[name])) for name in attacks}
        for name, client in clients.items():
            client.send(attacks[name] + ECHO.bytes(client.host))
        for name, client in clients.items():
            for answer in (client.read(), client.read()):
                assert b'"result"' not in answer.body and answer.status in (0, *range(400, 506)), (name, answer)
    for name, address in addresses.items():
        wait_until(lambda address=address: told(arena, address), f"the event of {name}")
    left = {name: told(arena, address) for name, address in addresses.items()}
    assert left == {name: [("refused", RULES.get(name, "http-malformed"))] for name in attacks}
    assert arena.reached() == reached, "no attack reached the server, nor what stood behind it"
    for name, address in addresses.items():
        with RawClient(arena.gateway, source=address) as client:
            client.send(twin_of(name, client.host))
            assert b'"result"' in client.read().body, name
    assert arena.reached() == reached + len(attacks)


def told(arena: Arena, address: str) -> list[tuple[str, str]]:
    """What the log says about the requests from an address."""
    return [(event["decision"], event["rule"]) for event in arena.events() if event["address"] == address]


@pytest.mark.parametrize(
    "name", ["Host", "Content-Type", "Accept", "Authorization", "Origin", "X-Signature", "Last-Event-ID"]
)
def test_a_header_that_may_stand_once(arena: Arena, name: str) -> None:
    value = {"Host": arena.gateway.authority, "Content-Type": PLAIN, "Accept": "application/json, text/event-stream"}
    line = f"{name}: {value.get(name, 'x')}\r\n".encode()
    twice = replaced(b"Content-Length", line * (1 if name in value else 2) + b"Content-Length")
    arena.refused(twice, "http-malformed" if name == "nothing" else "header-repeated", 400)
    arena.answered(ECHO)


# --- signed requests --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from tests.fixtures.deployments import EVERYTHING, make_deployment
    from tests.fixtures.gateway import start_gateway

    directory = tmp_path_factory.mktemp("signed")
    made = make_deployment(directory, {"demo": {"builtin": "demo"}}, require=("mtls", "signature"))
    (directory / "second.secret").touch(mode=0o600)
    (directory / "second.secret").write_text("s" * 43)
    key = {"id": "second-1", "secret": {"file": "second.secret"}}
    made.document["clients"].append(
        {"id": "second", "certificate": {"san": OTHER}, "signing_keys": [key], **EVERYTHING}
    )
    made.write()
    gateway = start_gateway(made)
    yield gateway
    gateway.stop()


def test_a_signed_request_is_good_once_as_it_is_and_from_its_own_client(signed: Any) -> None:
    made = signed.deployment
    shot = called("echo", {"text": "hello"}, path="/mcp")

    def sign(
        body: bytes = shot.body, key: str = "tester-1", path: str = "/mcp", method: str = "POST"
    ) -> dict[str, str]:
        secret = made.secret if key == "tester-1" else made.directory / "second.secret"
        headers = [(name.lower(), value) for name, value in shot.headers.items() if value is not None]
        url = signed.url.replace("/mcp", path)
        message = SignedMessage.from_url(method, url, headers=headers, body=body)
        return dict(Signer(SigningKey(key, secret=load_secret(secret)), scheme="hmac-sha256").sign(message))

    def send(headers: dict[str, str], body: bytes = shot.body, path: str = "/mcp", identity: Any = None) -> int:
        with RawClient(signed, identity) as client:
            return client.post(body, {**shot.headers, **headers}, path=path).status

    good = sign()
    assert send(good) == 200
    other = called("digest", {"text": "hello"}, path="/mcp")
    for headers, options in (
        ({}, {}),
        (good, {}),
        (sign(), {"body": shot.body.replace(b"hello", b"hullo")}),
        (sign(), {"body": shot.body + b" "}),
        (sign(), {"path": "/mcp/demo"}),
        (sign(), {"path": "/mcp?x=1"}),
        (sign(path="/mcp/demo"), {}),
        (sign(method="GET"), {}),
        (sign(), {"identity": made.other}),
        (sign(key="second-1"), {}),
        ({**sign(), "x-nonce": "0" * 32}, {}),
        ({**sign(), "x-timestamp": "1700000000000"}, {}),
        ({**sign(), "x-key-id": "second-1"}, {}),
        ({**sign(), "x-signature": "0" * 64}, {}),
        ({**sign(), "Mcp-Name": "digest"}, {"body": other.body}),
    ):
        assert send(headers, **options) == 401, (headers, options)  # type: ignore[arg-type]
    assert send(sign()) == 200
    assert send(sign(key="second-1"), identity=made.other) == 200


def test_a_modern_meta_says_its_version_once() -> None:
    """What these tests send is what a client of 2026-07-28 sends."""
    assert json.loads(ECHO.body)["params"]["_meta"] == MODERN_META
