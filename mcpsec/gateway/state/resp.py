"""A client for Redis and Valkey that fits the data plane: one connection, every command pipelined, one deadline.

Commands of all requests share one connection and leave together, one write for each turn of the event loop. Answers
come back in order, so when the oldest is overdue the connection is stuck: it is cut, everything that waits fails at
once, and until a new connection has said hello every command fails without waiting. A general client costs eight times
the CPU and 600 ms of imports (docs/dependencies.md). The protocol is RESP2 (redis.io/docs/reference/protocol-spec).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Reply = Any

__all__ = ["Resp", "RespError", "RespParser", "Script", "StoreUnavailableError"]

_MOST_PENDING = 20_000
_MOST_REPLY = 16 * 1024 * 1024
_BACKOFF = (0.05, 0.1, 0.2, 0.5, 1.0)
_INTEGER, _STATUS, _ERROR, _BULK, _ARRAY = b":+-$*"
_DEEPEST = 16  # arrays in arrays
_LONGEST_LINE = 64 * 1024  # bytes; what is longer (a value) comes as a bulk string


class StoreUnavailableError(Exception):
    """The shared store did not answer in time, or can't be reached; the text is for the operator."""


class RespError(Exception):
    """The store answered with an error."""


class Script:
    """A Lua script and the digest by which a server that has loaded it knows it."""

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()


