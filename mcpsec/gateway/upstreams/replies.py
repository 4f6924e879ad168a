"""What a client gets of the frames that a stdio child sends back: JSON when the answer comes alone, else a stream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mcpsec.gateway.message import Answer, Refusal, StreamAnswer, json_answer
from mcpsec.gateway.upstreams.base import broken_off, upstream_timeout
from mcpsec.gateway.upstreams.channel import TIMED_OUT
from mcpsec.gateway.upstreams.http_client import UpstreamFault
from mcpsec.protocol import codes
from mcpsec.protocol.eras import Era
from mcpsec.protocol.exact import exact_bytes
from mcpsec.protocol.jsonrpc import request_error
from mcpsec.protocol.sse import encode_event

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mcpsec.deployment.model import Limits
    from mcpsec.gateway.answers import AnswerGuard
    from mcpsec.gateway.message import Exchange, Headers
    from mcpsec.gateway.upstreams.channel import Call, Channel, Frame
    from mcpsec.gateway.upstreams.timeouts import Timeouts

__all__ = ["Replies"]

_HEARTBEAT_SECONDS = 15.0
_SSE_HEADERS: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class Replies:
    """Answers for the clients of one upstream, each frame inspected by ``guard``."""

    def __init__(self, limits: Limits, timeouts: Timeouts, guard: AnswerGuard) -> None:
        self._limits = limits
        self.timeouts = timeouts
        self.guard = guard

    async def answer(
        self, exchange: Exchange, channel: Channel, call: Call, seconds: float | None = None
    ) -> Answer | StreamAnswer | Refusal:
        """JSON when the answer comes alone, an event stream when anything comes before it.

        ``seconds`` marks the opening of a session: its answer carries the session's id, so nothing goes before it.
        """
        settled, opening = False, seconds is not None
        try:
            wait = self._limits.stream_lifetime if call.long_lived else seconds or self.timeouts.of(exchange)
            async with asyncio.timeout(wait):  # for all of it: what doesn't reach the client is no sign of life to it
                while True:
                    frame = await call.next()
                    passed, _ = self.guard.check(exchange, frame)
                    if passed and not (opening and "method" in frame):
                        break
                    if "id" in frame:
                        channel.refuse_server_request(frame["id"])
            if "method" not in frame:
                channel.end(call)
                settled = True
                return json_answer(_status(exchange, frame), exact_bytes(frame))
            settled = True
            parts = self._stream(exchange, channel, call, frame)
            return StreamAnswer(200, list(_SSE_HEADERS), parts, call.long_lived)
        except TimeoutError:
            channel.cancel(call, TIMED_OUT)
            settled = True
            return upstream_timeout()
        except UpstreamFault as fault:
            settled = True
            channel.end(call)
            return broken_off("upstream-unavailable", fault)
        finally:
            if not settled:
                self._let_go(exchange, channel, call)

    def alone(self, exchange: Exchange, frame: Frame) -> Answer:
        """The same for an answer that has come alone, and for which nobody waits in a task."""
        self.guard.check(exchange, frame)  # of what answers a call all may pass, in parts or changed
        return json_answer(_status(exchange, frame), exact_bytes(frame))

    def _let_go(self, exchange: Exchange, channel: Channel, call: Call) -> None:
        """The caller has gone: a closed stream cancels in the 2026 era, and only there (patterns/cancellation)."""
        try:
            if exchange.era is Era.MODERN:
                channel.cancel(call, "the client closed the stream")
            else:
                channel.abandon(call, self.timeouts.of(exchange))
        except UpstreamFault:
            channel.end(call)

    async def _stream(
        self, exchange: Exchange, channel: Channel, call: Call, frame: Frame
    ) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        hard_end = loop.time() + self._limits.stream_lifetime
        patience = self.timeouts.of(exchange)
        deadline = hard_end if call.long_lived else loop.time() + patience
        fault: Refusal | None = None
        settled = False
        try:
            while True:
                yield encode_event(exact_bytes(frame))
                if "method" not in frame:
                    break
                while True:
                    try:
                        async with asyncio.timeout_at(min(deadline, loop.time() + _HEARTBEAT_SECONDS)):
                            frame = await call.next()
                    except TimeoutError:
                        if loop.time() >= deadline:
                            raise
                        yield b": ping\n\n"
                        continue
                    deadline = hard_end if call.long_lived else min(hard_end, loop.time() + patience)
                    if self.guard.check(exchange, frame)[0]:
                        break
                    channel.refuse_server_request(frame.get("id"))
            channel.end(call)
            settled = True
        except TimeoutError:
            channel.cancel(call, TIMED_OUT)
            settled, fault = True, upstream_timeout()
        except UpstreamFault as broken:
            channel.end(call)
            settled, fault = True, broken_off("upstream-stream-broken", broken)
        finally:
            if not settled:
                self._let_go(exchange, channel, call)
        if fault is not None:
            exchange.decision, exchange.rule = "failed", fault.rule
            yield encode_event(request_error(call.id, fault.code, fault.message))

    def open_stream(self, exchange: Exchange, channel: Channel) -> StreamAnswer | Refusal:
        """The one stream for what belongs to no call."""
        listener = channel.listen()
        if listener is None:
            return Refusal(409, codes.INVALID_REQUEST, "the session has a stream already", "stream-open")
        return StreamAnswer(200, list(_SSE_HEADERS), self._general_stream(exchange, channel, listener), endless=True)

    async def _general_stream(
        self, exchange: Exchange, channel: Channel, listener: Call
    ) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        hard_end = loop.time() + self._limits.stream_lifetime
        try:
            yield b": open\n\n"
            while loop.time() < hard_end:
                try:
                    async with asyncio.timeout(_HEARTBEAT_SECONDS):
                        frame = await listener.next()
                except TimeoutError:
                    yield b": ping\n\n"
                    continue
                if self.guard.check(exchange, frame)[0]:
                    yield encode_event(exact_bytes(frame))
                else:
                    channel.refuse_server_request(frame.get("id"))
        except UpstreamFault:
            return
        finally:
            channel.unlisten(listener)


def _status(exchange: Exchange, frame: Frame) -> int:
    """The HTTP status of an answer: the 2026 era gives errors of the protocol a status of their own."""
    error = frame.get("error")
    if exchange.era is not Era.MODERN or not isinstance(error, dict) or not isinstance(error.get("code"), int):
        return 200
    return codes.http_status(error["code"])
