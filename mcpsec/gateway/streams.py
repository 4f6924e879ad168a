"""Answers that come in parts, watched while they pass: their bounds, and what became of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mcpsec.protocol import codes
from mcpsec.protocol.jsonrpc import request_error
from mcpsec.protocol.sse import encode_event

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from mcpsec.gateway.message import Exchange, StreamAnswer
    from mcpsec.gateway.open_streams import OpenStreams
    from mcpsec.gateway.record import Recorder
    from mcpsec.gateway.upstreams.breaker import Pass
    from mcpsec.gateway.upstreams.protected import ProtectedUpstream

__all__ = ["recorded", "watched"]


async def recorded(
    exchange: Exchange, parts: AsyncGenerator[bytes, None], recorder: Recorder, *, most: int, streams: OpenStreams
) -> AsyncGenerator[bytes, None]:
    """Pass the parts on, at most so many bytes, and write the request's event when they have ended."""
    complete = False
    fault: tuple[int, str] | None = None
    try:
        async with asyncio.timeout(None) as deadline:
            with streams.holding(exchange, deadline) as stream:
                async for part in parts:
                    if stream.ended:  # what is there already is not waited for, so no deadline comes between
                        raise TimeoutError
                    exchange.answer_bytes += len(part)
                    if exchange.answer_bytes > most:
                        exchange.decision, exchange.rule = "failed", "stream-too-large"
                        fault = codes.ANSWER_UNUSABLE, "the answer is larger than the limit"
                        break
                    yield part
                else:
                    complete = True
    except TimeoutError:
        if not stream.ended:
            raise
        exchange.decision, exchange.rule = "refused", stream.ended
        fault = codes.NOT_AUTHENTICATED, "not authenticated"
    finally:
        await parts.aclose()
        exchange.let_go()
        if not complete and fault is None and exchange.decision == "allowed":
            exchange.rule = stream.ended or "client-gone"  # or it was ended while its client did not read
        recorder.request(exchange)
    if fault is not None and exchange.rpc_id is not None:
        yield encode_event(request_error(exchange.rpc_id, *fault))


async def watched(
    upstream: ProtectedUpstream, exchange: Exchange, answer: StreamAnswer, permit: Pass
) -> AsyncGenerator[bytes, None]:
    """Pass a stream on. A stream that answers no call holds no place: it may stay open for hours."""
    answered_at = upstream.breakers.clock()
    holds = True
    if answer.endless:
        holds = False
        upstream.bulkhead.leave(permit, failed=False, answered_at=answered_at)
    complete = False
    try:
        async for part in answer.parts:
            if exchange.unshared:
                await upstream.share(exchange)
            yield part
        complete = True
    finally:
        await answer.parts.aclose()
        if holds:
            failed = exchange.decision == "failed" if complete else None
            upstream.bulkhead.leave(permit, failed=failed, answered_at=answered_at)
