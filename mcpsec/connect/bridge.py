"""The bridge: a stdio MCP server to its client, an mTLS and signing client to a gateway. Frames pass as they are.

Nothing is re-exposed or re-serialised: each message of the client becomes one POST, each message of an answer one line.
What the bridge adds is HTTP's part of the protocol: mirrored headers (2026-07-28), session and streams (earlier
revisions), and, where no answer comes, an error in words.

A modern request is cancelled by closing its answer, a legacy one by the client's own notification. A legacy session
that the server has forgotten is opened again with the client's own ``initialize``, and the request repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from mcpsec.connect.http1 import HttpClient, HttpFailure
from mcpsec.connect.legacy import LegacyLink
from mcpsec.connect.messages import HTTP_HEADERS, mirrored_headers, version_of
from mcpsec.connect.oauth.settings import LOGIN_SECONDS
from mcpsec.connect.relay import Answer, read_answer, send
from mcpsec.protocol import (
    Kind,
    Message,
    Oversize,
    ParamHeader,
    ProtocolError,
    codes,
    encode_request,
    param_headers,
    parse,
    request_error,
)

if TYPE_CHECKING:
    from mcpsec.connect.stdio import StdioPipe

__all__ = ["Bridge"]

_MOST_IN_FLIGHT: Final = 256
_MOST_HELD: Final = 64 * 1024 * 1024
"""How many bytes of requests may be in flight or wait for their turn."""

_POST_SECONDS: Final = 60.0
"""How long a notification may take to be accepted, before the client's next message goes on."""

_LEAVING_SECONDS: Final = 60.0
"""How long, once the client has closed its end, it may take until all that it said is begun: a script's, or the last
words of one that has died."""

_MOST_TOOLS: Final = 10_000
_MOST_PAGES: Final = 100
_STREAMS: Final = frozenset({"subscriptions/listen"})
"""Requests whose answer ends only when the client wants it to."""


