"""One request on its way through the gateway, and the answers it may get."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import orjson

from mcpsec.protocol import codes
from mcpsec.protocol.headers import mcp_headers
from mcpsec.protocol.jsonrpc import Kind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
    from struct import Struct

    from mcpsec.deployment.model import Client, MethodClass
    from mcpsec.gateway.limits import Place
    from mcpsec.gateway.oauth.access import AccessToken
    from mcpsec.gateway.repeats import Way
    from mcpsec.gateway.steps.trace import TraceContext
    from mcpsec.gateway.upstreams.sending import Sender
    from mcpsec.protocol.eras import Era
    from mcpsec.protocol.headers import Agreement
    from mcpsec.protocol.jsonrpc import Message
    from mcpsec.telemetry.counts import Series
    from mcpsec.telemetry.events import Decision
    from mcpsec.telemetry.likeness import Likeness

__all__ = [
    "Answer",
    "Attempts",
    "Exchange",
    "Head",
    "Headers",
    "Peer",
    "Refusal",
    "Request",
    "StreamAnswer",
    "json_answer",
    "spent",
    "too_busy",
    "too_many_sessions",
]

Headers = list[tuple[bytes, bytes]]


class Attempts:
    """What has been tried on one connection: how often authentication ``failed``."""

    __slots__ = ("failed",)

    def __init__(self) -> None:
        self.failed = 0


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a connection, read once after the handshake.

    ``der`` is the verified client certificate, ``sans`` are its subject alternative names as plain text,
    ``fingerprint`` is the lower-case hex SHA-256 of ``der``. All are empty without a certificate. ``not_before``
    and ``not_after`` are in epoch seconds; ``tls`` and ``cipher`` name what the connection is protected with.
    """

    address: str
    sans: tuple[str, ...] = ()
    fingerprint: str | None = None
    not_after: float | None = None
    der: bytes | None = None
    client: Client | None = None
    tls: str | None = None
    cipher: str | None = None
    not_before: float | None = None
    attempts: Attempts = field(default_factory=Attempts, compare=False, repr=False)


