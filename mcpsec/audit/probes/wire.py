"""Raw HTTP over TLS: what an endpoint says first, in whatever way it says it.

The client is a raw socket: a verdict about client certificates must come from the first thing that is read, because
with TLS 1.3 a server refuses a certificate only after the client's handshake is over (RFC 8446, section 4.4.2.4), and
some servers refuse in HTTP.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from mcpsec.errors import UsageError

__all__ = [
    "LARGEST",
    "PATIENCE",
    "Answer",
    "NotReached",
    "Target",
    "connected",
    "exchange",
    "read_answer",
    "reason",
    "target_of",
]

PATIENCE = 10.0
"""Seconds that one answer may take."""
LARGEST = 1 << 20
_REFUSALS = (
    b"No required SSL certificate was sent",
    b"The SSL certificate error",
)


class NotReached(OSError):
    """Nobody listens there, or the name does not resolve."""


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint: ``tls`` by its scheme, ``path`` where MCP is served."""

    host: str
    port: int
    path: str
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.path}"

    @property
    def authority(self) -> str:
        """What stands in the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def target_of(text: str) -> Target:
    """Read a URL or HOST:PORT (TLS, path /mcp). Raises UsageError."""
    url = text if "://" in text else f"https://{text}/mcp"
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme.lower() == "https" else 80)
    except ValueError:
        raise UsageError(f"{text!r} is no URL") from None
    if not parts.hostname or parts.username or parts.password:
        raise UsageError("an endpoint is a URL with a host and without a password in it")
    if re.search(r"[\x00-\x20\x7f]", parts.path):
        raise UsageError("the path of the URL holds a blank or a control character")
    return Target(parts.hostname, port, parts.path or "/mcp", parts.scheme.lower() == "https")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back first. ``failure`` is in words when no HTTP answer came; ``version`` the TLS version."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    failure: str = ""
    version: str = ""
    connected: bool = True

    @property
    def refused_certificate(self) -> bool | None:
        """Whether the peer turned away what has no (good) client certificate; None when that can't be said.

        A TLS alert, the end of the connection, nginx's two texts, and 403, 421, 495, 496 are refusals; whatever the
        application itself says is an acceptance.
        """
        if not self.connected or self.failure == "no answer in time":
            return None
        if self.failure:
            return True
        if self.status in (403, 421, 495, 496):
            return True
        return self.status == 400 and any(text in self.body for text in _REFUSALS)

    @property
    def answers(self) -> bool:
        """True for a JSON-RPC result: the server did what was asked."""
        document = self.json
        return self.status == 200 and isinstance(document, dict) and "result" in document

    @property
    def error(self) -> dict[str, Any]:
        """The error of a JSON-RPC answer; empty when it has none."""
        document = self.json
        found = document.get("error") if isinstance(document, dict) else None
        return found if isinstance(found, dict) else {}

    @property
    def result(self) -> dict[str, Any]:
        """The result of a JSON-RPC answer; empty when it has none."""
        document = self.json
        found = document.get("result") if isinstance(document, dict) else None
        return found if isinstance(found, dict) else {}

    @property
    def is_redirect_to_tls(self) -> bool:
        """True for a redirect to https."""
        return self.status in (301, 302, 307, 308) and self.headers.get("location", "").lower().startswith("https:")

    @property
    def json(self) -> Any:
        """The JSON of the body, or of the answer in an event stream; None when there is none."""
        raw = self.body
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            raw = _told(raw) or b""
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            return None

    def describe(self) -> str:
        """The answer in a few words, for evidence."""
        if self.failure:
            return self.failure
        text = self.body[:120].decode("utf-8", "replace")
        return f"HTTP {self.status} {''.join(c if c.isprintable() else ' ' for c in text)}".strip()


@contextlib.contextmanager
def connected(
    target: Target,
    *,
    context: ssl.SSLContext | None,
    server_name: str | None,
    patience: float = PATIENCE,
    address: str | None = None,
) -> Iterator[socket.socket]:
    """A connection, with TLS when there is a context. Raises OSError; NotReached when nobody listens."""
    try:
        plain = socket.create_connection((address or target.host, target.port), timeout=patience)
    except OSError as error:
        raise NotReached(reason(error)) from None
    with contextlib.ExitStack() as open_sockets:
        open_sockets.callback(plain.close)
        stream: socket.socket = plain
        if context is not None:
            stream = context.wrap_socket(plain, server_hostname=server_name)  # takes the plain one's place
            open_sockets.callback(stream.close)
        yield stream


def exchange(
    target: Target,
    request: bytes,
    *,
    context: ssl.SSLContext | None,
    server_name: str | None,
    patience: float = PATIENCE,
    address: str | None = None,
) -> Answer:
    """Open a connection, send bytes, and read one HTTP answer (its first event, when it is a stream)."""
    version = ""
    try:
        with connected(target, context=context, server_name=server_name, patience=patience, address=address) as stream:
            version = version_of(stream)
            stream.sendall(request)
            return read_answer(stream, version, patience)
    except NotReached as error:
        return Answer(failure=str(error), connected=False)
    except OSError as error:
        return Answer(failure=reason(error), version=version)


def version_of(stream: socket.socket) -> str:
    """The TLS version that a connection speaks; empty for none."""
    return (stream.version() or "") if isinstance(stream, ssl.SSLSocket) else ""


def reason(error: OSError) -> str:
    """Why a connection failed, in words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        text = getattr(error, "verify_message", "") or error.reason or "TLS error"
        return "TLS: " + text.replace("_", " ").lower()
    if isinstance(error, socket.gaierror):
        return "the name does not resolve"
    return (error.strerror or "the connection was closed").lower()


