"""Requests to an ASGI application of this process, in the shape of an HTTP connection pool.

``AppPool.send`` takes the bytes that would go over a connection and gives back what would come, so that everything
above it (sessions, eras, streams, deadlines, cancellation) is that of any HTTP upstream.
Source: ASGI 3.0, HTTP & WebSocket message format 2.3.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcpsec.gateway.upstreams.body_stream import BodyStream
from mcpsec.gateway.upstreams.containment import inside
from mcpsec.gateway.upstreams.http_client import (
    NoRoomFault,
    TooLargeFault,
    UpstreamFault,
    UpstreamResponse,
    UpstreamTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]
    App = Callable[
        [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
        Awaitable[None],
    ]

__all__ = ["ASGI", "AppPool", "ClientPool", "said_by"]

ASGI = {"version": "3.0", "spec_version": "2.3"}
_HEADER_BYTES = 64 * 1024
_GRACE_SECONDS = 5.0
"""How long an application that was told that its client has gone may go on before it is cancelled."""
_UNHEARD_SECONDS = 0.05
"""How long each piece takes that it still sends then."""
_MOST_DEAF = 100
"""Calls that go on though they were cancelled: with more, an application gets others only of clients that have none."""
_MOST_OF_ONE = 10
"""How many of them one client may have."""
_MOST_LEFT = 100
"""How many calls that nobody waits for any more one client may have, those included that still have their grace."""


def said_by(error: BaseException) -> str:
    """An exception's type and place: its text may hold anything, and stays out of logs."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


class AppPool:
    """Requests to one application; ``app`` gives it, started, or raises UpstreamFault."""

    outbox: None = None

    def __init__(self, app: Callable[[], Awaitable[App]], *, response_bytes: int) -> None:
        self._app = app
        self._response_bytes = response_bytes
        self._running: set[asyncio.Task[None]] = set()
        self._left, self._deaf = _Counted(), _Counted()

    def take_idle(self) -> None:
        """There is none: an application has no connections."""

    def of_client(self, client_id: str) -> ClientPool:
        """The same, for the requests of one client."""
        return ClientPool(self, client_id)

    async def send(self, data: bytes, *, timeout: float, repeatable: bool, client_id: str = "") -> UpstreamResponse:
        """Have the application answer one whole request (an event stream: its head).

        Raises UpstreamFault or UpstreamTimeout. Nothing is ever sent twice, so ``repeatable`` changes nothing.
        """
        del repeatable
        self._check_room(client_id)
        try:
            async with asyncio.timeout(timeout):
                app = await self._app()
                scope, body = _scope_of(data)
                work = _Request(
                    body,
                    self._response_bytes,
                    left=partial(self._leave, client_id),
                    cancel=partial(self._cancel, client_id),
                )
                with inside():
                    task = work.task = asyncio.get_running_loop().create_task(work.run(app, scope))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
                try:
                    return await work.answer
                except BaseException:
                    work.abort()
                    raise
        except TimeoutError:
            raise UpstreamTimeout("no answer within the deadline") from None

    def _check_room(self, client_id: str) -> None:
        """Who lets calls go on and on is stopped alone: others, who have none that do, are served all the same."""
        deaf = self._deaf.of(client_id)
        if deaf >= _MOST_OF_ONE or (deaf and self._deaf.total >= _MOST_DEAF):
            raise NoRoomFault("too many calls of the application go on though they were cancelled", sent=False)
        if self._left.of(client_id) >= _MOST_LEFT:
            raise NoRoomFault("too many calls of the application go on though their client has gone", sent=False)

    def _leave(self, client_id: str, task: asyncio.Task[None]) -> None:
        """Nobody waits for it any more."""
        self._left.add(client_id, task)

    def _cancel(self, client_id: str, task: asyncio.Task[None]) -> None:
        """End what nobody waits for; it counts until it has ended, because it may take that for nothing."""
        task.cancel()
        self._deaf.add(client_id, task)

    def close(self) -> None:
        """Cancel everything."""
        for task in tuple(self._running):
            task.cancel()


class ClientPool:
    """The requests of one client to an application."""

    outbox: None = None

    def __init__(self, pool: AppPool, client_id: str) -> None:
        self._pool, self._client_id = pool, client_id

    def take_idle(self) -> None:
        """There is none."""

    async def send(self, data: bytes, *, timeout: float, repeatable: bool) -> UpstreamResponse:
        """As ``AppPool`` has it."""
        return await self._pool.send(data, timeout=timeout, repeatable=repeatable, client_id=self._client_id)

    def close(self) -> None:
        """Nothing: it is not this client's alone."""


class _Counted:
    """Tasks that have not ended, of each client; a client without any takes no memory."""

    def __init__(self) -> None:
        self._of: dict[str, set[asyncio.Task[None]]] = {}
        self.total = 0

    def of(self, client_id: str) -> int:
        return len(self._of.get(client_id, ()))

    def add(self, client_id: str, task: asyncio.Task[None]) -> None:
        tasks = self._of.setdefault(client_id, set())
        if task not in tasks:
            tasks.add(task)
            self.total += 1
            task.add_done_callback(partial(self._over, client_id))

    def _over(self, client_id: str, task: asyncio.Task[None]) -> None:
        tasks = self._of[client_id]
        tasks.discard(task)
        self.total -= 1
        if not tasks:
            del self._of[client_id]