class Head:
    """The head of a request that came before, with what was found out about it alone; never changed.

    ``headers`` and ``fields`` lack Content-Length: it frames the message, and the same head may stand before another
    body. The values of the fields in ``proving`` are left out too; ``proofs`` are their places among the headers, and
    ``proving`` then their names. ``KnownHeads`` keeps ``book``, which says that it is its own, and the bytes: ``frame``
    has those before each value that varies, and whether that one proves; ``tail`` those behind the last. ``size`` are
    the bytes of the request that last came with it: ``whole`` is the head as it was then, where nothing in it proves,
    else ``layout`` has the lengths of its ``pieces`` and of the values between them, Content-Length at ``place``.
    ``signing`` has what a signature is verified over, as text, the names of its own fields, and the headers it covers.
    ``sent`` is what an upstream gets of it, by the lane ``sent_by``.
    ``passed`` is the step of HTTP hygiene that it has passed; the others are None until somebody asks. ``names`` says
    whether it names the tool that is called. ``ways`` has the shortened ways of requests that repeat one with this
    head, by client and, where it names none, by what their bodies seem to name.
    """

    __slots__ = (
        "agreement", "book", "fields", "forwarded", "frame", "headers", "layout", "mcp_headers", "method", "names",
        "passed", "path", "pieces", "place", "proofs", "proving", "query", "sent", "sent_by", "signing", "size", "tail",
        "ways", "whole",
    )  # fmt: skip

    def __init__(
        self, method: bytes, path: bytes, query: bytes, headers: Headers, proving: Collection[bytes] = ()
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        kept = [(name, value) for name, value in headers if name != b"content-length"]
        self.proofs = [place for place, (name, _) in enumerate(kept) if name in proving]
        self.proving = [kept[place][0] for place in self.proofs]
        self.headers = [(name, b"" if name in proving else value) for name, value in kept]
        self.fields = dict(reversed(self.headers))
        self.book: object = None
        self.frame: list[tuple[bytes, bool]] = []
        self.tail = b""
        self.whole: bytes | None = None
        self.layout: Struct | None = None
        self.pieces: tuple[bytes, ...] = ()
        self.place = 0
        self.size = 0
        self.passed: object = None
        self.agreement: Agreement | None = None
        self.mcp_headers: dict[str, str] | None = None
        self.forwarded: bytes | None = None
        self.sent = b""
        self.sent_by: object = None
        self.signing: tuple[tuple[str, str, str, str], tuple[bytes, ...], Headers] | None = None
        self.names = b"mcp-name" in self.fields
        self.ways: dict[tuple[str, bytes], Way] = {}

    def proven_by(self, proofs: Sequence[bytes], length: int) -> tuple[Headers, dict[bytes, bytes]]:
        """Headers and fields of a request with this head, with the values that prove it and a body of this length."""
        line = (b"content-length", b"%d" % length)  # a signature may cover it
        headers = [*self.headers, line]
        lines = list(zip(self.proving, proofs, strict=True))
        for place, proof in zip(self.proofs, lines, strict=True):
            headers[place] = proof
        return headers, {**self.fields, **dict(lines), line[0]: line[1]}


_LINES = frozenset({"fields", "headers"})
_Kept = TypeVar("_Kept")


class _OfHead(Generic[_Kept]):
    """What a known head says, taken over when it is first asked for: most of it never is.

    A descriptor for each, not ``__getattr__`` for all: a class with that has no attribute that is quick to read.
    """

    def __set_name__(self, owner: type[Request], name: str) -> None:
        self._name, self._slot = name, f"_{name}"

    def __get__(self, request: Request, owner: type[Request]) -> _Kept:
        try:
            kept: _Kept = getattr(request, self._slot)
        except AttributeError:
            request.take_over(self._name)
            kept = getattr(request, self._slot)
        return kept

    def __set__(self, request: Request, value: _Kept) -> None:
        setattr(request, self._slot, value)


class Request:
    """One HTTP request as it stood on the wire: header names in lower case, everything else untouched.

    ``known`` is its head when that came before: then headers and fields may be the head's own and must not be changed.
    ``proofs`` are its values of those fields of that head that prove.
    """

    __slots__ = (
        "_fields", "_headers", "_method", "_path", "_query", "body", "keep_alive", "known", "proofs", "started",
    )  # fmt: skip
    method = _OfHead[bytes]()
    path = _OfHead[bytes]()
    query = _OfHead[bytes]()
    headers = _OfHead[Headers]()
    fields = _OfHead[dict[bytes, bytes]]()

    def __init__(self, known: Head | None = None, body: bytes = b"", proofs: Sequence[bytes] = ()) -> None:
        self.started = time.perf_counter()
        self.known = known
        self.body = body
        self.proofs = proofs
        self.keep_alive = True
        if known is None:
            self.method = self.path = self.query = b""
            self.headers = []
            self.fields = {}

    def take_over(self, name: str) -> None:
        """Have what the known head says under this name, with the values that prove this request."""
        known = self.known
        if known is None:
            raise AttributeError(name)
        if self.proofs and name in _LINES:
            self.headers, self.fields = known.proven_by(self.proofs, len(self.body))
        else:
            setattr(self, name, getattr(known, name))

    def head(self, proving: Collection[bytes] = ()) -> Head:
        """What may be remembered of it: not the values of the fields in ``proving``."""
        return Head(self.method, self.path, self.query, self.headers, proving)

    def add_header(self, name: bytes, value: bytes) -> None:
        """Keep a header line; ``fields`` holds the first value of each name (RFC 9110 section 5.5: no outer blanks)."""
        name = name.lower()
        value = value.strip(b" \t")
        self.headers.append((name, value))
        self.fields.setdefault(name, value)

    def replace_header(self, name: bytes, value: bytes) -> None:
        """Give every line of a header another value."""
        self.replace_headers([(key, value if key == name else old) for key, old in self.headers])
        self.fields = {**self.fields, name: value}

    def replace_headers(self, headers: Headers) -> None:
        """Hand on other header lines; what is known of the head that came holds no longer."""
        self.method, self.path, self.query, self.fields = self.method, self.path, self.query, self.fields
        self.headers = headers
        self.known = None

    def mcp_headers(self) -> dict[str, str]:
        """``mcpsec.protocol.headers.mcp_headers`` of it, which raises ProtocolError. Read only."""
        known = self.known
        if known is None:
            return mcp_headers(self.headers)
        if known.mcp_headers is None:
            known.mcp_headers = mcp_headers(known.headers)
        return known.mcp_headers

    def values(self, name: bytes) -> list[bytes]:
        """Every value of a header, in order."""
        return [value for key, value in self.headers if key == name]


@dataclass(slots=True)
class Refusal:
    """Why the gateway itself answers, and with what.

    ``rule`` is the stable name of what decided (it goes to the log), ``message`` is all that the caller learns.
    """

    status: int
    code: int
    message: str
    rule: str
    detail: str = ""
    data: dict[str, Any] | None = None
    headers: Headers = field(default_factory=list)
    close: bool = False


def spent(code: int, message: str, rule: str, seconds: int) -> Refusal:
    """The answer to what goes beyond a limit; in so many ``seconds`` it is worth to try again."""
    waits = [(b"retry-after", b"%d" % seconds)]
    return Refusal(429, code, message, rule, data={"retryAfter": seconds}, headers=waits)


def too_busy(rule: str) -> Refusal:
    """The same where calls take up all the room: that of one may be free at any moment."""
    return spent(codes.BUSY, "too many requests at once", rule, 1)


def too_many_sessions() -> Refusal:
    """The same where sessions do. Nobody knows when one ends; asked each second it would only be refused more often."""
    return spent(codes.SESSION_LIMIT, "too many open sessions", "session-limit", 30)


@dataclass(slots=True)
class Answer:
    """A complete answer. ``lines`` are header lines as they are written, behind those of ``headers``."""

    status: int
    headers: Headers
    body: bytes = b""
    lines: bytes = b""


@dataclass(slots=True)
class StreamAnswer:
    """An answer that arrives in parts; the generator is closed when the caller goes away.

    ``endless`` marks a stream that answers no call (of a session, of a subscription): nobody waits for its end.
    """

    status: int
    headers: Headers
    parts: AsyncGenerator[bytes, None]
    endless: bool = False


_MOST_GUARDED = 16
_NOTHING: Mapping[tuple[str, str], int] = MappingProxyType({})


class Exchange:
    """A request, what the steps have learned about it, and what became of it (the audit event is made from this)."""

    __slots__ = (
        "alike", "answer_bytes", "arguments", "claimed", "client", "decision", "detail", "endpoint", "era", "guarded",
        "held", "id", "identified_by", "kind", "last_event_id", "message", "method_class", "peer", "quotas",
        "redactions", "request", "resource", "resumed", "rule", "sender", "session", "status", "token", "token_end",
        "tools", "trace", "unshared", "upstream", "upstream_ms",
    )  # fmt: skip

    def __init__(self, request: Request, peer: Peer, id: str) -> None:
        self.request = request
        self.peer = peer
        self.id = id
        self.client: Client | None = peer.client
        # What nobody has found out yet.
        self.alike: dict[tuple[Any, ...], tuple[Likeness, Series]] | None = None
        """What the recorder knows of others that took the same shortened way."""
        self.answer_bytes = 0
        self.arguments: Any = None
        self.claimed = ""
        self.decision: Decision = "allowed"
        self.detail = ""
        self.endpoint: Any = None
        self.era: Era | None = None
        self.guarded = _NOTHING
        """What the guard took out of the answer: reason and rule, how often."""
        self.held: Place | None = None
        """The place among the running requests."""
        self.identified_by = ""
        self.kind = ""
        self.last_event_id = b""
        self.message: Message | None = None
        self.method_class: MethodClass | Literal[""] = ""
        self.quotas: tuple[tuple[bytes, bytes], ...] = ()
        """What the answer tells of the limits that counted it."""
        self.redactions = 0
        self.resource = ""
        self.resumed: Any = None
        """The id of the call whose stream is gone on with, None for one that answers no call."""
        self.rule = ""
        self.sender: Sender | None = None
        """What sends it to its upstream, when it repeats one."""
        self.session: Any = None
        self.status = 0
        self.token: AccessToken | None = None
        self.token_end = math.inf
        """Until when that is accepted."""
        self.tools: tuple[str, ...] = ()
        """Those behind the tasks that the message names."""
        self.trace: TraceContext | None = None
        self.unshared = ""
        """The id of a task that the other gateways have yet to hear of."""
        self.upstream = ""
        self.upstream_ms = 0.0

    def let_go(self) -> None:
        """Give back the place among the running requests, once."""
        held = self.held
        if held is not None:
            self.held = None
            held.running -= 1

    def guard(self, reason: str, rule: str) -> None:
        """Note that something was taken out of the answer; of many different rules only the first have their names."""
        key = (reason, rule)
        if key not in self.guarded and len(self.guarded) >= _MOST_GUARDED:
            key = (reason, "other")
        self.guarded = {**self.guarded, key: self.guarded.get(key, 0) + 1}

    def rewrite(self, params: dict[str, Any]) -> None:
        """Pass the message on with other parameters.

        It is written again: the body that came has been verified and parsed, and nothing in it was lost on the way.
        """
        message = self.message
        if message is None:
            raise ValueError("only a message has parameters")
        body = orjson.dumps({"jsonrpc": "2.0", "id": message.id, "method": message.method, "params": params})
        self.message = message._replace(params=params, raw=body)
        self.request.body = body

    def proven(self, factor: str) -> None:
        """Note that a factor has been shown and is right."""
        self.identified_by = f"{self.identified_by}+{factor}" if self.identified_by else factor

    @property
    def rpc_id(self) -> Any:
        """The JSON-RPC id to answer to; None before the body was parsed, and for notifications."""
        return None if self.message is None else self.message.id

    @property
    def due(self) -> Any:
        """The id that the answer must have; None when none is due."""
        message = self.message
        if message is None:
            return self.resumed
        return message.id if message.kind is Kind.REQUEST else None


_JSON = (b"content-type", b"application/json")


def json_answer(status: int, body: bytes, headers: Headers | None = None) -> Answer:
    """A complete JSON answer."""
    return Answer(status, [_JSON, *(headers or ())], body)