def read_answer(stream: socket.socket, version: str, patience: float, begun: bytes = b"") -> Answer:
    """Read one HTTP answer, of which ``begun`` was read before. Raises OSError."""
    deadline = time.monotonic() + patience
    raw = begun
    while b"\r\n\r\n" not in raw:
        piece = _receive(stream, deadline)
        if not piece:
            return Answer(failure="the connection was closed", version=version)
        raw += piece
        if len(raw) > LARGEST:
            return Answer(failure="an answer without end", version=version)
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    match = re.match(r"HTTP/1\.[01] (\d{3})", lines[0])
    if match is None:
        return Answer(failure="what answers is not HTTP", version=version, body=raw[:200])
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Answer(int(match[1]), headers, _body(stream, headers, body, deadline), version=version)


def _receive(stream: socket.socket, deadline: float) -> bytes:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    stream.settimeout(left)
    return stream.recv(65536)


def _body(stream: socket.socket, headers: Mapping[str, str], body: bytes, deadline: float) -> bytes:
    """The body as far as it is told: by length, in chunks, or until the first event of a stream is whole."""
    length = headers.get("content-length", "")
    chunked = "chunked" in headers.get("transfer-encoding", "")
    events = headers.get("content-type", "").startswith("text/event-stream")

    def complete() -> bool:
        if events and _told(_unchunk(body) if chunked else body) is not None:
            return True
        if chunked:
            return body.endswith(b"0\r\n\r\n") or body == b"0\r\n\r\n"
        return length.isdigit() and len(body) >= int(length)

    while not complete() and len(body) < LARGEST:
        try:
            piece = _receive(stream, deadline)
        except (OSError, TimeoutError):
            break
        if not piece:
            break
        body += piece
    return _unchunk(body) if chunked else body


def _unchunk(raw: bytes) -> bytes:
    found, at = b"", 0
    while (end := raw.find(b"\r\n", at)) >= 0:
        try:
            size = int(raw[at:end].split(b";")[0], 16)
        except ValueError:
            break
        if size == 0:
            break
        found += raw[end + 2 : end + 2 + size]
        at = end + 2 + size + 2
    return found


def _told(stream: bytes) -> bytes | None:
    """The data of the first whole event that is an answer; None when none has come yet.

    What a server says before is passed over: events without data, which only prime a client for resuming, and its own
    notifications and requests.
    """
    for event in re.split(rb"\r?\n\r?\n", stream)[:-1]:
        data = b"\n".join(re.findall(rb"^data: ?(.*?)\r?$", event, re.M))
        if not data.strip():
            continue
        try:
            message = json.loads(data)
        except (ValueError, RecursionError):
            return data
        if not (isinstance(message, dict) and "method" in message):
            return data
    return None