class RespParser:
    """Takes bytes, gives whole replies. Raises ValueError for what is not RESP2, or is far too large.

    Each element is read once, in however many pieces its reply comes: who may write to the store chooses how many. Only
    a line is searched from its beginning again until it is whole, so it has to be short.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._arrays: list[tuple[list[Reply], int]] = []
        """Those that are not whole yet, the outermost first: what has come of each, and how many there will be."""
        self._taken = 0
        """Bytes of theirs that have left the buffer."""

    def feed(self, data: bytes) -> list[Reply]:
        """Every reply that is whole now."""
        self._buffer += data
        replies: list[Reply] = []
        position = 0
        while (end := self._buffer.find(b"\r\n", position, position + _LONGEST_LINE)) >= 0:
            kind, text = self._buffer[position], bytes(self._buffer[position + 1 : end])
            end += 2
            if kind == _BULK and (length := _length(text)) >= 0:
                end += length + 2
                if end > len(self._buffer):
                    break
                if not self._buffer.endswith(b"\r\n", end - 2, end):
                    raise ValueError("a bulk string is longer than it says")
                self._add(bytes(self._buffer[end - length - 2 : end - 2]), replies)
            elif kind == _ARRAY and (length := _length(text)) > 0:
                self._begin(length)
            else:
                self._add(_number(text) if kind == _INTEGER else _simple(kind, text), replies)
            self._taken = self._taken + end - position if self._arrays else 0
            position = end
        else:
            if len(self._buffer) - position >= _LONGEST_LINE:
                raise ValueError("the line is too long")
        del self._buffer[:position]
        if self._taken + len(self._buffer) > _MOST_REPLY:
            raise ValueError("the reply is too large")
        return replies

    def _begin(self, length: int) -> None:
        if len(self._arrays) >= _DEEPEST:
            raise ValueError("too many arrays in arrays")
        self._arrays.append(([], length))

    def _add(self, value: Reply, replies: list[Reply]) -> None:
        """One more element, which may be the last of the arrays that it is in."""
        while self._arrays:
            items, length = self._arrays[-1]
            items.append(value)
            if len(items) < length:
                return
            self._arrays.pop()
            value = items
        replies.append(value)


def _length(text: bytes) -> int:
    """Of a bulk string or an array; -1 is that of one that is not there."""
    if text.isdigit() or text == b"-1":
        return int(text)
    raise ValueError("not a length")


def _number(text: bytes) -> int:
    """An integer with its sign, if any; ``int`` alone also takes blanks around it and underscores in it."""
    if text.lstrip(b"+-").isdigit():
        return int(text)
    raise ValueError("not a number")


def _simple(kind: int, text: bytes) -> Reply:
    """Other things than a number of which one line says all."""
    if kind == _STATUS:
        return text
    if kind == _ERROR:
        return RespError(text.decode("utf-8", "replace"))
    if kind == _BULK:
        return None
    if kind == _ARRAY:
        return []
    raise ValueError("not RESP2")


def encode(parts: Iterable[bytes]) -> bytes:
    """One command as an array of bulk strings."""
    parts = tuple(parts)
    return b"".join((b"*%d\r\n" % len(parts), *(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)))


class Resp(asyncio.Protocol):
    """A connection to one server that repairs itself.

    ``greeting`` gives the commands that open a connection (AUTH, SELECT, SCRIPT LOAD); it is asked each time, so that a
    changed password needs no restart. ``timeout`` in seconds bounds connecting and every answer. ``changed`` hears
    when the store becomes usable (None) or stops being so (the reason). ``pushed`` gets the messages of subscriptions.
    """

    def __init__(
        self,
        target: tuple[str, int] | str,
        *,
        tls: ssl.SSLContext | None,
        greeting: Callable[[], list[tuple[bytes, ...]]],
        timeout: float,
        changed: Callable[[str | None], None] = lambda _reason: None,
        pushed: Callable[[list[Any]], None] | None = None,
    ) -> None:
        self._target, self._tls = target, tls
        self._greeting = greeting
        self._timeout = timeout
        self._changed = changed
        self._pushed = pushed
        self._loop: asyncio.AbstractEventLoop
        self._transport: asyncio.Transport | None = None
        self._parser = RespParser()
        self._pending: deque[tuple[float, asyncio.Future[Reply]]] = deque()
        self._out: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._lost: asyncio.Future[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._reason: str | None = "not connected yet"
        self._told: str | None = ""
        self.usable = False

    # --- life ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect, and go on connecting whenever the connection is lost. Returns after the first attempt."""
        self._loop = asyncio.get_running_loop()
        await self._attempt()
        self._keeper = self._loop.create_task(self._keep())

    async def close(self) -> None:
        """Stop."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        self._break("closed", tell=False)

    async def _keep(self) -> None:
        failures = 0
        while True:
            if self.usable:
                failures = 0
                self._lost = self._loop.create_future()
                await self._lost
            await asyncio.sleep(_BACKOFF[min(failures, len(_BACKOFF) - 1)])
            failures += 1
            await self._attempt()

    async def _attempt(self) -> None:
        try:
            async with asyncio.timeout(max(self._timeout, 1.0)):
                await self._connect()
                for command in await asyncio.to_thread(self._greeting):  # a secret may come from a program
                    reply = await self._send(command)
                    if isinstance(reply, RespError):
                        raise StoreUnavailableError(f"{command[0].decode()} was refused: {str(reply)[:80]}")
        except TimeoutError:
            return self._break("it did not answer in time")
        except ssl.SSLError as error:
            return self._break(f"TLS failed: {error.reason or 'error'}")
        except OSError as error:
            return self._break(error.strerror or "it can't be reached")
        except Exception as error:
            return self._break(str(error) or type(error).__name__)
        self.usable, self._reason = True, None
        self._tell(None)
        return None

    async def _connect(self) -> None:
        self._parser = RespParser()
        if isinstance(self._target, str):
            await self._loop.create_unix_connection(lambda: self, self._target)
            return
        host, port = self._target
        name = None if self._tls is None else host
        await self._loop.create_connection(lambda: self, host, port, ssl=self._tls, server_hostname=name)

    def _tell(self, reason: str | None) -> None:
        if reason != self._told:
            self._told = reason
            self._changed(reason)

    def _break(self, reason: str, *, tell: bool = True) -> None:
        """The connection can't be used any more: everything that waits fails now."""
        transport, self._transport = self._transport, None
        self.usable, self._reason = False, reason
        if transport is not None:
            transport.abort()
        self._out.clear()
        pending, self._pending = self._pending, deque()
        for _, future in pending:
            if not future.done():
                future.set_exception(StoreUnavailableError(reason))
        if tell:
            self._tell(reason)
        lost, self._lost = self._lost, None
        if lost is not None and not lost.done():
            lost.set_result(None)

    # --- asyncio.Protocol ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The server has accepted."""
        self._transport = transport  # type: ignore[assignment] # a stream protocol gets a Transport

    def connection_lost(self, exc: Exception | None) -> None:
        """The server has gone."""
        if self._transport is not None:
            self._break("the connection was lost")

    def data_received(self, data: bytes) -> None:
        """Replies, in the order of the commands."""
        try:
            replies = self._parser.feed(data)
        except (ValueError, RecursionError):
            self._break("it does not speak RESP2")
            return
        for reply in replies:
            if self._pushed is not None and isinstance(reply, list) and reply and reply[0] == b"message":
                self._pushed(reply)
                continue
            if not self._pending:
                self._break("it answered what nobody asked")
                return
            _, future = self._pending.popleft()
            if not future.done():
                future.set_result(reply)

    # --- commands --------------------------------------------------------------------------------------------------

    def _send(self, parts: Iterable[bytes]) -> asyncio.Future[Reply]:
        future: asyncio.Future[Reply] = self._loop.create_future()
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(encode(parts))
        self._pending.append((self._loop.time(), future))
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._look_at_clock)
        return future

    def _flush(self) -> None:
        if self._transport is not None and self._out:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _look_at_clock(self) -> None:
        self._timer = None
        if not self._pending:
            return
        due = self._pending[0][0] + self._timeout
        if due <= self._loop.time():
            self._break("it did not answer in time")
        else:
            self._timer = self._loop.call_at(due, self._look_at_clock)

    async def command(self, *parts: bytes) -> Reply:
        """One command's reply. Raises StoreUnavailableError, also for an error reply that is the server's state."""
        if not self.usable:
            raise StoreUnavailableError(self._reason or "not connected")
        if len(self._pending) >= _MOST_PENDING:
            raise StoreUnavailableError("too many commands wait for an answer")
        reply = await self._send(parts)
        if isinstance(reply, RespError):
            if str(reply).startswith(("READONLY", "NOAUTH", "MASTERDOWN", "LOADING")):  # another server may do better
                self._break(str(reply)[:80])
            raise StoreUnavailableError(str(reply)[:80])
        return reply

    async def run(self, script: Script, keys: Iterable[bytes], arguments: Iterable[bytes]) -> Reply:
        """Run a script, by its digest; a server that has forgotten it gets the text again."""
        keys = tuple(keys)
        rest = (b"%d" % len(keys), *keys, *arguments)
        try:
            return await self.command(b"EVALSHA", script.sha, *rest)
        except StoreUnavailableError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        return await self.command(b"EVAL", script.text, *rest)

    def tell(self, *parts: bytes) -> None:
        """Send a command whose outcome changes nothing here; without a store it is not sent."""
        if self.usable and len(self._pending) < _MOST_PENDING:
            with contextlib.suppress(StoreUnavailableError):
                self._send(parts).add_done_callback(_retrieved)


def _retrieved(future: asyncio.Future[Reply]) -> None:
    """Look at the outcome, so that nobody complains that nobody did."""
    if not future.cancelled():
        future.exception()
