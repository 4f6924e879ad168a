"""Writes that wait for the end of a turn: in order, each on its own wire, none lost, late, or overtaken."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from mcpsec.deployment.model import Limits
from mcpsec.gateway.calls import Call
from mcpsec.gateway.connection import Connection
from mcpsec.gateway.message import Answer, Peer, Request, StreamAnswer
from mcpsec.gateway.outbox import Outbox
from mcpsec.gateway.registry import ConnectionRegistry
from mcpsec.gateway.turns import Turn
from tests.fixtures.raw import call, request_bytes

pytestmark = pytest.mark.anyio

GOOD = request_bytes("gateway.example:8443", call("echo", {"text": "hello"}))
LAST = GOOD.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)


class Wire(asyncio.Transport):
    """Keeps what is written; past ``room`` it is full, and says so to its protocol."""

    def __init__(self, *, room: int = 10**9, fails: bool = False) -> None:
        super().__init__()
        self.room, self.fails, self.closed = room, fails, False
        self.out: list[bytes] = []
        self.protocol: Any = None

    def write(self, data: Any) -> None:
        if self.fails:
            raise RuntimeError("the wire is broken")
        assert not self.closed, "written to a closed wire"
        self.out.append(bytes(data))
        if sum(map(len, self.out)) > self.room:
            self.protocol.pause_writing()

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        """Nothing arrives on its own."""

    resume_reading = pause_reading


async def turn(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# --- the outbox by itself ----------------------------------------------------------------------------------------------


async def test_writes_of_a_turn_are_sent_in_order_at_its_end() -> None:
    box, one, two = Outbox(), Wire(), Wire()
    box.put(one, b"a")
    box.put(two, b"x")
    box.put(one, b"b")
    assert (one.out, two.out) == ([], [])
    await turn(1)
    assert (one.out, two.out) == ([b"a", b"b"], [b"x"])
    await turn()
    box.put(one, b"c")  # the next turn's
    await turn(1)
    assert one.out == [b"a", b"b", b"c"]


async def test_many_writes_do_not_wait_for_a_long_turn_to_end() -> None:
    box, wire = Outbox(), Wire()
    for number in range(100):
        box.put(wire, b"%d" % number)
    sent = len(wire.out)
    assert sent >= 90
    await turn(1)
    assert wire.out == [b"%d" % number for number in range(100)]


async def test_a_wire_that_was_closed_or_fails_costs_the_others_nothing() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    box, closed, broken, good = Outbox(), Wire(), Wire(fails=True), Wire()
    for wire in (closed, broken, good, broken):
        box.put(wire, b"answer")
    closed.abort()
    await turn(1)
    assert (closed.out, good.out, broken.closed) == ([], [b"answer"], True)
    assert [str(each["exception"]) for each in told] == ["the wire is broken"]


# --- a connection and its outbox ---------------------------------------------------------------------------------------


class Served:
    """A connection whose requests are answered at once, without a task from the second on: ``answers`` in turn."""

    def __init__(self, *answers: Answer | StreamAnswer, room: int = 10**9, limits: Limits | None = None) -> None:
        self.answers = list(answers)
        self.turn = Turn(self.begin, lambda _come: None)
        self.registry = ConnectionRegistry(self.handle, limits or Limits(), turn=self.turn)
        self.connection, self.wire = Connection(self.registry, "192.0.2.1"), Wire(room=room)
        self.wire.protocol = self.connection
        self.connection.connection_made(self.wire)

    async def handle(self, _request: Request, _peer: Peer) -> Answer | StreamAnswer:
        return self.answers.pop(0)

    def begin(self, arrivals: Sequence[Any]) -> list[Answer | Call | None]:
        return [None if isinstance(self.answers[0], StreamAnswer) else self.answers.pop(0) for _ in arrivals]

    @property
    def said(self) -> bytes:
        return b"".join(self.wire.out)


def plain(body: bytes) -> Answer:
    return Answer(200, [], body)


async def known(*answers: Answer | StreamAnswer, room: int = 10**9, limits: Limits | None = None) -> Served:
    """The head of ``GOOD`` has come before: what follows is answered in the turn in which it comes."""
    served = Served(plain(b"{}"), *answers, room=room, limits=limits)
    served.connection.data_received(GOOD)
    await turn(5)
    served.wire.out.clear()
    return served


async def events(*parts: bytes) -> Any:
    for part in parts:
        yield part


async def test_an_answer_waits_for_the_end_of_the_turn() -> None:
    served = await known(plain(b'{"first":1}'))
    served.connection.data_received(GOOD)
    assert served.said == b""
    await turn(1)
    assert served.said.endswith(b'{"first":1}')


@pytest.mark.parametrize("kind", ["other", "stream", "large", "refused", "continue"])
async def test_nothing_overtakes_an_answer_that_waits(kind: str) -> None:
    large = b"x" * 600_000
    second: dict[str, tuple[bytes, Answer | StreamAnswer, bytes]] = {
        "other": (GOOD, Answer(404, [(b"content-type", b"text/plain")], b"none"), b"none"),
        "stream": (GOOD, StreamAnswer(200, [], events(b"data: 1\n\n", b"data: 2\n\n"), False), b"0\r\n\r\n"),
        "large": (GOOD, plain(large), large),
        "refused": (b"nonsense\r\n\r\n", plain(b"{}"), b"}"),
        "continue": (
            GOOD.replace(b"Accept:", b"Expect: 100-continue\r\nAccept:"),
            plain(b'{"second":2}'),
            b'"second":2}',
        ),
    }
    request, answer, end = second[kind]
    served = await known(plain(b'{"first":1}'), answer)
    served.connection.data_received(GOOD)
    served.connection.data_received(request)
    await turn(20)
    assert served.said.count(b"HTTP/1.1 ") == (3 if kind == "continue" else 2)
    first = served.said.index(b'{"first":1}')
    assert served.said.rindex(b"HTTP/1.1 ") > first
    assert served.said.endswith(end)
    if kind == "stream":
        assert served.said.index(b"data: 1") < served.said.index(b"data: 2")


async def test_what_was_answered_is_sent_before_the_connection_ends() -> None:
    served = await known(plain(b'{"first":1}'))
    served.connection.data_received(GOOD)
    served.connection.eof_received()  # in the same turn
    assert served.said.endswith(b'{"first":1}')
    served = await known(plain(b'{"first":1}'))
    served.connection.data_received(GOOD)
    served.registry.drain()
    await turn(20)
    assert served.said.endswith(b'{"first":1}')
    assert served.wire.closed


async def test_what_was_cut_gets_nothing_more() -> None:
    served = await known(plain(b'{"first":1}'))
    served.connection.data_received(GOOD)
    served.connection.abort()
    await turn()
    assert (served.said, served.wire.closed) == (b"", True)


async def test_who_does_not_read_an_answer_is_cut_as_before() -> None:
    """The wire is found full when the turn is over, and the connection believes itself idle."""
    served = await known(
        plain(b"x" * 2000), plain(b"{}"), room=1000, limits=Limits(write_timeout=5.0, idle_timeout=900)
    )
    served.connection.data_received(GOOD)
    await turn()
    now = asyncio.get_running_loop().time()
    served.connection.data_received(GOOD)  # asks for more without reading
    await turn()
    assert served.said.count(b"HTTP/1.1 ") == 1, "a second answer was piled upon the first"
    served.connection.enforce_deadline(now + 4)
    assert not served.wire.closed
    served.connection.enforce_deadline(now + 6)
    assert served.wire.closed


async def test_who_reads_it_late_goes_on() -> None:
    served = await known(plain(b"x" * 2000), plain(b"{}"), plain(b'{"third":3}'), room=1000)
    served.connection.data_received(GOOD)
    await turn()
    served.connection.data_received(GOOD)
    await turn()
    served.wire.room = 10**9
    served.connection.resume_writing()
    await turn(5)
    served.connection.data_received(GOOD)
    await turn(5)
    assert served.said.count(b"HTTP/1.1 ") == 3
    assert served.said.endswith(b'{"third":3}')
    now = asyncio.get_running_loop().time()
    served.connection.enforce_deadline(now + 10)
    assert not served.wire.closed, "it is idle again, with the time of an idle connection"
