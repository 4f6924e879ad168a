"""A stdio server behind the gateway: the gateway speaks Streamable HTTP for it and hands frames to a child process.

2025 era: one child a session. 2026 era: one child a client, since that era has no sessions. No two clients ever share a
child. Which eras are offered is what the child itself speaks; nothing is translated.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from typing import TYPE_CHECKING, Any

import orjson

from mcpsec import __version__
from mcpsec.gateway.catalogue import Catalogue
from mcpsec.gateway.message import Answer, Refusal, StreamAnswer, too_busy, too_many_sessions
from mcpsec.gateway.sandbox import child_environment, launch_command
from mcpsec.gateway.sessions import TooManySessionsError
from mcpsec.gateway.state import StoreUnavailableError
from mcpsec.gateway.upstreams.base import (
    RpcError,
    UpstreamStartError,
    unavailable,
    upstream_timeout,
)
from mcpsec.gateway.upstreams.channel import Channel
from mcpsec.gateway.upstreams.child import Child, ChildStartError
from mcpsec.gateway.upstreams.conversation import Conversation, Failures, modern_meta
from mcpsec.gateway.upstreams.http_client import NoRoomFault, UpstreamFault, UpstreamTimeout
from mcpsec.gateway.upstreams.replies import Replies
from mcpsec.gateway.upstreams.stdio_sending import StdioSender
from mcpsec.gateway.upstreams.timeouts import Timeouts
from mcpsec.protocol import codes
from mcpsec.protocol.eras import LATEST_LEGACY, LATEST_MODERN, LEGACY_VERSIONS, Era
from mcpsec.protocol.jsonrpc import Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from mcpsec.deployment.model import Client, Limits
    from mcpsec.deployment.model import Upstream as UpstreamConfig
    from mcpsec.gateway.answers import AnswerGuard
    from mcpsec.gateway.message import Exchange
    from mcpsec.gateway.sessions import Session, SessionTable
    from mcpsec.gateway.state import SessionRecord
    from mcpsec.gateway.upstreams.channel import Channel, Frame
    from mcpsec.gateway.upstreams.protected import ProtectedUpstream

__all__ = ["StdioUpstream"]

_CLIENT_INFO = {"name": "mcpsec", "version": __version__}
_START_SECONDS = 60.0  # a package runner may have to download the server first
_PROBE_SECONDS = 5.0
_GRACE_SECONDS = 2.0


class StdioUpstream:
    """One upstream that is a program."""

    def __init__(
        self,
        config: UpstreamConfig,
        environment: dict[str, str],
        limits: Limits,
        sessions: SessionTable,
        guard: AnswerGuard,
        client_environment: Mapping[str, dict[str, str]] | None = None,
        private: Collection[Path] = (),
    ) -> None:
        if config.command is None:
            raise ValueError("a stdio upstream needs a command")
        self.name = config.name
        self.timeout = config.timeout
        self._timeouts = Timeouts(config)
        self.catalogue = Catalogue()
        self._config, self._command, self._private = config, config.command, private
        self.environment = child_environment(environment)  # of every child that starts from now on
        self.of_clients = {name: child_environment(values) for name, values in (client_environment or {}).items()}
        self._limits = limits
        self._sessions = sessions
        self.replies = Replies(limits, self._timeouts, guard)
        self._modern: dict[str, Conversation] = {}
        self._own: dict[str, Conversation] = {}
        self._modern_known: bool | None = None  # None: the server has not answered that question yet
        self._failures: dict[str, Failures] = {}
        self._children: set[Child] = set()

    # --- starting --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Run the program once, see that it speaks MCP and in which eras. Raises UpstreamStartError."""
        program = self._command[0]
        if shutil.which(program, path=self.environment.get("PATH")) is None:
            raise UpstreamStartError(self.name, f"there is no program {program!r} (looked in PATH)")
        conversation = self._new_conversation(None, takes_server_requests=False)
        try:
            await self._spawn(conversation)
            await self._probe(conversation)
        except (ChildStartError, UpstreamFault) as fault:
            raise UpstreamStartError(self.name, self._start_fault(conversation, fault)) from None
        finally:
            if conversation.child is not None:
                await self._stop(conversation.child)

    async def _probe(self, conversation: Conversation) -> None:
        """Ask for the modern era first; an error, or silence, means the older one (2026-07-28, basic/versioning).

        A server that is slow to start is silent too: it gets the older handshake as well, and since servers answer in
        order, an answer to that shows that the first question has been passed over.
        """
        discover = asyncio.ensure_future(
            self._exchange(conversation, "server/discover", {"_meta": modern_meta()}, _START_SECONDS)
        )
        try:
            await asyncio.wait({discover}, timeout=_PROBE_SECONDS)
            if not discover.done():
                with contextlib.suppress(RpcError):  # a server of the modern era alone refuses it
                    await self._shake_hands(conversation, _START_SECONDS)
                await asyncio.wait({discover}, timeout=_GRACE_SECONDS)
            if discover.done() and not isinstance(discover.exception(), RpcError):
                self.catalogue.greeting = discover.result()
                self._modern_known = True
                meta = {"_meta": modern_meta()}
                self._learn(await self._exchange(conversation, "tools/list", meta, _START_SECONDS))
                return
            if discover.done():
                self._modern_known = False
            if conversation.handshake is None:
                try:
                    await self._shake_hands(conversation, _START_SECONDS)
                except RpcError:  # it refuses both eras, or only repeats what it is told: `cat` does
                    raise UpstreamFault("it refused the handshake") from None
            self._learn(await self._exchange(conversation, "tools/list", {}, _START_SECONDS))
        except RpcError:
            pass  # it answers, so it lives: a server without tools may refuse to list them
        finally:
            discover.cancel()
            await asyncio.gather(discover, return_exceptions=True)

    def _learn(self, result: Frame) -> None:
        """What no client has asked for: it may be called, and is held against the pins, until a list says otherwise."""
        tools = result.get("tools")
        if isinstance(tools, list):
            self.catalogue.learn(tools)
            self.catalogue.admit("tools", tools)
            if not isinstance(result.get("nextCursor"), str):
                self.catalogue.listed_at = asyncio.get_running_loop().time()

    def _start_fault(self, conversation: Conversation, fault: Exception) -> str:
        child = conversation.child
        if child is None:
            return str(fault)
        if child.alive:
            return "it started but did not answer as an MCP server"
        words = f"it ended at once with exit status {child.returncode}"
        tail = child.stderr_tail()
        return f"{words}; its last words: {' | '.join(tail.splitlines()[-5:])}" if tail else words

    # --- children --------------------------------------------------------------------------------------------------

    def _new_conversation(self, client_id: str | None, *, takes_server_requests: bool) -> Conversation:
        channel = Channel(
            takes_server_requests=takes_server_requests, in_flight=self._config.in_flight, patience=self.timeout
        )
        environment = self.of_clients.get(client_id or "", self.environment)
        failures = Failures() if client_id is None else self._failures.setdefault(client_id, Failures())
        conversation = Conversation(channel, environment, failures)
        channel.list_changed = lambda: self.catalogue.doubt(conversation.listing)
        return conversation

    async def _spawn(self, conversation: Conversation) -> None:
        """Start a child for a conversation. Raises ChildStartError, or UpstreamFault while failures are backed off."""
        if len(self._children) >= self._limits.sessions:
            raise NoRoomFault("too many server processes", sent=False)
        failures = conversation.failures
        if failures.pausing:
            raise UpstreamFault("the server's process keeps failing; it gets a pause", sent=False)
        channel = conversation.channel
        channel.answered = False

        def ended(child: Child) -> None:
            self._children.discard(child)
            if channel.answered:
                failures.over()
            elif not child.stopping:  # it never did anything useful: the next start waits longer
                failures.one_more()
            channel.fail_all(UpstreamFault("the server's process ended"))

        child = await Child.start(
            launch_command(self._command, self._config.sandbox, self._config.cwd, self._private),
            environment=conversation.environment,
            cwd=self._config.cwd,
            line_bytes=self._limits.response_bytes,
            received=channel.received,
            ended=ended,
        )
        if child.alive:
            self._children.add(child)
        conversation.child = child
        channel.attach(child)

    async def _stop(self, child: Child) -> None:
        child.stopping = True
        await child.stop()

    async def _ensure_alive(self, conversation: Conversation) -> None:
        """A child that died between two calls is replaced, and a session's handshake is said to the new one."""
        if conversation.channel.is_alive() and not conversation.starting.locked():
            return
        async with conversation.starting:
            if conversation.channel.is_alive():
                return
            await self._spawn(conversation)
            try:
                if conversation.over:
                    raise UpstreamFault("the session is over", sent=False)
                if conversation.handshake is not None:
                    await self._exchange(conversation, "initialize", conversation.handshake, _START_SECONDS)
                    conversation.channel.notify("notifications/initialized", {})
            except BaseException as error:  # cancelled, too: a child that is half introduced serves nobody
                if conversation.child is not None:
                    await self._stop(conversation.child)
                if isinstance(error, RpcError):
                    raise UpstreamFault("the server's new process refused the handshake", sent=False) from None
                raise

    async def _exchange(self, conversation: Conversation, method: str, params: Frame, seconds: float) -> Frame:
        """One request of the gateway's own; notifications on the way are ignored."""
        channel = conversation.channel
        call = channel.begin(None, method, params)  # of no id that a client could cancel it by
        try:
            async with asyncio.timeout(seconds):
                frame = await call.next()
                while "method" in frame:
                    frame = await call.next()
        except TimeoutError:
            raise UpstreamTimeout("no answer within the deadline") from None
        finally:
            channel.end(call)
        error = frame.get("error")
        if isinstance(error, dict):
            raise RpcError.read(error)
        result = frame.get("result")
        return result if isinstance(result, dict) else {}

    async def _shake_hands(self, conversation: Conversation, seconds: float) -> None:
        handshake = {"protocolVersion": LATEST_LEGACY, "capabilities": {}, "clientInfo": _CLIENT_INFO}
        self.catalogue.greeting = await self._exchange(conversation, "initialize", handshake, seconds)
        conversation.channel.notify("notifications/initialized", {})
        conversation.handshake = handshake

    # --- requests --------------------------------------------------------------------------------------------------

    async def call(self, exchange: Exchange) -> Answer | StreamAnswer | Refusal:
        """Serve one authorised request."""
        started = time.perf_counter()
        try:
            if exchange.era is Era.MODERN:
                return await self._call_modern(exchange)
            if exchange.request.method == b"GET":
                return self._open_stream(exchange)
            if exchange.request.method == b"DELETE":
                return await self._end_session(exchange)
            return await self._call_legacy(exchange)
        except (UpstreamFault, ChildStartError) as fault:
            rule = "too-many-processes" if isinstance(fault, NoRoomFault) else "upstream-unavailable"
            return unavailable(rule, str(fault))
        finally:
            exchange.upstream_ms = (time.perf_counter() - started) * 1000

    async def _call_modern(self, exchange: Exchange) -> Answer | StreamAnswer | Refusal:
        message, client = exchange.message, exchange.client
        if message is None or client is None:
            raise ValueError("a call without a message or a client never gets here")
        if not await self._speaks_modern(client.id):
            if self._modern_known is None:
                return upstream_timeout()
            data = {"supported": list(LEGACY_VERSIONS), "requested": LATEST_MODERN}
            return Refusal(400, codes.UNSUPPORTED_PROTOCOL_VERSION, "Unsupported protocol version", "era", data=data)
        if message.kind is not Kind.REQUEST:
            return Answer(202, [])  # over HTTP this revision has no notification that a server acts on
        conversation = await self._shared(self._modern, client.id)
        if conversation.channel.full:
            return too_busy("in-flight-upstream")
        call = conversation.channel.begin(message.id, message.method, message.params)
        return await self.replies.answer(exchange, conversation.channel, call)

    def sender(self, protected: ProtectedUpstream, exchange: Exchange) -> StdioSender | None:
        """What sends calls that repeat this one; ``protected`` stands before this."""
        if exchange.session is None and exchange.era is not Era.MODERN:
            return None  # it is refused
        return StdioSender(protected, self, exchange)

    def ready(self, client_id: str, session: Session | None) -> Channel | None:
        """Where the next call of a session, or of a client's in the 2026 era, can be sent at once, if anywhere."""
        conversation: Conversation | None
        if session is not None:
            conversation = session.state
        else:
            conversation = self._modern.get(client_id) if self._modern_known else None
        if conversation is None or conversation.over or conversation.starting.locked():
            return None
        channel = conversation.channel
        if channel.full or not channel.is_alive():
            return None
        return channel

    async def _speaks_modern(self, client_id: str) -> bool:
        """Whether the server speaks the 2026 era; one that was too slow to say so is asked again at each request."""
        if self._modern_known is None:
            conversation = await self._shared(self._modern, client_id)
            meta, patience = {"_meta": modern_meta()}, min(self.timeout, _START_SECONDS)
            try:
                self.catalogue.greeting = await self._exchange(conversation, "server/discover", meta, patience)
                self._modern_known = True
            except (RpcError, UpstreamTimeout) as error:  # silence on a busy machine says nothing for good
                self._modern_known = False if isinstance(error, RpcError) else None
        return self._modern_known is True

    async def _shared(self, group: dict[str, Conversation], client_id: str) -> Conversation:
        conversation = group.get(client_id)
        if conversation is None:
            conversation = group[client_id] = self._new_conversation(client_id, takes_server_requests=False)
            conversation.listing = self.catalogue.listing(client_id, None)
        conversation.channel.last_used = asyncio.get_running_loop().time()
        await self._ensure_alive(conversation)
        return conversation

    async def _call_legacy(self, exchange: Exchange) -> Answer | StreamAnswer | Refusal:
        message = exchange.message
        if message is None:
            raise ValueError("a call without a message never gets here")
        if exchange.session is None:
            if message.kind is Kind.REQUEST and message.method == "initialize":
                return await self._initialize(exchange)
            return Refusal(400, codes.INVALID_REQUEST, "Bad Request: Missing session ID", "session-missing")
        conversation: Conversation = exchange.session.state
        await self._ensure_alive(conversation)
        channel = conversation.channel
        if message.kind is Kind.NOTIFICATION:
            channel.notify(message.method, message.params)
            return Answer(202, [])
        if message.kind is Kind.RESPONSE:
            if not channel.respond(message.raw, message.id):
                return Refusal(400, codes.INVALID_REQUEST, "nothing was asked of this id", "response-unexpected")
            return Answer(202, [])
        if channel.full:
            return too_busy("in-flight-upstream")
        call = channel.begin(message.id, message.method, message.params)
        return await self.replies.answer(exchange, channel, call)

    async def _initialize(self, exchange: Exchange) -> Answer | StreamAnswer | Refusal:
        message, client = exchange.message, exchange.client
        if message is None or client is None:
            raise ValueError("a call without a message or a client never gets here")
        try:
            self._sessions.check_room(client.id)
        except TooManySessionsError:
            return too_many_sessions()
        conversation = self._new_conversation(client.id, takes_server_requests=True)
        kept = False
        try:
            await self._spawn(conversation)
            call = conversation.channel.begin(message.id, message.method, message.params)
            answer = await self.replies.answer(exchange, conversation.channel, call, max(self.timeout, _START_SECONDS))
            result = orjson.loads(answer.body).get("result") if isinstance(answer, Answer) else None
            if isinstance(answer, Answer) and isinstance(result, dict):
                conversation.handshake = message.params
                session = self._sessions.open(client.id, self.name, conversation)
                session.version, session.listing = str(result.get("protocolVersion", "")), conversation.listing
                exchange.session = session
                answer.headers.append((b"mcp-session-id", session.id.encode()))
                await self._sessions.publish(session, upstream_id=_as_kept(message.params))
                kept = True
            return answer
        except StoreUnavailableError as error:
            return unavailable("store-unavailable", str(error))
        except TooManySessionsError:
            return too_many_sessions()
        finally:
            if not kept and conversation.child is not None:
                await self._stop(conversation.child)

    # --- sessions of the 2025 era ----------------------------------------------------------------------------------

    def _open_stream(self, exchange: Exchange) -> StreamAnswer | Refusal:
        if exchange.session is None:
            return Refusal(400, codes.INVALID_REQUEST, "Bad Request: Missing session ID", "session-missing")
        return self.replies.open_stream(exchange, exchange.session.state.channel)

    async def _end_session(self, exchange: Exchange) -> Answer | Refusal:
        session: Session | None = exchange.session
        if session is None:
            return Refusal(400, codes.INVALID_REQUEST, "Bad Request: Missing session ID", "session-missing")
        await self.end_session(session)
        return Answer(200, [])

    async def end_session(self, session: Session) -> None:
        """Forget a session and stop its child."""
        self._sessions.close(session)
        await self.stop_session(session)

    async def stop_session(self, session: Session) -> None:
        """Stop the child that a session has here; at another gateway it may go on, with a child of that one's own."""
        conversation: Conversation = session.state
        conversation.over = True
        if conversation.child is not None:
            await self._stop(conversation.child)

    def adopt_session(self, id: str, record: SessionRecord) -> Session | None:
        """Serve a session that another gateway has opened, with a child of our own that hears its handshake.

        None when it can't be one of a program: it was opened while the upstream was a server over HTTP, say.
        Raises TooManySessionsError.
        """
        try:
            handshake = orjson.loads(record.upstream_id)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(handshake, dict):
            return None
        conversation = self._new_conversation(record.client_id, takes_server_requests=True)
        conversation.handshake = handshake
        session = self._sessions.adopt(id, record, conversation)
        if session.state is conversation:
            session.listing = conversation.listing
        return session

    def is_busy(self, session: Session) -> bool:
        """True while something runs in a session."""
        return bool(session.state.channel.busy)

    async def recycle(self, now: float) -> None:
        """Stop shared children that nobody has used for ``session_idle_timeout`` seconds."""
        oldest = now - self._limits.session_idle_timeout
        idle: list[Child] = []
        for group in (self._modern, self._own):
            for client_id, conversation in tuple(group.items()):
                channel = conversation.channel
                if channel.last_used < oldest and not channel.busy:
                    del group[client_id]
                    if conversation.child is not None:
                        idle.append(conversation.child)
        await asyncio.gather(*(self._stop(child) for child in idle))

    # --- what the gateway asks of its own --------------------------------------------------------------------------

    async def ask(
        self, client: Client, method: str, params: dict[str, Any], session: Session | None = None
    ) -> dict[str, Any]:
        """One request of the gateway's own. Raises RpcError or UpstreamFault."""
        seconds = self._timeouts.of_call(method, params)
        try:
            if session is not None:
                await self._ensure_alive(session.state)
                return await self._exchange(session.state, method, params, seconds)
            if await self._speaks_modern(client.id):
                conversation = await self._shared(self._modern, client.id)
                return await self._exchange(conversation, method, {**params, "_meta": modern_meta(params)}, seconds)
            conversation = await self._shared(self._own, client.id)
            async with conversation.starting:
                if conversation.handshake is None:
                    await self._shake_hands(conversation, _START_SECONDS)
            return await self._exchange(conversation, method, params, seconds)
        except ChildStartError as error:
            raise UpstreamFault(str(error), sent=False) from None

    async def close(self) -> None:
        """Stop every child."""
        await asyncio.gather(*(self._stop(child) for child in tuple(self._children)))


def _as_kept(handshake: Frame) -> str:
    """A handshake as the store keeps it: JSON, and as any value there without control characters."""
    return orjson.dumps(handshake).decode().replace("\x7f", "\\u007f")
