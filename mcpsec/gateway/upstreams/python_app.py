"""A Python server inside the gateway's own process: found by ``module:name``, made an ASGI application, kept alive.

It may be a server of the official SDK (low-level or MCPServer), one of fastmcp, or any ASGI application that answers
at ``/mcp``. It runs with the gateway's rights and in its event loop: nothing confines it, and code that blocks, blocks
the gateway. What it raises, even what would end a process, stays its own.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from mcpsec.gateway.upstreams.asgi import ASGI, said_by
from mcpsec.gateway.upstreams.base import UpstreamStartError
from mcpsec.gateway.upstreams.containment import contain, inside
from mcpsec.gateway.upstreams.http_client import UpstreamFault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from mcpsec.gateway.upstreams.asgi import App, Message

__all__ = ["AppServer", "load_app"]

_IMPORT_SECONDS = 120.0
_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_CANCEL_SECONDS = 1.0
"""How long it may go on when it has been cancelled; then it is left to the end of the process."""
_REST_SECONDS = 2.0
"""An application that ended by itself is started again, but not more often than this."""

_importing: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

_MAKERS = (
    ("http_app", {"path": "/mcp"}),  # fastmcp
    ("streamable_http_app", {"streamable_http_path": "/mcp"}),  # the SDK
)


def load_app(reference: str, directory: Path | None) -> App:
    """The ASGI application that ``module:name`` stands for. Raises UpstreamFault, with a reason for the operator."""
    if directory is not None and str(directory) not in sys.path:
        sys.path.append(str(directory))  # last: a file there must not stand in for a module of the gateway
    module, _, name = reference.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UpstreamFault(f"there is no module {error.name}") from None
    except BaseException as error:  # even sys.exit(), which scripts do that are no modules
        raise UpstreamFault(f"importing {module} raised {said_by(error)}") from None
    for part in name.split("."):
        if not hasattr(found, part):
            raise UpstreamFault(f"{module} has no {name}")
        found = getattr(found, part)
    try:
        for maker, options in _MAKERS:
            make = getattr(found, maker, None)
            if callable(make):
                app: App = make(**options)
                return app
    except Exception as error:
        raise UpstreamFault(f"making an application of {reference} raised {said_by(error)}") from None
    if isinstance(found, type) or not _takes_asgi(found):
        raise UpstreamFault(f"{reference} is neither a server of the MCP SDK or of fastmcp nor an ASGI application")
    called: App = found
    return called


def _takes_asgi(found: Any) -> bool:
    """Whether it can be called with scope, receive and send; a function that makes an application can't."""
    if not callable(found):
        return False
    try:
        inspect.signature(found).bind(None, None, None)
    except TypeError:
        return False
    except ValueError:  # written in C, it doesn't say
        return True
    return True


def _with_state(app: App, state: dict[str, Any]) -> App:
    """``app``, with a shallow copy in each request of what its lifespan kept (ASGI 3.0, Lifespan Protocol 2.0)."""

    async def called(
        scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        scope["state"] = state.copy()
        await app(scope, receive, send)

    return called


class AppServer:
    """One application and its lifespan; ``get`` gives it to those who have a request."""

    def __init__(self, name: str, reference: str, directory: Path | None) -> None:
        self._name, self._reference, self._directory = name, reference, directory
        self._app: App | None = None
        self._loading: asyncio.Future[App] | None = None
        self._life: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._starting = asyncio.Lock()
        self._rest_until = 0.0
        self._stopping = False

    async def start(self) -> None:
        """Import and start it. Raises UpstreamStartError."""
        contain(asyncio.get_running_loop())
        try:
            async with self._starting:
                await self._begin()
        except UpstreamFault as fault:
            await self.close()
            module = self._reference.partition(":")[0]
            raise UpstreamStartError(
                self._name, fault.reason, hint=f"an app is MODULE:NAME; try: python -c 'import {module}'"
            ) from None

    async def get(self) -> App:
        """The application; one that has ended by itself is started again. Raises UpstreamFault."""
        if self._app is None or self._life is None or self._life.done():
            async with self._starting:  # it may be starting at this moment
                if self._life is None or self._life.done():
                    await self._again()
        if self._stopping or self._app is None:
            raise UpstreamFault("the application is not running", sent=False)
        return self._app

    async def _again(self) -> None:
        loop = asyncio.get_running_loop()
        if self._stopping or loop.time() < self._rest_until:
            raise UpstreamFault("the application has ended", sent=False)
        self._rest_until = loop.time() + _REST_SECONDS
        await self._begin()

    async def _begin(self) -> None:
        """Import it (once in a process), and begin its life."""
        app = await self._load()
        loop = asyncio.get_running_loop()
        self._wake, started = asyncio.Event(), loop.create_future()
        with inside():
            state: dict[str, Any] = {}
            self._life = loop.create_task(self._live(app, state, started))
        try:
            async with asyncio.timeout(_START_SECONDS):
                await started
        except BaseException as error:  # also when the one call that waits for it has waited long enough
            self._life.cancel()
            if isinstance(error, TimeoutError):
                raise UpstreamFault("its lifespan did not start in time") from None
            raise
        self._app = _with_state(app, state)

    async def _load(self) -> App:
        """A module may do anything while it is imported: in a thread of its own kind, and not without end.

        One after the other: packages whose modules import each other, as the SDK's do, can't be imported by two threads
        at once (Python raises a deadlock error in one of them). One that takes too long gives its turn up all the same:
        it may never end, and would keep all others out; but it keeps its thread, so nobody begins it a second time.
        """
        if self._loading is not None and not self._loading.done():
            return await self._loaded(self._loading)
        async with _importing.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            with inside():
                loading = asyncio.ensure_future(asyncio.to_thread(load_app, self._reference, self._directory))
            loading.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may wait for it
            self._loading = loading
            return await self._loaded(loading)

    async def _loaded(self, loading: asyncio.Future[App]) -> App:
        try:
            async with asyncio.timeout(_IMPORT_SECONDS):
                return await asyncio.shield(loading)
        except TimeoutError:
            raise UpstreamFault(f"its import was not over after {_IMPORT_SECONDS:g} s", sent=False) from None

    async def _live(self, app: App, state: dict[str, Any], started: asyncio.Future[None]) -> None:
        """The lifespan protocol; an application that knows none lives without."""
        told = False

        async def receive() -> Message:
            nonlocal told
            if not told:
                told = True
                return {"type": "lifespan.startup"}
            await self._wake.wait()
            return {"type": "lifespan.shutdown"}

        async def send(message: Message) -> None:
            if started.done():
                return
            if message["type"] == "lifespan.startup.complete":
                started.set_result(None)
            elif message["type"] == "lifespan.startup.failed":
                started.set_exception(UpstreamFault("the application says that it could not start"))

        try:
            await app({"type": "lifespan", "asgi": ASGI, "state": state}, receive, send)
        except asyncio.CancelledError:
            pass
        except BaseException:
            if not started.done():
                started.set_result(None)  # what a framework without lifespans does (ASGI, Lifespan Protocol)
                await self._wake.wait()
        if not started.done():
            started.set_result(None)
            await self._wake.wait()

    async def close(self) -> None:
        """Let it shut down, for a few seconds."""
        self._stopping = True
        self._wake.set()
        life, self._life = self._life, None
        if life is None:
            return
        await asyncio.wait({life}, timeout=_STOP_SECONDS)
        if not life.done():
            life.cancel()
            await asyncio.wait({life}, timeout=_CANCEL_SECONDS)  # it may take that for nothing
