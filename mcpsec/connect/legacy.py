"""The earlier revisions' half of HTTP: a session, a stream for what the server says unasked, and resumption."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from mcpsec.connect.http1 import HttpFailure
from mcpsec.connect.messages import HTTP_HEADERS, header_text, initialized
from mcpsec.connect.relay import Answer, Deliver, Position, StreamEnded, read_answer, read_stream, send
from mcpsec.protocol import ProtocolError, parse

if TYPE_CHECKING:
    from mcpsec.connect.http1 import HttpClient, Response
    from mcpsec.protocol import Message

__all__ = ["LegacyLink"]

_STREAM: Final = {"accept": "text/event-stream"}
_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 30.0
_RESUMPTIONS: Final = 20
"""How often one answer may be taken up again; each time the server has to send something new."""


class LegacyLink:
    """One client's session with the server. ``deliver`` takes the server's messages, ``note`` words for people."""

    def __init__(self, client: HttpClient, deliver: Deliver, note: Callable[[str], None]) -> None:
        self._client = client
        self._deliver = deliver
        self._note = note
        self._initialize: Message | None = None
        self._session: str | None = None
        self._version: str | None = None
        self._generation = 0
        self._opening = asyncio.Lock()
        self._listener: asyncio.Task[None] | None = None

    def _headers(self) -> dict[str, str]:
        headers = {}
        if self._session is not None:
            headers["mcp-session-id"] = self._session
        if self._version is not None:
            headers["mcp-protocol-version"] = self._version
        return headers

    async def request(self, message: Message) -> Answer:
        """Send a request and return its response; what comes before is delivered.

        Raises:
            HttpFailure: there is none.
        """
        if message.method == "initialize":
            self._initialize = message
            return await self._open(message)
        generation, session = self._generation, self._session
        async with await self._post(message) as response:
            if response.status != 404 or session is None:  # 404: the server no longer knows the session
                return await self._read(response, message)
        await self._reopen(generation)
        async with await self._post(message) as response:
            return await self._read(response, message)

    async def post(self, message: Message) -> None:
        """Send a notification or a response of the client.

        Raises:
            HttpFailure: it did not reach the server, or the server refused it.
        """
        generation, session = self._generation, self._session
        status = await self._post_status(message)
        if status == 404 and session is not None:
            await self._reopen(generation)
            status = await self._post_status(message)
        if status >= 300:
            raise HttpFailure(f"the server answered HTTP {status}", delivered=False)
        if message.method == "notifications/initialized":
            self._listen()

    async def _post(self, message: Message) -> Response:
        return await send(self._client, message, {**HTTP_HEADERS, **self._headers()})

    async def _post_status(self, message: Message) -> int:
        async with await self._post(message) as response:
            await response.read(64 * 1024)
            return response.status

    async def _open(self, message: Message) -> Answer:
        await self._stop_listening()
        async with await send(self._client, message, {**HTTP_HEADERS}) as response:
            answer = await self._read(response, message)
            self._session = response.headers.get("mcp-session-id")
        result = answer.value.get("result")
        self._version = header_text(result.get("protocolVersion")) if isinstance(result, dict) else None
        self._generation += 1
        return answer

    async def _reopen(self, generation: int) -> None:
        """Open the session again, once for all requests that found it gone."""
        async with self._opening:
            if self._generation != generation or self._initialize is None:
                return
            self._note("the server has forgotten the session; opening it again")
            answer = await self._open(self._initialize)
            if answer.error_code is not None:
                raise HttpFailure("the server did not open the session again", delivered=False)
            await self._post_status(parse(initialized()))
            self._listen()

    async def _read(self, response: Response, message: Message) -> Answer:
        """The response to a request, taken up again from its last event when the stream ends early."""
        position = Position()
        ident = message.id if message.id is not None else 0
        try:
            return await read_answer(response, ident, self._deliver, position)
        except StreamEnded as ended:
            if position.last_id is None:
                raise
            failure = ended
        for _ in range(_RESUMPTIONS):
            await asyncio.sleep(_FIRST_WAIT if position.wait is None else min(position.wait, _LONGEST_WAIT))
            before = position.last_id
            async with await self._get(position) as stream:
                if stream.status != 200:
                    raise failure
                try:
                    return await read_stream(stream, ident, self._deliver, position)
                except StreamEnded:
                    if position.last_id in (before, None):
                        raise
        raise failure

    async def _get(self, position: Position) -> Response:
        resume = {"last-event-id": position.last_id} if position.last_id is not None else {}
        return await self._client.request("GET", {**_STREAM, **self._headers(), **resume})

    def _listen(self) -> None:
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._listen_on())

    async def _listen_on(self) -> None:
        try:
            await self._keep_listening()
        except (HttpFailure, ProtocolError) as failure:
            self._note(f"what the server says unasked is not heard any more: {failure.message}")

    async def _keep_listening(self) -> None:
        """Keep a stream open for what the server says unasked; a server that offers none is left alone.

        When a stream that was open is not found again, the server has been restarted: the session is opened again at
        once, because a client that only listens would send no request to find out.
        """
        position, wait, heard, generation = Position(), _FIRST_WAIT, False, self._generation
        while True:
            with contextlib.suppress(HttpFailure):
                async with await self._get(position) as response:
                    gone = response.status == 404 and heard
                    if response.status == 200:
                        wait, heard = _FIRST_WAIT, True
                        await read_stream(response, None, self._deliver, position)
                    elif not gone:
                        return  # 405: it offers none
                if gone:
                    await self._reopen(generation)
                    return
            # A server that asks for no wait at all would be asked without end, and use up what its client may ask.
            await asyncio.sleep(
                wait if position.wait is None else sorted((_FIRST_WAIT, position.wait, _LONGEST_WAIT))[1]
            )
            wait = min(wait * 2, _LONGEST_WAIT)

    async def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None and listener is not asyncio.current_task():
            listener.cancel()
            await asyncio.wait([listener])

    async def close(self) -> None:
        """Stop the stream and end the session, if the server answers soon."""
        await self._stop_listening()
        if self._session is None:
            return
        with contextlib.suppress(HttpFailure, TimeoutError):
            async with asyncio.timeout(2.0), await self._client.request("DELETE", self._headers()) as response:
                await response.read(64 * 1024)
