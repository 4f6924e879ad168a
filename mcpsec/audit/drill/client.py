"""The client of a drill: mutual TLS, a signature when the deployment asks for one, and patience with an end."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcpsec.connect.messages import HTTP_HEADERS, mirrored_headers, tool_call
from mcpsec.protocol import Era, parse
from mcpsec.signing import SignedMessage, Signer, SigningKey, load_secret

if TYPE_CHECKING:
    from mcpsec.audit.drill.site import Site

__all__ = ["Answer", "Client", "Connection"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``failure`` says why there is no whole answer; ``seconds`` since the request was sent."""

    status: int = 0
    body: bytes = b""
    seconds: float = 0.0
    failure: str = ""

    @property
    def message(self) -> dict[str, Any]:
        """The JSON-RPC message in it, of its last event when it is a stream; empty when there is none."""
        lines = [line[5:] for line in self.body.splitlines() if line.startswith(b"data:") and line[5:].strip()]
        try:
            found = json.loads(lines[-1] if lines else self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def fine(self) -> bool:
        """True for a result that is no error."""
        result = self.message.get("result")
        return self.status == 200 and isinstance(result, dict) and not result.get("isError")

    def describe(self) -> str:
        """The answer in a few words."""
        if self.failure:
            return f"{self.failure} ({self.seconds:.2f} s)"
        error = self.message.get("error")
        code = f", JSON-RPC error {error.get('code')}" if isinstance(error, dict) else ""
        return f"HTTP {self.status}{code} after {self.seconds:.2f} s"


class Client:
    """Calls tools of the gateway at ``url`` in the name of one client of the copy."""

    def __init__(self, site: Site, name: str, url: str) -> None:
        issued = site.identities[name]
        self.url = url
        self._context = ssl.create_default_context(cafile=str(site.server_ca))
        if issued.key is not None:
            self._context.load_cert_chain(issued.chain, issued.key)
        self._signer = None
        if site.signed:
            self._signer = Signer(SigningKey(id=name, secret=load_secret(site.secret_of(name))), site.scheme)

    def request(self, upstream: str, tool: str, arguments: dict[str, Any]) -> tuple[str, dict[str, str], bytes]:
        """The path, header fields and body of one call, signed."""
        body = tool_call(tool, arguments, era=Era.MODERN)
        headers = {**HTTP_HEADERS, **mirrored_headers(parse(body))}
        url = f"{self.url}/{upstream}"
        authority, _, path = url.removeprefix("https://").partition("/")
        headers["host"] = authority
        if self._signer is not None:
            message = SignedMessage.from_url("POST", url, headers=list(headers.items()), body=body)
            headers |= self._signer.sign(message)
        return f"/{path}", headers, body

    def connect(self, *, patience: float = 30.0, port: int | None = None) -> Connection:
        """A connection that stays open. Raises OSError."""
        host, _, own = self.url.removeprefix("https://").partition("/")[0].rpartition(":")
        plain = socket.create_connection((host, port or int(own)), timeout=patience)
        try:
            return Connection(self, self._context.wrap_socket(plain, server_hostname=host))
        except OSError:
            plain.close()
            raise

    def ask(
        self, upstream: str, tool: str, arguments: dict[str, Any], *, patience: float = 30.0, port: int | None = None
    ) -> Answer:
        """One call on a connection of its own."""
        began = time.monotonic()
        try:
            connection = self.connect(patience=patience, port=port)
        except OSError as error:
            return Answer(seconds=time.monotonic() - began, failure=_reason(error))
        with contextlib.closing(connection):
            return connection.ask(upstream, tool, arguments, patience=patience)


class Connection:
    """One open TLS connection."""

    def __init__(self, client: Client, stream: ssl.SSLSocket) -> None:
        self._client = client
        self.stream = stream

    def close(self) -> None:
        """Close it."""
        self.stream.close()

    def ask(self, upstream: str, tool: str, arguments: dict[str, Any], *, patience: float = 30.0) -> Answer:
        """One call; an answer without an end is given up after ``patience`` seconds."""
        path, headers, body = self._client.request(upstream, tool, arguments)
        began = time.monotonic()
        response = http.client.HTTPResponse(self.stream, method="POST")
        try:
            self.stream.settimeout(patience)
            self.stream.sendall(_encoded(path, headers, body))
            response.begin()
            content = b""
            while piece := self._read(response, began + patience):
                content += piece
        except (OSError, http.client.HTTPException) as error:
            return Answer(seconds=time.monotonic() - began, failure=_reason(error))
        return Answer(response.status, content, time.monotonic() - began)

    def _read(self, response: http.client.HTTPResponse, end: float) -> bytes:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.stream.settimeout(left)
        return response.read1(65536)


def _encoded(path: str, headers: dict[str, str], body: bytes) -> bytes:
    fields = {**headers, "content-length": str(len(body))}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError) and error.reason:
        return "TLS: " + error.reason.replace("_", " ").lower()
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens"
    return "the connection was closed"