class Bridge:
    """Relays between one stdio client and one server.

    ``note`` is told in words what the person at the client should know. ``drain`` is how many seconds requests
    in flight may take once the client has closed its end.
    """

    def __init__(
        self, pipe: StdioPipe, client: HttpClient, *, note: Callable[[str], None], drain: float = 10.0
    ) -> None:
        self._pipe = pipe
        self._client = client
        self._note = note
        self._drain = drain
        self._slots = asyncio.Semaphore(_MOST_IN_FLIGHT)
        self._held = 0
        self._tasks: dict[asyncio.Task[None], Message] = {}
        self._legacy = LegacyLink(client, pipe.send, note)
        self._parameters: dict[str, tuple[ParamHeader, ...]] = {}

    async def run(self) -> None:
        """Relay until the client closes its end, or takes nothing any more; then finish what is in flight."""
        try:
            with contextlib.suppress(BrokenPipeError):
                await self._relay()
        finally:
            left = [*self._tasks]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await self._legacy.close()
            await self._client.close()

    async def _relay(self) -> None:
        failed = self._pipe.failed
        if not await _unless(self._read(), self._left(), failed.wait()) and not failed.is_set():
            self._note("what the client said last did not reach the server in the minute after it left")
        waiting = [task for task, message in self._tasks.items() if message.method not in _STREAMS]
        if waiting and not await _unless(asyncio.wait(waiting), self._patience(self._drain), failed.wait()):
            for task in waiting:
                if not task.done():
                    self._note(f"{self._tasks[task].method} was not answered before the client left")

    async def _read(self) -> None:
        async for line in self._pipe.messages():
            await self._take(line)

    async def _left(self) -> None:
        """Until the client has left, and it is too late for what it said."""
        await self._pipe.ended.wait()
        await self._patience(_LEAVING_SECONDS)

    async def _patience(self, seconds: float) -> None:
        """Let ``seconds`` pass; the time in which somebody logs in is not counted, as long as a login may take."""
        left = {False: seconds, True: LOGIN_SECONDS}
        clock = asyncio.get_running_loop().time
        while min(left.values()) > 0:
            somebody, since = self._client.logging_in, clock()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left[somebody]):
                    await self._client.login_turn()
            left[somebody] -= clock() - since

    async def _take(self, line: bytes | Oversize) -> None:
        """One message of the client: a request gets a task of its own, all else is sent on in order."""
        if isinstance(line, Oversize):
            await self._pipe.send(request_error(None, codes.INVALID_REQUEST, "the message is too large"))
            return
        try:
            message = parse(line)
        except ProtocolError as error:
            await self._pipe.send(error.encode())
            return
        if message.kind is Kind.REQUEST:
            await self._start(message)
        elif not await self._cancelled_here(message) and version_of(message) is None:
            await self._post_legacy(message)

    async def _post_legacy(self, message: Message) -> None:
        """A notification, or an answer to the server, in the order in which the client said it."""
        try:
            if not await _unless(self._legacy.post(message), self._patience(_POST_SECONDS)):
                self._note(f"{message.method or 'an answer'} was not accepted by the server in time")
        except (HttpFailure, ProtocolError) as failure:
            self._note(f"{message.method or 'an answer'} did not reach the server: {failure.message}")
        if message.method == "notifications/cancelled":
            await self._forget(message.params.get("requestId"), modern=False)

    async def _start(self, message: Message) -> None:
        """Begin a request. The reading of further messages never waits for it: they may be what it waits for."""
        if self._tasks and self._held + len(message.raw) > _MOST_HELD:
            ident = message.id if message.id is not None else 0
            await self._pipe.send(request_error(ident, codes.RATE_LIMITED, "too many requests are in flight"))
            return
        self._held += len(message.raw)
        task = asyncio.create_task(self._in_turn(message))
        self._tasks[task] = message
        task.add_done_callback(self._done)
        if message.method == "initialize":
            await asyncio.wait([task])  # whatever follows belongs to that session

    async def _in_turn(self, message: Message) -> None:
        async with self._slots:
            await self._answer(message)

    def _done(self, task: asyncio.Task[None]) -> None:
        message = self._tasks.pop(task)
        self._held -= len(message.raw)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, BrokenPipeError):
            self._note(f"{message.method} failed inside the bridge: {type(error).__name__}: {error}")

    async def _cancelled_here(self, notification: Message) -> bool:
        """Cancel the modern request that a notification names, by leaving its answer; False when it names none."""
        if notification.method != "notifications/cancelled":
            return False
        return await self._forget(notification.params.get("requestId"), modern=True)

    async def _forget(self, ident: object, *, modern: bool) -> bool:
        """Give up a request of that era, so that it takes no slot and its late answer goes nowhere."""
        for task, message in self._tasks.items():
            same = message.id == ident and type(message.id) is type(ident)
            if same and (version_of(message) is not None) is modern and message.method != "initialize":
                task.cancel()
                await asyncio.wait([task])
                return True
        return False

    async def _answer(self, message: Message) -> None:
        """Get one request answered, whatever happens."""
        ident = message.id if message.id is not None else 0
        try:
            legacy = version_of(message) is None
            answer = await (self._legacy.request(message) if legacy else self._modern(message))
            if message.method == "tools/list":
                self._remember_tools(answer)
            await self._pipe.send(answer.raw)
        except HttpFailure as failure:
            self._note(failure.message)
            code = codes.NOT_AUTHENTICATED if failure.refused else codes.UPSTREAM_UNAVAILABLE
            await self._pipe.send(request_error(ident, code, failure.message))
        except ProtocolError as error:
            await self._pipe.send(request_error(ident, error.code, error.message))
        except Exception:  # ours, and noted as that; the client must not wait for ever all the same
            await self._pipe.send(request_error(ident, codes.INTERNAL_ERROR, "the bridge failed"))
            raise

    async def _modern(self, message: Message) -> Answer:
        answer = await self._post(message)
        if answer.error_code == codes.HEADER_MISMATCH and message.method == "tools/call":
            # Perhaps the tool wants arguments as headers, and the client has not listed the tools through us.
            known = self._declared(message)
            await self._list_tools(message)
            if self._declared(message) != known:
                return await self._post(message)
        return answer

    async def _post(self, message: Message) -> Answer:
        headers = {**HTTP_HEADERS, **mirrored_headers(message, self._declared(message))}
        async with await send(self._client, message, headers) as response:
            return await read_answer(response, message.id if message.id is not None else 0, self._pipe.send)

    def _declared(self, message: Message) -> tuple[ParamHeader, ...]:
        """The headers that the called tool asks for, as far as its schema was seen."""
        if message.method != "tools/call":
            return ()
        return self._parameters.get(str(message.params.get("name")), ())

    async def _list_tools(self, message: Message) -> None:
        """Read the tools' schemas in the name of the client that made the call ``message``."""
        params: dict[str, Any] = {"_meta": {**message.params["_meta"]}}
        params["_meta"].pop("progressToken", None)
        for page in range(_MOST_PAGES):
            listing = parse(encode_request(f"mcpsec-tools-{page}", "tools/list", params))
            answer = await self._post(listing)
            self._remember_tools(answer)
            result = answer.value.get("result")
            cursor = result.get("nextCursor") if isinstance(result, dict) else None
            if not isinstance(cursor, str):
                return
            params["cursor"] = cursor

    def _remember_tools(self, answer: Answer) -> None:
        result = answer.value.get("result")
        tools = result.get("tools") if isinstance(result, dict) else None
        for tool in tools if isinstance(tools, list) else ():
            if isinstance(tool, dict) and isinstance(tool.get("name"), str) and len(self._parameters) < _MOST_TOOLS:
                self._parameters[tool["name"]] = param_headers(tool.get("inputSchema"))


async def _unless(work: Coroutine[Any, Any, object], *limits: Coroutine[Any, Any, object]) -> bool:
    """Do ``work`` until it is done, or one of ``limits`` is; whether it was done. Its errors are raised."""
    tasks = [asyncio.create_task(each) for each in (work, *limits)]
    doing = tasks[0]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            doing.result()
        return doing.done()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
