"""A client that leaves in the very turn in which the answer of its repeated call turns out to be a stream.

Nobody outside hits that moment at will, so the chain here is one that has the stream at hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from typing import Any

from mcpsec.gateway.calls import Call
from mcpsec.gateway.message import StreamAnswer


class Places:
    """Stands for whatever a stream holds, given back at its end."""

    def __init__(self) -> None:
        self.free = False
        self.parts = 0

    async def stream(self) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                self.parts += 1
                yield b"part"
                await asyncio.Event().wait()
        finally:
            self.free = True

    async def complete(self, _exchange: object, outcome: Awaitable[StreamAnswer]) -> StreamAnswer:
        return await outcome


async def begun(places: Places) -> StreamAnswer:
    return StreamAnswer(200, [], places.stream())


def waiting(places: Places) -> Call:
    made: Any = Call
    call: Call = made(places, object(), lambda _answer: None)
    call.later(begun(places))
    return call


def test_a_stream_that_was_never_begun_gives_its_place_back() -> None:
    async def leaves() -> bool:
        places = Places()
        waiting(places).cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        return places.free

    assert asyncio.run(leaves())


def test_a_stream_that_is_wanted_keeps_it() -> None:
    async def stays() -> tuple[bool, bytes]:
        places = Places()
        call = waiting(places)
        answer = await call.wait()
        call.cancel()  # its connection ends the stream itself
        await asyncio.sleep(0)
        assert isinstance(answer, StreamAnswer)
        part = await anext(answer.parts)
        free = places.free
        await answer.parts.aclose()
        return free, part

    assert asyncio.run(stays()) == (False, b"part")