def _scope_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The scope and body of a request that the gateway itself has put together."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    method, target, _ = first.split(b" ")
    path, _, query = target.partition(b"?")
    headers = []
    for line in lines:
        name, _, value = line.partition(b":")
        headers.append((name.lower(), value.strip()))
    scope = {
        "type": "http",
        "asgi": ASGI,
        "http_version": "1.1",
        "method": method.decode(),
        "scheme": "http",
        "path": path.decode(),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": None,
        "server": None,
    }
    return scope, body


class _Request:
    """One request under way: the application's two channels, and the answer that comes of them."""

    def __init__(
        self,
        body: bytes,
        response_bytes: int,
        *,
        left: Callable[[asyncio.Task[None]], None],
        cancel: Callable[[asyncio.Task[None]], None],
    ) -> None:
        self._left, self._cancel = left, cancel
        self.answer: asyncio.Future[UpstreamResponse] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None
        self._body: bytes | None = body
        self._response_bytes = response_bytes
        self._response: UpstreamResponse | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._stream: BodyStream | None = None
        self._complete = False
        self._gone = asyncio.Event()
        self._flow = asyncio.Event()
        self._flow.set()

    async def run(self, app: App, scope: dict[str, Any]) -> None:
        """Let the application answer; however it ends, whoever waits for the answer hears of it."""
        fault = "the application ended without a whole answer"
        try:
            await app(scope, self._receive, self._send)
        except asyncio.CancelledError:
            fault = "the application was cancelled"
        except UpstreamFault as error:
            fault = error.reason
        except BaseException as error:  # an application may raise what ends a process: this one is not its own
            fault = f"the application raised {said_by(error)}"
        finally:
            self._gone.set()
            if not self._complete:
                self._fail(UpstreamFault(fault))

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await asyncio.sleep(
            _UNHEARD_SECONDS if self._complete else 0
        )  # it may send without end: others have their turn
        if self._complete:
            return  # as over a connection that the other side has closed
        try:
            await self._take(message)
        except UpstreamFault as fault:
            self._refuse(fault)
            raise
        except (TypeError, ValueError, KeyError, AttributeError):
            odd = UpstreamFault("the application's answer is not ASGI")
            self._refuse(odd)
            raise odd from None

    async def _take(self, message: Message) -> None:
        if message["type"] == "http.response.start" and self._response is None:
            self._begin(message)
        elif message["type"] == "http.response.body" and self._response is not None:
            body = message.get("body", b"")
            if not isinstance(body, bytes | bytearray | memoryview):
                raise UpstreamFault("the application's answer is not ASGI")
            await self._more(self._response, bytes(body), ends=not message.get("more_body", False))
        else:
            raise UpstreamFault("the application's answer is not ASGI")

    def _refuse(self, fault: UpstreamFault) -> None:
        """What is wrong stays wrong: an application that catches what it is told must not go on with its answer."""
        self._fail(fault)
        self._let_go()

    def _begin(self, message: Message) -> None:
        response = self._response = UpstreamResponse()
        status = message["status"]
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise UpstreamFault("the application's answer has no usable status")
        response.status = status
        size = 0
        for name, value in message.get("headers", ()):
            size += len(name) + len(value)
            if size > _HEADER_BYTES or any(each in name + value for each in (b"\r", b"\n", b"\0")):
                raise UpstreamFault("the application's answer has a header that can't be passed on")
            response.fields.setdefault(bytes(name).lower(), bytes(value))
        response.content_type = response.fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if response.content_type == b"text/event-stream":
            self._stream = response.stream = BodyStream(self)
            self._resolve(response)

    async def _more(self, response: UpstreamResponse, data: bytes, *, ends: bool) -> None:
        if self._stream is not None:
            if data:
                self._stream.feed(data)
            if ends:
                self._finish()
                self._stream.finish()
            else:
                await self._flow.wait()
            return
        self._size += len(data)
        if self._size > self._response_bytes:
            raise TooLargeFault("the application's answer is too large")
        if data:
            self._pieces.append(data)
        if ends:
            self._finish()
            response.body = b"".join(self._pieces)
            self._resolve(response)

    def _finish(self) -> None:
        self._complete = True
        self._gone.set()

    def _resolve(self, response: UpstreamResponse) -> None:
        if not self.answer.done():
            self.answer.set_result(response)

    def _fail(self, fault: UpstreamFault) -> None:
        self._complete = True
        if self._stream is not None:
            self._stream.finish(fault)
        if not self.answer.done():
            self.answer.set_exception(fault)
            self.answer.exception()  # nobody may be waiting any more

    # --- what a BodyStream asks of its connection ------------------------------------------------------------------

    def pause(self) -> None:
        """Let the application wait at its next piece."""
        self._flow.clear()

    def resume(self) -> None:
        """Let it go on."""
        self._flow.set()

    def abort(self) -> None:
        """Nobody reads the answer any more."""
        self._let_go()
        if self._stream is not None:
            with contextlib.suppress(Exception):
                self._stream.finish(UpstreamFault("the stream was closed"))

    def _let_go(self) -> None:
        """The application hears that its client has gone, and is cancelled when it does not end."""
        self._complete = True
        self._gone.set()
        self._flow.set()
        task = self.task
        if task is not None and not task.done():
            self._left(task)
            timer = asyncio.get_running_loop().call_later(_GRACE_SECONDS, self._cancel, task)
            task.add_done_callback(lambda _: timer.cancel())
