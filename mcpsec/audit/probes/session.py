"""One endpoint under probe: where it is, what we may show it, and how fast we ask.

The client is a raw socket: a verdict about client certificates must come from the first thing that is read, because
with TLS 1.3 a server refuses a certificate only after the client's handshake is over (RFC 8446, section 4.4.2.4), and
some servers refuse in HTTP.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mcpsec import __version__
from mcpsec.errors import UsageError

if TYPE_CHECKING:
    from mcpsec.audit.subjects import Context, Subject

__all__ = ["Answer", "Credentials", "Session", "Target", "Unreachable", "exchange", "target_of"]

PATIENCE = 10.0
"""Seconds that one answer may take."""
LARGEST = 1 << 20
PACE = 0.2
"""Seconds between two requests: five a second at most."""
_REFUSALS = (
    b"No required SSL certificate was sent",
    b"The SSL certificate error",
)


class Unreachable(Exception):
    """Nothing answers at the address."""


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
class Credentials:
    """What we may show: files of a client certificate and key, and the CA that the server's certificate comes from."""

    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None


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
    def is_redirect_to_tls(self) -> bool:
        """True for a redirect to https."""
        return self.status in (301, 302, 307, 308) and self.headers.get("location", "").lower().startswith("https:")

    @property
    def json(self) -> Any:
        """The JSON of the body, or of the first event of an event stream; None when there is none."""
        raw = self.body
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            match = re.search(rb"^data: ?(.*)$", raw, re.M)
            raw = match[1] if match else b""
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
    try:
        plain = socket.create_connection((address or target.host, target.port), timeout=patience)
    except OSError as error:
        return Answer(failure=_reason(error), connected=False)
    version = ""
    with contextlib.ExitStack() as open_sockets:
        open_sockets.callback(plain.close)
        try:
            stream: socket.socket = plain
            if context is not None:
                secured = context.wrap_socket(plain, server_hostname=server_name)  # takes the plain one's place
                open_sockets.callback(secured.close)
                version = secured.version() or ""
                stream = secured
            stream.sendall(request)
            return _read(stream, version, patience)
        except OSError as error:
            return Answer(failure=_reason(error), version=version)


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        text = getattr(error, "verify_message", "") or error.reason or "TLS error"
        return "TLS: " + text.replace("_", " ").lower()
    if isinstance(error, socket.gaierror):
        return "the name does not resolve"
    return (error.strerror or "the connection was closed").lower()


def _read(stream: socket.socket, version: str, patience: float) -> Answer:
    deadline = time.monotonic() + patience
    raw = b""
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
        if events and re.search(rb"data:[^\n]*\r?\n(?:\r?\n|\r\n)", body):
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


class Session:
    """One endpoint, the credentials that we have for it, and the pace of our requests."""

    def __init__(self, subject: Subject, context: Context) -> None:
        self.subject = subject
        self.audit = context
        self.target = target_of(subject.label)
        self.credentials = context.options.get("credentials") or Credentials()
        self.requests = 0
        self.run_id = secrets.token_hex(4)
        self._last = 0.0
        self.stranger: tuple[str, Answer, dict[str, str]] | None = None
        """What a stranger was told first, for the probes that go on from there."""

    def reach(self) -> None:
        """Raise Unreachable when nothing answers."""
        try:
            socket.create_connection((self.target.host, self.target.port), timeout=PATIENCE).close()
        except OSError as error:
            raise Unreachable(f"{self.target} can't be reached: {_reason(error)}") from None

    def pace(self) -> None:
        """Wait until the next request may go out, and count it."""
        wait = self._last + PACE - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        self._last = time.monotonic()
        self.requests += 1

    def tls(
        self, *, certificate: bool = False, lowest: ssl.TLSVersion | None = None, highest: ssl.TLSVersion | None = None
    ) -> ssl.SSLContext:
        """A context that verifies nothing: verification is a check of its own (TLS008)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if lowest is not None and lowest < ssl.TLSVersion.TLSv1_2:
            context.set_ciphers("ALL:@SECLEVEL=0")
        if lowest is not None:
            context.minimum_version = lowest
        if highest is not None:
            context.maximum_version = highest
        if certificate and self.credentials.certificate is not None:
            context.load_cert_chain(self.credentials.certificate, self.credentials.key)
        return context

    @property
    def name(self) -> str:
        """The name that TLS asks for (SNI has no addresses)."""
        return self.target.host

    def request(
        self,
        method: str = "POST",
        path: str | None = None,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        certificate: bool = True,
        context: ssl.SSLContext | None = None,
        server_name: str | None = "",
        address: str | None = None,
        raw: bytes | None = None,
        plain: bool = False,
        patience: float = PATIENCE,
    ) -> Answer:
        """Send one request on a connection of its own."""
        self.pace()
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        fields = {
            "Host": self.target.authority,
            "User-Agent": f"mcpsec-audit/{__version__} ({self.run_id})",
            "Accept": "application/json, text/event-stream",
            "Connection": "close",
        }
        if content or method == "POST":
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(content))}
        fields |= headers or {}
        lines = [f"{method} {path or self.target.path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items()), "", ""]
        tls = None
        if self.target.tls and not plain:
            tls = context or self.tls(certificate=certificate)
        name = self.name if server_name == "" else server_name
        return exchange(
            self.target, "\r\n".join(lines).encode("latin-1", "replace") + content,
            context=tls, server_name=name, patience=patience, address=address,
        )  # fmt: skip
