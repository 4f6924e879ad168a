"""A head that came before is not parsed again: whatever follows must be read exactly as the parser would read it."""

from __future__ import annotations

import asyncio
import gc
import re
from typing import Any

import pytest

from mcpsec.deployment.model import Limits
from mcpsec.gateway.connection import Connection
from mcpsec.gateway.heads import KnownHeads
from mcpsec.gateway.message import Answer, Peer, Request
from mcpsec.gateway.registry import ConnectionRegistry
from tests.fixtures.raw import call, request_bytes
from tests.gateway.test_connection import attacks

pytestmark = pytest.mark.anyio

HOST = "gateway.example:8443"
BODY = call("echo", {"text": "hello"})
GOOD = request_bytes(HOST, BODY)
LONGER = request_bytes(HOST, call("echo", {"text": "hello" * 300}))
ATTACKS = attacks(HOST)


class Wire(asyncio.Transport):
    """What the connection writes."""

    def __init__(self) -> None:
        super().__init__()
        self.out = b""

    def write(self, data: Any) -> None:
        self.out += data

    def is_closing(self) -> bool:
        return b"(closed)" in self.out

    def pause_reading(self) -> None:
        """Nothing arrives on its own."""

    def resume_reading(self) -> None:
        """Nothing arrives on its own."""

    def close(self) -> None:
        self.out += b"(closed)"

    abort = close


class Mute(KnownHeads):
    """Knows no head: everything goes through the parser."""

    def remember(self, data: bytes, request: Request) -> None:
        """Forget it."""


class Seen(list[tuple[Any, ...]]):
    """The requests that came to the handler, and whether their heads were known."""

    known = 0

    async def __call__(self, request: Request, _peer: Peer) -> Answer:
        self.known += request.known is not None
        headers = [each for each in request.headers if each[0] != b"content-length"]
        fields = {name: value for name, value in request.fields.items() if name != b"content-length"}
        self.append((request.method, request.path, request.query, headers, fields, request.body, request.keep_alive))
        return Answer(200, [], b"{}")


async def talk(pieces: list[bytes], *, remember: bool, limits: Limits | None = None) -> tuple[Seen, bytes]:
    """What a connection makes of pieces that arrive one after the other."""
    seen = Seen()
    registry = ConnectionRegistry(seen, limits or Limits())
    if not remember:
        registry.heads = Mute(registry.limits)
    connection, wire = Connection(registry, "192.0.2.1"), Wire()
    connection.connection_made(wire)
    for piece in pieces:
        connection.data_received(piece)
        for _ in range(5):
            await asyncio.sleep(0)
    connection.connection_lost(None)
    return seen, re.sub(rb"date: [^\r]*", b"date: now", wire.out)


async def both(pieces: list[bytes], limits: Limits | None = None) -> Seen:
    """The same pieces with and without memory: equal requests, equal answers."""
    seen, said = await talk(pieces, remember=True, limits=limits)
    plain, parsed = await talk(pieces, remember=False, limits=limits)
    assert (list(seen), said) == (list(plain), parsed)
    return seen


async def test_a_head_is_known_whatever_body_follows() -> None:
    seen = await both([GOOD, LONGER, GOOD, LONGER])
    assert (len(seen), seen.known) == (4, 3)
    assert len(seen[0][5]) != len(seen[1][5])


