"""What answers one request: messages on the way, then exactly one response, whatever HTTP made of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from mcpsec.connect.http1 import HttpFailure
from mcpsec.connect.messages import header_text
from mcpsec.protocol import SseParser, codes, request_error

if TYPE_CHECKING:
    from mcpsec.connect.http1 import HttpClient, Response
    from mcpsec.protocol import Message, SseEvent

__all__ = ["MOST_ANSWER_BYTES", "Answer", "Deliver", "Position", "StreamEnded", "read_answer", "read_stream", "send"]

MOST_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""The largest message that a server may send, in bytes."""

_BACKOFF: Final = (0.1, 0.3, 1.0, 2.0, 4.0, 8.0)
"""Seconds between attempts to reach a server that can't be reached: a gateway that restarts is back within them."""

# Requests that may be sent twice: they ask and change nothing.
_REPEATABLE: Final = frozenset(
    {
        "completion/complete",
        "initialize",
        "ping",
        "prompts/get",
        "prompts/list",
        "resources/list",
        "resources/read",
        "resources/templates/list",
        "server/discover",
        "tools/list",
    }
)

Deliver = Callable[[bytes], Awaitable[None]]
"""Takes one message of the server for the client, as it came."""


class Answer(NamedTuple):
    """The response to a request: its bytes for the client, and what they say."""

    raw: bytes
    value: dict[str, Any]

    @property
    def error_code(self) -> int | None:
        """The code of a JSON-RPC error, None for a result."""
        error = self.value.get("error")
        return error.get("code") if isinstance(error, dict) else None


class Position:
    """Where a stream stands: the last event's id, and how many seconds to wait before asking for more.

    The id is as a header carries it; None also for one that no header can hold, after which nothing can be asked for.
    """

    def __init__(self) -> None:
        self.last_id: str | None = None
        self.wait: float | None = None

    def after(self, event: SseEvent) -> None:
        """Go on to where an event says that the stream is."""
        if event.id is not None:
            self.last_id = header_text(event.id)
        if event.retry is not None:
            self.wait = event.retry / 1000


class StreamEnded(HttpFailure):
    """A stream ended, or broke, before it held the response."""


async def send(client: HttpClient, message: Message, headers: dict[str, str]) -> Response:
    """Post a message; again after a while when the server can't be reached or the message may be sent twice.

    Raises:
        HttpFailure: no answer, and no sense in trying further.
    """
    for wait in _BACKOFF:
        try:
            return await client.request("POST", headers, message.raw)
        except HttpFailure as failure:
            if failure.refused or (failure.delivered and message.method not in _REPEATABLE):
                raise
        await asyncio.sleep(wait)
    return await client.request("POST", headers, message.raw)


async def read_answer(
    response: Response, ident: str | int, deliver: Deliver, position: Position | None = None
) -> Answer:
    """Pass on what comes before the response to request ``ident``, and return that response.

    An answer that is no response to it (a refusal with another id, a page of a proxy) becomes an error response.

    Raises:
        StreamEnded: the stream ended before.
        HttpFailure: the answer broke off.
    """
    if response.status == 200 and _kind(response) == "text/event-stream":
        return await read_stream(response, ident, deliver, position or Position())
    raw = await response.read(MOST_ANSWER_BYTES)
    value = _object(raw)
    if value is not None and _is_for(value, ident) and ("result" in value or "error" in value):
        return Answer(raw, value)
    error = value.get("error") if value is not None else None
    if isinstance(error, dict) and isinstance(error.get("code"), int):
        return _error(ident, error["code"], str(error.get("message")), error.get("data"))
    if 200 <= response.status < 300:
        return _error(ident, codes.ANSWER_UNUSABLE, "the server answered with something that is not a response")
    return _error(
        ident, _CODES.get(response.status, codes.ANSWER_UNUSABLE), f"the server answered HTTP {response.status}"
    )


_CODES: Final = {
    401: codes.NOT_AUTHENTICATED,
    403: codes.ACCESS_DENIED,
    413: codes.MESSAGE_TOO_LARGE,
    429: codes.RATE_LIMITED,
    502: codes.UPSTREAM_UNAVAILABLE,
    503: codes.UPSTREAM_UNAVAILABLE,
    504: codes.UPSTREAM_TIMEOUT,
}


async def read_stream(response: Response, ident: str | int | None, deliver: Deliver, position: Position) -> Answer:
    """Pass on the messages of a stream up to the response to ``ident`` (None: up to the stream's end).

    ``position`` learns of every event's id and of the wait that the server asks for.

    Raises:
        StreamEnded: there was no such response.
    """
    parser, found = SseParser(MOST_ANSWER_BYTES), None
    try:
        async for chunk in response.chunks():
            for event in parser.feed(chunk):
                position.after(event)
                if not event.data:
                    continue
                value = _object(event.data)
                if value is None:
                    continue
                if ident is not None and "method" not in value and _is_for(value, ident):
                    found = Answer(event.data, value)
                    break
                await deliver(event.data)
            if found is not None:
                response.answered = True
                return found
    except HttpFailure as failure:
        raise StreamEnded(failure.message, delivered=True) from failure
    raise StreamEnded("the server ended its answer without a response", delivered=True)


def _is_for(value: dict[str, Any], ident: str | int) -> bool:
    """Whether a message has that id: ``true`` is not 1, whatever Python says."""
    found = value.get("id")
    return found == ident and not isinstance(found, bool)


def _kind(response: Response) -> str:
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def _error(ident: str | int, code: int, message: str, data: Any = None) -> Answer:
    raw = request_error(ident, code, message, data)
    return Answer(raw, orjson.loads(raw))
