"""A conversation with one stdio child: many requests at once, each with its own stream of frames back.

Ids and progress tokens of clients are replaced by the gateway's own on the way in and put back on the way out, so that
requests of independent connections never meet.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import orjson

from mcpsec.gateway.upstreams.asked import Asked, withdrawn_by
from mcpsec.gateway.upstreams.backlog import Backlog
from mcpsec.gateway.upstreams.deadlines import Deadlines
from mcpsec.gateway.upstreams.http_client import TooLargeFault, UpstreamFault, UpstreamTimeout
from mcpsec.gateway.upstreams.known_answers import AnswerHead
from mcpsec.protocol.exact import exact_bytes, exact_value
from mcpsec.protocol.jsonrpc import encode_notification, encode_request, request_error, same_id
from mcpsec.protocol.stdio import Oversize

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcpsec.gateway.upstreams.child import Child

__all__ = ["TIMED_OUT", "Call", "Channel", "DirectCall", "Frame", "Unfinished"]

_JSON = AnswerHead(200, b"application/json", {b"content-type": b"application/json"})
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
_METHOD_NOT_FOUND = -32601
TIMED_OUT = "timeout"
"""The reason that a child is told when a call was too slow."""
_WRITER_DEPTH = 250  # orjson reads 1024 levels of nesting and writes 254
_CANCELLED = {"code": -32800, "message": "Request cancelled"}  # as the official SDK's servers say it over HTTP
# What belongs to no call in particular even while one runs.
_GENERAL = frozenset(
    {
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
        "notifications/tools/list_changed",
    }
)

_IDS = (int, str)

Frame = dict[str, Any]


class Call:
    """One request on its way: what came back so far waits here until it is fetched."""

    __slots__ = ("_ready", "abandoned", "fault", "frames", "id", "key", "long_lived", "progress_token", "timer")

    def __init__(self, key: int, id: Any, progress_token: Any, *, long_lived: bool) -> None:
        self.key = key
        self.id = id
        self.progress_token = progress_token
        self.long_lived = long_lived
        self.frames = Backlog()
        self.fault: UpstreamFault | None = None
        self.abandoned = False
        self.timer: asyncio.TimerHandle | None = None
        self._ready: asyncio.Future[None] | None = None

    def push(self, frame: Frame, size: int) -> bool:
        """A frame of so many bytes has come; False when it is left out.

        A reader that does not keep up loses notifications and requests, never the answer.
        """
        if not self.frames.add(frame, size, always="method" not in frame):
            return False
        self._wake()
        return True

    def fail(self, fault: UpstreamFault) -> None:
        """No more frames will come."""
        self.fault = fault
        self._wake()

    def _wake(self) -> None:
        ready, self._ready = self._ready, None
        if ready is not None and not ready.done():
            ready.set_result(None)

    async def next(self) -> Frame:
        """The next frame. Raises UpstreamFault when there will be none."""
        while not self.frames:
            if self.fault is not None:
                raise self.fault
            self._ready = asyncio.get_running_loop().create_future()
            await self._ready
        return self.frames.take()


class Unfinished(NamedTuple):
    """What a direct call has got when its answer did not come first: itself, to whom more will come."""

    stream: DirectCall


class Waiting(Protocol):
    """Who waits for the answer of a direct call."""

    def set_known(self, head: AnswerHead, body: bytes, /) -> None:
        """The answer."""

    def set_result(self, response: Unfinished, /) -> None:
        """That it does not come alone."""

    def set_exception(self, fault: UpstreamFault, /) -> None:
        """Why there will be none."""


class DirectCall(Call):
    """A request whose answer goes to ``waiting`` the moment it comes, without a task that waits for it.

    That holds for an answer that comes alone. When anything else comes first this becomes an ordinary call.
    """

    __slots__ = ("_seconds", "_waiting", "channel", "deadline")

    def __init__(
        self, key: int, id: Any, progress_token: Any, channel: Channel, waiting: Waiting, seconds: float | None
    ) -> None:
        super().__init__(key, id, progress_token, long_lived=False)
        self.channel = channel
        self._waiting: Waiting | None = waiting
        self._seconds = seconds
        """How long it still counts once its caller has gone; None where that cancels it."""
        self.deadline = 0.0

    @property
    def waits(self) -> bool:
        """True until anything has come of it."""
        return self._waiting is not None

    def push(self, frame: Frame, size: int) -> bool:
        """A frame for this call has come."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return super().push(frame, size)
        if "method" in frame:
            super().push(frame, size)
            waiting.set_result(Unfinished(self))
        else:
            try:
                waiting.set_known(_JSON, exact_bytes(frame))
            except Exception as error:  # the lines behind this one are answers to others
                told = {"message": "an answer could not be handed over", "exception": error}
                asyncio.get_running_loop().call_exception_handler(told)
        return True

    def fail(self, fault: UpstreamFault) -> None:
        """No more frames will come."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            super().fail(fault)
        else:
            waiting.set_exception(fault)

    def expire(self) -> None:
        """Nothing has come in time."""
        self.channel.cancel(self, TIMED_OUT)
        self.fail(UpstreamTimeout("no answer within the deadline"))

    def abort(self) -> None:
        """Nobody waits any more: a closed stream cancels in the 2026 era (patterns/cancellation), and only there.

        Without effect once it has ended.
        """
        self._waiting = None
        if self._seconds is None:
            self.channel.cancel(self, "the client closed the stream")
        else:
            self.channel.abandon(self, self._seconds)


class Channel:
    """The gateway's side of one child."""

    def __init__(self, *, takes_server_requests: bool, in_flight: int, patience: float = 30.0) -> None:
        self._child: Child | None = None
        self._patience = patience
        """Seconds that a child which has let a call time out gets to show that it still answers anything."""
        self._lines = 0
        self._probe: asyncio.TimerHandle | None = None
        self._calls: dict[int, Call] = {}
        self._progress: dict[int, Call] = {}
        self._next_key = 0
        self._in_flight = in_flight
        self._takes_server_requests = takes_server_requests
        self._general = Backlog()
        self._listener: Call | None = None
        self.asked = Asked()
        self.answered = False
        self.last_used = 0.0
        self.list_changed: Callable[[], None] = lambda: None
        self._deadlines = Deadlines(self._direct_calls)
        self._now = asyncio.get_running_loop().time

    def attach(self, child: Child) -> None:
        """Talk to this child from now on."""
        self._child = child
        self.answered = False

    def is_alive(self) -> bool:
        """True while the child runs."""
        return self._child is not None and self._child.alive

    @property
    def busy(self) -> bool:
        """True while a request or a listener waits on this channel."""
        return bool(self._calls) or self._listener is not None

    @property
    def full(self) -> bool:
        """True when no more requests are taken at the moment."""
        return len(self._calls) >= self._in_flight

    # --- towards the child -----------------------------------------------------------------------------------------

    def begin(self, id: Any, method: str, params: Frame) -> Call:
        """Send a request. Raises UpstreamFault when the child is gone."""
        key, token = self._ask(method, params)
        call = self._calls[key] = Call(key, id, token, long_lived=method == "subscriptions/listen")
        return call

    def begin_direct(
        self, id: Any, method: str, params: Frame, waiting: Waiting, seconds: float, *, cancels: bool
    ) -> DirectCall:
        """The same for a request that is no subscription, answered to ``waiting`` within so many seconds.

        ``cancels`` says whether it is cancelled when its caller goes away, as it is in the 2026 era.
        """
        key, token = self._ask(method, params)
        self._calls[key] = call = DirectCall(key, id, token, self, waiting, None if cancels else seconds)
        self.last_used = now = self._now()
        call.deadline = deadline = now + seconds
        if deadline < self._deadlines.rings_at:
            self._deadlines.ring_at(deadline)
        return call

    def _ask(self, method: str, params: Frame) -> tuple[int, Any]:
        """Send a request; the key that it is known by to the child, and the progress token that this replaces."""
        self._next_key += 1
        key = self._next_key
        meta = params.get("_meta")
        token = None
        if isinstance(meta, dict) and (token := meta.get("progressToken")) is not None:
            params = {**params, "_meta": {**meta, "progressToken": key}}
        self._send(orjson.dumps({"jsonrpc": "2.0", "id": key, "method": method, "params": params}))
        return key, token

    def _direct_calls(self) -> list[DirectCall]:
        return [call for call in self._calls.values() if isinstance(call, DirectCall) and call.waits]

    def notify(self, method: str, params: Frame) -> None:
        """Send a notification; a cancelled request is named by the id that the child knows it by."""
        if method != "notifications/cancelled":
            self._send(encode_notification(method, params))
            return
        named = params.get("requestId")
        call = next((call for call in self._calls.values() if same_id(call.id, named)), None)
        if call is None:
            return
        self._send(encode_notification(method, {**params, "requestId": call.key}))
        # A server owes a cancelled request no answer (patterns/cancellation), but the POST of the call waits for one.
        self.end(call)
        call.push({"jsonrpc": "2.0", "id": call.id, "error": dict(_CANCELLED)}, 0)

    def respond(self, raw: bytes, id: Any) -> bool:
        """Pass a client's response to a request of the child's; False when the child asked nothing of that id."""
        expected = self.asked.answer(id)
        if expected:
            self._send(raw)
        return expected is not False

    def refuse_server_request(self, id: Any) -> None:
        """Answer a request of the child's that its client may not get; a notification (None) needs no answer."""
        if id is None:
            return
        self.asked.forget(id)
        with contextlib.suppress(UpstreamFault):  # a child that reads nothing misses this as well
            self._send(request_error(id, _METHOD_NOT_FOUND, "this client may not be asked that"))

    def _send(self, payload: bytes) -> None:
        if self._child is None or not self._child.send(payload):
            raise UpstreamFault("the server's process is gone or does not read", sent=False)

    def end(self, call: Call) -> None:
        """The call is over, one way or another."""
        if call.timer is not None:
            call.timer.cancel()
        if self._calls.pop(call.key, None) is not None:
            self.asked.carrier_over(call)

    def cancel(self, call: Call, reason: str) -> None:
        """Give a call up and tell the child so."""
        if self._calls.pop(call.key, None) is None:
            return
        if call.timer is not None:
            call.timer.cancel()
        self.asked.carrier_over(call)
        with contextlib.suppress(UpstreamFault):
            self._send(encode_notification("notifications/cancelled", {"requestId": call.key, "reason": reason}))
        if reason == TIMED_OUT and self._probe is None:
            self._look_for_life()

    def _look_for_life(self) -> None:
        """Ask a child that was too slow for anything at all: one that hangs would keep its client out for good."""
        self._next_key += 1
        loop, asked = asyncio.get_running_loop(), (self._next_key, self._lines)
        self._probe = loop.call_later(self._patience, self._end_if_dumb, *asked)
        with contextlib.suppress(UpstreamFault):
            self._send(encode_request(self._next_key, "ping", {}))  # who doesn't know it says so

    def _end_if_dumb(self, key: int, lines: int) -> None:
        self._probe = None
        # A call from before may have longer to go: a program that does one thing at a time is busy with it.
        if self._lines != lines or any(call.key < key and not call.long_lived for call in self._calls.values()):
            return
        self.fail_all(UpstreamFault("the server's process did not answer any more: it is ended"))
        if self._child is not None:
            self._child.end()

    def abandon(self, call: Call, seconds: float) -> None:
        """Its caller has gone, which cancels nothing in the 2025 era; it still counts until it ends or is too old."""
        if call.key not in self._calls:
            return
        call.abandoned = True
        call.frames.clear()
        self.asked.carrier_over(call)
        call.timer = asyncio.get_running_loop().call_later(seconds, self.cancel, call, TIMED_OUT)

    # --- from the child --------------------------------------------------------------------------------------------

    def received(self, line: bytes | Oversize) -> None:
        """One line of the child's output. What is not a message is dropped (servers print to standard output too)."""
        self._lines += 1
        if isinstance(line, Oversize):
            self.fail_all(TooLargeFault("the server sent a message larger than the limit"))
            return
        try:
            frame = exact_value(line)
        except orjson.JSONDecodeError:
            return
        if not isinstance(frame, dict) or frame.get("jsonrpc") != "2.0":
            return
        if line.count(b"{") + line.count(b"[") > _WRITER_DEPTH and not _is_writable(frame):
            self._unusable(frame)
        elif "method" not in frame:
            self._response(frame, len(line))
        elif not isinstance(frame["method"], str) or type(frame.get("id", 0)) not in _IDS:
            return  # no request and no notification (JSON-RPC 2.0 section 4)
        elif "id" in frame:
            self._server_request(frame, len(line))
        else:
            self._notification(frame, len(line))

    def _unusable(self, frame: Frame) -> None:
        call = self._call_of(frame.get("id")) if "method" not in frame else None
        if call is not None:
            self.end(call)
            call.fail(UpstreamFault("the server's answer is nested too deeply"))

    def _call_of(self, key: object) -> Call | None:
        return self._calls.get(key) if type(key) is int else None

    def _response(self, frame: Frame, size: int) -> None:
        call = self._call_of(frame.get("id"))
        if call is None:
            return
        self.end(call)  # at once: another answer to it has nobody to wait for it, however slowly this one is fetched
        if call.abandoned:
            return
        self.answered = True
        frame["id"] = call.id
        result = frame.get("result")
        if call.long_lived and isinstance(result, dict):
            _put_back_subscription(result, call)
        call.push(frame, size)

    def _server_request(self, frame: Frame, size: int) -> None:
        """Pass on what the child asks, if there is room; what it asked in a call that is over gives way to it."""
        call = self._newest_call()
        id, carrier = frame["id"], call or self._listener or self
        taken, lost = self.asked.add(id, carrier, self._in_flight) if self._takes_server_requests else (False, None)
        if lost is not None:
            self.refuse_server_request(lost)
        if not (taken and self._route(frame, call, size)):
            self.refuse_server_request(id)

    def _notification(self, frame: Frame, size: int) -> None:
        method, params = frame["method"], frame.get("params")
        params = params if isinstance(params, dict) else {}
        if method == "notifications/progress":
            call = self._call_of(params.get("progressToken"))
            if call is not None and not call.abandoned and call.progress_token is not None:
                params["progressToken"] = call.progress_token
                call.push(frame, size)
            return
        if method == "notifications/tools/list_changed":
            self.list_changed()
        withdrawn = withdrawn_by(frame)
        if withdrawn is not None:
            self.asked.withdraw(withdrawn)
        meta = params.get("_meta")
        if isinstance(meta, dict) and _SUBSCRIPTION in meta:
            call = self._call_of(_as_int(meta[_SUBSCRIPTION]))
            if call is not None:
                meta[_SUBSCRIPTION] = call.id
                call.push(frame, size)
            return
        self._route(frame, None if method in _GENERAL else self._newest_call(), size)

    def _newest_call(self) -> Call | None:
        """The call that an unrelated message most likely belongs to: stdio does not say (the newest one running)."""
        waiting = [call for call in self._calls.values() if not call.long_lived and not call.abandoned]
        return waiting[-1] if waiting else None

    def _route(self, frame: Frame, call: Call | None, size: int) -> bool:
        target = call or self._listener
        return self._general.add(frame, size) if target is None else target.push(frame, size)

    def listen(self) -> Call | None:
        """Open the one stream for what belongs to no call; None when it is open already."""
        if self._listener is not None:
            return None
        self._listener = Call(0, None, None, long_lived=True)
        self._listener.frames, self._general = self._general, Backlog()
        self.asked.carrier_over(self, self._listener)
        return self._listener

    def unlisten(self, listener: Call) -> None:
        """Close that stream."""
        if self._listener is listener:
            self._listener = None
        self.asked.carrier_over(listener)

    def fail_all(self, fault: UpstreamFault) -> None:
        """The child is gone: every waiting call hears of it."""
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None
        for call in tuple(self._calls.values()):
            self.end(call)
            call.fail(fault)
        if self._listener is not None:
            self._listener.fail(fault)
        self.asked.clear()


def _as_int(value: object) -> object:
    return int(value) if isinstance(value, str) and len(value) < 20 and value.isdecimal() else value


def _is_writable(frame: Frame) -> bool:
    try:
        exact_bytes(frame)
    except orjson.JSONEncodeError:
        return False
    return True


def _put_back_subscription(result: Frame, call: Call) -> None:
    meta = result.get("_meta")
    if isinstance(meta, dict) and _SUBSCRIPTION in meta:
        meta[_SUBSCRIPTION] = call.id
