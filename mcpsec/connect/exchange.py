"""Signed requests sent by hand, and the answers as they come: what `mcpsec sign --send` does."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import httpx

from mcpsec import __version__
from mcpsec.connect.trust import LOOK_SECONDS, client_context, explain, refusal_of
from mcpsec.errors import NotAssessedError, RefusedError, UsageError
from mcpsec.protocol import Kind, ProtocolError, SseParser, parse
from mcpsec.urls import can_be_asked

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from mcpsec.connect.trust import TlsFailure
    from mcpsec.protocol import Message
    from mcpsec.signing import SignedMessage

__all__ = ["MOST_ANSWER_BYTES", "Answer", "Exchange"]

MOST_ANSWER_BYTES: Final = 32 * 1024 * 1024
"""How much of one answer is read, in bytes."""


@dataclass
class Answer:
    """One HTTP answer. ``messages`` are the MCP messages in it, ``body`` is what is not one of them.

    ``seconds`` run from the first byte sent to the last byte read, ``first_byte`` to the head of the answer.
    """

    status: int
    reason: str
    headers: dict[str, str]
    first_byte: float
    seconds: float = 0.0
    streamed: bool = False
    body: bytes = b""
    messages: list[bytes] = field(default_factory=list)

    @property
    def error(self) -> dict[str, Any] | None:
        """The JSON-RPC error that answers the request, None when there is none."""
        for raw in reversed(self.messages):
            message = _parsed(raw)
            if message is not None and message.kind is Kind.RESPONSE:
                return message.error
        return None

    @property
    def request(self) -> str:
        """The number under which the gateway's log has this request, if the error says one."""
        data = self.error.get("data") if self.error is not None else None
        number = data.get("request") if isinstance(data, dict) else None
        return number if isinstance(number, str) and re.fullmatch(r"[0-9a-f]{16}", number) else ""

    @property
    def good(self) -> bool:
        """A 2xx answer without a JSON-RPC error."""
        return 200 <= self.status < 300 and self.error is None


def _parsed(raw: bytes) -> Message | None:
    try:
        return parse(raw)
    except ProtocolError:
        return None


class Exchange:
    """One connection to a server, over which messages are sent exactly as they were signed.

    Use as a context manager. ``timeout`` is in seconds, for connecting and between any two reads. ``certificate`` is
    the one that ``context`` shows.
    """

    def __init__(
        self, url: str, context: ssl.SSLContext | None, *, timeout: float = 30.0, certificate: Path | None = None
    ) -> None:
        if not can_be_asked(url):
            raise UsageError(f"the host of {url} is no name that can be looked up", hint="check its spelling")
        self._url = httpx.URL(url)
        self._host = self._url.raw_host.decode("ascii")  # as it is asked; sockets would spell a name by IDNA 2003
        self._timeout = timeout
        self._fresh = True
        self._context = context
        self._certificate = certificate
        self._client = httpx.Client(
            verify=context if context is not None else True,
            timeout=timeout,
            follow_redirects=False,
            trust_env=False,
            headers={"user-agent": f"mcpsec/{__version__}", "accept-encoding": "identity"},
        )

    def __enter__(self) -> Exchange:
        self._client.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.__exit__(kind, value, trace)

    def send(self, message: SignedMessage, headers: Mapping[str, str]) -> Answer:
        """Send ``message`` with these headers beside its own, and read the whole answer; streams end with the response.

        Raises:
            RefusedError: the server refused the connection's certificate.
            NotAssessedError: the server can't be reached or trusted, or its answer broke off.
        """
        pairs = [
            *message.headers,
            *((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()),
        ]
        request = self._client.build_request(message.method, self._url, content=message.body, headers=pairs)
        request.extensions["target"] = message.target.encode("ascii")
        started = time.perf_counter()
        try:
            response = self._client.send(request, stream=True)
            self._fresh = False
            try:
                return self._read(response, started)
            finally:
                response.close()
        except (httpx.TransportError, OSError) as error:
            raise self._failure(error) from None

    def _read(self, response: httpx.Response, started: float) -> Answer:
        response.headers.encoding = "latin-1"  # one character an octet (RFC 9110, section 5.5), and so it goes back
        answer = Answer(
            status=response.status_code,
            reason=response.reason_phrase,
            headers={name.lower(): value for name, value in response.headers.items()},
            first_byte=time.perf_counter() - started,
        )
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        answer.streamed = kind == "text/event-stream"
        if answer.streamed:
            answer.messages.extend(_events(response))
        else:
            content = b"".join(_bounded(response))
            if kind == "application/json" and content:
                answer.messages.append(content)
            else:
                answer.body = content
        answer.seconds = time.perf_counter() - started
        return answer

    def _failure(self, error: Exception) -> RefusedError | NotAssessedError:
        where = f"{self._host}:{self._url.port or 443}"
        known = explain(error)
        if known is not None:
            kind = RefusedError if known.refused else NotAssessedError
            return kind(f"{where}: {known.message}", hint=known.hint)
        if isinstance(error, httpx.TimeoutException):
            return NotAssessedError(f"{where} did not answer in time", hint="--timeout gives it more seconds")
        if isinstance(error, httpx.ConnectError):
            return NotAssessedError(f"{where} can't be reached: {_words(error)}", hint="is the gateway running there?")
        if self._url.scheme == "http":
            hint = f"a gateway speaks TLS: https://{where}{self._url.path}"
        else:
            refusal = self._refusal() if self._fresh else None
            if refusal is not None:
                return RefusedError(f"{where} {refusal.message}", hint=refusal.hint)
            hint = "it may be stopping; whether it has done what was asked is not known"
        return NotAssessedError(f"{where} closed the connection before it answered: {_words(error)}", hint=hint)

    def _refusal(self) -> TlsFailure | None:
        """What the server has against the certificate, which it may have said nothing of."""
        context = self._context or client_context()
        seconds = min(LOOK_SECONDS, self._timeout)
        return refusal_of(self._host, self._url.port or 443, context, self._certificate, seconds=seconds)


def _words(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:  # the transport wraps what the system said
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return str(error).rstrip(".") or type(error).__name__


def _bounded(response: httpx.Response) -> Iterator[bytes]:
    total = 0
    for chunk in response.iter_raw():
        total += len(chunk)
        if total > MOST_ANSWER_BYTES:
            raise NotAssessedError(f"the answer is larger than {MOST_ANSWER_BYTES} bytes")
        yield chunk


def _events(response: httpx.Response) -> Iterator[bytes]:
    """The data of each event, up to the message that answers the request."""
    parser = SseParser(MOST_ANSWER_BYTES)
    for chunk in _bounded(response):
        for event in parser.feed(chunk):
            if not event.data:
                continue
            yield event.data
            message = _parsed(event.data)
            if message is not None and message.kind is Kind.RESPONSE:
                return