@pytest.mark.parametrize("name", ATTACKS)
async def test_an_attack_is_none_the_better_for_a_head_that_is_known(name: str) -> None:
    attack = ATTACKS[name]
    assert (await both([GOOD, GOOD, attack])).known == 1
    seen = await both([attack, attack])
    assert seen.known == (1 if len(seen) == 2 else 0)  # some are well-formed, and refused behind the parser
    await both([GOOD, GOOD + attack])
    await both([GOOD, attack[: len(attack) // 2], attack[len(attack) // 2 :]])


async def test_only_a_whole_request_that_stands_alone_is_taken_for_a_known_one() -> None:
    short = GOOD.replace(b"Content-Length: ", b"Content-Length: 1", 1)  # announces more than comes
    small = GOOD.replace(f"Content-Length: {len(BODY)}".encode(), b"Content-Length: 3")
    for pieces in (
        [GOOD, GOOD[:-1], GOOD[-1:]],
        [GOOD, GOOD[:40], GOOD[40:]],
        [GOOD, GOOD + GOOD],
        [GOOD, b"\r\n" + GOOD],
        [GOOD, short],
        [GOOD, small],
        [GOOD, GOOD.replace(b"Content-Length: ", b"Content-Length: 0", 1)],
        [GOOD, GOOD.replace(b"Content-Length: ", b"Content-Length:\t", 1)],
        [GOOD, GOOD.replace(b"\r\n\r\n", b"\r\nX-Other: 1\r\n\r\n")],
        [GOOD, GOOD.replace(b"Host:", b"X-A: \r\nContent-Length: \r\nHost:")],
    ):
        assert (await both(pieces)).known == 0


async def test_limits_hold_for_known_heads_too() -> None:
    seen = await both([GOOD, LONGER], Limits(body_bytes=len(BODY) + 1))
    assert (len(seen), seen.known) == (1, 0)
    registry = ConnectionRegistry(Seen(), Limits())
    before = registry.heads
    registry.use(Limits(header_bytes=64))
    assert registry.heads is not before  # a head that was let pass before may be too large now
    connection = Connection(registry, "192.0.2.1")
    registry.use(Limits())
    connection.connection_made(Wire())
    connection.data_received(GOOD)
    (known,) = registry.heads._heads.values()
    assert registry.heads.request(GOOD, known) is not None
    registry.use(Limits(header_bytes=64))
    assert registry.heads.request(GOOD, known) is None, "the head before was let pass under other limits"
    connection.connection_lost(None)


PROVING = ["Authorization", "X-Signature", "x-nonce", "X-Timestamp", "DPoP", "Signature", "Signature-Input"]


def with_header(line: str, body: bytes = BODY) -> bytes:
    return request_bytes(HOST, body).replace(b"Accept:", line.encode("latin-1") + b"\r\nAccept:")


@pytest.mark.parametrize("name", PROVING)
async def test_what_proves_a_request_may_differ_and_is_not_kept(name: str) -> None:
    """A known head gives each request its own proof; what is remembered of the head holds none of any."""
    values = ["Secret-a1", 'sig1=("@method");nonce="Secret-b2"', "Bearer Secret-c3=="]
    seen = await both([with_header(f"{name}: {value}") for value in values] + [with_header(f"{name}:Secret-d4")])
    assert (len(seen), seen.known) == (4, 2)  # another way to write it is another head
    assert [request[4][name.lower().encode()].decode() for request in seen] == [*values, "Secret-d4"]
    registry = ConnectionRegistry(Seen(), Limits())
    connection = Connection(registry, "192.0.2.1")
    connection.connection_made(Wire())
    for value in values:
        connection.data_received(with_header(f"{name}: {value}"))
    connection.connection_lost(None)
    kept = [(pieces, head.headers, head.fields) for pieces, head in registry.heads._heads.items()]
    assert kept and "Secret" not in repr(kept)


@pytest.mark.parametrize(
    "line",
    [
        "Cookie: a=b",
        "Proxy-Authorization: Basic x",
        "X-Nonce: one\r\nX-Nonce: two",
        "X-Signature: one\r\nx-signature: one",
        "X-Signature: caf\xe9",
        "X-Signature:  two blanks",
        "X-Signature: blank behind ",
        "X-Signature: tab\tinside",
        "X-Signature: ",
        "X-Nonce:",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ],
)
async def test_heads_that_are_not_kept(line: str) -> None:
    assert (await both([with_header(line), with_header(line)])).known == 0


async def test_a_proof_is_never_taken_for_anything_else() -> None:
    """Values that would be other fields, lengths or bodies if they were read in another way."""
    good, other = with_header("X-Nonce: a1"), with_header("X-Nonce: a1", call("echo", {"text": "h" * 40}))
    for line in (
        "X-Nonce: a1\r\nX-Other: 1",
        "X-Nonce: a1\nX-Other: 1",
        "X-Nonce: a1\rX-Other: 1",
        "X-Nonce: a1\0b",
        "X-Nonce : a1",
        " X-Nonce: a1",
        "X-Nonce: a1\r\n folded",
        "X-Nonce: a1\r\nContent-Length: 3",
        "X-Nonce: a1\r\nTransfer-Encoding: chunked",
        "X-Signature: a1",
        "Authorization: a1",
        "Content-Length: 3",
        "X-Nonce: Content-Length: 3",
        "X-Nonce: " + "a" * 5000,
    ):
        for before in ([good], [good, other], [with_header(line)]):
            seen = await both([*before, with_header(line)])
            assert all(request[4].get(b"x-other", b"1") == b"1" for request in seen)


async def test_what_is_kept_is_bounded_and_never_changed() -> None:
    heads = KnownHeads(Limits())
    for number in range(2000):
        data = GOOD.replace(b"POST /mcp", b"POST /mcp/u%d" % number)
        _, _, body = data.partition(b"\r\n\r\n")
        request = Request()
        request.method, request.path, request.body = b"POST", b"/mcp/u%d" % number, body
        for line in data.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
            request.add_header(*line.split(b": ", 1))
        heads.remember(data, request)
    assert len(heads._heads) <= 512
    first = heads.request(data)
    assert first is not None and first.known is not None
    first.replace_header(b"mcp-method", b"other")
    first.replace_headers([])
    again = heads.request(data)
    assert again is not None
    assert (again.fields[b"mcp-method"], len(again.headers)) == (b"tools/call", len(again.fields))


@pytest.mark.parametrize("name", ["X-Nonce", "X-Signature"])
async def test_values_as_long_as_those_before_are_read_no_less_strictly(name: str) -> None:
    good = with_header(f"{name}: abcdefgh12")
    length = b"Content-Length: %d" % len(BODY)
    assert (await both([good, good, good, with_header(f"{name}: 21hgfedcba")])).known == 3
    for value in ("abc efgh12", "abc  fgh12", " bcdefgh12", "abcdefgh1 ", "abcdefgh1\t", "abcd\tfgh12", "abcdefg\x7f12",
                  "abcdefg\x0012", "abcdefgé1", "abcdefgh\r\n", "abc\r\nX: 12", "abcdefgh\n1"):  # fmt: skip
        await both([good, good, good, with_header(f"{name}: {value}"), good])
    for digits in (
        b"0%d" % (len(BODY) % 100),
        b"+%d" % (len(BODY) % 100),
        b"%d" % (len(BODY) - 1),
        b"%d" % (len(BODY) + 1),
    ):
        await both([good, good, good, good.replace(length, b"Content-Length: %b" % digits), good])
    for other in (name.upper(), name.lower(), f"{name[:-1]}_"):
        await both([good, good, good, with_header(f"{other}: abcdefgh12"), good])


async def test_a_head_of_very_many_fields_is_not_kept() -> None:
    many = "\r\n".join(f"a{number}: 1" for number in range(60))
    assert (await both([with_header(many)] * 3)).known == 0
    few = "\r\n".join(f"a{number}: 1" for number in range(20))
    assert (await both([with_header(few)] * 3)).known == 2


async def test_a_connection_that_is_lost_is_freed_at_once() -> None:
    def alive() -> int:
        return sum(type(each) is Connection for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = alive()
        for pieces in ([GOOD, GOOD], [GOOD[:40]], [b"NO REQUEST\r\n\r\n"], []):
            await talk(pieces, remember=True)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert alive() == before
    finally:
        gc.enable()
